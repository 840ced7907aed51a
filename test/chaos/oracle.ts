/** What a log must hold, whatever happened to those who wrote it. */
import { type EventLog, type StoredEnvelope, toHex } from '@colloquy/core'
import { sha256, verifyChain } from '@colloquy/engine'
import type { Fact } from './fact.ts'

/** What somebody was told is stored. */
export interface Acknowledged {
  readonly tenant?: string
  readonly conversationId: string
  readonly commandId: string
  readonly position: number
  /** In hex. */
  readonly hash: string
}

/** Reads the whole log by its feeds and checks it, every conversation's chain, and every acknowledgement. */
export async function audit(log: EventLog, acknowledged: readonly Acknowledged[]): Promise<Fact[]> {
  const conversations = new Map<string, StoredEnvelope[]>()
  let feedGaps = 0
  for (const [partition, head] of (await log.feedHeads()).entries()) {
    let last = 0
    for await (const envelope of feedOf(log, partition)) {
      if (envelope.feedPosition !== last + 1) feedGaps += 1
      last = envelope.feedPosition
      const name = nameOf(envelope)
      const known = conversations.get(name)
      if (known) known.push(envelope)
      else conversations.set(name, [envelope])
    }
    if (last !== head) feedGaps += 1
  }
  const all = [...conversations.values()]
  let broken = 0
  for (const [first] of all) if (first && !(await verifyChain(log, first, sha256)).ok) broken += 1
  const gaps = all.flatMap((envelopes) => envelopes.filter(({ position }, i) => position !== i + 1))
  return [
    { what: 'acknowledged', seen: acknowledged.length },
    { what: 'stored', seen: all.flat().length },
    { what: 'lost', seen: acknowledged.filter((ack) => !isStored(ack, conversations)).length, is: 0 },
    { what: 'duplicated', seen: duplicated(all.flat()), is: 0 },
    { what: 'gaps', seen: gaps.length + feedGaps, is: 0 },
    { what: 'broken chains', seen: broken, is: 0 },
  ]
}

async function* feedOf(log: EventLog, partition: number): AsyncGenerator<StoredEnvelope> {
  let after = 0
  for (;;) {
    const { envelopes } = await log.feed({ partition, after, limit: 1_000 })
    if (envelopes.length === 0) return
    yield* envelopes
    after = envelopes.at(-1)?.feedPosition ?? after
  }
}

function isStored(ack: Acknowledged, conversations: ReadonlyMap<string, readonly StoredEnvelope[]>): boolean {
  const envelope = conversations.get(nameOf(ack))?.[ack.position - 1]
  return envelope !== undefined && toHex(envelope.hash) === ack.hash && envelope.commandId === ack.commandId
}

/** Envelopes too many: each command has each of its places once. */
function duplicated(envelopes: readonly StoredEnvelope[]): number {
  const commands = envelopes.filter(({ commandId }) => commandId !== null)
  return commands.length - new Set(commands.map((e) => JSON.stringify([nameOf(e), e.commandId, e.commandIndex]))).size
}

const nameOf = ({ tenant = 'default', conversationId }: { readonly tenant?: string; readonly conversationId: string }): string =>
  JSON.stringify([tenant, conversationId])
