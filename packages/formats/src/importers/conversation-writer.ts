import {
  assertId,
  type ConversationAction,
  checkAction,
  conversationReducer,
  encodeBody,
  type ImportedCommand,
  isColloquyError,
  type Message,
  type PositionRange,
} from '@colloquy/core'
import type { MediaShelf } from './media-shelf.ts'
import { withRecordsAside } from './records-aside.ts'

/** A call without a result so far. */
export interface OpenCall {
  readonly messageId: string
  readonly callId: string
}

interface Shown {
  readonly id: string
  readonly position: number
  readonly tokens: number
  /** Of a summary: where the first message that it stands for stood. */
  readonly standsAt?: number
}

/** Messages that the model is shown now, in order. */
export interface WorkingSet {
  readonly messageIds: string[]
  readonly ranges: PositionRange[]
  readonly tokens: number
  /** When the first of them is a summary: where that stands. */
  readonly standsAt?: number
}

/**
 * Commands of one conversation, with what has to be counted along: positions (the actions are numbered from 1 in the order in which
 * they are written), the working set, and the calls that are open.
 */
export function conversationWriter(envelopeBytes: number, media: MediaShelf) {
  const commandIds = new Set<string>()
  const messageIds = new Set<string>()
  const open: OpenCall[] = []
  let shown: Shown[] = []
  let position = 0

  return {
    /** How many actions were written. */
    position: () => position,

    /** An id that no message of the conversation has: files repeat ids, messages must not. */
    uniqueMessageId(wanted: string): string {
      const id = unique(wanted, messageIds)
      messageIds.add(id)
      return id
    },

    /**
     * All that an engine would refuse of the actions is refused here, where it is known what line they are of.
     * @throws `envelope_too_large`, `id_invalid` and what `checkAction` throws
     */
    write(commandId: string, occurredAt: number | undefined, made: readonly ConversationAction[]): ImportedCommand {
      // Those that their creators made are checked already, but not those that an importer put together out of them.
      const checked = made.map((action) => checkAction(definitionOf(action), action) as ConversationAction)
      const actions = checked.map((action) => fitting(action))
      for (const action of actions) {
        position += 1
        if (action.type === 'messageAdded') show(action.payload.message, action.payload.tokenCount)
        if (action.type === 'contextCompacted') compact(action.payload)
      }
      const id = unique(commandId, commandIds)
      assertId('command id', id)
      commandIds.add(id)
      return { commandId: id, actions, ...(occurredAt !== undefined && { occurredAt }) }
    },

    /** What a compaction would cover now: all that the model is shown, or those that are asked for. */
    workingSet(isAsked: (messageId: string) => boolean = () => true): WorkingSet {
      const asked = shown.filter(({ id }) => isAsked(id))
      const standsAt = asked[0]?.standsAt
      return {
        messageIds: asked.map(({ id }) => id),
        // The log has its positions in order, wherever a summary stands.
        ranges: rangesOf(asked.map((message) => message.position).sort((a, b) => a - b)),
        tokens: asked.reduce((sum, { tokens }) => sum + tokens, 0),
        ...(standsAt !== undefined && { standsAt }),
      }
    },

    openCall(call: OpenCall): void {
      open.push(call)
    },

    /** Takes the call that a result answers: the nearest earlier open one of that id, because files use one id for several calls. */
    closeCall(callId: string): OpenCall | undefined {
      const index = open.findLastIndex((call) => call.callId === callId)
      return index < 0 ? undefined : open.splice(index, 1)[0]
    },
  }

  /** @throws `envelope_too_large` when it is so without what it keeps raw */
  function fitting(action: ConversationAction): ConversationAction {
    // Encoding every action only to measure it would be a fifth of an import.
    if (isSurelySmaller(action, envelopeBytes) || isSmaller(action)) return action
    const smaller = withRecordsAside(action, media)
    encodeBody(smaller, envelopeBytes)
    return smaller
  }

  function isSmaller(action: ConversationAction): boolean {
    try {
      encodeBody(action, envelopeBytes)
      return true
    } catch (error) {
      if (isColloquyError(error, 'envelope_too_large')) return false
      throw error
    }
  }

  function show({ id }: Message, tokens: number): void {
    shown.push({ id, position, tokens })
  }

  /** As the reducer does it: the summary stands where the first covered message stood. */
  function compact({ covered, summary }: Extract<ConversationAction, { type: 'contextCompacted' }>['payload']): void {
    const ids = new Set(covered.messageIds)
    const first = shown.findIndex(({ id }) => ids.has(id))
    const standsAt = shown[first]?.standsAt ?? shown[first]?.position ?? position
    const kept = shown.filter(({ id }) => !ids.has(id))
    if (summary) kept.splice(Math.max(0, first), 0, { id: summary.message.id, position, tokens: summary.tokenCount, standsAt })
    shown = kept
  }
}

const definitionOf = ({ type }: ConversationAction) => conversationReducer.definition(type) as Parameters<typeof checkAction>[0]

/** No JSON text of a value has more bytes than this counts: a character takes at most six, a number or word at most 24, as does what stands around a value. */
function isSurelySmaller(action: ConversationAction, limitBytes: number): boolean {
  let left = limitBytes
  const count = (value: unknown): void => {
    left -= 48
    if (left < 0) return
    if (typeof value === 'string') left -= value.length * 6
    else if (Array.isArray(value)) for (const item of value) count(item)
    else if (typeof value === 'object' && value !== null) {
      for (const key in value) {
        left -= key.length * 6
        count(value[key as keyof typeof value])
      }
    }
  }
  count(action)
  return left >= 0
}

function unique(wanted: string, taken: ReadonlySet<string>): string {
  let id = wanted
  for (let n = 2; taken.has(id); n++) id = `${wanted}#${n}`
  return id
}

function rangesOf(positions: readonly number[]): PositionRange[] {
  const ranges: [number, number][] = []
  for (const at of positions) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] + 1 === at) last[1] = at
    else ranges.push([at, at])
  }
  return ranges
}
