import type { Message } from '@colloquy/core'
import { type Entry, isCall, isResult, type ToolCall, type ToolResult } from './parts.ts'

export interface Pairs {
  /** The parts of each message, in order; results that answer a call know it, and so do approvals. */
  readonly entries: readonly (readonly Entry[])[]
  readonly resultOf: (call: Entry) => Entry<ToolResult> | undefined
}

/**
 * Calls and the results that answer them. A result belongs to the nearest earlier call of its id that has none yet, in the message
 * that it names when it names one: ids repeat in real conversations. The first result counts; a later one has no call. An approval
 * is about the nearest earlier call of its id.
 */
export function pairCalls(messages: readonly Message[]): Pairs {
  const open = new Map<string, Entry<ToolCall>[]>()
  const latest = new Map<string, Entry<ToolCall>>()
  const results = new Map<Entry, Entry<ToolResult>>()

  const takeCall = ({ callId, callMessageId }: ToolResult): Entry<ToolCall> | undefined => {
    const calls = open.get(callId) ?? []
    const named = callMessageId === undefined ? -1 : calls.findLastIndex(({ message }) => message.id === callMessageId)
    return calls.splice(named < 0 ? calls.length - 1 : named, 1)[0]
  }

  const paired = (entry: Entry): Entry => {
    if (isCall(entry)) {
      const { callId } = entry.part
      latest.set(callId, entry)
      const calls = open.get(callId)
      if (calls === undefined) open.set(callId, [entry])
      else calls.push(entry)
    }
    if (entry.part.type === 'approval') {
      const call = latest.get(entry.part.callId)
      return call === undefined ? entry : { ...entry, call }
    }
    if (!isResult(entry)) return entry
    const call = takeCall(entry.part)
    if (call === undefined) return entry
    const result = { ...entry, call }
    results.set(call, result)
    return result
  }

  const entries = messages.map((message) => message.parts.map((part, index) => paired({ part, message, index })))
  return { entries, resultOf: (call) => results.get(call) }
}
