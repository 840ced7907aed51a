/** The smallest things a compaction can be made with, and conversations to make them of. */

import type { Strategy } from '@colloquy/context'
import {
  type Action,
  contextCompacted,
  type Message,
  messageAdded,
  type Part,
  type Summariser,
  type SummaryRequest,
  textMessage,
  toolRequested,
} from '@colloquy/core'

const summaryMaxTokens = 20

/** The oldest messages leave until the rest fits, calls with their results; what is pinned or open stays. */
export const oldest: Strategy = {
  name: 'oldest',
  plan({ messages, pinned, openCalls, targetTokens, instructions }) {
    const open = new Set(openCalls.map(({ messageId }) => messageId))
    let tokens = messages.reduce((sum, m) => sum + m.tokenCount, 0)
    if (tokens <= targetTokens) return { reason: 'within_target' }
    if (messages.length < 3) return { reason: 'too_few_messages' }
    const covered: string[] = []
    for (const [index, m] of messages.entries()) {
      if (tokens + summaryMaxTokens <= targetTokens && !hasResult(m)) break
      if (index === messages.length - 1 || pinned.has(m.id) || m.role === 'system' || open.has(m.id)) continue
      covered.push(m.id)
      tokens -= m.tokenCount
    }
    if (covered.length === 0) return { reason: 'nothing_removable' }
    const request = { messages: messages.filter((m) => covered.includes(m.id)), maxTokens: summaryMaxTokens }
    return { covered, summary: { ...request, ...(instructions !== undefined && { instructions }) }, preserved: ['kept'] }
  },
}

/** The same without a summary. */
export const forgetting: Strategy = {
  name: 'forgetting',
  plan(input) {
    const plan = oldest.plan(input)
    return 'reason' in plan ? plan : { ...plan, summary: null }
  },
}

const hasResult = (m: Message): boolean => m.parts.some(({ type }) => type === 'tool_result')

/** A summariser that says how much it read, and remembers what. */
export function countingSummariser(
  options: { readonly answer?: (request: SummaryRequest) => ReturnType<Summariser['summarise']> } = {},
): Summariser & { readonly requests: readonly SummaryRequest[] } {
  const requests: SummaryRequest[] = []
  return {
    id: 'counting',
    version: '1',
    requests,
    async summarise(request) {
      requests.push(request)
      return options.answer ? options.answer(request) : { text: `${request.messages.length} messages` }
    },
  }
}

/** A summariser that answers when it is told to. */
export function waitingSummariser() {
  let answer: (text: string) => void = () => {}
  let refuse: (error: Error) => void = () => {}
  let called: () => void = () => {}
  const calls: SummaryRequest[] = []
  const whenCalled = new Promise<void>((resolve) => {
    called = resolve
  })
  const summariser: Summariser = {
    id: 'waiting',
    version: '1',
    summarise(request) {
      calls.push(request)
      called()
      return new Promise((resolve, reject) => {
        answer = (text) => resolve({ text })
        refuse = reject
      })
    },
  }
  return { summariser, calls, whenCalled, answer: (text: string) => answer(text), refuse: (error: Error) => refuse(error) }
}

/** Messages m<from> to m<to>, user and assistant in turns, of so many tokens each. */
export function talk(from: number, to: number, tokenCount = 10): Action[] {
  return Array.from({ length: to - from + 1 }, (_, i) => {
    const n = from + i
    return messageAdded({ message: textMessage(`m${n}`, n % 2 === 1 ? 'user' : 'assistant', `words of m${n}`), tokenCount })
  })
}

export const spoken = (id: string, role: Message['role'], parts: readonly Part[], tokenCount = 10): Action =>
  messageAdded({ message: { v: 1, id, role, parts: [...parts] }, tokenCount })

export const toolCall = (callId: string): Part => ({
  type: 'tool_call',
  callId,
  name: 'search',
  args: { raw: '{}', json: {}, valid: true },
  executor: { kind: 'client' },
})

export const toolResult = (callId: string): Part => ({
  type: 'tool_result',
  callId,
  status: 'ok',
  content: [{ type: 'text', text: `found ${callId}` }],
})

/** A call that runs. */
export const openCall = (messageId: string, callId: string): Action[] => [
  spoken(messageId, 'assistant', [toolCall(callId)]),
  toolRequested({ messageId, callId, name: 'search' }),
]

export const compactions = (actions: readonly { readonly type: string }[]): number =>
  actions.filter(({ type }) => type === contextCompacted.type).length
