import {
  type ConversationState,
  type JsonObject,
  type Manifest,
  type ManifestEntry,
  type ManifestStep,
  type Media,
  modelCalled,
  type PositionRange,
  plainMessage,
  toHex,
  toUtf8,
  type WorkingMessage,
} from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { countMessage, countRequest } from '../tokens/count-message.ts'
import { counterName, type TokenCounter } from '../tokens/token-counter.ts'
import { type Content, contentOf, contentOfMessage, mediaOf } from './content.ts'
import type { MediaLookup, ModelRequest, RequestEncoder } from './model-request.ts'

export interface CallToDescribe {
  readonly callId: string
  /** `messages` may be those of the working set as they are: what a state adds to a message is not sent. */
  readonly request: ModelRequest
  readonly encoder: RequestEncoder
  readonly model?: { readonly provider: string; readonly id: string }
  /** Counts what no message says of itself. Without one the manifest has bytes only. */
  readonly counter?: TokenCounter
  readonly media?: MediaLookup
}

export interface DescribedRequest {
  /** To be stored before the request leaves. */
  readonly action: ReturnType<typeof modelCalled>
  readonly body: JsonObject
  /** Exactly what `JSON.stringify(body)` writes, in UTF-8: what goes over the wire. */
  readonly bytes: Uint8Array
  /** What the log must keep before the action is appended: content that is no message of the working set, and was not there already. */
  readonly kept: readonly Media[]
}

/**
 * A request as the bytes that are sent and the manifest that proves them. Pure. The manifest differs from the last one of `state`, and
 * is refused (`manifest_stale`) when another one came between; `recordModelCall` describes it anew then.
 *
 * The prompt of a provider is tools, then system prompt, then messages; `unchanged` counts its beginning up to the first thing that the
 * call before had not there (Anthropic, "Prompt caching": the cache holds prefixes in that order). Another model or encoder shares
 * nothing; where no model is named, another config neither.
 */
export function describeRequest(state: Pick<ConversationState, 'messages' | 'manifest'>, call: CallToDescribe): DescribedRequest {
  const { callId, encoder, model, counter } = call
  const last = state.manifest.last
  const request = { ...call.request, messages: call.request.messages.map(plainMessage) }
  // A field that is undefined is read as one that is not there, and is not written.
  const body = encoder.encode(request, call.media) as JsonObject
  const bytes = toUtf8(JSON.stringify(body))

  const system = request.system === null ? null : contentOf(request.system)
  const tools = request.tools.map(contentOf)
  const config = contentOf(request.config)
  const messages = call.request.messages.map(contentOfMessage)
  const entries = entriesOf(state.messages, call.request.messages, messages)
  const sameTools = last !== null && isSameList(last.tools, tools.map(hashOf))

  const isSameReader =
    last !== null &&
    last.encoder === encoder.id &&
    (model === undefined || last.model === null
      ? last.config === config.hash
      : last.model.provider === model.provider && last.model.id === model.id)
  /** What a message says of itself goes before the counter: it may be the provider's own count. */
  const tokensOf = (counter: TokenCounter, prefix: ModelRequest): number =>
    prefix.messages.reduce(
      (total, message) => total + ((message as Partial<WorkingMessage>).tokenCount ?? countMessage(counter, message)),
      countRequest(counter, { ...prefix, messages: [] }),
    )
  const size = (toolCount: number, hasSystem: boolean, messageCount: number) => ({
    messages: messageCount,
    bytes: sum([...tools.slice(0, toolCount), ...(hasSystem && system ? [system] : []), ...messages.slice(0, messageCount)]),
    ...(counter && {
      tokens: tokensOf(counter, {
        config: request.config,
        tools: request.tools.slice(0, toolCount),
        system: hasSystem ? request.system : null,
        messages: call.request.messages.slice(0, messageCount),
      }),
    }),
  })
  const toolsKept = isSameReader ? commonLength(last.tools, tools.map(hashOf)) : 0
  const systemKept = isSameReader && sameTools && last.system === (system?.hash ?? null)
  const messagesKept = systemKept ? commonLength(last.messages.slice().map(hashOf), messages.map(hashOf)) : 0

  return {
    action: modelCalled(
      {
        callId,
        ...(model && { model: { provider: model.provider, id: model.id } }),
        encoder: encoder.id,
        base: last?.position ?? null,
        system: system?.hash ?? null,
        ...(!sameTools && { tools: tools.map(hashOf) }),
        config: config.hash,
        messages: stepsFrom(last?.messages.slice() ?? [], entries),
        request: { hash: toHex(sha256(bytes)), bytes: bytes.length },
        content: size(tools.length, true, messages.length),
        unchanged: size(toolsKept, systemKept, messagesKept),
        ...(counter && { counter: counterName(counter) }),
      },
      { derivedFrom: derivedFrom(last, entries) },
    ),
    body,
    bytes,
    kept: keptFor(request, entries, last),
  }
}

