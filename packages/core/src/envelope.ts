/**
 * The envelope: an action as stored, and the hash chain over a conversation.
 *
 *     genesis = H('genesis', tenant, id)
 *     commit  = H('body', salt, body)               body: UTF-8 JSON, the bytes as accepted
 *     hash    = H('envelope', previous hash, header, commit)
 *
 * The chain holds the commitment, not the body: an erased body leaves the chain whole, and the salt keeps a short body from being
 * guessed by its hash. The header is written injectively, with lengths. Never in it: where a row lies (partition, numbers, feed
 * position) and when the database took it.
 */
import type { Action, PositionRange, StampedAction } from './action.ts'
import { ByteWriter } from './byte-writer.ts'
import { equalBytes } from './bytes.ts'
import { ColloquyError } from './errors.ts'
import type { ConversationKey } from './ids.ts'
import { deepFreeze, type JsonObject, jsonDepth } from './json.ts'
import { parseJson } from './parse-json.ts'
import type { Sha256 } from './ports/sha256.ts'
import { canonicalJson } from './state-hash.ts'
import { fromUtf8, toUtf8 } from './utf8.ts'

const headerFormat = 1
/** Hashing does not wait, so one is enough. */
const writer = new ByteWriter()
/** Up to so many bytes (of an input: UTF-16 units) are copied beside their salt and hashed in one call; beyond, the copy costs more than it saves. */
const copiedBytes = 16_384
const saltBytes = 16
const domains = {
  genesis: toUtf8('colloquy/genesis/v1\0'),
  fork: toUtf8('colloquy/fork/v1\0'),
  body: toUtf8('colloquy/body/v1\0'),
  envelope: toUtf8('colloquy/envelope/v1\0'),
  input: toUtf8('colloquy/input/v1\0'),
}

/** What the hash covers beside the body. Not erasable, so ids in it must be pseudonyms. */
export interface EnvelopeHeader extends ConversationKey {
  readonly position: number
  readonly type: string
  readonly schemaVersion: number
  /** Microseconds since 1970; never less than that of the envelope before. */
  readonly occurredAt: number
  readonly commandId: string | null
  /** Place inside the command, from 0; null without a command id. */
  readonly commandIndex: number | null
  readonly actor: string | null
  /** What brought it about, for example `effect:<name>:<position>` or `import:<format>`. */
  readonly cause: string | null
  /** The key that the body is encrypted with; null: it is not. */
  readonly keyId: string | null
}

/** An action as it is stored and hashed. */
export interface Envelope extends EnvelopeHeader {
  /** UTF-8 JSON `{payload, meta?, derivedFrom?}`: the bytes as accepted. */
  readonly body: Uint8Array
  /** 16 bytes; null once the body is erased. */
  readonly salt: Uint8Array | null
  readonly commit: Uint8Array
  readonly hash: Uint8Array
  /** On the first envelope of a command: a salted hash of its input, which tells a retry from a reused id. */
  readonly inputHash: Uint8Array | null
}

/** What replay needs of an envelope. */
export interface StoredAction
  extends Pick<EnvelopeHeader, 'conversationId' | 'position' | 'type' | 'schemaVersion' | 'occurredAt' | 'actor'> {
  /** As in an envelope, or as text where a log has that at hand. */
  readonly body: Uint8Array | string
}

/** An envelope as a log gives it back. */
export interface StoredEnvelope extends Envelope {
  /** Gapless number inside the partition. */
  readonly feedPosition: number
  /** Microseconds since 1970, by the log's own clock. For display: nothing orders by it. */
  readonly recordedAt: number
}

/** A stored envelope with the action inside. */
export interface OpenedEnvelope extends StoredEnvelope {
  readonly action: StampedAction
}

/** What the first envelope of a conversation follows. */
export function genesisHash(key: ConversationKey, sha256: Sha256): Uint8Array {
  return sha256(writer.begin().raw(domains.genesis).text(key.tenant).text(key.conversationId).written())
}

/** What the first own envelope of a fork follows. */
export function forkHash(parentHash: Uint8Array, position: number, key: ConversationKey, sha256: Sha256): Uint8Array {
  const { tenant, conversationId } = key
  return sha256(writer.begin().raw(domains.fork).raw(parentHash).i64(position).text(tenant).text(conversationId).written())
}

