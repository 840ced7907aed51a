import { type ConversationState, circuitClosed, circuitOpened } from '@colloquy/core'
import type { Conversation } from '@colloquy/engine'
import type { CircuitStore } from './circuit.ts'

export interface CircuitsInLogOptions {
  /** What other processes stored is looked for so often, in milliseconds. Default 1 s. */
  readonly refreshMs?: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/**
 * Circuits whose opening and closing are envelopes of a conversation: processes that give the same one share them, and whoever subscribes to
 * it hears them. One conversation of its own for all (`await engine.open('circuits')`) shares them between conversations.
 */
export function circuitsInLog(
  conversation: Conversation<ConversationState>,
  { refreshMs = 1_000, now = Date.now }: CircuitsInLogOptions = {},
): CircuitStore {
  let refreshedAt = Number.NEGATIVE_INFINITY
  return {
    async read(circuit) {
      if (now() - refreshedAt >= refreshMs) {
        refreshedAt = now()
        await conversation.refresh()
      }
      const open = conversation.getState().health.openCircuits?.find((one) => one.circuit === circuit)
      return open ? { state: 'open', openedAtMs: open.openedAt / 1_000, failures: open.failures } : { state: 'closed' }
    },
    async write(circuit, state) {
      await conversation.dispatch(
        state.state === 'open'
          ? circuitOpened({ circuit, failures: state.failures, openedAt: Math.round(state.openedAtMs * 1_000) })
          : circuitClosed({ circuit }),
      )
    },
  }
}
