import { expect, test } from 'vitest'
import { foldImported, messagesOf } from './imported.ts'
import { describeRealFiles, rebuiltRecords, textOf } from './real-files.ts'

interface Message {
  readonly type: string
  readonly id: string
  readonly content: string | readonly { readonly type: string; readonly text?: string }[]
  readonly tool_calls?: readonly unknown[]
  readonly additional_kwargs?: { readonly reasoning_content?: string } | null
  readonly usage_metadata?: { readonly input_tokens: number; readonly output_tokens: number } | null
}
interface Constructor {
  readonly kwargs: Message
}

const listIn = (value: unknown): readonly (Message | Constructor)[] =>
  Array.isArray(value) ? (value as Constructor[]) : (value as { values: { messages: Message[] } }).values.messages
const messagesIn = (value: unknown): Message[] => listIn(value).map((each) => ('kwargs' in each ? each.kwargs : each))
const wordsOf = ({ content }: Message): string =>
  typeof content === 'string' ? content : content.map(({ type, text }) => (type === 'text' ? text : '')).join('')
const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0)

describeRealFiles(
  'langgraph',
  'langgraph',
  7,
  (value) => {
    const messages = messagesIn(value)
    const calls = sum(messages.map((message) => message.tool_calls?.length ?? 0))
    return {
      records: messages.length + (Array.isArray(value) ? 0 : 1),
      conversations: 1,
      messages: messages.length,
      calls,
      unanswered: calls - messages.filter(({ type }) => type === 'tool').length,
      input: sum(messages.map(({ usage_metadata: usage }) => usage?.input_tokens ?? 0)),
      output: sum(messages.map(({ usage_metadata: usage }) => usage?.output_tokens ?? 0)),
    }
  },
  (_, read) => {
    test('every message can be put together again from the actions, to the last field', () => {
      const { value, imported } = read()
      expect(rebuiltRecords(imported)).toEqual(listIn(value))
    })

    test('words, reasoning and ids are those of the messages, in their order', () => {
      const { value, imported } = read()
      const said = messagesOf(imported.conversations[0]).map((message) => {
        const results = message.parts.flatMap((part) =>
          part.type === 'tool_result' ? [textOf({ ...message, parts: part.content })] : [],
        )
        const thoughts = message.parts.flatMap((part) => (part.type === 'reasoning' ? [part.text] : []))
        return [message.id, `${textOf(message)}${results.join('')}`, thoughts.join('')]
      })
      expect(said).toEqual(
        messagesIn(value).map((message) => [message.id, wordsOf(message), message.additional_kwargs?.reasoning_content ?? '']),
      )
    })

    test('has the title of the thread', () => {
      const { value, imported } = read()
      const title = Array.isArray(value) ? null : (value as { values: { title: string } }).values.title
      expect(foldImported(imported.conversations[0]).state.lifecycle.title).toBe(title)
    })
  },
)
