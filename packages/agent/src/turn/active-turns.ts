import type { AnyConversation, TurnHandle } from './turn-options.ts'

type Where = Pick<AnyConversation, 'tenant' | 'id'>

/** Turns that run in this process. Ids of turns are unique, so two engines over one or two logs do not meet here. */
const turns = new Map<string, TurnHandle>()

const keyOf = ({ tenant, id }: Where, turnId: string): string => JSON.stringify([tenant, id, turnId])

export const registerTurn = (where: Where, handle: TurnHandle): void => void turns.set(keyOf(where, handle.turnId), handle)
export const unregisterTurn = (where: Where, turnId: string): void => void turns.delete(keyOf(where, turnId))
export const activeTurn = (where: Where, turnId: string): TurnHandle | undefined => turns.get(keyOf(where, turnId))

/** The turns that run or wait in this process: all of them, or those of a conversation; in the order in which they were asked for. */
export function activeTurns(conversation?: Where): readonly TurnHandle[] {
  const all = [...turns.values()]
  if (conversation === undefined) return all
  return all.filter(({ tenant, conversationId }) => tenant === conversation.tenant && conversationId === conversation.id)
}
