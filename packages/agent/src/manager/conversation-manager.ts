/**
 * A facade for people who come from a class that keeps conversations in memory: the same verbs, over the log. What it keeps in memory
 * can be thrown away at any time; nothing that was added is lost by that.
 */
import type { PromptCache, PromptCacheStats, PromptConfig } from '@colloquy/cache'
import { countedMessage, estimateCounter, type TokenCounter } from '@colloquy/context'
import {
  ColloquyError,
  type ConversationKey,
  type ConversationState,
  type ConversationSummary,
  conversationCleared,
  conversationStarted,
  type EventLog,
  type Json,
  type Message,
  messageAdded,
  messageRedacted,
  type OpenedEnvelope,
  openEnvelope,
  type Part,
  type Timer,
  type WorkingMessage,
} from '@colloquy/core'
import { type Conversation, type Engine, uuidv7 } from '@colloquy/engine'
import { chatBotFileName, exportChatBot } from '@colloquy/formats'
import type { ConversationFileManager } from './conversation-file-manager.ts'

/** Milliseconds after the last message at which a conversation is saved and leaves memory. */
export const IDLE_TIME = 300_000

export interface ConversationManagerOptions<State extends ConversationState = ConversationState> {
  readonly engine: Engine<State>
  /** The engine's: the whole transcript is read from it. */
  readonly log: EventLog
  /** Answers that were given before. Without it nothing is cached. Closed by `shutdown`. */
  readonly cache?: PromptCache
  /** Where conversations are saved to, when they fall idle and on demand. */
  readonly files?: ConversationFileManager
  /** Tokens that one message may have. Default: no limit. */
  readonly limitTokens?: number
  /** Default `IDLE_TIME`. */
  readonly idleMs?: number
  /** Counts the messages that are added. Default: `estimateCounter`. */
  readonly counter?: TokenCounter
  /** Told what fails when nobody hears of it otherwise: saving an idle conversation, or a further one of many. Default: a process warning. */
  readonly onError?: (error: unknown, where: string) => void
  readonly ids?: () => string
  readonly timer?: Timer
}

export interface NewMessage {
  /** A uuid when it is left out. The same id again is the same message: it is stored once. */
  readonly id?: string
  readonly role: Message['role']
  readonly content: string | readonly Part[]
  readonly author?: Message['author']
}

/** What a model would be shown now. */
export interface ConversationContext {
  readonly conversationId: string
  readonly messages: readonly WorkingMessage[]
  /** Of the working set. */
  readonly usedTokens: number
  /** The context window, where somebody said it. */
  readonly limitTokens: number | null
  readonly compactions: number
}

export interface ConversationManagerStats {
  /** Conversations in memory, and what their working sets hold. */
  readonly conversations: number
  readonly messages: number
  readonly tokens: number
  /** Null without a cache. */
  readonly cache: PromptCacheStats | null
}

interface Held<State extends ConversationState> {
  readonly conversation: Conversation<State>
  stopTimer: () => void
}

/**
 * Every method that takes an id rejects with `conversation_not_found` when neither memory nor the log has it, and with what the engine
 * rejects with.
 */
export class ConversationManager<State extends ConversationState = ConversationState> implements AsyncDisposable {
  readonly #options: ConversationManagerOptions<State>
  readonly #held = new Map<string, Held<State>>()
  readonly #saving = new Set<Promise<unknown>>()
  /** File names by the conversation that was saved under them. */
  readonly #files = new Map<string, string>()
  #isShutDown = false

  constructor(options: ConversationManagerOptions<State>) {
    this.#options = options
  }

