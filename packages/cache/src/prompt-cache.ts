import { createHash } from 'node:crypto'
import { CacheError } from './cache-error.ts'
import { canonicalText, type Json } from './json.ts'
import { memoryTier } from './memory-tier.ts'
import type { CacheTier } from './tier.ts'
import { type TieredCacheOptions, tieredCache } from './tiered-cache.ts'

/** What the answer of a model depends on. */
export interface PromptRequest {
  readonly tenant: string
  readonly conversation: string
  /**
   * The text, or everything that is sent. What is left out does not tell two requests apart: give the messages, or the hash of the request,
   * where the answer depends on what was said before.
   */
  readonly prompt: Json
  readonly config: PromptConfig
}

/** How the model is asked. Any further field (a system prompt, a seed, the provider) tells requests apart as well. */
export interface PromptConfig {
  readonly model: string
  readonly temperature?: number
  readonly maxTokens?: number
  readonly topP?: number
  readonly topK?: number
  readonly tools?: Json
  readonly [other: string]: Json | undefined
}

export interface PromptCacheOptions extends Omit<TieredCacheOptions, 'tiers'> {
  /** Below memory. Default none. */
  readonly tiers?: readonly CacheTier[]
  /** How many answers memory keeps; the least recently used goes first. Default 1,000. */
  readonly capacity?: number
  /** How long memory keeps an answer at most, since it does not hear what other processes invalidate. Default: as long as it lives. */
  readonly maxAgeMs?: number
}

export interface PromptCacheStats {
  /** In memory: kept, of those still good, of those past their TTL, and the most that are kept. */
  readonly total: number
  readonly active: number
  readonly expired: number
  readonly capacity: number
  readonly hits: number
  readonly misses: number
  /** 0 to 1; 0 when nobody asked. */
  readonly hitRate: number
}

/** Answers of models. A hit is an answer to the same request of the same tenant, under the same config, or there is none. */
export interface PromptCache {
  /** Frozen. @throws `value_invalid` when the request is not JSON */
  get<T extends Json = Json>(request: PromptRequest): Promise<T | undefined>
  set(request: PromptRequest, answer: Json, options?: { readonly ttlMs?: number }): Promise<void>
  /** Asks once, however many want to know at a time. */
  getOrAsk<T extends Json>(request: PromptRequest, ask: () => Promise<T>, options?: { readonly ttlMs?: number }): Promise<T>
  /** In every tier. */
  invalidateConversation(tenant: string, conversation: string): Promise<void>
  clear(): Promise<void>
  stats(): PromptCacheStats
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** An answer, with what it answers: compared with what was asked before it is given out. */
interface Kept {
  readonly [field: string]: Json
  readonly material: string
  readonly tenant: string
  readonly conversation: string
  readonly answer: Json
}

export function promptCache({ tiers = [], capacity = 1_000, maxAgeMs, ...options }: PromptCacheOptions = {}): PromptCache {
  const memory = memoryTier({
    maxEntries: capacity,
    ...(maxAgeMs !== undefined && { maxAgeMs }),
    ...(options.now && { now: options.now }),
  })
  const cache = tieredCache({ ...options, tiers: [memory, ...tiers] })
  const counts = { hits: 0, misses: 0 }

  function answerTo(request: PromptRequest, kept: Kept | undefined): Json | undefined {
    const isAnswer =
      kept !== undefined &&
      kept.material === materialOf(request) &&
      kept.tenant === request.tenant &&
      kept.conversation === request.conversation
    return isAnswer ? kept.answer : undefined
  }

  function keep(request: PromptRequest, answer: Json): Kept {
    // A field that is undefined counts as absent, and an answer that is absent as a miss: it would be asked for again at once.
    if (answer === undefined) throw new CacheError('value_invalid', { path: '$.answer', found: 'of type undefined' })
    return { material: materialOf(request), tenant: request.tenant, conversation: request.conversation, answer }
  }

  const taggedWith = (request: PromptRequest, ttlMs: number | undefined) => ({
    tags: [conversationTag(request.tenant, request.conversation)],
    ...(ttlMs !== undefined && { ttlMs }),
  })

  const prompts: PromptCache = {
    async get<T extends Json>(request: PromptRequest) {
      const answer = answerTo(request, await cache.get<Kept>(promptKey(request)))
      counts[answer === undefined ? 'misses' : 'hits'] += 1
      return answer as T | undefined
    },
    async set(request, answer, { ttlMs } = {}) {
      await cache.set(promptKey(request), keep(request, answer), taggedWith(request, ttlMs))
    },
    async getOrAsk<T extends Json>(request: PromptRequest, ask: () => Promise<T>, { ttlMs }: { readonly ttlMs?: number } = {}) {
      let isAsked = false
      const kept = await cache.getOrLoad<Kept>(
        promptKey(request),
        async () => {
          isAsked = true
          return keep(request, await ask())
        },
        taggedWith(request, ttlMs),
      )
      counts[isAsked ? 'misses' : 'hits'] += 1
      const answer = answerTo(request, kept)
      return (answer === undefined ? await ask() : answer) as T
    },
    invalidateConversation: async (tenant, conversation) => cache.invalidateTag(conversationTag(tenant, conversation)),
    clear: async () => cache.clear(),
    stats() {
      const { total, expired } = memory.count()
      const asked = counts.hits + counts.misses
      return { total, active: total - expired, expired, capacity, ...counts, hitRate: asked === 0 ? 0 : counts.hits / asked }
    },
    close: async () => cache.close(),
    [Symbol.asyncDispose]: async () => cache.close(),
  }
  return prompts
}

/** The tag of all entries of a conversation, for caches of your own. Injective, whatever is in the names. */
export function conversationTag(tenant: string, conversation: string): string {
  return `conversation:${canonicalText([tenant, conversation])}`
}

/** The whole SHA-256 of everything that tells requests apart. @throws `value_invalid` */
export function promptKey(request: PromptRequest): string {
  return `prompt:${sha256(['colloquy prompt 1', ...partsOf(request)])}`
}

/** Another digest of the same, so that an entry which is under a key by mistake is not the answer. */
function materialOf(request: PromptRequest): string {
  return sha256(['colloquy prompt material 1', ...partsOf(request)])
}

function partsOf({ tenant, conversation, prompt, config }: PromptRequest): readonly unknown[] {
  return [tenant, conversation, prompt, sha256(config)]
}

/** Of the canonical text: a list of parts as JSON is injective, where joining them is not. */
function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalText(value)).digest('hex')
}
