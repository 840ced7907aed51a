/** Envelopes for the tests of logs: stamped and chained, but with bodies that no action has to make. */
import {
  type ConversationKey,
  type Envelope,
  type EventLog,
  genesisHash,
  type Head,
  type StoredEnvelope,
  stamp,
  toHex,
} from '@colloquy/core'
import { sha256 } from './core-log.ts'

export type Expected = Pick<Head, 'position' | 'hash'>

export interface Entry {
  readonly commandId?: string
  readonly commandIndex?: number
  readonly body?: Uint8Array
  readonly occurredAt?: number
  readonly actor?: string
  readonly type?: string
  readonly schemaVersion?: number
}

let conversations = 0

/** A conversation that no other test knows. */
export function newKey(tenant = 'tenant'): ConversationKey {
  return { tenant, conversationId: `conversation-${String(++conversations).padStart(6, '0')}` }
}

export const beginningOf = (key: ConversationKey): Expected => ({ position: 0, hash: genesisHash(key, sha256) })

/** Envelopes for `entries` that follow `expected`. */
export function following(key: ConversationKey, expected: Expected, entries: readonly Entry[]): Envelope[] {
  let previousHash = expected.hash
  return entries.map((entry, i) => {
    const position = expected.position + 1 + i
    const header = {
      ...key,
      position,
      type: entry.type ?? 'messageAdded',
      schemaVersion: entry.schemaVersion ?? 1,
      occurredAt: entry.occurredAt ?? 1_767_225_600_000_000 + position,
      commandId: entry.commandId ?? null,
      commandIndex: entry.commandId === undefined ? null : (entry.commandIndex ?? 0),
      actor: entry.actor ?? null,
      cause: null,
      keyId: null,
    }
    const body = entry.body ?? utf8(JSON.stringify({ payload: { position } }))
    const salt = sha256(previousHash, utf8('salt')).subarray(0, 16)
    const input = header.commandIndex === 0 ? `input of ${header.commandId}` : undefined
    const envelope = stamp(header, body, { previousHash, salt, input }, sha256)
    previousHash = envelope.hash
    return envelope
  })
}

/** Appends where the conversation stands now. */
export async function appendTo(
  log: EventLog,
  key: ConversationKey,
  entries: readonly Entry[],
): Promise<readonly StoredEnvelope[]> {
  const expected = (await log.head(key)) ?? beginningOf(key)
  const [outcome] = await log.append([{ key, expected, envelopes: following(key, expected, entries) }])
  if (outcome?.status !== 'appended') throw new Error(`The append came back as ${outcome?.status}.`)
  return outcome.envelopes
}

export async function readAll(
  log: EventLog,
  key: ConversationKey,
  range?: { readonly from?: number; readonly to?: number },
): Promise<StoredEnvelope[]> {
  const all: StoredEnvelope[] = []
  for await (const page of log.read(key, range)) all.push(...page)
  return all
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Envelopes with the hash of their body in its place: bodies of megabytes are compared byte by byte, which takes seconds. */
export const briefly = <E extends Pick<Envelope, 'body'>>(envelopes: readonly E[]) =>
  envelopes.map(({ body, ...rest }) => ({ ...rest, body: toHex(sha256(body)) }))
