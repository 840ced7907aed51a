/**
 * The message model: one for all providers. A part that we do not know is kept as `custom`; a part that came from a provider may
 * carry it verbatim in `raw`, so that it goes back byte for byte. Media are named by hash, url or provider file, never inlined.
 */
import { z } from 'zod'
import { positionRanges } from '../action.ts'
import type { Json, JsonObject } from '../json.ts'

/** Any JSON. It was checked and frozen by `ownJson` before a schema sees it. */
export const anyJson = z.custom<Json>((value) => value !== undefined, 'expected JSON')
export const anyJsonObject = z.custom<JsonObject>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'expected an object',
)
export const id = z.string().min(1).max(200)
export const tokenCount = z.int().nonnegative()

const partBase = {
  id: id.optional(),
  /** Who made the part, when that matters for sending it back. */
  origin: z.strictObject({ provider: z.string(), api: z.string().optional() }).optional(),
  providerMetadata: anyJsonObject.optional(),
  /** The provider's own form of this part, verbatim. */
  raw: anyJson.optional(),
  cacheHint: z.string().optional(),
}

const citation = z.strictObject({
  kind: z.string(),
  text: z.string().optional(),
  url: z.string().optional(),
  title: z.string().optional(),
  start: z.int().nonnegative().optional(),
  end: z.int().nonnegative().optional(),
  raw: anyJson.optional(),
})

const mediaSource = z.discriminatedUnion('kind', [
  /** SHA-256 of the bytes in the media table, in hex. */
  z.strictObject({ kind: z.literal('hash'), hash: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.int().nonnegative() }),
  z.strictObject({ kind: z.literal('url'), url: z.string() }),
  z.strictObject({ kind: z.literal('providerFile'), provider: z.string(), fileId: z.string() }),
  z.strictObject({ kind: z.literal('text'), text: z.string() }),
])

const mediaPart = z.strictObject({
  ...partBase,
  type: z.literal('media'),
  kind: z.enum(['image', 'audio', 'video', 'document', 'file']),
  mediaType: z.string(),
  source: mediaSource,
  filename: z.string().optional(),
})

const textPart = z.strictObject({
  ...partBase,
  type: z.literal('text'),
  text: z.string(),
  citations: z.array(citation).optional(),
})

const customPart = z.strictObject({
  ...partBase,
  type: z.literal('custom'),
  /** `<provider>.<type>`, as the provider names it. */
  kind: z.string(),
  payload: anyJson,
})

/** What a tool result is made of: results do not nest calls. */
const resultPart = z.discriminatedUnion('type', [textPart, mediaPart, customPart])

/** The argument text as the model wrote it, and the value it parses to when it does. */
export const toolArguments = z.strictObject({ raw: z.string(), json: anyJson.optional(), valid: z.boolean() })

export const toolResultPart = z.strictObject({
  ...partBase,
  type: z.literal('tool_result'),
  callId: id,
  /** The message that made the call, when the source says or implies it. */
  callMessageId: id.optional(),
  status: z.enum(['ok', 'error', 'denied', 'interrupted', 'unknown']),
  content: z.array(resultPart),
  artifactRef: z.string().optional(),
})

/** What a part must look like. */
export const part = z.discriminatedUnion('type', [
  textPart,
  mediaPart,
  customPart,
  z.strictObject({
    ...partBase,
    type: z.literal('reasoning'),
    text: z.string().optional(),
    summary: z.array(z.string()).optional(),
    /** Signed and encrypted reasoning is opaque, immutable, and travels with its batch. */
    signature: z.string().optional(),
    encrypted: z.string().optional(),
    redacted: z.boolean(),
  }),
  z.strictObject({
    ...partBase,
    type: z.literal('tool_call'),
    /** Unique inside its message only: real transcripts repeat ids. */
    callId: id,
    name: z.string(),
    args: toolArguments,
    executor: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('client') }),
      z.strictObject({ kind: z.literal('provider') }),
      z.strictObject({ kind: z.literal('mcp'), server: z.string() }),
    ]),
    /** Calls of one answer; they are kept or left out together. */
    batchId: z.string().optional(),
    caller: anyJson.optional(),
  }),
  toolResultPart,
  z.strictObject({
    ...partBase,
    type: z.literal('approval'),
    approvalId: id,
    callId: id,
    decision: z.enum(['approved', 'denied']).optional(),
    reason: z.string().optional(),
    signature: z.string().optional(),
  }),
  z.strictObject({ ...partBase, type: z.literal('refusal'), text: z.string() }),
  z.strictObject({
    ...partBase,
    type: z.literal('citation_source'),
    sourceId: z.string(),
    url: z.string().optional(),
    title: z.string().optional(),
  }),
  z.strictObject({
    ...partBase,
    type: z.literal('compaction'),
    /** What stands for the covered messages: readable text, or a provider's opaque block. */
    content: z.string().optional(),
    opaque: z.string().optional(),
    covers: positionRanges.optional(),
  }),
  z.strictObject({ ...partBase, type: z.literal('tool_change'), change: z.enum(['add', 'remove']), ref: anyJson }),
  z.strictObject({ ...partBase, type: z.literal('control'), kind: z.string(), payload: anyJson.optional() }),
])
/** A piece of a message: text, media, a tool call, its result ... */
export type Part = z.infer<typeof part>

