import { budget } from '@colloquy/context'
import { budgetSet, ColloquyError, type OpenedEnvelope } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { given } from '../../../../test/support/given.ts'
import { type Script, scriptedModel } from '../providers/scripted.ts'
import { circuits } from '../recovery/circuit.ts'
import { defineTool } from '../tools/tool.ts'
import { createToolRegistry } from '../tools/tool-registry.ts'
import { reserveCalls } from './reserve-calls.ts'
import { runTurn } from './run-turn.ts'
import type { HeldCall } from './turn-options.ts'

const typesOf = (stored: readonly OpenedEnvelope[]): string[] => stored.map(({ type }) => type)
const overloaded = () => Object.assign(new Error('Overloaded'), { status: 529, headers: { 'retry-after': '7' } })

/** A tool that must not run twice for one call, and how often it ran. */
function pay() {
  let runs = 0
  const execute = () => {
    runs += 1
    return 'paid'
  }
  return { tools: createToolRegistry([defineTool({ name: 'pay', input: z.strictObject({}), execute })]), runs: () => runs }
}

const payNow = { text: 'I pay.', calls: [{ name: 'pay', args: {} }] }

/** Anthropic's stream of an answer that breaks off: it has counted what it was sent, and one token of what it says. */
const brokenStream = (words: string): Script => ({
  recorded: [
    { type: 'message_start', message: { id: 'msg_1', model: 'claude', usage: { input_tokens: 9, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: words } },
  ]
    .map((payload) => `data: ${JSON.stringify(payload)}\n\n`)
    .join(''),
})

const withBudget = (outputTokens: number) =>
  given([budgetSet({ scope: 'conversation', limits: { outputTokens: { soft: null, hard: outputTokens } } })], {
    middleware: [budget()],
  })

describe('what is held for a call', () => {
  test('counts for an answer that broke off, whatever its provider had counted when it began', async () => {
    const { conversation } = await withBudget(1_200)
    const hooks = { reserve: reserveCalls({ maxOutputTokens: 500 }) }
    let calls = 0
    const model = scriptedModel({
      scripts: () => {
        calls += 1
        return brokenStream('word '.repeat(300))
      },
    })
    const recovery = { sleep: async () => {} }
    await expect(runTurn(conversation, 'Go.', { model, hooks, recovery }).done).rejects.toMatchObject({ code: 'budget_exceeded' })
    expect(calls).toBe(2)
    const { budget: standing } = conversation.getState()
    expect(standing).toMatchObject({ reservations: [], used: { inputTokens: 18, outputTokens: 1_000 } })
  })

  test('counts for an answer that was aborted, which weighs what its own words do', async () => {
    const { conversation } = await withBudget(10_000)
    const model = scriptedModel({
      scripts: [brokenStream('word '.repeat(300))],
      beforeEvent: (event) => (event.type === 'partDelta' ? void turn.abort('enough') : undefined),
    })
    const turn = runTurn(conversation, 'Go.', { model, hooks: { reserve: reserveCalls({ maxOutputTokens: 500 }) } })
    const { outcome, state } = await turn.done
    expect(outcome).toBe('interrupted')
    expect(state.budget).toMatchObject({ reservations: [], used: { inputTokens: 9, outputTokens: 500 } })
    expect(state.messages.at(-1)?.tokenCount).toBeGreaterThan(290)
  })

  test('is not given back when the provider failed in the middle of an answer', async () => {
    const { conversation } = await withBudget(10_000)
    const model = scriptedModel({ scripts: [{ text: 'Half of', breaksWith: overloaded() }, { text: 'Whole.' }] })
    const hooks = { reserve: reserveCalls({ maxOutputTokens: 500 }) }
    const { state } = await runTurn(conversation, 'Go.', { model, hooks, recovery: { sleep: async () => {} } }).done
    expect(state.budget).toMatchObject({ reservations: [], used: { outputTokens: 500 } })
  })

  test('is given back when the call cannot be encoded, and when the turn is aborted before it leaves', async () => {
    const { conversation, stored } = await withBudget(10_000)
    const hooks = { reserve: reserveCalls({ maxOutputTokens: 500 }) }
    let calls = 0
    const scripted = scriptedModel({
      scripts: () => {
        calls += 1
        return { text: 'Never.' }
      },
    })
    const encoder = {
      id: 'none@1',
      encode: () => {
        throw new Error('an image that this API does not take')
      },
    }
    const failed = runTurn(conversation, 'Go.', { model: { ...scripted, encoder }, hooks })
    await expect(failed.done).rejects.toThrow('an image')
    const turn = runTurn(conversation, 'Go.', {
      model: scripted,
      hooks: {
        reserve: async (call, where) => {
          const held = await hooks.reserve(call, where)
          void turn.abort('the user left')
          return held
        },
      },
    })
    expect(await turn.done).toMatchObject({ outcome: 'interrupted', reason: 'the user left' })
    expect(calls).toBe(0)
    expect(conversation.getState().budget).toMatchObject({ reservations: [], used: { modelCalls: 0, outputTokens: 0 } })
    expect(typesOf(await stored()).filter((type) => /^budgetReleased|^modelCalled/.test(type))).toEqual([
      'budgetReleased',
      'budgetReleased',
    ])
  })

  test('and cannot be settled costs no answer: the call is not made again, and its tool runs once', async () => {
    const { conversation } = await given()
    const { tools, runs } = pay()
    let calls = 0
    const model = scriptedModel({
      scripts: () => {
        calls += 1
        return calls === 1 ? payNow : { text: 'Paid.' }
      },
    })
    const away = new ColloquyError('database_unreachable', { problem: 'ECONNREFUSED' } as never)
    const held: HeldCall = { settle: () => Promise.reject(away) }
    const recovery = { sleep: async () => {} }
    const { outcome } = await runTurn(conversation, 'Go.', { model, tools, recovery, hooks: { reserve: async () => held } }).done
    expect([outcome, calls, runs()]).toEqual(['answered', 2, 1])
  })
})

describe('a model whose answers break off behind a call', () => {
  const broken = { ...payNow, breaksWith: overloaded() }
  const policies = { overloaded: { tries: 3, baseMs: 1_000, factor: 2, capMs: 30_000 } }

  test('is waited for as it asks, and out of tries gives way to the next one', async () => {
    const { conversation, stored } = await given()
    const { tools, runs } = pay()
    const waits: number[] = []
    const recovery = { policies, sleep: async (ms: number) => void waits.push(ms), random: () => 0 }
    const other = scriptedModel({ provider: 'other', scripts: [{ text: 'Done.' }] })
    const model = scriptedModel({ scripts: () => broken })
    const breakers = circuits({ failures: 3 })
    const options = { model, tools, recovery, fallbacks: [other], circuits: breakers }
    const { outcome, message, metrics, state } = await runTurn(conversation, 'Go.', options).done
    expect([outcome, message?.model?.provider, runs()]).toEqual(['answered', 'other', 3])
    expect(waits).toEqual([7_000, 7_000])
    expect(metrics).toMatchObject({ modelCalls: 4, retries: 2, toolCalls: 3 })
    expect(breakers.of('scripted', 'stream').state).toBe('open')
    expect(state.tools.open).toEqual([])
    const errors = (await stored()).flatMap(({ type, action }) => (type === 'errorRecorded' ? [action.payload] : []))
    expect(errors).toMatchObject([
      { kind: 'overloaded', attempt: 1, retryInMs: 7_000 },
      { kind: 'overloaded', attempt: 2, retryInMs: 7_000 },
      { kind: 'overloaded', attempt: 3 },
      { details: { fallBackTo: { provider: 'other' } } },
    ])
  })

  test('ends the turn when nobody stands in for it, with all calls answered', async () => {
    const { conversation } = await given()
    const { tools, runs } = pay()
    const recovery = { policies, sleep: async () => {} }
    const turn = runTurn(conversation, 'Go.', { model: scriptedModel({ scripts: () => broken }), tools, recovery })
    await expect(turn.done).rejects.toMatchObject({ status: 529 })
    expect(runs()).toBe(3)
    const { turn: standing, tools: calls, messages } = conversation.getState()
    expect(standing).toMatchObject({ current: null, last: { outcome: 'interrupted' } })
    expect(calls).toMatchObject({ open: [], answered: [], succeeded: 3 })
    expect(messages.slice().filter(({ role }) => role === 'tool')).toHaveLength(3)
  })

  test('is forgiven by a whole answer', async () => {
    const { conversation } = await given()
    const { tools } = pay()
    const scripts = [broken, broken, payNow, broken, broken, { text: 'Done.' }]
    const recovery = { policies, sleep: async () => {} }
    const { outcome } = await runTurn(conversation, 'Go.', { model: scriptedModel({ scripts }), tools, recovery }).done
    expect(outcome).toBe('answered')
  })
})

describe('a circuit that lets one call through', () => {
  const halfOpen = async () => {
    const breakers = circuits({ failures: 1, openMs: 1 })
    const circuit = breakers.of('scripted', 'stream')
    await circuit.run(() => Promise.reject(overloaded())).catch(() => {})
    await expect.poll(() => circuit.state).toBe('open')
    await new Promise((resolve) => setTimeout(resolve, 5))
    return { breakers, circuit }
  }

  test('is not closed by one that a budget refused: nobody was asked', async () => {
    const { conversation } = await withBudget(100)
    const { breakers, circuit } = await halfOpen()
    const hooks = { reserve: reserveCalls({ maxOutputTokens: 500 }) }
    const model = scriptedModel({ scripts: [] })
    const turn = runTurn(conversation, 'Go.', { model, hooks, circuits: breakers })
    await expect(turn.done).rejects.toMatchObject({ code: 'budget_exceeded' })
    expect(circuit.state).toBe('open')
  })

  test('is not closed by one that was aborted while it was answered', async () => {
    const { conversation } = await given()
    const { breakers, circuit } = await halfOpen()
    const model = scriptedModel({
      scripts: [{ text: 'Half of it.' }],
      beforeEvent: (event) => (event.type === 'partDelta' ? void turn.abort() : undefined),
    })
    const turn = runTurn(conversation, 'Go.', { model, circuits: breakers })
    expect((await turn.done).outcome).toBe('interrupted')
    expect(circuit.state).toBe('open')
  })
})
