import type { Message, OpenedEnvelope, Part } from '@colloquy/core'
import { saidMessages } from './said-messages.ts'

type Speaker = 'system' | 'human' | 'gpt' | 'function_call' | 'observation'

interface Turn {
  readonly from: Speaker
  readonly value: string
}

/**
 * The conversation as one line of ShareGPT training data, `{id, conversations: [{from, value}]}`; lines of several conversations
 * together are a data set. Trainers want the two sides to take turns, so it begins with a person, ends with the model (runs of
 * agents often with a call, such as the one that submits), and words of one side that follow each other are one turn.
 *
 * Losses: what comes before the first person's words (but the system prompt) and after what the model did last; words beside a
 * call, because a turn is either; calls that were never answered, but for those of the last message; files, citations and provider parts; who of several people spoke;
 * statuses, times, usage, models and compactions; redacted and erased messages. Readable reasoning stands before the answer between
 * `<think>` and `</think>`. The definitions of the tools are not in the log.
 */
export function exportShareGpt(envelopes: Iterable<OpenedEnvelope>): string {
  const { transcript, messages } = saidMessages(envelopes)
  const system = messages.filter(({ role }) => role === 'system' || role === 'developer').map(textOf)
  const said = inTurn(turnsOf(messages))
  const conversations = [
    ...(system.length > 0 && said.length > 0 ? [{ from: 'system', value: system.join('\n\n') }] : []),
    ...said,
  ]
  return `${JSON.stringify({ id: transcript.conversationId, conversations })}\n`
}

function turnsOf(messages: readonly Message[]): Turn[] {
  const names = new Map<string, string>()
  const answered = new Set(
    messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'tool_result' ? [part.callId] : []))),
  )
  return messages.flatMap((message): Turn[] => {
    const { role, parts } = message
    const calls = parts.filter((part) => part.type === 'tool_call')
    const results = parts.filter((part) => part.type === 'tool_result')
    const text = textOf(message)
    if (role === 'user' && results.length === 0) return text === '' ? [] : [{ from: 'human', value: text }]
    if (role === 'system' || role === 'developer') return []
    for (const { callId, name } of calls) names.set(callId, name)
    const asked = message === messages.at(-1) ? calls : calls.filter(({ callId }) => answered.has(callId))
    return [
      ...(asked.length > 0 ? [{ from: 'function_call' as const, value: oneOrMany(asked.map(callOf)) }] : []),
      ...(results.length > 0 ? [{ from: 'observation' as const, value: observation(results, names) }] : []),
      ...(calls.length === 0 && role === 'assistant' && text !== ''
        ? [{ from: 'gpt' as const, value: withThoughts(parts, text) }]
        : []),
    ]
  })
}

/**
 * A person or tool and the model by turns. Words of one side that follow each other are joined; a call that nothing came back for,
 * and one that a person spoke over before the model answered, leave no trace.
 */
function inTurn(turns: readonly Turn[]): Turn[] {
  const kept: Turn[] = []
  const lastIs = (speaker: Speaker): boolean => kept.at(-1)?.from === speaker
  const join = (turn: Turn): void => {
    const last = lastIs(turn.from) ? kept.pop() : undefined
    kept.push(last ? { from: turn.from, value: `${last.value}\n\n${turn.value}` } : turn)
  }
  for (const turn of turns) {
    switch (turn.from) {
      case 'human':
        while (lastIs('observation') || lastIs('function_call')) kept.pop()
        join(turn)
        break
      case 'function_call':
        // Words before a call stand beside it, and a turn is either.
        if (lastIs('gpt') || lastIs('function_call')) kept.pop()
        if (kept.length > 0) kept.push(turn)
        break
      case 'observation':
        if (lastIs('function_call')) kept.push(turn)
        break
      case 'gpt':
        if (lastIs('function_call')) kept.pop()
        if (kept.length > 0) join(turn)
        break
      case 'system':
        break
      default:
        turn.from satisfies never
    }
  }
  while (kept.length > 0 && !lastIs('gpt') && !lastIs('function_call')) kept.pop()
  return kept
}

const callOf = ({ name, args }: Extract<Part, { type: 'tool_call' }>) => ({ name, arguments: args.json ?? args.raw })

function observation(results: readonly Extract<Part, { type: 'tool_result' }>[], names: ReadonlyMap<string, string>): string {
  const contents = results.map(({ content }) => content.map(wordsOf).join('\n'))
  if (contents.length === 1) return contents[0] as string
  return JSON.stringify(results.map(({ callId }, index) => ({ name: names.get(callId) ?? 'unknown', content: contents[index] })))
}

const oneOrMany = (values: readonly unknown[]): string => JSON.stringify(values.length === 1 ? values[0] : values)

function withThoughts(parts: readonly Part[], text: string): string {
  const thoughts = parts.flatMap((part) => (part.type === 'reasoning' ? [part.text ?? part.summary?.join('\n\n') ?? ''] : []))
  const said = thoughts.filter((thought) => thought !== '').join('\n\n')
  return said === '' ? text : `<think>\n${said}\n</think>\n\n${text}`
}

const textOf = ({ parts }: Message): string =>
  parts
    .map(wordsOf)
    .filter((words) => words !== '')
    .join('\n\n')

function wordsOf(part: Part): string {
  if (part.type === 'text' || part.type === 'refusal') return part.text
  if (part.type === 'compaction') return part.content ?? ''
  return part.type === 'custom' && typeof part.payload === 'string' ? part.payload : ''
}
