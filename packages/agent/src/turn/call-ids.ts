import type { Part } from '@colloquy/core'
import type { StreamEvent } from '@colloquy/formats'
import type { ToolCallPart } from '../tools/run-call.ts'

/** Of an id; and of one to which a number is put. */
const longestId = 200
const longestStem = 190

/** The ids of the calls in one answer. */
export interface CallIds {
  /** The event with ids that the log can hold, each of which there is once in the answer. */
  inEvent<Event extends StreamEvent>(event: Event): Event
  /** The part as it was told when it was done. */
  inAnswer(part: Part): Part
}

/**
 * Calls go by the ids that the model gave them. Some servers give none, long ones, or one id to several calls of an answer: those get
 * another one, under which their results are sent back too.
 */
export function createCallIds(): CallIds {
  const taken = new Set<string>()
  const started = new Map<number, { readonly given: string; readonly id: string }>()
  /** By identity: a decoder hands out the part that is done again in its answer. */
  const renamed = new Map<Part, ToolCallPart>()

  const nameOf = (given: string): string => {
    const isUsable = given.length >= 1 && given.length <= longestId
    const stem = given === '' ? 'call' : given.slice(0, longestStem)
    let id = isUsable ? given : stem
    for (let number = 2; taken.has(id); number++) id = `${stem}_${number}`
    taken.add(id)
    return id
  }

  return {
    inEvent: <Event extends StreamEvent>(event: Event): Event => {
      if (event.type === 'partStarted' && event.kind === 'tool_call' && event.callId !== undefined) {
        const id = nameOf(event.callId)
        started.set(event.part, { given: event.callId, id })
        return id === event.callId ? event : { ...event, callId: id }
      }
      if (event.type !== 'partDone' || event.value.type !== 'tool_call') return event
      const { callId, raw: _, ...part } = event.value
      const before = started.get(event.part)
      const id = before?.given === callId ? before.id : nameOf(callId)
      // Calls that the provider runs have their results in its answer, by its id.
      if (id === callId || part.executor.kind !== 'client') return event
      const value = { ...part, callId: id }
      renamed.set(event.value, value)
      return { ...event, value }
    },
    inAnswer: (part) => renamed.get(part) ?? part,
  }
}
