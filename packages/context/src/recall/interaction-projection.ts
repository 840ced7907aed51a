import {
  type IndexedInteraction,
  type InteractionMessage,
  type JsonObject,
  type MemoryIndex,
  type Message,
  messageAdded,
  messageRedacted,
  type StampedAction,
} from '@colloquy/core'

export interface ProjectionOptions {
  /** 0 to 1, for interactions that do not say it themselves (`meta.significance` of the action). Default 0.7. */
  readonly significance?: number | ((interaction: IndexedInteraction) => number)
  /** Interactions that are kept of a session; older ones are let go of. Default 100. */
  readonly historyCap?: number
}

/** A stored action, as far as the projection looks. Envelopes are such. */
export interface ProjectedEnvelope {
  readonly tenant: string
  readonly conversationId: string
  readonly position: number
  readonly occurredAt: number
  readonly action: StampedAction
}

/** Types of action that the projection takes: the filter of a subscription. */
export const interactionTypes = [messageAdded.type, messageRedacted.type] as const

/** UTF-16 units of one message that are kept: recall is there to remind, the log has the whole. */
const textLimit = 20_000

/**
 * Interactions out of envelopes, into an index. A user message begins one, what is answered until the next user message belongs to it;
 * calls and results of tools, thinking and summaries do not. Redacted words leave the index.
 *
 * Envelopes of a conversation come in order. Idempotent: those that the index has already change nothing, so a subscription may
 * deliver them again, and a projection may be rebuilt over the same log.
 */
export async function projectInteractions(
  index: MemoryIndex,
  envelopes: readonly ProjectedEnvelope[],
  options: ProjectionOptions = {},
): Promise<void> {
  const { historyCap = 100 } = options
  const conversations = Map.groupBy(envelopes, ({ tenant, conversationId }) => JSON.stringify([tenant, conversationId]))
  for (const own of conversations.values()) {
    const { tenant, conversationId: sessionId } = own[0] as ProjectedEnvelope
    const redacted = new Map(
      own.flatMap(({ action, position }) =>
        messageRedacted.match(action) ? [[action.payload.messageId, position] as const] : [],
      ),
    )
    // A redaction may reach back as far as anything is kept.
    const known = await index.latest(tenant, sessionId, redacted.size > 0 ? historyCap : 1)
    const changed = new Map<number, IndexedInteraction>()
    let [last] = known
    for (const envelope of own) {
      const next = following(last, envelope, options)
      if (next === undefined) continue
      last = next
      changed.set(next.sequence, next)
    }
    for (const interaction of [...known, ...changed.values()]) {
      const current = changed.get(interaction.sequence) ?? interaction
      const messages = current.messages.filter(({ messageId }) => !redacted.has(messageId))
      if (messages.length === current.messages.length) continue
      const positions = current.messages.map(({ messageId }) => redacted.get(messageId) ?? 0)
      // So that another process, which has not seen the redaction yet, does not bring the words back.
      changed.set(current.sequence, { ...current, lastPosition: Math.max(current.lastPosition, ...positions), messages })
    }
    if (changed.size > 0) await index.put(tenant, [...changed.values()])
    const begun = (last?.sequence ?? 0) - (known[0]?.sequence ?? 0)
    if (begun > 0 && last !== undefined && last.sequence > historyCap)
      await index.forget(tenant, sessionId, last.sequence - historyCap)
  }
}

/** The interaction that an envelope begins, or goes on with; undefined: it says nothing, or nothing new. */
function following(
  last: IndexedInteraction | undefined,
  { conversationId, position, occurredAt, action }: ProjectedEnvelope,
  options: ProjectionOptions,
): IndexedInteraction | undefined {
  if (!messageAdded.match(action) || position <= (last?.lastPosition ?? 0)) return undefined
  const said = saidBy(action.payload.message)
  if (said === undefined) return undefined
  const isAnswered = last?.messages.some(({ role }) => role === 'assistant') ?? false
  if (last?.isLogged && !(said.role === 'user' && isAnswered)) {
    const hasContext = flagOf(action.meta) ?? last.hasContext
    return { ...last, lastPosition: position, hasContext, messages: [...last.messages, said] }
  }
  const sequence = (last?.sequence ?? 0) + 1
  return withSignificance(
    {
      sessionId: conversationId,
      sequence,
      occurredAt,
      lastPosition: position,
      isLogged: true,
      significance: 0,
      hasContext: flagOf(action.meta) ?? sequence > 1,
      messages: [said],
    },
    action.meta?.['significance'],
    options,
  )
}

function saidBy({ id, role, parts }: Message): InteractionMessage | undefined {
  if (role !== 'user' && role !== 'assistant') return undefined
  const text = parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')
  return text.trim() === '' ? undefined : { messageId: id, role, text: clipped(text) }
}

/** Well-formed in the end: a cut may halve a surrogate pair. */
export const clipped = (text: string): string => text.slice(0, textLimit).toWellFormed()

const flagOf = (meta: JsonObject | undefined): boolean | undefined =>
  typeof meta?.['hasContext'] === 'boolean' ? meta['hasContext'] : undefined

export function withSignificance(
  interaction: IndexedInteraction,
  said: unknown,
  { significance = 0.7 }: ProjectionOptions,
): IndexedInteraction {
  const asked = typeof said === 'number' ? said : typeof significance === 'function' ? significance(interaction) : significance
  return { ...interaction, significance: Math.min(1, Math.max(0, asked)) }
}
