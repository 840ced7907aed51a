import { expect, test } from 'vitest'
import { messagesOf } from './imported.ts'
import { describeRealFiles, rebuiltRecords, textOf } from './real-files.ts'

interface Log {
  readonly samples: readonly {
    readonly messages: readonly { readonly role: string; readonly content: string }[]
    readonly events: readonly unknown[]
    readonly output: { readonly usage: { readonly input_tokens: number; readonly output_tokens: number } }
    readonly attachments: Readonly<Record<string, string>>
  }[]
}

describeRealFiles(
  'inspect-eval',
  'inspect',
  3,
  (value) => {
    const { samples, ...run } = value as Log
    const sum = (count: (sample: Log['samples'][number]) => number): number =>
      samples.reduce((all, sample) => all + count(sample), 0)
    return {
      records: Object.keys(run).length + sum(({ messages, events }) => 1 + messages.length + events.length),
      conversations: samples.length,
      messages: sum(({ messages }) => messages.length),
      calls: 0,
      unanswered: 0,
      // What the sample says it took: the model that graded it is not in it.
      input: sum(({ output }) => output.usage.input_tokens),
      output: sum(({ output }) => output.usage.output_tokens),
    }
  },
  (_, read) => {
    test('every message can be put together again from the actions, to the last field', () => {
      const { value, imported } = read()
      expect(rebuiltRecords(imported)).toEqual((value as Log).samples.flatMap(({ messages }) => messages))
    })

    test('words are those of the messages, with attachments in their places', () => {
      const { value, imported } = read()
      for (const [index, { messages, attachments }] of (value as Log).samples.entries()) {
        const words = messages.map(({ content }) => attachments[content.replace('attachment://', '')] ?? content)
        expect(messagesOf(imported.conversations[index]).map(textOf)).toEqual(words)
      }
    })
  },
)
