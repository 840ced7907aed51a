import { ColloquyError, readAction, resolverOf, type StampedAction } from '@colloquy/core'
import type { Engine } from '@colloquy/engine'

/** What of an engine is read here. */
export type LogReader = Pick<Engine<unknown>, 'log' | 'reducer' | 'tenant'>

/** The action at a position, as today's reducers see it. @throws `conversation_not_found`, `position_not_found`, `log_corrupt` */
export async function storedAction(engine: LogReader, conversationId: string, position: number): Promise<StampedAction> {
  const key = { tenant: engine.tenant, conversationId }
  const head = await engine.log.head(key)
  if (head === undefined) throw new ColloquyError('conversation_not_found', { conversationId })
  if (position >= 1 && position <= head.position) {
    const resolve = resolverOf(engine.log, key, engine.reducer)
    for await (const page of engine.log.actions(key, { from: position, to: position })) {
      for (const stored of page) return readAction(engine.reducer, stored, resolve)
    }
  }
  throw new ColloquyError('position_not_found', { conversationId, position, headPosition: head.position })
}