/** @throws `envelope_too_large` */
export function encodeBody(action: Action, limitBytes: number): Uint8Array {
  const { payload, meta, derivedFrom } = action
  const body = toUtf8(JSON.stringify({ payload, meta, derivedFrom }))
  if (body.length > limitBytes) {
    const path = pathOfMost({ payload, meta, derivedFrom }, body.length / 2)
    throw new ColloquyError('envelope_too_large', { type: action.type, path, bytes: body.length, limitBytes })
  }
  return body
}

/** Where the innermost value stands whose JSON has more than so many bytes; of half of all bytes there is one at most on each level. */
function pathOfMost(value: unknown, bytes: number): string {
  if (typeof value !== 'object' || value === null) return '$'
  for (const [key, field] of Object.entries(value)) {
    const text = JSON.stringify(field) as string | undefined
    if (text === undefined || toUtf8(text).length <= bytes) continue
    return `$${Array.isArray(value) ? `[${key}]` : `.${key}`}${pathOfMost(field, bytes).slice(1)}`
  }
  return '$'
}

/** Salt, commitment and hash for a header and a body. @throws `id_invalid` for a header that the hash could not tell from another */
export function stamp(
  header: EnvelopeHeader,
  body: Uint8Array,
  chain: { readonly previousHash: Uint8Array; readonly salt: Uint8Array; readonly input?: string | undefined },
  sha256: Sha256,
): Envelope {
  const { previousHash, salt, input } = chain
  const problem = headerProblem(header) ?? saltProblem(salt)
  if (problem !== undefined) throw new ColloquyError('id_invalid', { kind: 'envelope header', problem })
  const commit = commitment(salt, body, sha256)
  return {
    ...header,
    body,
    salt,
    commit,
    hash: envelopeHash(header, previousHash, commit, sha256),
    inputHash: input === undefined ? null : inputHash(salt, input, sha256),
  }
}

/** Why the hash of this header would be that of another one too: only whole numbers and well-formed text are written injectively. */
function headerProblem(header: EnvelopeHeader): string | undefined {
  const { position, schemaVersion, occurredAt, commandIndex } = header
  // Each by its name: a loop over names reads a header, which every append has, many times slower.
  return (
    numberProblem('position', position, 1, Number.MAX_SAFE_INTEGER) ??
    numberProblem('schemaVersion', schemaVersion, 1, 0xffffffff) ??
    numberProblem('occurredAt', occurredAt, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) ??
    (commandIndex === null ? undefined : numberProblem('commandIndex', commandIndex, 0, Number.MAX_SAFE_INTEGER)) ??
    textProblem('tenant', header.tenant) ??
    textProblem('conversationId', header.conversationId) ??
    textProblem('type', header.type) ??
    textProblem('commandId', header.commandId) ??
    textProblem('actor', header.actor) ??
    textProblem('cause', header.cause) ??
    textProblem('keyId', header.keyId)
  )
}

function numberProblem(name: string, value: number, least: number, most: number): string | undefined {
  return Number.isInteger(value) && value >= least && value <= most ? undefined : `${name} is ${value}`
}

function textProblem(name: string, value: string | null): string | undefined {
  return value === null || value.isWellFormed() ? undefined : `${name} holds half of a surrogate pair`
}

/** Of another length, bytes could move between salt and body without changing the commitment. */
function saltProblem(salt: Uint8Array): string | undefined {
  return salt.length === saltBytes ? undefined : `the salt has ${salt.length} bytes, not ${saltBytes}`
}

function commitment(salt: Uint8Array, body: Uint8Array, sha256: Sha256): Uint8Array {
  if (body.length > copiedBytes) return sha256(domains.body, salt, body)
  return sha256(writer.begin().raw(domains.body).raw(salt).raw(body).written())
}

function envelopeHash(header: EnvelopeHeader, previousHash: Uint8Array, commit: Uint8Array, sha256: Sha256): Uint8Array {
  writer
    .begin()
    .raw(domains.envelope)
    .raw(previousHash)
    .u8(headerFormat)
    .text(header.tenant)
    .text(header.conversationId)
    .i64(header.position)
    .text(header.type)
    .u32(header.schemaVersion)
    .i64(header.occurredAt)
    .optional(header.commandId)
    .i64(header.commandIndex ?? -1)
    .optional(header.actor)
    .optional(header.cause)
    .optional(header.keyId)
    .raw(commit)
  return sha256(writer.written())
}

