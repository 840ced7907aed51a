import { type Action, conversationStarted, type Message, messageAdded, messageRedacted, openEnvelope } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { exchangeList, shareGptList } from '../../../../test/formats/app-fixtures.ts'
import { actionsOf, messagesOf } from '../../../../test/formats/imported.ts'
import { envelopesOf, sha256 } from '../../../../test/support/core-log.ts'
import { importFile } from '../importers/import-file.ts'
import { exportAnthropicMessages } from './export-anthropic-messages.ts'
import { exportOpenAiChat } from './export-openai-chat.ts'
import { exportShareGpt } from './export-share-gpt.ts'
import { exporters } from './exporters.ts'

const opened = (actions: readonly Action[]) => envelopesOf(actions).map(openEnvelope)
const importValue = (value: unknown) => importFile({ source: 'x', content: JSON.stringify(value), sha256 }).conversations
const text = (words: string) => ({ type: 'text' as const, text: words })
const say = (role: Message['role'], ...parts: Message['parts']) => ({ role, parts })
const call = (callId: string, name = 'search') => ({
  type: 'tool_call' as const,
  callId,
  name,
  args: { raw: '{"q": 1}', json: { q: 1 }, valid: true },
  executor: { kind: 'client' as const },
})
const result = (callId: string, words: string) => ({
  type: 'tool_result' as const,
  callId,
  status: 'ok' as const,
  content: [text(words)],
})
const actionsFor = (...messages: readonly Pick<Message, 'role' | 'parts'>[]): Action[] =>
  messages.map((message, index) => messageAdded({ message: { v: 1, id: `m${index}`, ...message }, tokenCount: 1 }))

const talk = actionsFor(
  say('system', text('Be brief.')),
  say('user', text('Find it')),
  say('assistant', { type: 'reasoning', text: 'I search.', redacted: false }, text('One moment.'), call('c1')),
  say('tool', result('c1', 'found')),
  say('assistant', { type: 'reasoning', text: 'There.', redacted: false }, text('Here it is.')),
)

test('exporters have ids of their own and say what they are for', () => {
  expect(new Set(exporters.map(({ id }) => id)).size).toBe(exporters.length)
  for (const { describe: about, extension } of exporters) {
    expect(about.length).toBeGreaterThan(20)
    expect(extension).toMatch(/^[a-z]+$/)
  }
})

test.each(exporters.map((exporter) => [exporter.id, exporter] as const))(
  '%s writes no words of a redacted message, and anything of nothing',
  (_, exporter) => {
    const envelopes = opened([
      conversationStarted({}),
      ...talk,
      messageRedacted({ messageId: 'm1' }),
      messageRedacted({ messageId: 'm4' }),
    ])
    expect(exporter.export(envelopes)).not.toMatch(/Find it|Here it is/)
    expect(typeof exporter.export([])).toBe('string')
  },
)

describe('exportOpenAiChat', () => {
  test('gives messages that the API takes', () => {
    expect(JSON.parse(exportOpenAiChat(opened(talk)))).toEqual({
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Find it' },
        {
          role: 'assistant',
          content: 'One moment.',
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'search', arguments: '{"q": 1}' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: 'found' },
        { role: 'assistant', content: 'Here it is.' },
      ],
    })
  })

  test('closes a call that was never answered', () => {
    const { messages } = JSON.parse(exportOpenAiChat(opened(actionsFor(say('user', text('Hi')), say('assistant', call('c1'))))))
    expect(messages.at(-1)).toMatchObject({ role: 'tool', tool_call_id: 'c1' })
  })
})

describe('exportAnthropicMessages', () => {
  test('gives a conversation that came from there back as it was sent', () => {
    const [conversation] = importValue(exchangeList.slice(0, 2))
    const { system, messages } = JSON.parse(exportAnthropicMessages(opened(actionsOf(conversation))))
    expect(JSON.stringify(system)).toContain('Be brief.')
    expect(messages.slice(0, 3)).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Weather in Bonn?' }] },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'I look it up.', signature: 'c2ln' },
          { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Bonn' }, caller: { type: 'direct' } },
        ],
      },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'Rain' }] },
    ])
  })
})

