/** Conversations that nobody would write: calls without results and the other way round, ids twice, foreign parts anywhere. */
import type { Json, Message, Part } from '@colloquy/core'
import { toHex } from '@colloquy/core'
import fc from 'fast-check'
import { sha256 } from '../support/core-log.ts'

const picture = Uint8Array.of(0x89, 0x50, 0x4e, 0x47)
const known = toHex(sha256(picture))

/** Finds one file, and not the others that the conversations name. */
export const lookup = (hash: string): Uint8Array | undefined => (hash === known ? picture : undefined)

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 2, arbitrary: fc.constantFrom('', ' ', '\n', 'words ', '\u0000', '\ud800', 'a\udc00b', '{"a":1}', '__proto__') },
)
const callId = fc.constantFrom('a', 'b', 'c', 'read_file:0', 'call 1', 'x'.repeat(150), 'ä', '\ud800')
const toolName = fc.constantFrom('search', 'show_me.get', 'mit Leerzeichen', 'n'.repeat(200), '')
const origin = fc.constantFrom(
  { provider: 'anthropic', api: 'messages' },
  { provider: 'openai', api: 'responses' },
  { provider: 'openai', api: 'chat' },
  { provider: 'gemini', api: 'contents' },
  { provider: 'ai-sdk', api: 'model' },
  { provider: 'other' },
)

const textPart = fc.record(
  {
    type: fc.constant('text' as const),
    text,
    citations: fc.array(
      fc.record({
        kind: fc.constantFrom('url_citation', 'web_search_result_location'),
        raw: fc.constant({ type: 'char_location' }),
      }),
      { maxLength: 2 },
    ),
    cacheHint: fc.constantFrom('ephemeral', 'ephemeral:1h'),
  },
  { requiredKeys: ['type', 'text'] },
)

const media = fc.record(
  {
    type: fc.constant('media' as const),
    kind: fc.constantFrom('image', 'audio', 'video', 'document', 'file'),
    mediaType: fc.constantFrom(
      'image/png',
      'image/tiff',
      'audio/wav',
      'audio/ogg',
      'video/mp4',
      'application/pdf',
      'text/plain',
      'application/zip',
    ),
    source: fc.oneof(
      fc.constantFrom(known, 'f'.repeat(64)).map((hash) => ({ kind: 'hash' as const, hash, bytes: 4 })),
      fc.constant({ kind: 'url' as const, url: 'https://example.org/a' }),
      fc
        .constantFrom('anthropic', 'openai', 'gemini')
        .map((provider) => ({ kind: 'providerFile' as const, provider, fileId: 'file_1' })),
      text.map((words) => ({ kind: 'text' as const, text: words })),
    ),
    filename: fc.constantFrom('a.pdf', 'b'),
  },
  { requiredKeys: ['type', 'kind', 'mediaType', 'source'] },
)

const custom = fc.oneof(
  fc.constantFrom(
    { type: 'custom' as const, kind: 'anthropic.container_upload', payload: { type: 'container_upload', file_id: 'f' } },
    { type: 'custom' as const, kind: 'colloquy.redacted', payload: { was: 'text' } },
    { type: 'custom' as const, kind: 'other.thing', payload: { type: 'thing', n: 1 } },
    { type: 'custom' as const, kind: 'other.file', payload: { type: 'thing', data: { $media: 'f'.repeat(64), bytes: 4 } } },
  ),
  fc
    .constantFrom<Json>(
      { rows: [1, 'a'] },
      [1, 2],
      'text',
      '',
      5,
      null,
      true,
      {},
      { error: 'e' },
      { output: 'o' },
      { $media: 'x' },
    )
    .map((payload) => ({ type: 'custom' as const, kind: 'colloquy.json', payload })),
)

const reasoning = fc.record(
  {
    type: fc.constant('reasoning' as const),
    redacted: fc.boolean(),
    text,
    summary: fc.array(text, { maxLength: 2 }),
    signature: fc.constantFrom('sig', ''),
    encrypted: fc.constantFrom('enc', ''),
    origin,
  },
  { requiredKeys: ['type', 'redacted'] },
)

