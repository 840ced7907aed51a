/**
 * What a model saw: a request made again from the log, and proved.
 *
 * The state is replayed to the position of the manifest, so summaries, undone compactions and redactions stand as they stood. Each
 * content is looked up by its hash, the encoder that wrote the request writes it again, and the bytes must have the hash that was
 * stored before they were sent.
 */
import {
  actionOf,
  ColloquyError,
  type ConversationKey,
  type ConversationState,
  type EventLog,
  fromUtf8,
  type Json,
  type JsonObject,
  type Manifest,
  type ManifestEntry,
  type Message,
  messageRedacted,
  modelCalled,
  parseJson,
  plainMessage,
  type StoredAction,
  toHex,
  toUtf8,
  type WorkingMessage,
} from '@colloquy/core'
import { type Engine, sha256, verifyChain } from '@colloquy/engine'
import { contentOfMessage } from './content.ts'
import type { ModelRequest, RequestEncoder, ToolSchema } from './model-request.ts'
import { loadMedia } from './record-model-call.ts'

/** Something that is not as the manifest says. */
export interface InputProblem {
  /** `system`, `tools[2]`, `config`, `messages[4]`, `request`, or `log` for the hash chain. */
  readonly what: string
  /** Of the action that brought it, or where the chain breaks. */
  readonly position: number | null
  /** `changed`: it is not what was stored. `differs`: it is, and today's code makes something else of it. */
  readonly reason: 'erased' | 'missing' | 'changed' | 'differs'
  readonly text: string
}

export interface ModelInput {
  readonly conversationId: string
  readonly manifest: Manifest
  /**
   * - `proved`: the chain is whole, and the bytes made again have the hash that was stored before they were sent.
   * - `log_changed`: what is stored is not what was appended; the positions are in `problems`.
   * - `code_changed`: the log is whole, but reducers or encoder make other content of it than they did.
   * - `erased`: some content was erased, or is no longer kept; the rest is what it was.
   * - `encoder_unknown`: all content is there and proved, but not the code that wrote the request.
   */
  readonly verdict: 'proved' | 'log_changed' | 'code_changed' | 'erased' | 'encoder_unknown'
  readonly problems: readonly InputProblem[]
  readonly system: string | null
  /** In order; null for what is not there any more. */
  readonly tools: readonly (ToolSchema | null)[]
  readonly config: JsonObject | null
  readonly messages: readonly (Message | null)[]
  /** The exact body, in UTF-8; null unless the verdict is `proved`. */
  readonly bytes: Uint8Array | null
  /** Messages that were shown to the model and redacted since: they must not be shown further. */
  readonly redactedSince: readonly { readonly messageId: string; readonly position: number }[]
}

/**
 * What the model was sent in a call: by call id, or by position the last call at or before it.
 * @throws `conversation_not_found`, `position_not_found`, `model_call_not_found`, `log_corrupt`
 */
export async function modelInput<State extends ConversationState>(
  engine: Pick<Engine<State>, 'log' | 'replay' | 'tenant'>,
  conversationId: string,
  call: string | number,
  options: { readonly encoders: readonly RequestEncoder[] },
): Promise<ModelInput> {
  const { log } = engine
  const key = { tenant: engine.tenant, conversationId }
  const { state, manifest } = await stateAtCall(engine, key, call)
  const problems: InputProblem[] = []
  const chain = await verifyChain(log, key, sha256)
  if (chain.problem) problems.push({ what: 'log', position: chain.problem.position, reason: 'changed', text: chain.problem.text })

  async function kept(what: string, hash: string, position: number | null = null): Promise<Json | undefined> {
    const media = await log.media(key, hash)
    if (media === undefined) {
      problems.push({ what, position, reason: 'missing', text: `its content ${hash} is no longer kept` })
      return undefined
    }
    if (toHex(sha256(media.bytes)) !== hash) {
      problems.push({ what, position, reason: 'changed', text: `what is kept as ${hash} has another hash` })
      return undefined
    }
    return parseJson(fromUtf8(media.bytes))
  }
  const working = new Map<number, WorkingMessage>()
  for (const message of state.messages) working.set(message.position, message)
  async function messageOf(entry: ManifestEntry, index: number): Promise<Message | null> {
    const { hash, position } = entry
    const what = `messages[${index}]`
    const erased = (): null => {
      problems.push({ what, position, reason: 'erased', text: 'its content was erased' })
      return null
    }
    if (entry.kept || position === null) {
      // A copy of what was erased may be there still; it is not to be shown.
      if (position !== null && (await isErased(log, key, position))) return erased()
      return ((await kept(what, hash, position)) as Message | undefined) ?? null
    }
    const message = working.get(position)
    if (message !== undefined && contentOfMessage(message).hash === hash) return plainMessage(message)
    if (await isErased(log, key, position)) return erased()
    const text =
      message === undefined ? 'the working set does not have it' : 'the message has another hash than the one that was sent'
    problems.push({ what, position, reason: 'differs', text })
    return null
  }

  const system = manifest.system === null ? null : (((await kept('system', manifest.system)) as string | undefined) ?? null)
  const tools: (ToolSchema | null)[] = []
  for (const [index, hash] of manifest.tools.entries())
    tools.push(((await kept(`tools[${index}]`, hash)) as unknown as ToolSchema | undefined) ?? null)
  const config = ((await kept('config', manifest.config)) as JsonObject | undefined) ?? null
  const messages: (Message | null)[] = []
  for (const [index, entry] of manifest.messages.slice().entries()) messages.push(await messageOf(entry, index))

  const encoder = options.encoders.find(({ id }) => id === manifest.encoder)
  let bytes: Uint8Array | null = null
  const isWhole = problems.every(({ what }) => what === 'log')
  if (isWhole && encoder !== undefined) {
    const request = { system, tools, config, messages } as ModelRequest
    bytes = toUtf8(JSON.stringify(encoder.encode(request, await loadMedia(log, key, request.messages))))
    if (toHex(sha256(bytes)) !== manifest.request.hash) {
      bytes = null
      const text = `${encoder.id} makes another request of the same content`
      problems.push({ what: 'request', position: manifest.position, reason: 'differs', text })
    }
  }
  const verdict = verdictOf(problems, encoder)
  return {
    conversationId,
    manifest,
    verdict,
    problems,
    system,
    tools,
    config,
    messages,
    bytes: verdict === 'proved' ? bytes : null,
    redactedSince: await redactedSince(log, key, manifest.position, messages),
  }
}

