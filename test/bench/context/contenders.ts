/** Ways to keep a conversation within a budget: what the model is given at each call. */

import {
  type CompactionPolicy,
  charactersCounter,
  defaultPolicy,
  extractiveSummariser,
  planIfNeeded,
  type Strategy,
} from '@colloquy/context'
import { type Message, textMessage, type WorkingMessage } from '@colloquy/core'
import { AIMessage, type BaseMessage, HumanMessage, SystemMessage, ToolMessage, trimMessages } from '@langchain/core/messages'
import { type Shown, shown } from './transcripts.ts'

export interface Contender {
  add(message: Shown): void
  /** What the next call is given. */
  context(): Promise<readonly Shown[]>
}

export const contenders = {
  'Colloquy, default strategy': (budget: number, strategy: Strategy) => colloquy(budget, strategy),
  'sliding window': (budget: number) => slidingWindow(budget),
  'LangChain trimMessages': (budget: number) => langChain(budget),
  'first and last': (budget: number) => firstAndLast(budget),
} as const

/** The default policy with this budget as the window, and the summariser that needs no model. */
function colloquy(budget: number, strategy: Strategy): Contender {
  const policy: CompactionPolicy = { ...defaultPolicy, maxContextTokens: budget, leastTokens: 0 }
  const summariser = extractiveSummariser({ counter: charactersCounter })
  let working: { shown: Shown; message: WorkingMessage }[] = []
  let position = 0
  const entry = (shown: Shown, standsAt?: number) => {
    position += 1
    const message = { ...shown.message, position, tokenCount: shown.tokens, ...(standsAt !== undefined && { standsAt }) }
    return { shown, message: Object.freeze(message) }
  }
  return {
    add: (message) => void working.push(entry(message)),
    async context() {
      const messages = working.map(({ message }) => message)
      const plan = planIfNeeded({ messages, pinned: new Set(), openCalls: [], counter: charactersCounter }, strategy, policy)
      if (plan !== null && 'covered' in plan) {
        const covered = new Set(plan.covered)
        const at = working.findIndex(({ message }) => covered.has(message.id))
        const first = working[at]?.message
        const kept = working.filter(({ message }) => !covered.has(message.id))
        if (plan.summary) {
          const { text } = await summariser.summarise(plan.summary)
          const summary = shown(Object.freeze(textMessage(`summary ${position}`, 'user', text)))
          kept.splice(at, 0, entry(summary, first?.standsAt ?? first?.position))
        }
        working = kept
      }
      return working.map(({ shown }) => shown)
    },
  }
}

/** The newest messages that fit. */
function slidingWindow(budget: number): Contender {
  const all: Shown[] = []
  return { add: (message) => void all.push(message), context: () => Promise.resolve(newestThatFit(all, budget)) }
}

/** Instructions and the first words of the user, then the newest messages that fit. */
function firstAndLast(budget: number): Contender {
  const all: Shown[] = []
  return {
    add: (message) => void all.push(message),
    context() {
      const firstUser = all.findIndex(({ message }) => message.role === 'user')
      const head = all.slice(0, firstUser + 1).filter(({ tokens }) => tokens < budget / 2)
      const tokens = head.reduce((sum, m) => sum + m.tokens, 0)
      return Promise.resolve([...head, ...newestThatFit(all.slice(firstUser + 1), budget - tokens)])
    },
  }
}

function newestThatFit(all: readonly Shown[], budget: number): readonly Shown[] {
  let tokens = 0
  let from = all.length
  while (from > 0 && tokens + (all[from - 1]?.tokens ?? 0) <= budget) {
    from -= 1
    tokens += all[from]?.tokens ?? 0
  }
  return all.slice(from)
}

/** `strategy: 'last'` and `includeSystem`, as its documentation shows it for agents; `startOn: 'human'` would leave nothing of a long turn. */
function langChain(budget: number): Contender {
  const all: BaseMessage[] = []
  const known = new Map<string, Shown>()
  const tokenCounter = (messages: BaseMessage[]): number =>
    messages.reduce((sum, m) => sum + (known.get(m.id ?? '')?.tokens ?? 0), 0)
  return {
    add(message) {
      const id = String(all.length)
      known.set(id, message)
      all.push(asLangChain(id, message))
    },
    async context() {
      const trimmed = await trimMessages(all, { maxTokens: budget, strategy: 'last', includeSystem: true, tokenCounter })
      return trimmed.flatMap((m) => known.get(m.id ?? '') ?? [])
    },
  }
}

function asLangChain(id: string, { message, text }: Shown): BaseMessage {
  const results = message.parts.filter((part) => part.type === 'tool_result')
  const calls = message.parts.filter((part) => part.type === 'tool_call')
  switch (message.role satisfies Message['role']) {
    case 'system':
    case 'developer':
      return new SystemMessage({ id, content: text })
    case 'assistant':
      return new AIMessage({
        id,
        content: text,
        tool_calls: calls.map(({ callId, name }) => ({ id: callId, name, args: {}, type: 'tool_call' as const })),
      })
    case 'tool':
      return new ToolMessage({ id, content: text, tool_call_id: results[0]?.callId ?? '' })
    case 'user':
      return new HumanMessage({ id, content: text })
  }
}
