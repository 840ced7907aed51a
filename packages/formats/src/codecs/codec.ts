/**
 * Messages of a provider or library, and ours, both ways.
 *
 * Three laws, each with a test:
 * 1. Home again: what was decoded is encoded as it was. As a transcript always; as a request when the provider would take it.
 * 2. Abroad: a request made of any messages whatever is one that the provider would take. What it cost is in `losses`.
 * 3. Nothing is thrown away while decoding: what a codec does not know becomes a `custom` part, media become bytes beside the
 *    messages, and the input is not touched.
 */
import {
  ColloquyError,
  defaultLimits,
  type Ids,
  type Json,
  type JsonObject,
  type Limits,
  type Media,
  type Message,
  ownJson,
  type Sha256,
} from '@colloquy/core'
import { asList, asObject, sameJson } from './fields.ts'
import { type MediaLookup, mediaTaker, putBack } from './inline-media.ts'
import { type Loss, lossList, type Report } from './loss.ts'
import { prepare } from './prepare.ts'

export interface Codec<Foreign> {
  /** `<provider>.<api>`. Frames are kept under it, so it never changes. */
  readonly id: string
  /**
   * A request body, or the bare list of its messages, as JSON: what a client holds in memory (undefined, Date, bytes) goes
   * through `JSON.stringify` first.
   *
   * @throws `json_invalid`, `json_too_deep`, `json_too_wide` for what JSON cannot hold, `import_refused` when there is no list of
   * messages where it should be
   */
  readonly decode: (foreign: unknown, context: DecodeContext) => Decoded
  /** Never throws. */
  readonly encode: (messages: readonly Message[], options?: EncodeOptions) => Encoded<Foreign>
}

export interface DecodeContext {
  /** For messages that bring no id of their own, or one that another has already. */
  readonly ids: Ids
  readonly sha256: Sha256
  readonly limits?: Limits
}

export interface Decoded {
  /** The system prompt is a message too, wherever the format has it. */
  readonly messages: readonly Message[]
  /** The files that were written into the messages, each once. */
  readonly media: readonly Media[]
  /** What else the request says: model, tools, ... Put beside what `encode` gives, it is the request again. */
  readonly settings: JsonObject
}

export interface EncodeOptions {
  /**
   * `request`, the default: something that the provider takes. Calls are paired with results, roles put in order, and so on.
   * `transcript`: the messages as they are, whether or not a provider would take them.
   */
  readonly purpose?: Purpose
  /** Bytes of media by hash. What it does not find becomes a line of text. */
  readonly media?: MediaLookup
}

export type Purpose = 'request' | 'transcript'

export interface Encoded<Foreign> {
  /** The part of a request body that is made of messages. */
  readonly body: Foreign
  readonly losses: readonly Loss[]
}

/** What the functions that write one block are told. */
export interface Writing {
  readonly isRequest: boolean
  readonly report: Report
}

/** How a block is written while decoding, to see whether it comes back. */
export const rehearsal: Writing = { isRequest: false, report: () => {} }

/** Leaves room for the action and message that a decoded value will be inside of. */
const decodeLimits: Limits = { ...defaultLimits, depth: defaultLimits.depth - 12 }

/** What a codec's `decode` works with. */
export interface Reading {
  /** The message with the id that it brings, if no other has it, else with a new one. */
  readonly identified: (id: string | undefined, message: Omit<Message, 'v' | 'id'>) => Message
  /** The value without its files. */
  readonly takeOut: (value: Json) => Json
}

/**
 * Opens a request, or a bare list under `listKey`, hands its list and fields to `read`, and puts the result together.
 * `owned` are the fields that `read` takes care of.
 */
export function decodeRequest(
  codec: string,
  foreign: unknown,
  { ids, sha256, limits = decodeLimits }: DecodeContext,
  listKey: string,
  owned: readonly string[],
  read: (list: readonly Json[], fields: JsonObject, reading: Reading) => Message[],
): Decoded {
  const value = ownJson(foreign, limits)
  const fields = Array.isArray(value) ? { [listKey]: value } : asObject(value)
  const list = asList(fields?.[listKey])
  if (fields === undefined || list === undefined) {
    throw new ColloquyError('import_refused', { source: codec, line: 1, problem: `there is no list of messages at $.${listKey}` })
  }
  const taker = mediaTaker(sha256)
  const taken = new Set<string>()
  const identified: Reading['identified'] = (wanted, message) => {
    const id = wanted === undefined || taken.has(wanted) ? ids() : wanted
    taken.add(id)
    return { v: 1, id, ...message }
  }
  const messages = read(list, fields, { identified, takeOut: taker.takeOut })
  const settings = Object.fromEntries(Object.entries(fields).filter(([key]) => key !== listKey && !owned.includes(key)))
  return { messages, media: taker.all(), settings }
}

/** Runs `write` over messages that were made ready for it, and puts the files back into what it gives. */
export function encodeMessages<Foreign>(
  messages: readonly Message[],
  { purpose = 'request', media = () => undefined }: EncodeOptions,
  write: (messages: readonly Message[], writing: Writing) => JsonObject,
): Encoded<Foreign> {
  const { report, all } = lossList()
  const isRequest = purpose === 'request'
  const body = write(prepare(messages, { isRequest, media, report }), { isRequest, report })
  // Field by field: the names of the fields here are the request's, not a tool's.
  const whole = Object.entries(body).map(([key, value]) => [key, putBack(value, media)])
  return { body: Object.fromEntries(whole) as Foreign, losses: all }
}

/** `message` when it comes back as `foreign`, else undefined. */
export function checked(
  message: Message | undefined,
  foreign: Json,
  encode: (message: Message) => Json | undefined,
): Message | undefined {
  return message !== undefined && sameJson(encode(message), foreign) ? message : undefined
}

const wholeForm = 'whole'

/** A message that the codec cannot read: one custom part, which is the message. */
export function wholeMessage(provider: string, codec: string, foreign: Json): Omit<Message, 'v' | 'id'> {
  return {
    role: 'user',
    parts: [{ type: 'custom', kind: `${provider}.message`, payload: foreign }],
    raw: { [codec]: { form: wholeForm } },
  }
}

/** The foreign message that `wholeMessage` kept; nothing in a request, since nobody knows whether it would be taken. */
export function wholeOf(message: Message, codec: string): { readonly payload: Json } | undefined {
  const [part] = message.parts
  if (asObject(asObject(message.raw)?.[codec])?.form !== wholeForm || part?.type !== 'custom') return undefined
  return { payload: part.payload }
}