/** Actions as a caller dispatched them, in one canonical text: two inputs are the same when their texts are. */
export function canonicalInput(actions: readonly Action[]): string {
  return canonicalJson(
    actions.map(({ type, payload, meta, derivedFrom }) => ({
      type,
      payload,
      ...(meta && { meta }),
      ...(derivedFrom && { derivedFrom }),
    })),
  )
}

function inputHash(salt: Uint8Array, input: string, sha256: Sha256): Uint8Array {
  if (input.length > copiedBytes) return sha256(domains.input, salt, toUtf8(input))
  return sha256(writer.begin().raw(domains.input).raw(salt).utf8(input).written())
}

/** Whether `input` is what the command of this first envelope was given. An erased command can no longer tell: it matches. */
export function isSameInput(first: Pick<Envelope, 'inputHash' | 'salt'>, input: string, sha256: Sha256): boolean {
  if (first.inputHash === null || first.salt === null) return true
  return equalBytes(first.inputHash, inputHash(first.salt, input, sha256))
}

/** What is wrong with an envelope, when it should follow `previousHash`. Undefined: nothing. */
export function envelopeProblem(
  envelope: Envelope,
  expected: { readonly position: number; readonly previousHash: Uint8Array },
  sha256: Sha256,
): string | undefined {
  if (envelope.position !== expected.position) return `the envelope has position ${envelope.position}, not ${expected.position}`
  const malformed = headerProblem(envelope) ?? (envelope.salt === null ? undefined : saltProblem(envelope.salt))
  if (malformed !== undefined) return malformed
  if (envelope.salt !== null && !equalBytes(envelope.commit, commitment(envelope.salt, envelope.body, sha256))) {
    return 'the body is not the one that was committed to'
  }
  if (!equalBytes(envelope.hash, envelopeHash(envelope, expected.previousHash, envelope.commit, sha256))) {
    return 'the hash does not follow from the header, the commitment and the envelope before'
  }
  return undefined
}

/** The action inside, frozen, in the schema version it was stored in. @throws `log_corrupt` for a body that is not our JSON */
export function openEnvelope(envelope: StoredEnvelope): OpenedEnvelope {
  return Object.freeze({ ...envelope, action: deepFreeze(actionOf(envelope)) })
}

/** Deeper than any action that was dispatched, and as deep as what freezes, hashes and compares actions can go without running out of stack. */
export const deepestBody = 1_000

/** Only somebody who writes into the database can have put such a body there. Few have brackets enough to be looked at closely. */
function depthProblem(text: string): string | undefined {
  if (text.length <= 2 * deepestBody || count(text, '{') + count(text, '[') <= deepestBody) return undefined
  const depth = jsonDepth(text)
  return depth > deepestBody ? `the body is nested ${depth} levels deep, more than ${deepestBody}` : undefined
}

function count(text: string, character: string): number {
  let found = 0
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + 1)) found += 1
  return found
}

/** The action inside, owned by the caller. @throws `log_corrupt` */
export function actionOf(envelope: StoredAction): StampedAction {
  const { conversationId, type, position, occurredAt, actor, body } = envelope
  let text: string
  let content: { payload?: JsonObject; meta?: JsonObject; derivedFrom?: readonly PositionRange[] } | null
  try {
    text = typeof body === 'string' ? body : fromUtf8(body)
  } catch (cause) {
    throw new ColloquyError('log_corrupt', { conversationId, position, problem: 'the body is not JSON' }, { cause })
  }
  const problem = depthProblem(text)
  if (problem !== undefined) throw new ColloquyError('log_corrupt', { conversationId, position, problem })
  try {
    content = parseJson(text) as typeof content
  } catch (cause) {
    throw new ColloquyError('log_corrupt', { conversationId, position, problem: 'the body is not JSON' }, { cause })
  }
  const { payload, meta, derivedFrom } = content ?? {}
  if (payload === undefined)
    throw new ColloquyError('log_corrupt', { conversationId, position, problem: 'the body has no payload' })
  // Named one by one: a body is bytes that anyone with the log wrote, and `resolved` is ours to fill.
  if (meta === undefined && derivedFrom === undefined) return { type, payload, position, occurredAt, actor }
  return { type, payload, ...(meta && { meta }), ...(derivedFrom && { derivedFrom }), position, occurredAt, actor }
}