describe('exportShareGpt', () => {
  const conversationsOf = (...messages: readonly Pick<Message, 'role' | 'parts'>[]) =>
    JSON.parse(exportShareGpt(opened(actionsFor(...messages)))).conversations

  test('is one line in which person and model take turns, thoughts before the answer', () => {
    const line = exportShareGpt(opened(talk))
    expect(line.match(/\n/g)).toHaveLength(1)
    expect(JSON.parse(line)).toEqual({
      id: 'c1',
      conversations: [
        { from: 'system', value: 'Be brief.' },
        { from: 'human', value: 'Find it' },
        { from: 'function_call', value: '{"name":"search","arguments":{"q":1}}' },
        { from: 'observation', value: 'found' },
        { from: 'gpt', value: '<think>\nThere.\n</think>\n\nHere it is.' },
      ],
    })
  })

  test('begins with a person, ends with the model, and joins what one side says in a row', () => {
    expect(
      conversationsOf(
        say('assistant', text('Hello!')),
        say('user', text('One')),
        say('user', text('and two')),
        say('assistant', text('Three')),
        say('assistant', text('and four')),
        say('user', text('Bye')),
      ),
    ).toEqual([
      { from: 'human', value: 'One\n\nand two' },
      { from: 'gpt', value: 'Three\n\nand four' },
    ])
  })

  test('leaves no trace of a call that nothing came back for, or that a person spoke over', () => {
    expect(conversationsOf(say('user', text('Go')), say('assistant', call('c1')), say('assistant', text('Gone')))).toEqual([
      { from: 'human', value: 'Go' },
      { from: 'gpt', value: 'Gone' },
    ])
    expect(
      conversationsOf(
        say('user', text('Go')),
        say('assistant', call('c1')),
        say('tool', result('c1', 'x')),
        say('user', text('Stop')),
        say('assistant', text('Stopped')),
      ),
    ).toEqual([
      { from: 'human', value: 'Go\n\nStop' },
      { from: 'gpt', value: 'Stopped' },
    ])
  })

  test('ends with the last call of a run that ends with one', () => {
    const run = [
      say('user', text('Go')),
      say('assistant', text('I look.'), call('c1', 'look')),
      say('tool', result('c1', 'x')),
      say('assistant', call('c2', 'submit')),
    ]
    const looked = [
      { from: 'human', value: 'Go' },
      { from: 'function_call', value: '{"name":"look","arguments":{"q":1}}' },
    ]
    expect(conversationsOf(...run)).toEqual([
      ...looked,
      { from: 'observation', value: 'x' },
      { from: 'function_call', value: '{"name":"submit","arguments":{"q":1}}' },
    ])
    expect(conversationsOf(...run.slice(0, 3))).toEqual(looked)
  })

  test('two calls of one answer are a list, and so are their results; both are read again as such', () => {
    const said = [
      say('user', text('Both')),
      say('assistant', call('a', 'f'), call('b', 'g')),
      say('tool', result('a', '1'), result('b', '2')),
      say('assistant', text('Done')),
    ]
    const line = exportShareGpt(opened(actionsFor(...said)))
    expect(JSON.parse(line).conversations.slice(1, 3)).toEqual([
      { from: 'function_call', value: '[{"name":"f","arguments":{"q":1}},{"name":"g","arguments":{"q":1}}]' },
      { from: 'observation', value: '[{"name":"f","content":"1"},{"name":"g","content":"2"}]' },
    ])
    const [again] = importFile({ source: 'x', content: line, sha256 }).conversations
    expect(messagesOf(again).map(({ role, parts }) => [role, parts.length])).toEqual([
      ['user', 1],
      ['assistant', 2],
      ['tool', 2],
      ['assistant', 1],
    ])
  })

  test('of a conversation that was imported from there says the same again', () => {
    const [first] = importValue([{ conversations: shareGptList[0]?.conversations?.filter(({ value }) => value !== 'second') }])
    const again = JSON.parse(exportShareGpt(opened(actionsOf(first))))
    expect(again.conversations.map(({ from }: { from: string }) => from)).toEqual([
      'system',
      'human',
      'function_call',
      'observation',
      'gpt',
    ])
  })

  test('without a word of a person is empty', () => {
    expect(conversationsOf(say('system', text('x')), say('assistant', text('y')))).toEqual([])
  })
})