/** A recorded call, as its own action tells it. */
export interface ModelCallSummary extends Pick<Manifest, 'callId' | 'encoder' | 'request' | 'content' | 'unchanged'> {
  readonly position: number
  readonly occurredAt: number
}

/** The recorded calls of a conversation, in order, page by page. */
export async function* modelCalls(
  log: Pick<EventLog, 'actions' | 'head'>,
  key: ConversationKey,
): AsyncIterable<ModelCallSummary[]> {
  for await (const page of actionsFrom(log, key, 1)) {
    yield page.flatMap((stored) => {
      const payload = calledIn(stored)
      if (payload === undefined) return []
      const { callId, encoder, request, content, unchanged } = payload
      return [{ position: stored.position, occurredAt: stored.occurredAt, callId, encoder, request, content, unchanged }]
    })
  }
}

/** From a position to the end there is now. */
async function* actionsFrom(
  log: Pick<EventLog, 'actions' | 'head'>,
  key: ConversationKey,
  from: number,
): AsyncIterable<readonly StoredAction[]> {
  const to = (await log.head(key))?.position ?? 0
  if (from <= to) yield* log.actions(key, { from, to })
}

function calledIn(stored: StoredAction): ReturnType<typeof modelCalled>['payload'] | undefined {
  if (stored.type !== modelCalled.type || stored.schemaVersion !== modelCalled.schemaVersion) return undefined
  const parsed = modelCalled.schema.safeParse(actionOf(stored).payload)
  return parsed.data
}

/** The state right after the manifest was stored: between it and the call nothing else can stand. */
async function stateAtCall<State extends ConversationState>(
  engine: Pick<Engine<State>, 'log' | 'replay'>,
  key: ConversationKey,
  call: string | number,
): Promise<{ readonly state: State; readonly manifest: Manifest }> {
  const { conversationId } = key
  const position = typeof call === 'number' ? call : await positionOf(engine.log, key, call)
  const notFound = () => new ColloquyError('model_call_not_found', { conversationId, call })
  if (position === undefined) {
    // Whether there is such a conversation at all comes first.
    await engine.replay(conversationId, { position: 1 })
    throw notFound()
  }
  const replayed = await engine.replay(conversationId, { position })
  const found = replayed.state.manifest.last
  if (found === null) throw notFound()
  if (found.position === replayed.position) return { state: replayed.state, manifest: found }
  const { state } = await engine.replay(conversationId, { position: found.position })
  return { state, manifest: found }
}

async function positionOf(log: EventLog, key: ConversationKey, callId: string): Promise<number | undefined> {
  let position: number | undefined
  for await (const calls of modelCalls(log, key))
    position = calls.findLast((call) => call.callId === callId)?.position ?? position
  return position
}

async function isErased(log: EventLog, key: ConversationKey, position: number): Promise<boolean> {
  for await (const page of log.read(key, { from: position, to: position })) return page[0]?.salt === null
  return false
}

async function redactedSince(
  log: EventLog,
  key: ConversationKey,
  position: number,
  messages: readonly (Message | null)[],
): Promise<{ messageId: string; position: number }[]> {
  const shown = new Set(messages.map((message) => message?.id))
  const redactions: { messageId: string; position: number }[] = []
  for await (const page of actionsFrom(log, key, position + 1)) {
    for (const stored of page) {
      if (stored.type !== messageRedacted.type) continue
      const { messageId } = actionOf(stored).payload as ReturnType<typeof messageRedacted>['payload']
      if (shown.has(messageId)) redactions.push({ messageId, position: stored.position })
    }
  }
  return redactions
}

function verdictOf(problems: readonly InputProblem[], encoder: RequestEncoder | undefined): ModelInput['verdict'] {
  if (problems.some(({ reason }) => reason === 'changed')) return 'log_changed'
  if (problems.some(({ reason }) => reason === 'differs')) return 'code_changed'
  if (problems.length > 0) return 'erased'
  return encoder === undefined ? 'encoder_unknown' : 'proved'
}
