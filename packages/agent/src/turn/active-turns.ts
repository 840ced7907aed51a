import type { AnyConversation, TurnHandle } from './turn-options.ts'

type Where = Pick<AnyConversation, 'scope' | 'id'>

const all = new Set<TurnHandle>()
/** By engine and conversation: of two engines over the same ids each knows its own. */
const byScope = new WeakMap<object, Map<string, TurnHandle[]>>()

export function registerTurn({ scope, id }: Where, handle: TurnHandle): void {
  const byId = byScope.get(scope) ?? new Map<string, TurnHandle[]>()
  byScope.set(scope, byId)
  byId.set(id, [...(byId.get(id) ?? []), handle])
  all.add(handle)
}

export function unregisterTurn({ scope, id }: Where, handle: TurnHandle): void {
  const byId = byScope.get(scope)
  const left = (byId?.get(id) ?? []).filter((one) => one !== handle)
  if (left.length === 0) byId?.delete(id)
  else byId?.set(id, left)
  all.delete(handle)
}

export const activeTurn = (where: Where, turnId: string): TurnHandle | undefined =>
  activeTurns(where).find((handle) => handle.turnId === turnId)

/** The turns that run or wait in this process: all of them, or those of a conversation; in the order in which they were asked for. */
export function activeTurns(conversation?: Where): readonly TurnHandle[] {
  return conversation === undefined ? [...all] : (byScope.get(conversation.scope)?.get(conversation.id) ?? [])
}