const toolCall = fc.record(
  {
    type: fc.constant('tool_call' as const),
    callId,
    name: toolName,
    args: fc.constantFrom(
      { raw: '{"a":1}', json: { a: 1 }, valid: true },
      { raw: '', valid: false },
      { raw: '{"cut', valid: false },
      { raw: '[1]', json: [1], valid: true },
      { raw: 'null', json: null, valid: true },
    ),
    executor: fc.oneof(
      { weight: 6, arbitrary: fc.constant({ kind: 'client' as const }) },
      { weight: 1, arbitrary: fc.constantFrom({ kind: 'provider' as const }, { kind: 'mcp' as const, server: 's' }) },
    ),
    batchId: fc.constant('b1'),
  },
  { requiredKeys: ['type', 'callId', 'name', 'args', 'executor'] },
)

const resultPart = fc.oneof({ weight: 4, arbitrary: textPart }, media, custom)
const toolResult = fc.record(
  {
    type: fc.constant('tool_result' as const),
    callId,
    callMessageId: fc.constantFrom('m0', 'm1', 'm2'),
    status: fc.constantFrom('ok', 'error', 'denied', 'interrupted', 'unknown'),
    content: fc.array(resultPart, { maxLength: 3 }),
  },
  { requiredKeys: ['type', 'callId', 'status', 'content'] },
)

/** A server tool of Anthropic with its result, as its API writes them. */
const serverUse = fc.nat(9).map((n): Part[] => {
  const anthropic = { provider: 'anthropic', api: 'messages' }
  const id = `srvtoolu_${n}`
  const payload = { type: 'web_search_tool_result', tool_use_id: id, content: [] }
  return [
    {
      type: 'tool_call',
      callId: id,
      name: 'web_search',
      args: { raw: '{}', json: {}, valid: true },
      executor: { kind: 'provider' },
      origin: anthropic,
    },
    {
      type: 'tool_result',
      callId: id,
      status: 'ok',
      content: [{ type: 'custom', kind: 'anthropic.web_search_tool_result', payload }],
      origin: anthropic,
    },
  ]
})

const approval = fc.record(
  {
    type: fc.constant('approval' as const),
    approvalId: fc.constantFrom('p1', 'p2'),
    callId,
    decision: fc.constantFrom('approved', 'denied'),
    reason: text,
  },
  { requiredKeys: ['type', 'approvalId', 'callId'] },
)

const compaction = fc.record(
  { type: fc.constant('compaction' as const), content: text, opaque: fc.constant('opaque'), origin },
  { requiredKeys: ['type'] },
)

const rare: fc.Arbitrary<Part> = fc.oneof(
  approval,
  compaction,
  text.map((words) => ({ type: 'refusal' as const, text: words })),
  fc.constantFrom(
    { type: 'citation_source' as const, sourceId: 's', url: 'https://example.org' },
    { type: 'citation_source' as const, sourceId: 's' },
    { type: 'tool_change' as const, change: 'add' as const, ref: 'x' },
    { type: 'control' as const, kind: 'ai-sdk.step-start' },
    { type: 'control' as const, kind: 'other' },
  ),
)

const part = fc.oneof(
  { weight: 4, arbitrary: textPart },
  { weight: 5, arbitrary: toolCall },
  { weight: 5, arbitrary: toolResult },
  { weight: 2, arbitrary: reasoning },
  { weight: 1, arbitrary: media },
  { weight: 1, arbitrary: custom },
  { weight: 1, arbitrary: rare },
) as fc.Arbitrary<Part>

const parts = fc
  .array(fc.oneof({ weight: 12, arbitrary: part.map((one) => [one]) }, { weight: 1, arbitrary: serverUse }), { maxLength: 5 })
  .map((lists) => lists.flat())

const message = fc.record(
  {
    role: fc.constantFrom('assistant', 'assistant', 'assistant', 'user', 'user', 'tool', 'tool', 'system', 'developer'),
    parts,
    author: fc.constantFrom({ name: 'ann' }, { name: 'two words' }, { id: 'u1' }),
  },
  { requiredKeys: ['role', 'parts'] },
)

export const conversations: fc.Arbitrary<Message[]> = fc
  .array(message, { maxLength: 8 })
  .map((list) => list.map((each, i) => ({ v: 1, id: `m${i}`, ...each })))
