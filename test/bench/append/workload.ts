/** One event an append, to one of thousands of conversations, with so many appends in flight. */
import { randomBytes, randomUUID } from 'node:crypto'
import { type AppendRequest, type Envelope, genesisHash, type Head, stamp } from '@colloquy/core'
import { sha256 } from '../../../packages/engine/src/node-ports.ts'

const words =
  'the quick budget model tool result window context token summary cache retry stream error user assistant plan query answer file code test path state event reducer agent memory vector search index'.split(
    ' ',
  )

/** JSON of 400 bytes, as a chat message has. */
function payload(i: number): Record<string, unknown> {
  const message = { v: 1, id: randomUUID(), role: i % 2 === 0 ? 'user' : 'assistant', model: 'model-large-2026-10', text: '' }
  for (let at = i; JSON.stringify(message).length < 399; at = (at * 31 + 7) % 9973) message.text += ` ${words[at % words.length]}`
  message.text = message.text.slice(0, message.text.length - (JSON.stringify(message).length - 400))
  return message
}

export const payloads = Array.from({ length: 1_000 }, (_, i) => payload(i))
export const payloadTexts = payloads.map((each) => JSON.stringify(each))
export const payloadBytes = payloadTexts.map((text) => Buffer.from(text))
export const someOf = <T>(values: readonly T[], i: number): T => values[i % values.length] as T

/** A conversation as its one writer knows it. */
export interface Talk {
  readonly key: { readonly tenant: string; readonly conversationId: string }
  head: Pick<Head, 'position' | 'hash'>
}

export function newTalks(count: number): Talk[] {
  const run = randomUUID().slice(0, 8)
  return Array.from({ length: count }, (_, i) => {
    const key = { tenant: 'bench', conversationId: `conversation-${run}-${i}` }
    return { key, head: { position: 0, hash: genesisHash(key, sha256) } }
  })
}

/** Its next append, hashed as an engine does it. */
export function stamped({ key, head }: Talk, i: number, commandId: string | null): AppendRequest {
  const header = headerOf(key, head.position + 1, i, commandId)
  const chain = { previousHash: head.hash, salt: someSalt(i), input: commandId === null ? undefined : someOf(payloadTexts, i) }
  return { key, expected: head, envelopes: [stamp(header, someOf(payloadBytes, i), chain, sha256)] }
}

/** The same with random bytes in place of the hashes: what is left is what the log itself does. The database checks no hash. */
export function unhashed({ key, head }: Talk, i: number): AppendRequest {
  const hash = someOf(randomHashes, i)
  const header = headerOf(key, head.position + 1, i, null)
  const envelope: Envelope = { ...header, body: someOf(payloadBytes, i), salt: someSalt(i), commit: hash, hash, inputHash: null }
  return { key, expected: head, envelopes: [envelope] }
}

function headerOf(key: Talk['key'], position: number, i: number, commandId: string | null) {
  return {
    tenant: key.tenant,
    conversationId: key.conversationId,
    position,
    type: 'messageAdded',
    schemaVersion: 1,
    occurredAt: 1_767_225_600_000_000 + i,
    commandId,
    commandIndex: commandId === null ? null : 0,
    actor: 'user-1',
    cause: null,
    keyId: null,
  }
}

const randomHashes = Array.from({ length: 10_000 }, () => randomBytes(32))
const salts = Array.from({ length: 4_096 }, () => randomBytes(16))
const someSalt = (i: number): Buffer => someOf(salts, i)

export interface Slice {
  readonly appends: number
  readonly perSecond: number
  /** CPU time of this process for each append, in microseconds. */
  readonly cpuUs: number
}

/** Keeps `inFlight` appends under way for `ms`; each worker has talks of its own, so that none conflicts. */
export async function keepInFlight(
  inFlight: number,
  ms: number,
  talks: readonly Talk[],
  append: (talk: Talk, i: number) => Promise<void>,
): Promise<Slice> {
  let appends = 0
  const share = Math.max(1, Math.floor(talks.length / inFlight))
  const cpu = process.cpuUsage()
  const start = performance.now()
  await Promise.all(
    Array.from({ length: inFlight }, async (_, worker) => {
      for (let turn = 0; performance.now() - start < ms; turn++) {
        await append(talks[worker * share + (turn % share)] as Talk, appends++)
      }
    }),
  )
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  return { appends, perSecond: appends / seconds, cpuUs: (user + system) / appends }
}
