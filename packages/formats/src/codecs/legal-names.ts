import type { Report } from './loss.ts'
import { type Entry, isApproval, isCall, isResult, type ToolCall } from './parts.ts'

export interface NameRules {
  readonly callIds: {
    /** Every character that an id must not have. */
    readonly illegal: RegExp
    readonly limit: number
    /** Within what an id may name one call only. */
    readonly uniqueIn: 'request' | 'step'
  }
  readonly toolNames: { readonly illegal: RegExp; readonly limit: number }
}

/** Any id and any name, each call of a request its own id. */
export const anyNames: NameRules = {
  callIds: { illegal: /$^/g, limit: 200, uniqueIn: 'request' },
  toolNames: { illegal: /$^/g, limit: Number.POSITIVE_INFINITY },
}

/** Gives calls the ids and names that the target takes; and what is about a call gets its id. Feed it step by step. */
export function legalNames(rules: NameRules, report: Report) {
  let taken = new Set<string>()
  let tries = new Map<string, number>()
  const legal = new Map<Entry, Entry<ToolCall>>()

  const unique = (wanted: string): string => {
    // Where the last search ended: an id may come back as often as there are calls.
    for (let n = tries.get(wanted) ?? 1; ; n++) {
      const suffix = n === 1 ? '' : `_${n}`
      const id = wanted.slice(0, rules.callIds.limit - suffix.length).toWellFormed() + suffix
      if (taken.has(id)) continue
      tries.set(wanted, n)
      return id
    }
  }

  const call = (entry: Entry<ToolCall>): Entry<ToolCall> => {
    const { part } = entry
    // A provider knows its own calls by their ids.
    const callId = part.executor.kind === 'client' ? unique(part.callId.replaceAll(rules.callIds.illegal, '_')) : part.callId
    taken.add(callId)
    const name = part.name.replaceAll(rules.toolNames.illegal, '_').slice(0, rules.toolNames.limit) || 'unnamed'
    if (callId !== part.callId) report('call_id_changed', entry)
    if (name !== part.name) report('tool_name_changed', entry)
    const named = callId === part.callId && name === part.name ? entry : { ...entry, part: { ...part, callId, name } }
    legal.set(entry, named)
    return named
  }

  const answer = (entry: Entry): Entry => {
    const named = entry.call && legal.get(entry.call)
    if (named === undefined || !(isResult(entry) || isApproval(entry))) return entry
    const { callId } = named.part
    const part = callId === entry.part.callId ? entry.part : { ...entry.part, callId }
    return { ...entry, part, call: named }
  }

  return {
    /** The entries of one step, which may hold calls and results. */
    step(entries: readonly Entry[]): readonly Entry[] {
      if (rules.callIds.uniqueIn === 'step' && entries.some(isCall)) [taken, tries] = [new Set(), new Map()]
      return entries.map((entry) => (isCall(entry) ? call(entry) : answer(entry)))
    },
  }
}
