import { budget } from '@colloquy/context'
import {
  budgetSet,
  type ConversationState,
  type JsonObject,
  messageAdded,
  textMessage,
  toolRequested,
  toolStarted,
  toolSucceeded,
  turnStarted,
} from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { given } from '../../../../test/support/given.ts'
import { scriptedModel } from '../providers/scripted.ts'
import { defineTool } from '../tools/tool.ts'
import { createToolRegistry } from '../tools/tool-registry.ts'
import { resumeTurn, runTurn } from './run-turn.ts'

const words = 'word '.repeat(2_000)
let runs = 0
const read = defineTool({
  name: 'read',
  input: z.strictObject({}),
  execute: () => {
    runs += 1
    return words
  },
})
const tools = createToolRegistry([read])
const readNow = (count = 1) => ({ text: 'I read.', calls: Array.from({ length: count }, () => ({ name: 'read', args: {} })) })

const textsOf = (state: ConversationState): string[] =>
  state.messages
    .slice()
    .flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'tool_result' ? part.content : [])))
    .map((part) => (part.type === 'text' ? part.text : part.type))

test('a result that is larger than a message may be is cut, and the turn goes on', async () => {
  const { conversation } = await given([], { middleware: [budget({ limitMessageTokens: 500 })] })
  runs = 0
  const model = scriptedModel({ scripts: [readNow(2), { text: 'Done.' }] })
  const { outcome, state } = await runTurn(conversation, 'Go.', { model, tools }).done
  expect([outcome, runs]).toEqual(['answered', 2])
  const cut = textsOf(state)
  expect(cut).toHaveLength(2)
  for (const text of cut) expect(text).toMatch(/^word word [^]* characters are left out [^]* word $/)
  const [holder] = state.messages.slice().filter(({ role }) => role === 'tool')
  expect(holder?.tokenCount).toBeGreaterThan(250)
  expect(holder?.tokenCount).toBeLessThanOrEqual(500)
})

test('where a conversation has no room for a part of it, a word stands for a result', async () => {
  const { conversation } = await given([], { middleware: [budget({ limitTokens: 62 })] })
  const model = scriptedModel({
    scripts: [
      { ...readNow(), usage: { input: 1, output: 20 } },
      { text: 'OK', usage: { input: 1, output: 1 } },
    ],
  })
  const { outcome, state } = await runTurn(conversation, 'Go.', { model, tools }).done
  expect(outcome).toBe('answered')
  expect(textsOf(state)).toEqual(['[10000 characters are left out: there is no room for them]'])
})

test('a turn whose messages a budget refuses is closed, and another one may begin when there is room', async () => {
  const { conversation, stored } = await given([], { middleware: [budget()] })
  const limit = (hard: number) => budgetSet({ scope: 'conversation', limits: { messageTokens: { soft: null, hard } } })
  await conversation.dispatch(limit(40))
  const model = scriptedModel({ scripts: [{ ...readNow(), usage: { input: 1, output: 30 } }] })
  await expect(runTurn(conversation, 'Go.', { model, tools }).done).rejects.toMatchObject({ code: 'budget_exceeded' })
  const { turn, tools: calls, messages } = conversation.getState()
  expect(turn).toMatchObject({ current: null, last: { outcome: 'interrupted' } })
  expect(calls).toMatchObject({ open: [], answered: [], requested: 1, succeeded: 1 })
  expect(messages.slice().map(({ role }) => role)).toEqual(['user', 'assistant'])
  expect((await stored()).at(-1)?.type).toBe('turnInterrupted')

  await conversation.dispatch(limit(10_000))
  let sent: JsonObject = {}
  const next = scriptedModel({
    scripts: (body) => {
      sent = body
      return { text: 'Done.' }
    },
  })
  expect((await runTurn(conversation, 'Again.', { model: next, tools }).done).outcome).toBe('answered')
  expect(JSON.stringify(sent)).toContain('No result was recorded for this call.')
})

test('what a dead process left is closed by who interrupts or resumes it, although a budget takes no message', async () => {
  const call = { messageId: 'm1', callId: 'c1' }
  const args = { raw: '{}', json: {}, valid: true }
  const left = [
    turnStarted({ turnId: 'left' }),
    messageAdded({ message: textMessage('left:input', 'user', 'Go.'), tokenCount: 90 }),
    toolRequested({ ...call, name: 'read', args }),
    toolStarted({ ...call, attempt: 1, run: 1 }),
    toolRequested({ ...call, callId: 'c2', name: 'read', args }),
    toolStarted({ ...call, callId: 'c2', attempt: 1, run: 1 }),
    toolSucceeded({
      ...call,
      callId: 'c2',
      result: { type: 'tool_result', callId: 'c2', callMessageId: 'm1', status: 'ok', content: [{ type: 'text', text: words }] },
    }),
  ]
  const model = () => scriptedModel({ scripts: [{ text: 'OK', usage: { input: 1, output: 1 } }] })
  for (const whenBusy of ['interrupt', 'resume'] as const) {
    const { log, stored } = await given(left)
    const engine = createEngine({ log, middleware: [budget({ limitTokens: 100 })] })
    const conversation = await engine.open('c')
    if (whenBusy === 'resume') {
      const resumed = await resumeTurn(conversation, { model: model(), tools })
      await expect(resumed.done).rejects.toMatchObject({ code: 'budget_exceeded' })
    }
    const { outcome, state } = await runTurn(conversation, 'Hi', { model: model(), tools, whenBusy: 'interrupt' }).done
    expect(outcome, whenBusy).toBe('answered')
    expect(state.tools, whenBusy).toMatchObject({ open: [], answered: [], failed: 1, succeeded: 1 })
    const ends = (await stored()).flatMap(({ type, action }) => (type === 'toolFailed' ? [action.payload] : []))
    expect(ends, whenBusy).toMatchObject([{ callId: 'c1', kind: 'outcome_unknown', result: { status: 'unknown' } }])
  }
})
