/** What tests ask of an imported file: its actions, the states they fold into, and whether every record is somewhere. */
import {
  type Action,
  type ConversationState,
  checkAction,
  conversationReducer,
  type HeldConversation,
  type ImportedFile,
  isColloquyError,
  type Json,
  type Message,
  messageAdded,
  type Replayed,
  startFold,
} from '@colloquy/core'

export function actionsOf(conversation: HeldConversation | undefined): readonly Action[] {
  return (conversation?.commands ?? []).flatMap(({ actions }) => actions)
}

export function foldImported(conversation: HeldConversation | undefined): Replayed<ConversationState> {
  const fold = startFold(conversationReducer)
  for (const [index, action] of actionsOf(conversation).entries()) {
    fold.apply({ ...action, position: index + 1, occurredAt: 0, actor: null })
  }
  return fold.finish()
}

/** What schemas would say of the actions. */
export function schemaRefusalsOf(conversation: HeldConversation): readonly string[] {
  return actionsOf(conversation).flatMap((action) => {
    const definition = conversationReducer.definition(action.type)
    try {
      if (definition === undefined) return [`no slice knows ${action.type}`]
      checkAction(definition, action)
      return []
    } catch (error) {
      return [isColloquyError(error) ? error.code : String(error)]
    }
  })
}

/** What schemas and guards would say, had the actions been dispatched one by one instead of imported. */
export function refusalsOf(conversation: HeldConversation): readonly string[] {
  const refusals: string[] = []
  let state = conversationReducer.initial()
  for (const [index, action] of actionsOf(conversation).entries()) {
    const definition = conversationReducer.definition(action.type)
    const stamped = { ...action, position: index + 1, occurredAt: 0, actor: null }
    try {
      if (definition === undefined) refusals.push(`no slice knows ${action.type}`)
      else checkAction(definition, structuredClone(action))
      conversationReducer.guard(state, stamped)
    } catch (error) {
      const code = isColloquyError(error) ? error.code : String(error)
      // A foreign compaction is what it was, whatever it parts; only a dispatched one is held to that.
      if (code !== 'compaction_parts_call') refusals.push(code)
    }
    state = conversationReducer.reduce(state, stamped)
  }
  return refusals
}

export interface KeptRecord {
  readonly line: number
  readonly record: Record<string, Json>
}

/** The records that an action was made of. */
export function recordsIn({ type, payload, meta }: Action): readonly KeptRecord[] {
  if (type === 'foreignRecordKept') return [payload as KeptRecord]
  return (meta?.records ?? []) as unknown as readonly KeptRecord[]
}

/** Records that are in an action, or listed with a reason. */
export function accountedFor({ conversations, skipped }: ImportedFile): number {
  const kept = conversations.flatMap(actionsOf).map((action) => recordsIn(action).length)
  return kept.reduce((sum, count) => sum + count, skipped.length)
}

/** The messages of a conversation, in order. */
export const messagesOf = (conversation: HeldConversation | undefined): readonly Message[] =>
  actionsOf(conversation).flatMap((action) => (messageAdded.match(action) ? [action.payload.message] : []))

/** Type and payload of every action that is no message, for tests that say what else there is. */
export const payloadsOf = (conversation: HeldConversation | undefined, type: string): readonly unknown[] =>
  actionsOf(conversation).flatMap((action) => (action.type === type ? [action.payload] : []))