/** The share of what the model reads that the call before was given too, 0 to 1, in bytes. */
export function prefixShare({ content, unchanged }: Pick<Manifest, 'content' | 'unchanged'>): number {
  return content.bytes === 0 ? 0 : unchanged.bytes / content.bytes
}

const hashOf = ({ hash }: { readonly hash: string }): string => hash
const sum = (contents: readonly Content[]): number => contents.reduce((total, { bytes }) => total + bytes, 0)

function commonLength(a: readonly string[], b: readonly string[]): number {
  let length = 0
  while (length < a.length && length < b.length && a[length] === b[length]) length++
  return length
}

const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && commonLength(a, b) === a.length

/** A message that is not in the working set word for word is kept as media; it is made of the one whose id or position it has. */
function entriesOf(
  working: ConversationState['messages'],
  messages: ModelRequest['messages'],
  contents: readonly Content[],
): ManifestEntry[] {
  const positions = new Map<string, number>()
  const ids = new Map<string, number>()
  for (const message of working) {
    positions.set(contentOfMessage(message).hash, message.position)
    ids.set(message.id, message.position)
  }
  return contents.map(({ hash }, index) => {
    const position = positions.get(hash)
    return position !== undefined
      ? { hash, position }
      : { hash, position: ids.get(messages[index]?.id ?? '') ?? null, kept: true as const }
  })
}

const isSameEntry = (a: ManifestEntry, b: ManifestEntry): boolean =>
  a.hash === b.hash && a.position === b.position && a.kept === b.kept

/** Runs of the base where it has the same, entries where it has not: as many as there were changes, however long the list. */
function stepsFrom(base: readonly ManifestEntry[], entries: readonly ManifestEntry[]): ManifestStep[] {
  const steps: ManifestStep[] = []
  const places = new Map<string, number>()
  for (const [index, { hash }] of base.entries()) if (!places.has(hash)) places.set(hash, index)
  for (let at = 0; at < entries.length; ) {
    const entry = entries[at] as ManifestEntry
    // The same place first: that is where a working set that only grew has everything.
    const same = base[at]
    const from = same && isSameEntry(same, entry) ? at : (places.get(entry.hash) ?? -1)
    let count = 0
    while (from >= 0 && from + count < base.length && at + count < entries.length) {
      if (!isSameEntry(base[from + count] as ManifestEntry, entries[at + count] as ManifestEntry)) break
      count++
    }
    steps.push(count > 0 ? { keepFrom: from, keepCount: count } : entry)
    at += Math.max(1, count)
  }
  return steps
}

/** Its base, and the messages that the base has not. */
function derivedFrom(last: Manifest | null, entries: readonly ManifestEntry[]): PositionRange[] {
  const before = new Set(last?.messages.slice().map(({ position }) => position))
  const named = entries.flatMap(({ position }) => (position === null || before.has(position) ? [] : [position]))
  const positions = [...new Set([...(last ? [last.position] : []), ...named])].sort((a, b) => a - b)
  const ranges: [number, number][] = []
  for (const position of positions) {
    const range = ranges.at(-1)
    if (range?.[1] === position - 1) range[1] = position
    else ranges.push([position, position])
  }
  return ranges
}

function keptFor(request: ModelRequest, entries: readonly ManifestEntry[], last: Manifest | null): Media[] {
  const stored = new Set(last ? [last.system, last.config, ...last.tools] : [])
  for (const { hash, kept } of last?.messages ?? []) if (kept) stored.add(hash)
  const contents: unknown[] = [
    ...(request.system === null ? [] : [request.system]),
    ...request.tools,
    request.config,
    ...request.messages.filter((_, index) => entries[index]?.kept),
  ]
  const media = new Map(contents.map(mediaOf).map((one) => [one.hash, one]))
  return [...media.values()].filter(({ hash }) => !stored.has(hash))
}
