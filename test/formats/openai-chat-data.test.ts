import { expect, test } from 'vitest'
import { foldImported, messagesOf, payloadsOf } from './imported.ts'
import { describeRealFiles, rebuiltRecords } from './real-files.ts'

interface Message {
  readonly id?: string
  readonly role: string
  readonly tool_call_id?: string
  readonly tool_calls?: readonly { readonly id: string }[] | null
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null
}
interface Talk {
  readonly traj?: Message[]
  readonly raw_messages?: Message[]
  readonly messages?: Message[]
  readonly response?: {
    readonly choices: readonly { readonly message: Message }[]
    readonly usage: NonNullable<Message['usage']>
  }
}

const talksIn = (value: unknown): Talk[] => (Array.isArray(value) ? value : [value]) as Talk[]
const messagesIn = ({ traj, raw_messages: raw, messages = [] }: Talk): Message[] => traj ?? raw ?? messages
const answersIn = ({ response }: Talk): Message[] => (response?.choices ?? []).map(({ message }) => message)
const allIn = (talk: Talk): Message[] => [...messagesIn(talk), ...answersIn(talk)]
const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0)

describeRealFiles(
  'openai-chat',
  'openai-chat',
  8,
  (value) => {
    const talks = talksIn(value)
    const all = talks.flatMap(allIn)
    const calls = sum(all.map((message) => message.tool_calls?.length ?? 0))
    const usages = [...all.map(({ usage }) => usage), ...talks.map(({ response }) => response?.usage)].filter(
      (usage) => usage != null,
    )
    return {
      // Each of them says something beside its messages.
      records: talks.length + all.length,
      conversations: talks.length,
      messages: all.length,
      calls,
      unanswered: calls - all.filter(({ role }) => role === 'tool').length,
      input: sum(usages.map((usage) => usage.prompt_tokens)),
      output: sum(usages.map((usage) => usage.completion_tokens)),
    }
  },
  (name, read) => {
    test('every message can be put together again from the actions, to the last field', () => {
      const { value, imported } = read()
      const originals = talksIn(value).flatMap((talk) => [...messagesIn(talk), ...(talk.response ? [talk.response] : [])])
      expect(rebuiltRecords(imported)).toEqual(originals)
    })

    test('each result answers the call before it that has its id, although ids repeat', () => {
      const { value, imported } = read()
      for (const [index, talk] of talksIn(value).entries()) {
        const expected: unknown[] = []
        const open: [string, number][] = []
        for (const [place, message] of allIn(talk).entries()) {
          for (const { id } of message.tool_calls ?? []) open.push([id, place])
          if (message.role !== 'tool') continue
          const id = message.tool_call_id ?? message.id
          const at = open.findLastIndex(([callId]) => callId === id)
          const [call] = open.splice(at, 1)
          expected.push({ messageId: `message-${(call?.[1] ?? 0) + 1}`, callId: id, resultMessageId: `message-${place + 1}` })
        }
        const conversation = imported.conversations[index]
        expect(payloadsOf(conversation, 'toolSucceeded')).toEqual(expected)
      }
    })

    if (!name.startsWith('openhands')) return
    test('ends in a call that nobody answered, by the model that the log names', () => {
      const { imported, value } = read()
      const { state } = foldImported(imported.conversations[0])
      const [answer] = answersIn(value as Talk)
      expect(state.tools.open.map(({ callId }) => callId)).toEqual(answer?.tool_calls?.map(({ id }) => id))
      expect(messagesOf(imported.conversations[0]).at(-1)?.model?.id).toMatch(/^litellm_proxy\//)
    })
  },
)
