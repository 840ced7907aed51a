import {
  approvalDecided,
  approvalRequested,
  messageAdded,
  textMessage,
  toolFailed,
  toolRequested,
  toolStarted,
  turnResumed,
  turnStarted,
} from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { given } from '../../../../test/support/given.ts'
import { scriptedModel } from '../providers/scripted.ts'
import { defineTool } from '../tools/tool.ts'
import { createToolRegistry } from '../tools/tool-registry.ts'
import { resumeTurn, runTurn } from './run-turn.ts'
import { turnSoFar } from './turn-so-far.ts'

const call = { messageId: 'm1', callId: 'c1' }
const left = [
  turnStarted({ turnId: 'left' }),
  messageAdded({ message: textMessage('left:input', 'user', 'Go.'), tokenCount: 1 }),
  toolRequested({ ...call, name: 'a', args: { raw: '{}', json: {}, valid: true } }),
  toolStarted({ ...call, attempt: 1, run: 1 }),
  toolFailed({ ...call, kind: 'error', problem: 'no' }),
  toolRequested({ ...call, callId: 'c2', name: 'a', args: { raw: '{}', json: {}, valid: true } }),
]

test('a turn that is resumed has the calls that are left of its limits, however many processes it takes', async () => {
  const log = openMemoryLog()
  let asked = 0
  let runs = 0
  let die = (): void => {}
  const model = scriptedModel({
    scripts: () => {
      asked += 1
      return { calls: [{ name: 'a', args: {} }] }
    },
  })
  // The third call of each process hangs: then it is dead.
  const tools = () => {
    let own = 0
    const execute = () => {
      runs += 1
      own += 1
      return own === 3 ? new Promise(() => die()) : 'done'
    }
    return createToolRegistry([defineTool({ name: 'a', input: z.strictObject({}), idempotent: true, execute })])
  }
  const outcomes: unknown[] = []
  for (let process = 0; process < 5 && outcomes.length === 0; process++) {
    const conversation = await createEngine({ log }).open('c')
    const dead = new Promise<void>((resolve) => {
      die = resolve
    })
    const options = { model, tools: tools(), limits: { modelCalls: 5 } }
    const turn = process === 0 ? runTurn(conversation, 'Go.', options) : await resumeTurn(conversation, options)
    await Promise.race([dead, turn.done.then(({ outcome, metrics }) => outcomes.push(outcome, metrics.modelCalls))])
  }
  expect(outcomes).toEqual(['limit_reached', 0])
  expect(asked).toBe(5)
  // The two that hung ran again, and counted once.
  expect(runs).toBe(7)
})

test('calls of tools that had ended count, and those that are taken up count when they are', async () => {
  const { conversation } = await given(left)
  expect(await turnSoFar(conversation)).toMatchObject({ toolCalls: 1 })
  const tool = defineTool({ name: 'a', input: z.strictObject({}), execute: () => 'done' })
  const options = { tools: createToolRegistry([tool]), limits: { toolCalls: 2 } }
  const model = scriptedModel({ scripts: [{ text: 'Once more.', calls: [{ name: 'a', args: {} }] }] })
  const { state, outcome } = await (await resumeTurn(conversation, { ...options, model })).done
  expect(outcome).toBe('limit_reached')
  const results = state.messages
    .slice()
    .flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'tool_result' ? part.status : [])))
  expect(results.slice(-2)).toEqual(['ok', 'denied'])
})

test('time counts while a process runs the turn, and not while none does', async () => {
  // An envelope a second: what the first run did took five, then nobody did anything until it was allowed, and the second one took two.
  const approval = { ...call, callId: 'c2', approvalId: 'a1' }
  const { conversation } = await given([
    ...left,
    approvalRequested(approval),
    approvalDecided({ ...approval, decision: 'approved' }),
    turnResumed({ turnId: 'left', run: 2 }),
    messageAdded({ message: textMessage('m2', 'assistant', 'I'), tokenCount: 1 }),
    messageAdded({ message: textMessage('m3', 'assistant', 'go on'), tokenCount: 1 }),
  ])
  const timers: number[] = []
  const timer = (_: () => void, ms: number) => {
    timers.push(ms)
    return () => {}
  }
  const model = scriptedModel({ scripts: [{ text: 'Done.' }] })
  const turn = await resumeTurn(conversation, { model, timer, limits: { durationMs: 60_000 } })
  expect((await turn.done).outcome).toBe('answered')
  expect(timers.slice(0, 2)).toEqual([60_000, 53_000])
})
