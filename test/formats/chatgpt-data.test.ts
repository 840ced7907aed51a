import { createEngine, openMemoryLog } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { messagesOf, payloadsOf } from './imported.ts'
import { describeRealFiles, readReal, resolved, textOf } from './real-files.ts'

interface Node {
  readonly parent?: string | null
  readonly children: readonly string[]
  readonly message?: {
    readonly author: { readonly role: string }
    readonly content: { readonly parts: readonly string[] }
    readonly recipient: string
  } | null
}
interface Talk {
  readonly id: string
  readonly current_node: string
  readonly mapping: Readonly<Record<string, Node>>
}

const talksIn = (value: unknown): Talk[] => (Array.isArray(value) ? value : [value]) as Talk[]
const nodesIn = (value: unknown): Node[] => talksIn(value).flatMap(({ mapping }) => Object.values(mapping))
const wordsOf = ({ message }: Node): string => message?.content.parts.join('') ?? ''

describeRealFiles(
  'chatgpt',
  'chatgpt',
  7,
  (value) => {
    const nodes = nodesIn(value)
    return {
      records: talksIn(value).length + nodes.length,
      conversations: nodes.filter(({ children }) => children.length === 0).length,
      messages: nodes.filter((node) => wordsOf(node) !== '').length,
      calls: nodes.filter(({ message }) => message && message.recipient !== 'all').length,
      unanswered: 0,
      input: 0,
      output: 0,
    }
  },
  (_, read) => {
    test('what the app showed is the conversation that is named active: a fork, with what its parents said', async () => {
      const { value, imported } = read()
      for (const { id, current_node: current, mapping } of talksIn(value)) {
        const shown: string[] = []
        for (let at: string | null | undefined = current; at; at = mapping[at]?.parent)
          shown.unshift(wordsOf(mapping[at] as Node))
        await using engine = createEngine({ log: openMemoryLog() })
        await engine.importConversation(imported.conversations)
        const { activeConversation } = (await engine.open(id)).getState().metadata
        const active = await engine.open(typeof activeConversation === 'string' ? activeConversation : id)
        const said = active
          .getState()
          .messages.slice()
          .map((message) =>
            message.parts
              .map((part) =>
                part.type === 'tool_call'
                  ? part.args.raw
                  : part.type === 'tool_result'
                    ? textOf({ ...message, parts: part.content })
                    : part.type === 'text'
                      ? part.text
                      : '',
              )
              .join(''),
          )
        expect(said).toEqual(shown.filter((words) => words !== ''))
      }
    })

    test('every node can be put together again from the actions', () => {
      const { value, imported } = read()
      const messages = new Map(imported.conversations.flatMap(messagesOf).map((message) => [message.id, message]))
      const kept = imported.conversations.flatMap((each) => payloadsOf(each, 'foreignRecordKept')) as {
        recordType: string
        record: unknown
      }[]
      const nodes = kept
        .filter(({ recordType }) => recordType === 'node')
        .map(({ record }) => resolved(record, (id) => messages.get(id)))
      const originals = nodesIn(value).map((node) =>
        Object.fromEntries(Object.entries(node).filter(([key]) => key !== 'children')),
      )
      const byId = (list: readonly unknown[]) => new Map(list.map((node) => [(node as { id: string }).id, node]))
      expect(byId(nodes)).toEqual(byId(originals))
    })
  },
)

const earlier = readReal('chatgpt/ex-regex-branch-earlier-export.json')
const later = readReal('chatgpt/ex-regex-branch.json')

describe.skipIf(earlier === undefined)('one conversation that was exported twice', () => {
  test('is one conversation in the log: the messages of the first export, and the fields that the second knows more', async () => {
    await using engine = createEngine({ log: openMemoryLog() })
    const importText = (content = '') => engine.importConversation(importFile({ source: 'x', content, sha256 }).conversations)
    const [first] = await importText(earlier)
    const [second, fork] = await importText(later)
    expect([second?.conversationId, fork?.conversationId]).toEqual([
      first?.conversationId,
      `${first?.conversationId}~83e1910d-9a73-4030-9d36-085e5caa611f`,
    ])
    const conversation = await engine.open(second?.conversationId ?? '')
    expect(conversation.getState().messages).toHaveLength(2)
    expect(second?.alreadyThere).toBeGreaterThan(0)
    expect((await importText(earlier)).map(({ appended }) => appended)).toEqual([0, 0])
  })
})
