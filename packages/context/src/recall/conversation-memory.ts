import {
  actionOf,
  type ConversationKey,
  type IndexedInteraction,
  type MemoryIndex,
  messageAdded,
  messageRedacted,
  type OpenedEnvelope,
} from '@colloquy/core'
import { type Engine, systemClock, uuidv7 } from '@colloquy/engine'
import { type Interaction, interactionOf, type RecalledInteraction, recalledOf } from './interaction.ts'
import {
  clipped,
  type ProjectedEnvelope,
  type ProjectionOptions,
  projectInteractions,
  withSignificance,
} from './interaction-projection.ts'

export interface MemoryOptions<State> extends ProjectionOptions {
  readonly engine: Pick<Engine<State>, 'log' | 'tenant' | 'envelopes$'>
  readonly index: MemoryIndex
  /** Interactions that are recalled at most. Default 10. */
  readonly contextWindow?: number
  /**
   * Interactions of conversations are taken into the index so many at a time; whoever recalls takes in the rest first. Default 5.
   * What a process did not come to is taken in when its session is initialized again: the log has it.
   */
  readonly checkpointEvery?: number
  /** Interactions say who said what. Default true. */
  readonly roleMetadata?: boolean
  readonly clock?: () => number
  /** Told what goes wrong while interactions are taken in beside the calls. The next call tries again, and throws what it meets. */
  readonly onError?: (error: unknown, where: string) => void
}

export interface Session {
  readonly sessionId: string
  /** Of the last interaction; 0 when there is none. */
  readonly sequence: number
  /** Something was said before. */
  readonly hasContext: boolean
}

/** What `storeInteraction` is given. */
export interface SaidInteraction {
  readonly userMessage: string
  readonly assistantResponse?: string
  readonly significance?: number
  readonly hasContext?: boolean
}

export interface RecallOptions {
  readonly contextWindow?: number
  /** In one session; otherwise in all of the tenant. */
  readonly sessionId?: string
}

export interface RelevantContext {
  /** By rank. */
  readonly interactions: readonly RecalledInteraction[]
  /** The same for a prompt, in the order in which it was said; empty when there is none. */
  readonly text: string
  readonly hasContext: boolean
}

export interface ConversationMemory extends AsyncDisposable {
  /** Takes in what the log of the session has and the index has not. */
  initializeSession(sessionId: string): Promise<Session>
  /** Keeps an interaction that no log has; for a session one process does so. Those of conversations come by themselves. */
  storeInteraction(sessionId: string, said: SaidInteraction): Promise<Interaction>
  /**
   * What was said before that may matter now, but for what the model is shown anyway. In all sessions unless one is named.
   * @param shown ids of messages that it is shown
   */
  retrieveRelevantContext(
    query: string,
    options?: RecallOptions & { readonly shown?: ReadonlySet<string> },
  ): Promise<RelevantContext>
  /** By text, recency and significance; see `memoryRanking` of core. */
  recall(query: string, options?: RecallOptions): Promise<readonly RecalledInteraction[]>
  /** Takes in what is waiting. */
  checkpoint(): Promise<void>
  /** Takes in the rest, and follows the engine no longer. */
  close(): Promise<void>
}

/**
 * Remembers what was said in the conversations of an engine, over an index that can be thrown away: forget a session there and
 * initialize it again, and it is as it was. Several processes may share an index; a durable subscription with `projectInteractions`
 * fills it without this.
 */