  /** Begins a conversation, or finds the one that was begun under this id. @returns its id */
  async startConversation(
    about: { readonly id?: string; readonly title?: string; readonly contextLimitTokens?: number } = {},
  ): Promise<string> {
    const { id = (this.#options.ids ?? uuidv7)(), ...started } = about
    const conversation = await this.#options.engine.open(id)
    if (conversation.position === 0) await conversation.dispatch(conversationStarted(started), { commandId: 'manager:start' })
    this.#hold(conversation)
    return id
  }

  async getConversation(id: string): Promise<Conversation<State>> {
    const held = this.#held.get(id)
    if (held) return held.conversation
    const conversation = await this.#options.engine.open(id)
    if (conversation.position === 0) throw new ColloquyError('conversation_not_found', { conversationId: id })
    this.#hold(conversation)
    return conversation
  }

  /** All of the tenant, in memory or not, by id; page by page behind `after`. */
  getAllConversations(page: { readonly after?: string; readonly limit?: number } = {}): Promise<readonly ConversationSummary[]> {
    const { after, limit = 100 } = page
    const { engine, log } = this.#options
    return log.conversations({ tenant: engine.tenant, limit, ...(after !== undefined && { after }) })
  }

  /** Stores a message; from here on the conversation is idle after `idleMs` without another. @throws `token_limit` and as above */
  async addMessage(
    id: string,
    { id: messageId = (this.#options.ids ?? uuidv7)(), role, content, author }: NewMessage,
  ): Promise<Message> {
    const conversation = await this.getConversation(id)
    const parts: Part[] = typeof content === 'string' ? [{ type: 'text', text: content }] : [...content]
    const message: Message = { v: 1, id: messageId, role, parts, ...(author && { author }) }
    const { limitTokens, counter = estimateCounter } = this.#options
    const counted = countedMessage(counter, message)
    const { tokenCount: requestedTokens } = counted
    if (limitTokens !== undefined && requestedTokens > limitTokens)
      throw new ColloquyError('token_limit', { actionType: messageAdded.type, limitTokens, requestedTokens })
    await conversation.dispatch(messageAdded(counted), { commandId: `message:${messageId}` })
    this.#hold(conversation)
    return message
  }

  /** The working set; with `all`, every message there ever was, read from the log: redacted and erased ones without words. */
  async getMessages(id: string, { all = false }: { readonly all?: boolean } = {}): Promise<readonly Message[]> {
    const conversation = await this.getConversation(id)
    if (!all) return conversation.getState().messages.slice()
    const messages = new Map<string, Message>()
    for await (const { action } of this.#transcript(id)) {
      if (messageAdded.match(action)) messages.set(action.payload.message.id, action.payload.message)
      else if (messageRedacted.match(action)) {
        const redacted = messages.get(action.payload.messageId)
        if (redacted) messages.set(redacted.id, { v: 1, id: redacted.id, role: redacted.role, parts: [] })
      }
    }
    return [...messages.values()]
  }

  async getContext(id: string): Promise<ConversationContext> {
    const { messages, context } = (await this.getConversation(id)).getState()
    const { usedTokens, limitTokens, compactions } = context
    return { conversationId: id, messages: messages.slice(), usedTokens, limitTokens, compactions }
  }

  /** The answer that was given to this prompt in this conversation under the same config; undefined when there is none. @throws `cache_error` */
  checkCachedResponse<T extends Json = Json>(id: string, prompt: Json, config: PromptConfig): Promise<T | undefined> {
    return this.#cached((cache) => cache.get<T>(this.#request(id, prompt, config)))
  }

  /** @throws `cache_error`; a tier that fails is left out, and is no error */
  async cacheResponse(
    id: string,
    prompt: Json,
    config: PromptConfig,
    answer: Json,
    options?: { readonly ttlMs?: number },
  ): Promise<void> {
    await this.#cached((cache) => cache.set(this.#request(id, prompt, config), answer, options))
  }

  /** Empties the working set, and forgets cached answers. The log keeps everything. */
  async clearConversation(id: string): Promise<void> {
    const conversation = await this.getConversation(id)
    await conversation.dispatch(conversationCleared({}))
    await this.#cached((cache) => cache.invalidateConversation(this.#options.engine.tenant, id))
  }

  /** Clears those that are in memory. */
  async clearAll(): Promise<void> {
    for (const id of this.#held.keys()) await this.clearConversation(id)
  }

  /** From memory only. @returns whether it was there */
  removeConversation(id: string): boolean {
    this.#held.get(id)?.stopTimer()
    return this.#held.delete(id)
  }

  /**
   * Writes the conversation to `files` as chat-bot JSON, under the name of that format; another conversation of the same day, person and
   * place has its id in the name. @returns the name of the file @throws `file_unwritable`
   */
  async saveConversation(id: string): Promise<string> {
    const { files } = this.#options
    if (!files) throw new ColloquyError('file_unwritable', { file: id, problem: 'the manager was given no `files`' })
    await this.getConversation(id)
    const envelopes: OpenedEnvelope[] = []
    for await (const envelope of this.#transcript(id)) envelopes.push(envelope)
    const fileName = this.#fileName(id, chatBotFileName(envelopes))
    try {
      await files.write(fileName, exportChatBot(envelopes))
    } catch (cause) {
      throw new ColloquyError('file_unwritable', { file: fileName, problem: textOf(cause) }, { cause })
    }
    return fileName
  }

  /**
   * Those that are in memory: each, whether others can be saved or not. @returns the names of the files
   * @throws the first failure, when all were tried; `onError` is told of the others
   */
  async saveAll(): Promise<string[]> {
    const names: string[] = []
    let first: { readonly error: unknown } | undefined
    for (const id of this.#held.keys()) {
      try {
        names.push(await this.saveConversation(id))
      } catch (error) {
        if (first === undefined) first = { error }
        else this.#tell(error, `save the conversation ${id}`)
      }
    }
    if (first !== undefined) throw first.error
    return names
  }

  getStats(): ConversationManagerStats {
    const states = [...this.#held.values()].map(({ conversation }) => conversation.getState())
    return {
      conversations: states.length,
      messages: states.reduce((sum, { messages }) => sum + messages.length, 0),
      tokens: states.reduce((sum, { context }) => sum + context.usedTokens, 0),
      cache: this.#options.cache?.stats() ?? null,
    }
  }

  /** Saves what is in memory where there are `files`, and lets go of it. The engine and its log stay open: they are the caller's. */
  async shutdown(): Promise<void> {
    if (this.#isShutDown) return
    this.#isShutDown = true
    for (const { stopTimer } of this.#held.values()) stopTimer()
    await Promise.allSettled(this.#saving)
    try {
      if (this.#options.files) await this.saveAll()
    } finally {
      this.#held.clear()
      await this.#options.cache?.close()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown()
  }

  #hold(conversation: Conversation<State>): void {
    this.#held.get(conversation.id)?.stopTimer()
    if (this.#isShutDown) return
    const { timer = idleTimer, idleMs = IDLE_TIME } = this.#options
    this.#held.set(conversation.id, { conversation, stopTimer: timer(() => this.#fallIdle(conversation.id), idleMs) })
  }

  #fallIdle(id: string): void {
    const idle = this.#held.get(id)
    const saving = (this.#options.files ? this.saveConversation(id) : Promise.resolve())
      .then(() => {
        // A message that came meanwhile has begun another wait.
        if (this.#held.get(id) === idle) this.#held.delete(id)
      })
      .catch((error: unknown) => {
        this.#tell(error, `save the idle conversation ${id}`)
        // Tried again after another wait: the disk may have room by then.
        if (idle !== undefined && this.#held.get(id) === idle) this.#hold(idle.conversation)
      })
      .finally(() => this.#saving.delete(saving))
    this.#saving.add(saving)
  }

  #tell(error: unknown, where: string): void {
    ;(this.#options.onError ?? warn)(error, where)
  }

  #fileName(id: string, usual: string): string {
    const owner = this.#files.get(usual)
    if (owner !== undefined && owner !== id) return usual.replace(/\.json$/, `_${id}.json`)
    this.#files.set(usual, id)
    return usual
  }

  async *#transcript(id: string): AsyncGenerator<OpenedEnvelope> {
    const key: ConversationKey = { tenant: this.#options.engine.tenant, conversationId: id }
    for await (const page of this.#options.log.read(key)) yield* page.map(openEnvelope)
  }

  #request(conversation: string, prompt: Json, config: PromptConfig) {
    return { tenant: this.#options.engine.tenant, conversation, prompt, config }
  }

  async #cached<T>(work: (cache: PromptCache) => Promise<T>): Promise<T | undefined> {
    const { cache } = this.#options
    if (!cache) return undefined
    try {
      return await work(cache)
    } catch (cause) {
      throw new ColloquyError('cache_error', { problem: textOf(cause) }, { cause })
    }
  }
}

/** Does not keep the process alive. */
const idleTimer: Timer = (listener, ms) => {
  const timeout = setTimeout(listener, ms).unref()
  return () => clearTimeout(timeout)
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function warn(error: unknown, where: string): void {
  process.emitWarning(`${where}: ${textOf(error)}`, { code: 'COLLOQUY_MANAGER' })
}
