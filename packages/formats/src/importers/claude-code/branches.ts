import type { SessionRecord } from './record.ts'

/** The records of one conversation of the file. */
export interface Branch {
  /** Undefined: the session itself. Else the agent's id, or the uuid of the first record. */
  readonly sidechainId: string | undefined
  readonly records: SessionRecord[]
}

/**
 * The session and its sidechains (sub-agents), in the order in which they begin. A sidechain begins at a record without a parent
 * among sidechains; several run at once, and each is followed by its records' parents, or by the agent's id where there is one.
 */
export function splitBranches(records: readonly SessionRecord[]): Branch[] {
  const session: Branch = { sidechainId: undefined, records: [] }
  const branches: Branch[] = [session]
  const known = new Set(records.map((record) => record.uuid))
  const byUuid = new Map<string, Branch>()
  const byAgent = new Map<string, Branch>()
  let previous: Branch | undefined

  const branchOf = (record: SessionRecord): Branch => {
    if (!record.isSidechain) return session
    const { parentUuid } = record
    const { agentId } = record.facts
    const found =
      (agentId !== undefined ? byAgent.get(agentId) : undefined) ??
      (parentUuid !== undefined ? byUuid.get(parentUuid) : undefined) ??
      // The parent is lost (a line that could not be read): sidechains are contiguous blocks, so it is the one before.
      (agentId === undefined && parentUuid !== undefined && !known.has(parentUuid) ? previous : undefined)
    if (found !== undefined) return found
    const branch: Branch = { sidechainId: agentId ?? record.uuid ?? `line-${record.line}.${record.ordinal}`, records: [] }
    branches.push(branch)
    if (agentId !== undefined) byAgent.set(agentId, branch)
    return branch
  }

  for (const record of records) {
    const branch = branchOf(record)
    branch.records.push(record)
    if (!record.isSidechain) continue
    if (record.uuid !== undefined) byUuid.set(record.uuid, branch)
    previous = branch
  }
  return branches.filter((branch) => branch.records.length > 0)
}
