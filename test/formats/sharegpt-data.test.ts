import { openEnvelope } from '@colloquy/core'
import { exporters } from '@colloquy/formats'
import { expect, test } from 'vitest'
import { envelopesOf } from '../support/core-log.ts'
import { actionsOf, foldImported } from './imported.ts'
import { describeRealFiles, rebuiltRecords } from './real-files.ts'

interface Talk {
  readonly id?: string
  readonly conversations?: readonly { readonly from: string; readonly value: string }[]
  readonly messages?: readonly {
    readonly role: string
    readonly content: string | readonly { readonly type: string; readonly value: string }[]
  }[]
}

const turnsIn = (talk: Talk): readonly object[] => talk.conversations ?? talk.messages ?? []
const callsIn = ({ conversations = [], messages = [] }: Talk): number =>
  conversations.filter(({ from }) => from === 'function_call').length +
  messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content)).filter(({ type }) => type === 'tool_call')
    .length

/** Calls of the last answer before the end, or of one whose observation answers fewer calls than it made. */
function unansweredIn(talk: Talk): number {
  let open = 0
  for (const turn of turnsIn(talk) as { from?: string; role?: string; content?: { type: string; value: string }[] }[]) {
    if (turn.from === 'function_call') open += 1
    if (turn.role === 'assistant' && Array.isArray(turn.content))
      open += turn.content.filter(({ type }) => type === 'tool_call').length
    if (turn.from === 'observation') open -= 1
    if (turn.role === 'tool') {
      const answers: unknown = JSON.parse(turn.content?.[0]?.value ?? 'null')
      open -=
        open > 1 && Array.isArray(answers) && answers.length === open && answers.every((each) => each?.content !== undefined)
          ? open
          : 1
    }
  }
  return open
}

describeRealFiles(
  'sharegpt',
  'sharegpt',
  4,
  (value) => {
    const talks = value as Talk[]
    const all = talks.flatMap(turnsIn)
    const calls = talks.reduce((sum, talk) => sum + callsIn(talk), 0)
    return {
      records:
        all.length +
        talks.filter((talk) => Object.keys(talk).some((key) => !['id', 'conversations', 'messages'].includes(key))).length,
      conversations: talks.length,
      messages: all.length,
      calls,
      unanswered: talks.reduce((sum, talk) => sum + unansweredIn(talk), 0),
      input: 0,
      output: 0,
    }
  },
  (_, read) => {
    test('every turn can be put together again from the actions, to the last field', () => {
      const { value, imported } = read()
      expect(rebuiltRecords(imported)).toEqual((value as Talk[]).flatMap(turnsIn))
    })

    test('is ended by the last answer, when that calls nothing', () => {
      const { value, imported } = read()
      for (const [index, talk] of (value as Talk[]).entries()) {
        const last = turnsIn(talk).at(-1) as { from?: string; role?: string; content?: unknown }
        const isAnswer =
          ['gpt', 'assistant'].includes(last.from ?? last.role ?? '') && !JSON.stringify(last).includes('"tool_call"')
        expect(foldImported(imported.conversations[index]).state.turn.current === null).toBe(isAnswer)
      }
    })

    test('is the same training data again when it is exported, where it is words and single calls', () => {
      const { value, imported } = read()
      const exporter = exporters.find(({ id }) => id === 'sharegpt')
      for (const [index, talk] of (value as Talk[]).entries()) {
        if (!talk.conversations || turnsIn(talk).length % 2 === 1) continue
        const envelopes = envelopesOf(actionsOf(imported.conversations[index])).map(openEnvelope)
        const again = JSON.parse(exporter?.export(envelopes) ?? '') as Talk
        const plain = (turns: Talk['conversations']) =>
          turns?.map((turn) => ({ ...turn, value: turn.from === 'function_call' ? JSON.parse(turn.value) : turn.value }))
        expect(plain(again.conversations)).toEqual(plain(talk.conversations))
      }
    })
  },
)