export function conversationMemory<State>(options: MemoryOptions<State>): ConversationMemory {
  const { engine, index, contextWindow = 10, checkpointEvery = 5, roleMetadata = true, clock = systemClock } = options
  const { log, tenant } = engine
  const { onError = () => {} } = options
  /** Sessions with something that the index may not have. */
  const waiting = new Set<string>()
  let interactionsWaiting = 0
  /** One thing after the other: two at once would both number the next interaction. */
  let working: Promise<unknown> = Promise.resolve()

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = working.then(work)
    working = result.catch(() => {})
    return result
  }

  async function takeIn(sessionId: string): Promise<IndexedInteraction | undefined> {
    const key: ConversationKey = { tenant, conversationId: sessionId }
    const [last] = await index.latest(tenant, sessionId, 1)
    const head = await log.head(key)
    if (head === undefined) return last
    const ancestry = await log.ancestry(key)
    // What a fork shares is its parent's to remember.
    const from = Math.max(last?.lastPosition ?? 0, ancestry.at(-1)?.position ?? 0) + 1
    if (from > head.position) return last
    for await (const page of log.actions(key, { from, to: head.position })) {
      const envelopes = page
        .filter(({ type }) => type === messageAdded.type || type === messageRedacted.type)
        .map(
          (stored): ProjectedEnvelope => ({
            tenant,
            conversationId: sessionId,
            position: stored.position,
            occurredAt: stored.occurredAt,
            action: actionOf(stored),
          }),
        )
      if (envelopes.length > 0) await projectInteractions(index, envelopes, options)
    }
    return (await index.latest(tenant, sessionId, 1))[0]
  }

  async function takeInAll(): Promise<void> {
    const sessions = [...waiting]
    waiting.clear()
    interactionsWaiting = 0
    for (const [done, sessionId] of sessions.entries()) {
      try {
        await takeIn(sessionId)
      } catch (error) {
        for (const left of sessions.slice(done)) waiting.add(left)
        throw error
      }
    }
  }

  const follow = ({ conversationId, action }: OpenedEnvelope): void => {
    if (!messageAdded.match(action) && !messageRedacted.match(action)) return
    waiting.add(conversationId)
    if (messageAdded.match(action) && action.payload.message.role === 'user') interactionsWaiting += 1
    if (interactionsWaiting < checkpointEvery) return
    interactionsWaiting = 0
    inTurn(takeInAll).catch((error: unknown) => onError(error, 'recall (what is waiting is taken in later)'))
  }
  const subscription = engine.envelopes$.subscribe(follow)

  const memory: ConversationMemory = {
    initializeSession: (sessionId) =>
      inTurn(async () => {
        waiting.delete(sessionId)
        const last = await takeIn(sessionId)
        return { sessionId, sequence: last?.sequence ?? 0, hasContext: last !== undefined }
      }),

    storeInteraction: (sessionId, { userMessage, assistantResponse, significance, hasContext }) =>
      inTurn(async () => {
        const last = await takeIn(sessionId)
        const sequence = (last?.sequence ?? 0) + 1
        const messages = [
          { messageId: uuidv7(), role: 'user' as const, text: clipped(userMessage) },
          ...(assistantResponse === undefined
            ? []
            : [{ messageId: uuidv7(), role: 'assistant' as const, text: clipped(assistantResponse) }]),
        ]
        const stored = withSignificance(
          {
            sessionId,
            sequence,
            occurredAt: clock(),
            lastPosition: last?.lastPosition ?? 0,
            isLogged: false,
            significance: 0,
            hasContext: hasContext ?? sequence > 1,
            messages,
          },
          significance,
          options,
        )
        await index.put(tenant, [stored])
        const { historyCap = 100 } = options
        if (sequence > historyCap) await index.forget(tenant, sessionId, sequence - historyCap)
        return interactionOf(stored, { roleMetadata })
      }),

    async retrieveRelevantContext(query, { shown, ...where } = {}) {
      const window = where.contextWindow ?? contextWindow
      // More than asked for, since some of it may be shown already.
      const found = await memory.recall(query, { ...where, contextWindow: shown === undefined ? window : window * 3 })
      const interactions = found.filter(({ messageIds }) => !messageIds.some((id) => shown?.has(id))).slice(0, window)
      const inOrder = interactions.toSorted((a, b) => a.timestamp - b.timestamp || a.sequence - b.sequence)
      return {
        interactions,
        text: inOrder.map(({ timestamp, interaction }) => `[${dayOf(timestamp)}]\n${interaction}`).join('\n\n'),
        hasContext: interactions.length > 0,
      }
    },

    async recall(query, { contextWindow: limit = contextWindow, sessionId } = {}) {
      await memory.checkpoint()
      const found = await index.search(tenant, {
        text: query,
        limit,
        now: clock(),
        ...(sessionId !== undefined && { sessionId }),
      })
      return found.map((one) => recalledOf(one, { roleMetadata }))
    },

    checkpoint: () => inTurn(takeInAll),

    async close() {
      subscription.unsubscribe()
      await memory.checkpoint()
    },

    [Symbol.asyncDispose]: () => memory.close(),
  }
  return memory
}

const dayOf = (microseconds: number): string => new Date(microseconds / 1000).toISOString().slice(0, 10)
