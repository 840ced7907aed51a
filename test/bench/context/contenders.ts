/** Ways to keep a conversation within a budget: what the model is given at each call. */

import {
  type CompactionPolicy,
  charactersCounter,
  defaultPolicy,
  extractiveSummariser,
  planIfNeeded,
  type Strategy,
} from '@colloquy/context'
import { textMessage, type WorkingMessage } from '@colloquy/core'
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

/**
 * As much of `@langchain/core/messages` as is used here. Its name is held in a variable: it is no dependency of the benches, but a
 * package that `agent` brings along.
 */
interface LangChain {
  readonly SystemMessage: new (fields: object) => LangChainMessage
  readonly HumanMessage: new (fields: object) => LangChainMessage
  readonly AIMessage: new (fields: object) => LangChainMessage
  readonly ToolMessage: new (fields: object) => LangChainMessage
  trimMessages(
    messages: LangChainMessage[],
    options: {
      maxTokens: number
      strategy: 'last'
      includeSystem: boolean
      tokenCounter: (messages: readonly LangChainMessage[]) => number
    },
  ): Promise<readonly LangChainMessage[]>
}
interface LangChainMessage {
  readonly id?: string
}
const langChainMessages = '@langchain/core/messages'
const importLangChain = (): Promise<LangChain> => import(langChainMessages) as Promise<LangChain>

/** `strategy: 'last'` and `includeSystem`, as its documentation shows it for agents; `startOn: 'human'` would leave nothing of a long turn. */
function langChain(budget: number): Contender {
  const all: Shown[] = []
  const converted: LangChainMessage[] = []
  const tokenCounter = (messages: readonly LangChainMessage[]): number =>
    messages.reduce((sum, { id }) => sum + (all[Number(id)]?.tokens ?? 0), 0)
  return {
    add: (message) => void all.push(message),
    async context() {
      const library = await importLangChain()
      for (let index = converted.length; index < all.length; index++)
        converted.push(asLangChain(library, index, all[index] as Shown))
      const trimmed = await library.trimMessages(converted, {
        maxTokens: budget,
        strategy: 'last',
        includeSystem: true,
        tokenCounter,
      })
      return trimmed.flatMap(({ id }) => all[Number(id)] ?? [])
    },
  }
}

function asLangChain(library: LangChain, index: number, { message, text }: Shown): LangChainMessage {
  const fields = { id: String(index), content: text }
  if (message.role === 'user') return new library.HumanMessage(fields)
  if (message.role === 'tool') {
    const result = message.parts.find((part) => part.type === 'tool_result')
    return new library.ToolMessage({ ...fields, tool_call_id: result?.callId ?? '' })
  }
  if (message.role !== 'assistant') return new library.SystemMessage(fields)
  const calls = message.parts.filter((part) => part.type === 'tool_call')
  return new library.AIMessage({
    ...fields,
    tool_calls: calls.map(({ callId, name }) => ({ id: callId, name, args: {}, type: 'tool_call' })),
  })
}
