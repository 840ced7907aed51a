import {
  ColloquyError,
  type ConversationKey,
  type ConversationState,
  type EventLog,
  isColloquyError,
  type JsonObject,
  type Manifest,
  type Message,
} from '@colloquy/core'
import { type Conversation, type DispatchOptions, type Engine, uuidv7 } from '@colloquy/engine'
import { mediaHashesOf } from './content.ts'
import { type CallToDescribe, describeRequest } from './describe-request.ts'
import type { MediaLookup } from './model-request.ts'

export type CallToRecord<State = unknown> = Omit<CallToDescribe, 'callId' | 'media'> &
  Pick<DispatchOptions<State>, 'actor' | 'cause' | 'guard'> & {
    /** The same one again records nothing again. Default: a new UUIDv7. */
    readonly callId?: string
  }

/** A model call as it is in the log. */
export interface RecordedCall {
  readonly manifest: Manifest
  /** What to send now. */
  readonly body: JsonObject
  /** The same as UTF-8: exactly what the manifest's hash is of. */
  readonly bytes: Uint8Array
}

/** Tries before a call gives up to others that record calls of the same conversation. */
const attemptLimit = 16

/**
 * Stores what a model is about to be sent, and gives it out to be sent: first the content that the log has not, then the manifest.
 * Costs one action of a size that depends on what changed since the call before, not on the length of the conversation.
 *
 * Repeating it with the call id of the last call (after a crash, say) records nothing again.
 * @throws `command_id_reused` for a call id that the last call has with another request, `manifest_stale` when others record calls of
 * the same conversation all the time, `model_call_not_found` when a middleware did not pass the manifest on, and what `dispatch` and the
 * log throw
 */
export async function recordModelCall<State extends ConversationState>(
  engine: Pick<Engine<State>, 'log'>,
  conversation: Conversation<State>,
  call: CallToRecord<State>,
): Promise<RecordedCall> {
  const { actor, cause, guard, ...described } = call
  const callId = call.callId ?? uuidv7()
  const key = { tenant: conversation.tenant, conversationId: conversation.id }
  const media = await loadMedia(engine.log, key, call.request.messages)
  for (let attempt = 1; ; attempt++) {
    const state = conversation.getState()
    const { action, body, bytes, kept } = describeRequest(state, { ...described, callId, media })
    const { last } = state.manifest
    if (last?.callId === callId) {
      if (last.request.hash === action.payload.request.hash) return { manifest: last, body, bytes }
      throw new ColloquyError('command_id_reused', { commandId: callId, position: last.position })
    }
    // Before the action that names it: an action without its content would prove nothing.
    if (kept.length > 0) await engine.log.putMedia(key, kept)
    try {
      const result = await conversation.dispatch(action, {
        ...(actor !== undefined && { actor }),
        ...(cause !== undefined && { cause }),
        ...(guard !== undefined && { guard }),
      })
      const recorded = result.state.manifest.last
      if (recorded?.callId !== callId)
        throw new ColloquyError('model_call_not_found', { conversationId: key.conversationId, call: callId })
      return { manifest: recorded, body, bytes }
    } catch (error) {
      if (!isColloquyError(error, 'manifest_stale') || attempt >= attemptLimit) throw error
    }
  }
}

/** The files that messages name, found in the log. */
export async function loadMedia(log: EventLog, key: ConversationKey, messages: readonly Message[]): Promise<MediaLookup> {
  const found = new Map<string, Uint8Array>()
  for (const hash of mediaHashesOf(messages)) {
    const media = await log.media(key, hash)
    if (media !== undefined) found.set(hash, media.bytes)
  }
  return (hash) => found.get(hash)
}
