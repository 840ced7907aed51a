/**
 * Golden logs: a conversation per action and schema version, recorded once and replayed for ever.
 *
 *     <action>.v<schema version>.jsonl      the log, one envelope a line
 *     <action>.v<schema version>.<n>.json   what replaying it leads to: state hash, hash of each slice at its version, state
 *     SHA256SUMS                            of all of these, in sha256sum's format
 *
 * None of the files is ever edited. When a slice gets a new version, `record.ts` adds the next `<n>` beside the older ones.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type ConversationAction,
  type ConversationState,
  conversationReducer,
  type Replayed,
  replay,
  resolverOf,
  type StoredEnvelope,
  stateHash,
  toHex,
} from '@colloquy/core'
import { readFrom, sha256, testKey } from '../support/core-log.ts'

export const directory = import.meta.dirname
export const sumsFile = 'SHA256SUMS'

export type ActionType = ConversationAction['type']

/** Where replaying a golden log led, when it was recorded. */
export interface Expectation {
  readonly stateKey: string
  readonly stateHash: string
  /** `<slice>@<version>` -> hash of that slice's state. */
  readonly slices: Readonly<Record<string, string>>
  readonly state: unknown
}

export const logFile = (type: string, schemaVersion: number): string => `${type}.v${schemaVersion}.jsonl`
export const expectationFile = (log: string, n: number): string => log.replace(/\.jsonl$/, `.${n}.json`)
export const read = (file: string): string => readFileSync(join(directory, file), 'utf8')

export const goldenFiles = (): string[] =>
  readdirSync(directory)
    .filter((file) => /\.jsonl?$/.test(file))
    .sort()
export const goldenLogs = (): string[] => goldenFiles().filter((file) => file.endsWith('.jsonl'))

/** What was recorded of a log, oldest first. */
export function expectationsOf(log: string): Expectation[] {
  const found: Expectation[] = []
  const files = new Set(goldenFiles())
  for (let n = 1; files.has(expectationFile(log, n)); n++) found.push(JSON.parse(read(expectationFile(log, n))) as Expectation)
  return found
}

const binaryFields = ['salt', 'commit', 'hash', 'inputHash'] as const

export function encodeEnvelope(envelope: StoredEnvelope): string {
  const { feedPosition: _feedPosition, recordedAt: _recordedAt, body, ...rest } = envelope
  const hex = Object.fromEntries(binaryFields.map((name) => [name, rest[name] && toHex(rest[name])]))
  return JSON.stringify({ ...rest, ...hex, body: new TextDecoder('utf-8', { fatal: true }).decode(body) })
}

export function decodeEnvelope(line: string): StoredEnvelope {
  const { body, ...rest } = JSON.parse(line) as Record<string, unknown> & { body: string; position: number; occurredAt: number }
  const bytes = binaryFields.map((name) => [
    name,
    rest[name] === null ? null : Uint8Array.from(Buffer.from(rest[name] as string, 'hex')),
  ])
  return {
    ...rest,
    ...Object.fromEntries(bytes),
    body: new TextEncoder().encode(body),
    feedPosition: rest.position,
    recordedAt: rest.occurredAt,
  } as StoredEnvelope
}

export const decodeLog = (text: string): StoredEnvelope[] => text.trimEnd().split('\n').map(decodeEnvelope)

export function replayLog(envelopes: readonly StoredEnvelope[]): Promise<Replayed<ConversationState>> {
  return replay(conversationReducer, [envelopes], { resolve: resolverOf(readFrom(envelopes), testKey, conversationReducer) })
}

export function expectationOf(state: ConversationState): Expectation {
  const slices = conversationReducer.slices.map(({ name, version }) => {
    const hash = stateHash({ [name]: state[name as keyof ConversationState] }, sha256)
    return [`${name}@${version}`, toHex(hash)] as const
  })
  return {
    stateKey: conversationReducer.stateKey,
    stateHash: toHex(stateHash(state, sha256)),
    slices: Object.fromEntries(slices),
    state: JSON.parse(JSON.stringify(state)),
  }
}

/** Slices at their present version of which nothing was recorded for this log, although one of its actions is for them. */
export function unrecordedSlices(envelopes: readonly StoredEnvelope[], expectations: readonly Expectation[]): string[] {
  const types = new Set(envelopes.map(({ type }) => type))
  return conversationReducer.slices
    .filter((slice) => slice.actions.some(({ type }) => types.has(type)))
    .map(({ name, version }) => `${name}@${version}`)
    .filter((slice) => !expectations.some(({ slices }) => Object.hasOwn(slices, slice)))
}
