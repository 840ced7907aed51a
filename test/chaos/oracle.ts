/** Compares what callers were told with what the log has. */
import { type ConversationKey, type EventLog, type StoredEnvelope, toHex } from '@colloquy/core'
import { sha256, verifyChain } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import type { DispatchEntry } from './workers/dispatch.ts'

/** Everything there is, in the order of each partition's feed. */
export async function wholeFeed(log: EventLog): Promise<StoredEnvelope[][]> {
  const partitions: StoredEnvelope[][] = []
  for (let partition = 0; partition < log.partitions; partition++) {
    const envelopes: StoredEnvelope[] = []
    for (let after = 0; ; ) {
      const page = await log.feed({ partition, after, limit: 500 })
      envelopes.push(...page.envelopes)
      if (page.scannedTo === after) break
      after = page.scannedTo
    }
    partitions.push(envelopes)
  }
  return partitions
}

export interface LogCheck {
  readonly envelopes: readonly StoredEnvelope[]
  readonly wrong: string[]
}

/** Gaps in feeds and conversations, commands that are there twice, chains that do not hold. */
export async function checkLog(log: EventLog): Promise<LogCheck> {
  const wrong: string[] = []
  const feeds = await wholeFeed(log)
  const heads = await log.feedHeads()
  for (const [partition, feed] of feeds.entries()) {
    const gap = feed.findIndex(({ feedPosition }, i) => feedPosition !== i + 1)
    if (gap !== -1) wrong.push(`partition ${partition}: the feed has no position ${gap + 1}`)
    if (heads[partition] !== feed.length)
      wrong.push(`partition ${partition}: counts ${heads[partition]} envelopes and has ${feed.length}`)
  }
  const envelopes = feeds.flat()
  const conversations = new Map<string, ConversationKey>()
  const commands = new Map<string, number>()
  for (const { tenant, conversationId, commandId, commandIndex } of envelopes) {
    conversations.set(JSON.stringify([tenant, conversationId]), { tenant, conversationId })
    const command = JSON.stringify([tenant, conversationId, commandId, commandIndex])
    if (commandId !== null) commands.set(command, (commands.get(command) ?? 0) + 1)
  }
  const doubled = [...commands].filter(([, count]) => count > 1)
  if (doubled.length > 0) wrong.push(`${doubled.length} commands are stored more than once, first ${doubled[0]?.[0]}`)
  for (const key of conversations.values()) {
    try {
      const { ok, problem } = await verifyChain(log, key, sha256)
      if (!ok) wrong.push(`${key.conversationId}: the chain is broken at ${problem?.position}: ${problem?.text}`)
    } catch (error) {
      wrong.push(`${key.conversationId}: cannot be verified: ${String(error)}`)
    }
  }
  return { envelopes, wrong }
}

export interface DispatchCheck {
  readonly facts: { stored: number; again: number; unknown: number; duplicates: number }
  readonly wrong: string[]
}

/** The log at `url`, and what the workers that dispatched to it were told. */
export async function checkWork(
  url: string,
  workers: readonly { readonly entries: () => readonly DispatchEntry[] }[],
): Promise<LogCheck & DispatchCheck> {
  await using log = await openPostgresLog({ url })
  const check = await checkLog(log)
  const dispatches = checkDispatches(
    check.envelopes,
    workers.flatMap((worker) => worker.entries()),
  )
  return { ...check, facts: dispatches.facts, wrong: [...check.wrong, ...dispatches.wrong] }
}

/** Every acknowledged command must be stored where it was said, and nothing be stored that no caller sent. */
export function checkDispatches(envelopes: readonly StoredEnvelope[], entries: readonly DispatchEntry[]): DispatchCheck {
  const wrong: string[] = []
  const stored = new Map(
    envelopes.map((envelope) => [`${envelope.conversationId} ${envelope.position} ${envelope.commandId}`, envelope]),
  )
  const acknowledged = entries.filter((entry) => entry.kind === 'stored')
  const lost = acknowledged.filter(({ conversationId, position, commandId, hash }) => {
    const envelope = stored.get(`${conversationId} ${position} ${commandId}`)
    return envelope === undefined || toHex(envelope.hash) !== hash
  })
  if (lost.length > 0) wrong.push(`${lost.length} acknowledged commands are lost, first ${JSON.stringify(lost[0])}`)
  const failed = entries.filter((entry) => entry.kind === 'failed')
  if (failed.length > 0) wrong.push(`${failed.length} commands failed, first ${failed[0]?.commandId}: ${failed[0]?.text}`)
  const known = new Set(acknowledged.map(({ commandId }) => commandId))
  const extra = envelopes.length - known.size - failed.length
  if (extra > 0) wrong.push(`${extra} envelopes are stored beyond the ${known.size} commands`)
  const again = entries.filter((entry) => entry.kind === 'again')
  const facts = {
    stored: known.size,
    again: again.length,
    unknown: again.filter(({ code }) => code === 'append_outcome_unknown').length,
    duplicates: acknowledged.filter(({ duplicate }) => duplicate).length,
  }
  return { facts, wrong }
}