/** Tokens as the provider counted them. `input` excludes what was read from or written to its cache. */
export const usage = z.strictObject({
  input: tokenCount,
  output: tokenCount,
  cacheRead: tokenCount,
  cacheWrite: z.strictObject({ ttl5m: tokenCount, ttl1h: tokenCount, other: tokenCount }),
  /** Part of `output` where the provider says it. */
  reasoning: tokenCount,
  serverTools: z.record(z.string(), z.int().nonnegative()).optional(),
  /** Millionths of a US dollar. */
  costMicros: z.int().nonnegative().optional(),
  raw: anyJson.optional(),
})
/** What a call of a model took, as the provider counted it. */
export type Usage = z.infer<typeof usage>

/** What several calls took together; the cost over those that say it. */
export function addUsage(a: Usage, b: Usage): Usage {
  const costMicros =
    a.costMicros === undefined && b.costMicros === undefined ? undefined : (a.costMicros ?? 0) + (b.costMicros ?? 0)
  return {
    input: a.input + b.input,
    output: a.output + b.output,
    cacheRead: a.cacheRead + b.cacheRead,
    cacheWrite: {
      ttl5m: a.cacheWrite.ttl5m + b.cacheWrite.ttl5m,
      ttl1h: a.cacheWrite.ttl1h + b.cacheWrite.ttl1h,
      other: a.cacheWrite.other + b.cacheWrite.other,
    },
    reasoning: a.reasoning + b.reasoning,
    ...(costMicros !== undefined && { costMicros }),
  }
}

const messageModel = z.strictObject({
  provider: z.string(),
  api: z.string().optional(),
  id: z.string(),
  responseId: z.string().optional(),
  stop: z
    .strictObject({
      unified: z.enum([
        'end',
        'length',
        'stop_sequence',
        'tool_calls',
        'pause',
        'refusal',
        'content_filter',
        'compaction',
        'error',
        'interrupted',
        'other',
      ]),
      raw: z.string().nullable(),
    })
    .optional(),
  usage: usage.optional(),
})

const roles = ['system', 'developer', 'user', 'assistant', 'tool'] as const

/** What a message must look like. */
export const message = z.strictObject({
  v: z.literal(1),
  id,
  role: z.enum(roles),
  parts: z.array(part),
  author: z.strictObject({ id: id.optional(), name: z.string().optional() }).optional(),
  /** Microseconds since 1970, when the source says it; the envelope's `occurredAt` is ours. */
  createdAt: z.int().optional(),
  model: messageModel.optional(),
  meta: anyJsonObject.optional(),
  raw: anyJson.optional(),
})
/** A message in the form that all of Colloquy works with, whoever said it and whichever API it came from. */
export type Message = z.infer<typeof message>

/** A message as the model is shown it, with the position of the action that brought it. */
export type WorkingMessage = Message & {
  readonly position: number
  readonly tokenCount: number
  readonly redacted?: true
  /** No compaction may cover it. */
  readonly pinned?: true
  /** Of a summary: where the first message that it stands for belongs. Other messages belong at their position. */
  readonly standsAt?: number
}

/** A message as it was added, without what the working set says of it. */
export function plainMessage(of: Message | WorkingMessage): Message {
  const {
    position: _position,
    tokenCount: _tokenCount,
    redacted: _redacted,
    pinned: _pinned,
    standsAt: _standsAt,
    ...plain
  } = of as WorkingMessage
  return plain
}

/** A message of one text part: what most messages are. */
export function textMessage(messageId: string, role: Message['role'], text: string): Message {
  return { v: 1, id: messageId, role, parts: [{ type: 'text', text }] }
}
