import { budget, type ModelCallSummary, modelCalls, modelInput } from '@colloquy/context'
import {
  approvalDecided,
  budgetSet,
  type ConversationState,
  type Message,
  messageAdded,
  type OpenedEnvelope,
  textMessage,
  toolSucceeded,
  turnStarted,
} from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { given } from '../../../../test/support/given.ts'
import { scriptedModel } from '../providers/scripted.ts'
import { circuits } from '../recovery/circuit.ts'
import { defineTool, type Tool } from '../tools/tool.ts'
import { createToolRegistry } from '../tools/tool-registry.ts'
import { activeTurns } from './active-turns.ts'
import type { TurnPart } from './delta-lane.ts'
import { reserveCalls } from './reserve-calls.ts'
import { runTurn } from './run-turn.ts'
import type { TurnOptions } from './turn-options.ts'

const text = z.strictObject({ text: z.string() })
const echo = defineTool({ name: 'echo', input: text, execute: ({ text }) => text })

const typesOf = (stored: readonly OpenedEnvelope[]): string[] => stored.map(({ type }) => type)
const wordsOf = ({ parts }: Pick<Message, 'parts'>): string =>
  parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
const resultsIn = (state: ConversationState) =>
  state.messages.slice().flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'tool_result' ? [part] : [])))
const textsOf = (state: ConversationState): string[] =>
  resultsIn(state).map(({ content }) => content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join(''))

const onceOnly = { tries: 1, baseMs: 0, factor: 1, capMs: 0 }

/** Until somebody says so, or the signal aborts. */
function gate() {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

test('a turn without tools is the input, what is sent, and in one command the answer, what it took, and its end', async () => {
  const { conversation, stored } = await given()
  const model = scriptedModel({ scripts: [{ text: 'It counts days in local time.', usage: { input: 12, output: 7 } }] })
  const turn = runTurn(conversation, 'Why is the test red?', { model })
  const { outcome, content, state, position, metrics } = await turn.done
  expect(outcome).toBe('answered')
  expect(content).toEqual([{ type: 'text', text: 'It counts days in local time.' }])
  expect(typesOf(await stored())).toEqual([
    'turnStarted',
    'messageAdded',
    'modelCalled',
    'messageAdded',
    'usageRecorded',
    'turnEnded',
  ])
  expect(state.messages.slice().map(({ role, tokenCount }) => [role, tokenCount])).toEqual([
    ['user', 10],
    ['assistant', 7],
  ])
  expect(position).toBe(6)
  expect(metrics).toMatchObject({ modelCalls: 1, retries: 0, toolCalls: 0, usage: { input: 12, output: 7 } })
  expect(state.turn).toMatchObject({ current: null, last: { outcome: 'ended' } })
})

test('what is streamed is numbered, and who comes late reads on from a chunk', async () => {
  const { conversation } = await given()
  const middle = gate()
  const said = 'x'.repeat(200)
  let deltas = 0
  const model = scriptedModel({
    scripts: [{ text: said }],
    beforeEvent: (event) => (event.type === 'partDelta' && ++deltas === 4 ? middle.opened : undefined),
  })
  const turn = runTurn(conversation, 'Go.', { model })
  const all: TurnPart[] = []
  const rest: TurnPart[] = []
  turn.parts$.subscribe((part) => {
    all.push(part)
    if (all.length !== 5) return
    turn.partsFrom(4).subscribe((late) => rest.push(late))
    middle.open()
  })
  await turn.done
  expect(all.map(({ chunk }) => chunk)).toEqual(all.map((_, index) => index + 1))
  expect(rest).toEqual(all.slice(3))
  expect(all.map((part) => (part.type === 'partDelta' && 'text' in part.delta ? part.delta.text : '')).join('')).toBe(said)
  expect(all.at(-1)?.type).toBe('answerEnded')
})

test('what the buffer has lost is told as missed', async () => {
  const { conversation } = await given()
  const model = scriptedModel({ scripts: [{ text: 'x'.repeat(1_000) }] })
  const turn = runTurn(conversation, 'Go.', { model, lane: { chunks: 5 } })
  await turn.done
  const parts: TurnPart[] = []
  turn.partsFrom(2).subscribe((part) => parts.push(part))
  expect(parts).toHaveLength(6)
  expect(parts[0]).toMatchObject({ type: 'missed', from: 2, to: (parts[1]?.chunk ?? 0) - 1 })
})

test('tools begin while the model talks, end in any order, and are put back in the order of their calls', async () => {
  const { conversation, stored } = await given()
  const talking = gate()
  const slow = gate()
  const ran: string[] = []
  const tools = createToolRegistry([
    defineTool({
      name: 'slow',
      input: z.strictObject({}),
      execute: async () => {
        ran.push('slow')
        await slow.opened
        return 'slow is done'
      },
    }),
    defineTool({
      name: 'fast',
      input: z.strictObject({}),
      execute: () => {
        ran.push('fast')
        return 'fast is done'
      },
    }),
  ])
  const model = scriptedModel({
    scripts: [
      {
        calls: [
          { name: 'slow', args: {} },
          { name: 'fast', args: {} },
        ],
      },
      { text: 'Both are done.' },
    ],
    // The stream goes on only when the first tool runs.
    beforeEvent: (event) => (event.type === 'answerStopped' ? talking.opened : undefined),
  })
  const turn = runTurn(conversation, 'Go.', { model, tools })
  conversation.envelopes$.subscribe(({ action }) => {
    if (action.type === 'toolSucceeded') talking.open()
    // When the turn, too, has heard that the answer is stored.
    if (action.type === 'usageRecorded') setTimeout(slow.open)
  })
  const { state, metrics } = await turn.done
  expect(ran).toEqual(['slow', 'fast'])
  expect(textsOf(state)).toEqual(['slow is done', 'fast is done'])
  expect(metrics).toMatchObject({ modelCalls: 2, toolCalls: 2 })
  const envelopes = await stored()
  expect(typesOf(envelopes).join(' ')).toBe(
    'turnStarted messageAdded modelCalled toolRequested toolStarted toolRequested toolStarted toolSucceeded messageAdded ' +
      'usageRecorded toolSucceeded messageAdded modelCalled messageAdded usageRecorded turnEnded',
  )
  // The answer that had to wait is in the journal; the last one went with the message.
  const ends = envelopes.flatMap(({ action }) =>
    action.type === 'toolSucceeded' ? [action.payload as { result?: unknown }] : [],
  )
  expect(ends.map(({ result }) => result !== undefined)).toEqual([true, false])
  expect(state.tools).toEqual({ open: [], answered: [], requested: 2, succeeded: 2, failed: 0, cancelled: 0, late: 0 })
})

test('one that fails, one that is too slow, one that is denied and one that is unknown do not harm the others', async () => {
  const { conversation, stored } = await given()
  const timers: { listener: () => void; ms: number }[] = []
  const never = new Promise<string>(() => {})
  const tools = createToolRegistry([
    echo,
    defineTool({
      name: 'broken',
      input: text,
      recovery: 'Use echo instead.',
      execute: () => {
        throw new Error('no such file')
      },
    }),
    defineTool({ name: 'endless', input: text, timeoutMs: 1_234, execute: () => never }),
    defineTool({ name: 'secret', input: text, needsApproval: true, execute: () => 'it ran' }),
    defineTool({ name: 'off', input: text, isEnabled: () => false, execute: () => 'it ran' }),
  ])
  const args = { text: 'hello' }
  const model = scriptedModel({
    scripts: [
      {
        calls: ['broken', 'endless', 'secret', 'off', 'missing', 'echo']
          .map((name) => ({ name, args }))
          .concat([{ name: 'echo', args: { text: 7 as never } }]),
      },
      { text: 'Done.' },
    ],
  })
  const turn = runTurn(conversation, 'Go.', {
    model,
    tools,
    approve: async ({ name }) => ({ isApproved: false, reason: `${name} is not for today` }),
    timer: (listener, ms) => {
      timers.push({ listener, ms })
      return () => {}
    },
  })
  conversation.envelopes$.subscribe(({ action }) => {
    if (action.type !== 'messageAdded' || (action as ReturnType<typeof messageAdded>).payload.message.role !== 'assistant') return
    timers.find(({ ms }) => ms === 1_234)?.listener()
  })
  const { state } = await turn.done
  expect(resultsIn(state).map(({ status }) => status)).toEqual(['error', 'error', 'denied', 'error', 'error', 'ok', 'error'])
  expect(textsOf(state)).toEqual([
    'no such file. Use echo instead.',
    expect.stringContaining('did not end within 1234 ms'),
    expect.stringContaining('secret is not for today'),
    expect.stringContaining('"off" is switched off'),
    expect.stringContaining('There is no tool "missing"'),
    'hello',
    expect.stringContaining('do not match its schema: $.text'),
  ])
  const failures = (await stored()).flatMap(({ action }) =>
    action.type === 'toolFailed'
      ? [(action.payload as { kind: string; code?: string }).code ?? (action.payload as { kind: string }).kind]
      : [],
  )
  expect(failures.sort()).toEqual(
    ['denied', 'error', 'tool_arguments_invalid', 'tool_disabled', 'tool_not_found', 'tool_timed_out'].sort(),
  )
})

test('what a tool answers too late is recorded, and applied to nothing', async () => {
  const { conversation, stored } = await given()
  const late = gate()
  const tools = createToolRegistry([
    defineTool({
      name: 'late',
      input: z.strictObject({}),
      timeoutMs: 5,
      execute: async (_, { signal }) => {
        await late.opened
        return `it is over: ${signal.aborted}`
      },
    }),
  ])
  const model = scriptedModel({ scripts: [{ calls: [{ name: 'late', args: {} }] }, { text: 'Too late.' }] })
  const { state } = await runTurn(conversation, 'Go.', { model, tools }).done
  const recorded = new Promise<OpenedEnvelope>((resolve) => {
    conversation.envelopes$.subscribe((envelope) => envelope.type === 'toolEndedLate' && resolve(envelope))
  })
  late.open()
  expect((await recorded).action.payload).toMatchObject({
    outcome: 'succeeded',
    result: { content: [{ text: 'it is over: true' }] },
  })
  expect(textsOf(state)[0]).toContain('did not end within 5 ms')
  expect(conversation.getState().messages.length).toBe(state.messages.length)
  expect(typesOf(await stored()).at(-1)).toBe('toolEndedLate')
})

test('what a tool answers at once when its time is over is recorded too, behind the end of its call', async () => {
  const { conversation, stored } = await given()
  const answer = (_: unknown, { signal }: { readonly signal: AbortSignal }): Promise<string> =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve('too late')))
  const tools = createToolRegistry([defineTool({ name: 'late', input: z.strictObject({}), timeoutMs: 1, execute: answer })])
  const model = scriptedModel({ scripts: [{ calls: [{ name: 'late', args: {} }] }, { text: 'Too late.' }] })
  await runTurn(conversation, 'Go.', { model, tools }).done
  await expect.poll(async () => typesOf(await stored())).toContain('toolEndedLate')
  const types = typesOf(await stored())
  expect(types.indexOf('toolEndedLate')).toBeGreaterThan(types.indexOf('toolFailed'))
})

test('an approval may be given by whoever dispatches it', async () => {
  const { conversation } = await given()
  const tools = createToolRegistry([defineTool({ name: 'write', input: text, needsApproval: true, execute: () => 'written' })])
  const model = scriptedModel({ scripts: [{ calls: [{ name: 'write', args: { text: 'a' } }] }, { text: 'Done.' }] })
  conversation.envelopes$.subscribe(({ action }) => {
    if (action.type !== 'approvalRequested') return
    void conversation.dispatch(
      approvalDecided({ ...(action.payload as { messageId: string; callId: string; approvalId: string }), decision: 'approved' }),
    )
  })
  const { state } = await runTurn(conversation, 'Go.', { model, tools }).done
  expect(textsOf(state)).toEqual(['written'])
})

test('who is asked for an approval is told when the answer is not needed any more', async () => {
  const { conversation, stored } = await given()
  const tools = createToolRegistry([{ ...echo, needsApproval: true }])
  const model = () => scriptedModel({ scripts: [{ calls: [{ name: 'echo', args: { text: 'x' } }] }, { text: 'Done.' }] })
  const asked = gate()
  let told: AbortSignal | undefined
  const approve: TurnOptions['approve'] = (_, signal) => {
    told = signal
    asked.open()
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  }
  const first = runTurn(conversation, 'Go.', { model: model(), tools, approve })
  await asked.opened
  const [open] = conversation.getState().tools.open
  const { messageId = '', callId = '', approval } = open ?? {}
  await conversation.dispatch(
    approvalDecided({ messageId, callId, approvalId: approval?.approvalId ?? '', decision: 'approved' }),
  )
  expect((await first.done).outcome).toBe('answered')
  expect(told?.reason).toMatchObject({ message: 'somebody else decided' })

  const second = runTurn(conversation, 'Again.', { model: model(), tools, approve })
  await expect.poll(() => told?.aborted).toBe(false)
  await second.abort('not needed')
  expect(told?.reason).toMatchObject({ message: 'not needed' })
  // Nobody decided the second one.
  expect(typesOf(await stored()).filter((type) => type === 'approvalDecided')).toHaveLength(1)
})

test('who cannot be asked for an approval, not even for a promise, has not agreed', async () => {
  const { conversation } = await given()
  const tools = createToolRegistry([{ ...echo, needsApproval: true }])
  const model = scriptedModel({ scripts: [{ calls: [{ name: 'echo', args: { text: 'x' } }] }, { text: 'Then not.' }] })
  const approve = (): never => {
    throw new Error('nobody is there')
  }
  const { state } = await runTurn(conversation, 'Go.', { model, tools, approve }).done
  expect(textsOf(state)[0]).toContain('nobody is there')
  expect(resultsIn(state).map(({ status }) => status)).toEqual(['denied'])
})

test('a tool of limited concurrency runs one call after the other, and other tools do not wait for it', async () => {
  const { conversation } = await given()
  let running = 0
  let most = 0
  const tools = createToolRegistry([
    echo,
    defineTool({
      name: 'single',
      input: z.strictObject({}),
      concurrency: 1,
      execute: async () => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setTimeout(resolve, 1))
        running -= 1
        return 'ok'
      },
    }),
  ])
  const calls = [...Array.from({ length: 5 }, () => ({ name: 'single', args: {} })), { name: 'echo', args: { text: 'free' } }]
  const model = scriptedModel({ scripts: [{ calls }, { text: 'Done.' }] })
  const { state } = await runTurn(conversation, 'Go.', { model, tools }).done
  expect(most).toBe(1)
  expect(textsOf(state)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'free'])
})

test('an idempotent tool is tried again under the same key, another one is not', async () => {
  const { conversation, stored } = await given()
  const keys: string[] = []
  const flaky = (name: string, idempotent: boolean): Tool => ({
    name,
    idempotent,
    input: {},
    retry: { tries: 3 },
    execute: (_: never, { idempotencyKey, attempt }) => {
      keys.push(idempotencyKey)
      if (attempt < 3) throw new Error('busy')
      return `at attempt ${attempt}`
    },
  })
  const tools = createToolRegistry([flaky('safe', true), flaky('unsafe', false)])
  const model = scriptedModel({
    scripts: [{ calls: [{ name: 'safe', args: {} }] }, { calls: [{ name: 'unsafe', args: {} }] }, { text: 'Done.' }],
  })
  const { state } = await runTurn(conversation, 'Go.', { model, tools }).done
  expect(textsOf(state)).toEqual(['at attempt 3', expect.stringContaining('busy')])
  expect(new Set(keys.slice(0, 3)).size).toBe(1)
  expect(keys).toHaveLength(4)
  expect(typesOf(await stored()).filter((type) => type === 'toolStarted')).toHaveLength(4)
})

test('an abort in the middle keeps the answer as far as it came, cancels tools, and closes every call', async () => {
  const { conversation, stored, errors } = await given()
  let aborted: AbortSignal | undefined
  const runs = gate()
  const tools = createToolRegistry([
    defineTool({
      name: 'wait',
      input: z.strictObject({}),
      execute: (_, { signal }) => {
        aborted = signal
        runs.open()
        return new Promise(() => {})
      },
    }),
  ])
  const model = scriptedModel({
    scripts: [{ text: 'I will look and then say much more than this.', calls: [{ name: 'wait', args: {} }] }],
    beforeEvent: async (event) => {
      if (event.type !== 'answerStopped') return
      await runs.opened
      void turn.abort('the user pressed stop')
    },
  })
  const turn = runTurn(conversation, 'Go.', { model, tools })
  expect(activeTurns(conversation)).toEqual([turn])
  const result = await turn.done
  expect(result).toMatchObject({ outcome: 'interrupted', reason: 'the user pressed stop' })
  expect(wordsOf({ parts: [...result.content] })).toBe('I will look and then say much more than this.')
  expect(aborted?.aborted).toBe(true)
  expect(resultsIn(result.state)).toMatchObject([{ status: 'interrupted' }])
  expect(typesOf(await stored()).slice(-5)).toEqual([
    'toolCancelled',
    'messageAdded',
    'usageRecorded',
    'messageAdded',
    'turnInterrupted',
  ])
  expect(result.state.tools).toMatchObject({ open: [], answered: [], cancelled: 1 })
  expect(activeTurns(conversation)).toEqual([])
  expect(errors).toEqual([])
})

test('a text that is cut by an abort is kept up to there, marked as interrupted', async () => {
  const { conversation } = await given()
  let deltas = 0
  const model = scriptedModel({
    scripts: [{ text: 'abcdefghijklmnopqrstuvwx'.repeat(10) }],
    beforeEvent: (event) => {
      if (event.type === 'partDelta' && ++deltas === 3) void turn.abort()
    },
  })
  const turn = runTurn(conversation, 'Go.', { model })
  const { message } = await turn.done
  expect(message?.model?.stop).toEqual({ unified: 'interrupted', raw: null })
  expect(wordsOf(message as Message)).toBe('abcdefghijklmnopqrstuvwx'.repeat(3))
})

test('a model that hangs when it is aborted is left alone, and what it said is kept', async () => {
  const { conversation } = await given()
  const scripted = scriptedModel({ scripts: [{ text: 'Only this.' }] })
  const model = {
    ...scripted,
    async *stream(...args: Parameters<typeof scripted.stream>) {
      for await (const event of scripted.stream(...args)) {
        if (event.type === 'partDone') await new Promise(() => {})
        yield event
      }
    },
  }
  const timer = (listener: () => void, ms: number) => {
    const stop = setTimeout(listener, ms === 2_000 ? 0 : ms)
    return () => clearTimeout(stop)
  }
  const turn = runTurn(conversation, 'Go.', { model, timer })
  turn.parts$.subscribe((part) => part.type === 'partDelta' && void turn.abort())
  const { outcome, content } = await turn.done
  expect(outcome).toBe('interrupted')
  expect(content).toEqual([{ type: 'text', text: 'Only this.' }])
})

test('limits end a turn in good order: calls of the model, calls of tools, time', async () => {
  const again = { calls: [1, 2].map((n) => ({ name: 'echo', args: { text: String(n) } })) }
  const tools = createToolRegistry([echo])
  const endless = () => scriptedModel({ scripts: () => again })

  const first = await given()
  const calls = await runTurn(first.conversation, 'Go.', { model: endless(), tools, limits: { modelCalls: 3 } }).done
  expect(calls).toMatchObject({ outcome: 'limit_reached', limit: 'modelCalls', metrics: { modelCalls: 3, toolCalls: 6 } })
  expect(resultsIn(calls.state)).toHaveLength(6)

  const second = await given()
  const ran = await runTurn(second.conversation, 'Go.', { model: endless(), tools, limits: { toolCalls: 3 } }).done
  expect(ran).toMatchObject({ outcome: 'limit_reached', limit: 'toolCalls', metrics: { modelCalls: 2 } })
  expect(resultsIn(ran.state).map(({ status }) => status)).toEqual(['ok', 'ok', 'ok', 'denied'])

  const third = await given()
  const slow = createToolRegistry([{ ...echo, execute: () => new Promise(() => {}) }])
  let end = (): void => {}
  const timer = (listener: () => void, ms: number) => {
    if (ms === 20) end = listener
    return () => {}
  }
  // The answer is stored, and its tools run.
  third.conversation.envelopes$.subscribe(({ type }) => type === 'usageRecorded' && end())
  const timed = await runTurn(third.conversation, 'Go.', { model: endless(), tools: slow, timer, limits: { durationMs: 20 } })
    .done
  expect(timed).toMatchObject({ outcome: 'limit_reached', limit: 'durationMs' })
  expect(timed.state.turn.last?.outcome).toBe('interrupted')
  expect(resultsIn(timed.state).map(({ status }) => status)).toEqual(['interrupted', 'interrupted'])
})

test('no limit is no limit, and what is no number is refused before anything is stored', async () => {
  const { conversation, stored } = await given()
  const model = () => scriptedModel({ scripts: [{ calls: [{ name: 'slow', args: {} }] }, { text: 'Done.' }] })
  const slow = defineTool({
    name: 'slow',
    input: z.strictObject({}),
    timeoutMs: Number.POSITIVE_INFINITY,
    // Longer than a timer that was asked for too much, which Node makes one of 1 ms.
    execute: () => new Promise((resolve) => setTimeout(resolve, 20, 'in time')),
  })
  for (const limits of [{ modelCalls: Number.NaN }, { toolCalls: -1 }, { durationMs: Number.NaN }]) {
    await expect(runTurn(conversation, 'Go.', { model: model(), limits }).done).rejects.toMatchObject({
      code: 'settings_invalid',
      details: { field: `limits.${Object.keys(limits)[0]}` },
    })
  }
  expect(await stored()).toEqual([])
  for (const durationMs of [Number.POSITIVE_INFINITY, 2 ** 40]) {
    const tools = createToolRegistry([slow])
    const { outcome, state } = await runTurn(conversation, 'Go.', { model: model(), tools, limits: { durationMs } }).done
    expect([outcome, textsOf(state).at(-1)]).toEqual(['answered', 'in time'])
  }
})

test('a tool of which nobody can say whether it needs an approval is not run, and the turn goes on', async () => {
  const { conversation } = await given()
  let ran = 0
  const needsApproval = (): never => {
    throw new Error('the policy cannot be read')
  }
  const tools = createToolRegistry([{ ...echo, needsApproval, execute: () => ++ran }])
  const model = scriptedModel({ scripts: [{ calls: [{ name: 'echo', args: { text: 'x' } }] }, { text: 'Then not.' }] })
  const { outcome, state } = await runTurn(conversation, 'Go.', { model, tools }).done
  expect([outcome, ran]).toEqual(['answered', 0])
  expect(textsOf(state)[0]).toContain('the policy cannot be read')
})

test('a second turn is refused, waits, or interrupts the first, as it says', async () => {
  const { conversation, stored } = await given()
  const hold = gate()
  const model = scriptedModel({
    scripts: [{ text: 'first' }, { text: 'second' }, { text: 'third' }, { text: 'fourth' }],
    beforeEvent: (event, signal) =>
      event.type === 'answerStopped' && !signal.aborted
        ? Promise.race([hold.opened, new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))])
        : undefined,
  })
  const first = runTurn(conversation, 'one', { model })
  await new Promise((resolve) => first.parts$.subscribe((part) => part.type === 'partDone' && resolve(undefined)))
  await expect(runTurn(conversation, 'two', { model }).done).rejects.toMatchObject({
    code: 'turn_already_open',
    details: { openTurnId: first.turnId },
  })
  const queued = runTurn(conversation, 'three', { model, whenBusy: 'queue' })
  const given_up = runTurn(conversation, 'four', { model, whenBusy: 'queue' })
  await given_up.abort('not needed')
  expect(await given_up.done).toMatchObject({ outcome: 'interrupted', message: null })
  const hasty = runTurn(conversation, 'five', { model, whenBusy: 'interrupt' })
  expect((await first.done).outcome).toBe('interrupted')
  hold.open()
  const outcomes = await Promise.all([queued.done, hasty.done])
  expect(outcomes.map(({ outcome }) => outcome)).toContain('answered')
  const inputs = (await stored()).flatMap(({ action }) =>
    messageAdded.match(action) && action.payload.message.role === 'user' ? [wordsOf(action.payload.message)] : [],
  )
  expect(inputs).toHaveLength(3)
  expect(inputs).not.toContain('two')
  expect(inputs).not.toContain('four')
  expect(conversation.getState().turn).toMatchObject({ current: null, started: 3 })
})

test('a turn id of the caller runs once, however often it is asked for', async () => {
  const { conversation, stored } = await given()
  const model = scriptedModel({ scripts: [{ text: 'Once.' }] })
  const first = runTurn(conversation, 'Go.', { model, turnId: 't-1' })
  expect(runTurn(conversation, 'Go.', { model, turnId: 't-1' })).toBe(first)
  await expect(runTurn(conversation, 'Something else.', { model, turnId: 't-1' }).done).rejects.toMatchObject({
    code: 'command_id_reused',
  })
  await first.done
  const again = await runTurn(conversation, 'Go.', { model, turnId: 't-1' }).done
  expect(again).toMatchObject({ outcome: 'answered', content: [{ type: 'text', text: 'Once.' }] })
  expect(again.message?.id).toBe((await first.done).message?.id)
  expect(await stored()).toHaveLength(6)
  await expect(runTurn(conversation, 'Something else.', { model, turnId: 't-1' }).done).rejects.toMatchObject({
    code: 'command_id_reused',
  })
})

test('a turn that is over is told as it ended, however many came after it', async () => {
  const { conversation, stored } = await given()
  const tools = createToolRegistry([echo])
  const again = { text: 'Once more.', calls: [{ name: 'echo', args: { text: 'x' } }] }
  const endless = scriptedModel({ scripts: () => again })
  const late: (() => void)[] = []
  const timer = (listener: () => void): (() => void) => {
    late.push(listener)
    return () => {}
  }
  const outOfTime = (): Promise<never> => {
    // The first timer of a turn is its own.
    late[0]?.()
    return new Promise(() => {})
  }
  const slow = createToolRegistry([{ ...echo, execute: outOfTime }])
  const never = scriptedModel({ scripts: [{ text: 'Never.' }], beforeEvent: () => Promise.reject(new Error('broken')) })
  const ask = (turnId: string, options: Omit<TurnOptions, 'turnId'>) => runTurn(conversation, 'Go.', { ...options, turnId }).done

  const first = {
    calls: await ask('calls', { model: endless, tools, limits: { modelCalls: 1 } }),
    time: await ask('time', { model: endless, tools: slow, timer }),
    aborted: await ask('aborted', {
      model: endless,
      tools: createToolRegistry([{ ...echo, execute: () => activeTurns(conversation)[0]?.abort('enough') }]),
    }),
  }
  await expect(ask('failed', { model: never, recovery: { policies: { unknown: onceOnly } } })).rejects.toThrow('broken')
  await ask('last', { model: scriptedModel({ scripts: [{ text: 'The last one.' }] }) })
  const { length } = await stored()

  for (const [turnId, before] of Object.entries(first)) {
    const { state: _, position: __, metrics, ...told } = await ask(turnId, { model: never })
    const { state: ___, position: ____, metrics: _____, message, ...expected } = before
    expect(told, turnId).toEqual({ ...expected, message: expect.objectContaining({ id: message?.id, parts: message?.parts }) })
    expect(metrics, turnId).toMatchObject({ modelCalls: 0, toolCalls: 0 })
  }
  expect(first.calls).toMatchObject({ outcome: 'limit_reached', limit: 'modelCalls' })
  expect(first.time).toMatchObject({ outcome: 'limit_reached', limit: 'durationMs' })
  expect(first.aborted).toMatchObject({ outcome: 'interrupted', reason: 'enough' })
  expect(await ask('failed', { model: never })).toMatchObject({ outcome: 'interrupted', reason: 'unknown', content: [] })
  expect(await stored()).toHaveLength(length)
})

test('a turn id that leaves no room for the ids made of it is refused with the limit', async () => {
  const { conversation, stored } = await given()
  const model = scriptedModel({ scripts: [{ text: 'Fits.' }] })
  expect((await runTurn(conversation, 'Go.', { model, turnId: 't'.repeat(194) }).done).outcome).toBe('answered')
  const { length } = await stored()
  for (const turnId of ['', 't'.repeat(195)]) {
    await expect(runTurn(conversation, 'Go.', { model, turnId }).done).rejects.toMatchObject({
      code: 'id_invalid',
      message: `The turn id is not usable: it has ${turnId.length} characters, not 1 to 194. Choose another one.`,
    })
  }
  expect(await stored()).toHaveLength(length)
})

describe('a turn of another process', () => {
  /** Looks at the log when it is told to, and at no other time. */
  function clockwork() {
    const waiting = new Map<() => void, number>()
    const timer = (listener: () => void, ms: number): (() => void) => {
      waiting.set(listener, ms)
      return () => void waiting.delete(listener)
    }
    const run = (isDue: (ms: number) => boolean): void => {
      for (const [listener, ms] of waiting) {
        if (!isDue(ms)) continue
        waiting.delete(listener)
        listener()
      }
    }
    return { timer, waits: (ms: number) => [...waiting.values()].includes(ms), run }
  }

  test('is waited for by who queues, and what it did is known then', async () => {
    const { log, conversation, stored } = await given()
    const hold = gate()
    const model = scriptedModel({
      scripts: (body) => ({ text: `after ${(body['messages'] as unknown as unknown[]).length}` }),
      beforeEvent: () => hold.opened,
    })
    const first = runTurn(conversation, 'one', { model })
    await expect.poll(async () => (await stored()).length).toBe(3)
    const elsewhere = await createEngine({ log }).open('c')
    const { timer, waits, run } = clockwork()
    const second = runTurn(elsewhere, 'two', { model, whenBusy: 'queue', timer })
    await expect.poll(() => waits(250)).toBe(true)
    run((ms) => ms === 250)
    await expect.poll(() => waits(250)).toBe(true)
    expect((await stored()).length).toBe(3)
    hold.open()
    await first.done
    run((ms) => ms === 250)
    expect(await second.done).toMatchObject({ outcome: 'answered', content: [{ type: 'text', text: 'after 3' }] })
  })

  test('that does not end in time is told of, and not begun', async () => {
    const { log, conversation, stored } = await given([turnStarted({ turnId: 'left' })])
    const elsewhere = await createEngine({ log }).open('c')
    const model = scriptedModel({ scripts: [{ text: 'Never.' }] })
    const { timer, waits, run } = clockwork()
    const waiting = runTurn(elsewhere, 'two', { model, whenBusy: 'queue', timer, limits: { durationMs: 60_000 } })
    await expect.poll(() => waits(250)).toBe(true)
    run((ms) => ms === 60_000)
    await expect(waiting.done).rejects.toMatchObject({ code: 'turn_already_open', details: { openTurnId: 'left' } })

    const stop = new AbortController()
    const given_up = runTurn(conversation, 'three', { model, whenBusy: 'queue', timer, signal: stop.signal })
    await expect.poll(() => waits(250)).toBe(true)
    stop.abort(new Error('the user left'))
    expect(await given_up.done).toMatchObject({ outcome: 'interrupted', reason: 'the user left' })
    expect(await stored()).toHaveLength(1)
  })
})

test('a model that fails ends the turn: what came is kept, the failure is recorded, and the next turn may begin', async () => {
  const { conversation, stored } = await given()
  const failure = Object.assign(new Error('unknown key'), { status: 401 })
  const model = scriptedModel({ scripts: [{ text: 'Half of', breaksWith: failure }, { text: 'Whole.' }] })
  const failed = runTurn(conversation, 'Go.', { model })
  await expect(failed.done).rejects.toBe(failure)
  expect(typesOf(await stored()).join(' ')).toBe(
    'turnStarted messageAdded modelCalled messageAdded errorRecorded degraded turnInterrupted',
  )
  expect(conversation.getState().health.degraded).toMatchObject({ mode: 'offline', reason: 'authentication' })
  expect(wordsOf(conversation.getState().messages.at(1) as Message)).toBe('Half of')
  const { outcome, state } = await runTurn(conversation, 'Again.', { model }).done
  expect(outcome).toBe('answered')
  expect(state.health.degraded).toBeNull()
})

test('an answer that broke off behind a call is kept, its call is run, and the model is called again', async () => {
  const { conversation } = await given()
  const scripts = [{ calls: [{ name: 'echo', args: { text: 'ran' } }], breaksWith: new Error('ECONNRESET') }, { text: 'Done.' }]
  const { outcome, state } = await runTurn(conversation, 'Go.', {
    model: scriptedModel({ scripts }),
    tools: createToolRegistry([echo]),
    recovery: { sleep: async () => {} },
  }).done
  expect(outcome).toBe('answered')
  expect(textsOf(state)).toEqual(['ran'])
  expect(state.health).toMatchObject({ errors: 1, lastError: { problem: 'ECONNRESET' } })
})

test('results that are too large for one message are put into several, in order, and each end names its own', async () => {
  const { conversation, stored } = await given()
  const large = createToolRegistry([defineTool({ name: 'echo', input: text, execute: ({ text }) => text + 'ü'.repeat(70_000) })])
  const calls = Array.from({ length: 12 }, (_, index) => ({ name: 'echo', args: { text: String.fromCharCode(97 + index) } }))
  const model = scriptedModel({ scripts: [{ calls }, { text: 'Done.' }] })
  const { state } = await runTurn(conversation, 'Go.', { model, tools: large }).done
  const holders = state.messages.slice().filter(({ role }) => role === 'tool')
  expect(holders.length).toBeGreaterThan(1)
  expect(textsOf(state).map((one) => one[0])).toEqual([...'abcdefghijkl'])
  for (const { action } of await stored()) {
    if (!toolSucceeded.match(action) || action.payload.resultMessageId === undefined) continue
    const holder = holders.find(({ id }) => id === action.payload.resultMessageId)
    expect(holder?.parts.some((part) => part.type === 'tool_result' && part.callId === action.payload.callId)).toBe(true)
  }
})

test('a connection that fails behind a whole answer fails nothing', async () => {
  const { conversation, stored } = await given()
  const scripted = scriptedModel({ scripts: [{ text: 'Whole.' }] })
  const model = {
    ...scripted,
    async *stream(...args: Parameters<typeof scripted.stream>) {
      yield* scripted.stream(...args)
      throw reset()
    },
  }
  const { outcome } = await runTurn(conversation, 'Go.', { model }).done
  expect(outcome).toBe('answered')
  expect(typesOf(await stored())).not.toContain('errorRecorded')
})

test('a call that was cut in its arguments was never made: the model is asked again', async () => {
  const { conversation, stored } = await given()
  const recorded = [
    { type: 'message_start', message: { id: 'msg_1', model: 'claude', usage: { input_tokens: 9, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: { type: 'tool_use', id: 'c1', name: 'echo', input: {} } },
    { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '{"text": "hal' } },
  ]
    .map((payload) => `data: ${JSON.stringify(payload)}\n\n`)
    .join('')
  const model = scriptedModel({ scripts: [{ recorded }, { text: 'Whole.' }] })
  const recovery = { sleep: async () => {} }
  const { outcome, metrics } = await runTurn(conversation, 'Go.', { model, recovery, tools: createToolRegistry([echo]) }).done
  expect([outcome, metrics.retries]).toEqual(['answered', 1])
  expect(conversation.getState().health.lastError).toMatchObject({ kind: 'network' })
  expect(typesOf(await stored()).join(' ')).toBe(
    'turnStarted messageAdded modelCalled errorRecorded modelCalled messageAdded usageRecorded turnEnded',
  )
})

test('what a hook throws ends the turn before the model is called', async () => {
  const { conversation, stored } = await given()
  let calls = 0
  const model = scriptedModel({
    scripts: () => {
      calls += 1
      return { text: 'never' }
    },
  })
  const hooks = { reserve: () => Promise.reject(new Error('no money')) }
  await expect(runTurn(conversation, 'Go.', { model, hooks }).done).rejects.toThrow('no money')
  expect(calls).toBe(0)
  expect(typesOf(await stored())).toEqual(['turnStarted', 'messageAdded', 'turnInterrupted'])
})

const tooLong = () =>
  Object.assign(new Error('prompt is too long'), { status: 400, error: { error: { code: 'context_length_exceeded' } } })
const reset = () => Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })

test('a call that fails is made again by its policy, what it had said is withdrawn, and each try is in the log', async () => {
  const { conversation, stored } = await given()
  const waits: number[] = []
  const model = scriptedModel({
    scripts: [{ failsWith: reset() }, { text: 'Half of', breaksWith: reset() }, { text: 'Whole.' }],
  })
  const recovery = { sleep: async (ms: number) => void waits.push(ms), random: () => 0 }
  const turn = runTurn(conversation, 'Go.', { model, recovery })
  const streamed: string[] = []
  turn.parts$.subscribe(({ type }) => streamed.push(type))
  const { content, metrics } = await turn.done
  expect(content).toEqual([{ type: 'text', text: 'Whole.' }])
  expect(metrics).toMatchObject({ modelCalls: 1, retries: 2 })
  expect(waits).toEqual([1_000, 2_000])
  expect(streamed.filter((type) => type === 'answerWithdrawn')).toHaveLength(1)
  expect(typesOf(await stored()).join(' ')).toBe(
    'turnStarted messageAdded modelCalled errorRecorded modelCalled errorRecorded modelCalled messageAdded usageRecorded turnEnded',
  )
})

test('when a model cannot answer, the next one does', async () => {
  const { conversation } = await given()
  const never = scriptedModel({ id: 'first', scripts: () => ({ failsWith: reset() }) })
  const second = scriptedModel({ id: 'second', scripts: [{ text: 'I can.' }] })
  const recovery = { sleep: async () => {} }
  const { message, state } = await runTurn(conversation, 'Go.', { model: never, fallbacks: [second], recovery }).done
  expect(message?.model?.id).toBe('second')
  expect(state.health).toMatchObject({ errors: 5 })
})

test('while a circuit is open the next model answers, and without one the conversation is offline until it closes', async () => {
  const { conversation, stored } = await given()
  const failing = scriptedModel({
    scripts: () => ({ text: 'Never.' }),
    beforeEvent: () => Promise.reject(Object.assign(new Error('Overloaded'), { status: 529 })),
  })
  const other = { ...scriptedModel({ scripts: () => ({ text: 'Here.' }) }), provider: 'other' }
  const options = {
    model: failing,
    circuits: circuits({ failures: 1 }),
    recovery: { policies: { overloaded: onceOnly } },
  }
  await expect(runTurn(conversation, 'one', options).done).rejects.toMatchObject({ status: 529 })
  const { length } = await stored()
  await expect(runTurn(conversation, 'two', options).done).rejects.toMatchObject({ code: 'circuit_open' })
  const second = (await stored()).slice(length)
  expect(typesOf(second)).toEqual(['turnStarted', 'messageAdded', 'errorRecorded', 'degraded', 'turnInterrupted'])
  expect(second[2]?.action.payload).toMatchObject({ kind: 'circuit_open' })
  expect(second[3]?.action.payload).toMatchObject({ mode: 'offline', retryAt: expect.any(Number) })

  const third = await runTurn(conversation, 'three', { ...options, fallbacks: [other] }).done
  expect(third.content).toMatchObject([{ text: 'Here.' }])
  expect(third.state.health.degraded).toBeNull()
})

test('a request that is too large is made smaller once, and a second overflow is final', async () => {
  const { conversation } = await given()
  let compactions = 0
  const hooks = { onOverflow: async () => ++compactions === 1 }
  const once = scriptedModel({ scripts: [{ failsWith: tooLong() }, { text: 'Now it fits.' }] })
  expect((await runTurn(conversation, 'Go.', { model: once, hooks }).done).outcome).toBe('answered')
  compactions = 0
  const twice = scriptedModel({ scripts: () => ({ failsWith: tooLong() }) })
  await expect(runTurn(conversation, 'Go.', { model: twice, hooks }).done).rejects.toMatchObject({ status: 400 })
  expect(compactions).toBe(1)
})

test('a conversation that does not fit is compacted, and the call is made once more', async () => {
  const said = Array.from({ length: 60 }, (_, index) =>
    messageAdded({
      message: textMessage(
        `m${index}`,
        index % 2 === 0 ? 'user' : 'assistant',
        `Day ${index}: the build failed in src/day-${index}.ts.`,
      ),
      tokenCount: 200,
    }),
  )
  const { conversation, stored } = await given(said)
  const sizes: number[] = []
  const model = scriptedModel({
    scripts: (body, call) => {
      sizes.push(JSON.stringify(body).length)
      return call === 1 ? { failsWith: tooLong() } : { text: 'Now it fits.' }
    },
  })
  const { outcome, state } = await runTurn(conversation, 'Why?', { model }).done
  expect(outcome).toBe('answered')
  expect(sizes[1]).toBeLessThan((sizes[0] ?? 0) * 0.7)
  expect(state.context).toMatchObject({ compactions: 1 })
  const types = typesOf(await stored()).slice(60)
  expect(types.join(' ')).toBe(
    'turnStarted messageAdded modelCalled contextCompacted errorRecorded modelCalled messageAdded usageRecorded turnEnded',
  )
})

test('what each call was sent is in the log before it leaves, and is proved byte for byte', async () => {
  const { conversation, engine, log } = await given()
  const sent: string[] = []
  const scripts = [{ calls: [{ name: 'echo', args: { text: 'a' } }] }, { text: 'Done.' }]
  const model = scriptedModel({
    scripts: (body, call) => {
      sent.push(JSON.stringify(body))
      expect(conversation.getState().manifest.calls).toBe(call)
      return scripts[call - 1] as (typeof scripts)[number]
    },
  })
  const tools = createToolRegistry([echo])
  await runTurn(conversation, 'Go.', { model, tools, system: 'Be brief.', config: { maxTokens: 99 } }).done
  const calls: ModelCallSummary[] = []
  for await (const page of modelCalls(log, { tenant: 'default', conversationId: 'c' })) calls.push(...page)
  expect(calls).toHaveLength(2)
  for (const [index, { callId }] of calls.entries()) {
    const { verdict, bytes } = await modelInput(engine, 'c', callId, { encoders: [model.encoder] })
    expect(verdict).toBe('proved')
    expect(Buffer.from(bytes ?? []).toString()).toBe(sent[index])
  }
})

describe('with a budget', () => {
  const usage = { input: 100, output: 10 }
  const call = (name: string) => ({ calls: [{ name, args: { text: 'a' } }], usage })

  test('each call is held before it leaves, and settled by what it took', async () => {
    const { conversation, stored } = await given(
      [budgetSet({ scope: 'conversation', limits: { outputTokens: { soft: null, hard: 1_000 } } })],
      {
        middleware: [budget()],
      },
    )
    const model = scriptedModel({ scripts: [call('echo'), { text: 'Done.', usage }] })
    const hooks = { reserve: reserveCalls({ maxOutputTokens: 500 }) }
    const { state } = await runTurn(conversation, 'Go.', { model, tools: createToolRegistry([echo]), hooks }).done
    expect(state.budget.reservations).toEqual([])
    expect(state.budget.used).toMatchObject({ modelCalls: 2, outputTokens: 20 })
    const types = typesOf(await stored()).filter((type) => /^budget|^modelCalled|^usage/.test(type))
    expect(types.slice(1, 5)).toEqual(['budgetReserved', 'modelCalled', 'budgetSettled', 'usageRecorded'])
  })

  test('a call that would go past it is not made, and ends the turn', async () => {
    const { conversation } = await given(
      [budgetSet({ scope: 'conversation', limits: { outputTokens: { soft: null, hard: 600 } } })],
      { middleware: [budget()] },
    )
    let calls = 0
    const model = scriptedModel({
      scripts: () => {
        calls += 1
        return { ...call('echo'), usage: { input: 100, output: 200 } }
      },
    })
    const hooks = { reserve: reserveCalls({ maxOutputTokens: 500 }) }
    const turn = runTurn(conversation, 'Go.', { model, tools: createToolRegistry([echo]), hooks })
    await expect(turn.done).rejects.toMatchObject({ code: 'budget_exceeded' })
    expect(calls).toBe(1)
    const state = conversation.getState()
    expect(state.turn).toMatchObject({ current: null, last: { outcome: 'interrupted' } })
    expect(state.budget).toMatchObject({ reservations: [], used: { outputTokens: 200 } })
  })

  test('a call that the provider refused is given back, one that broke off counts as held', async () => {
    const { conversation } = await given(
      [budgetSet({ scope: 'conversation', limits: { outputTokens: { soft: null, hard: 5_000 } } })],
      { middleware: [budget()] },
    )
    const refused = Object.assign(new Error('no'), { status: 401 })
    const hooks = { reserve: reserveCalls({ maxOutputTokens: 500 }) }
    const scripts = [{ failsWith: refused }, { text: 'Half', breaksWith: reset() }, { text: 'Whole.', usage }]
    const model = scriptedModel({ scripts })
    await expect(runTurn(conversation, 'Go.', { model, hooks }).done).rejects.toBe(refused)
    expect(conversation.getState().budget).toMatchObject({ reservations: [], used: { outputTokens: 0 } })
    await runTurn(conversation, 'Again.', { model, hooks, recovery: { sleep: async () => {} } }).done
    expect(conversation.getState().budget).toMatchObject({ reservations: [], used: { outputTokens: 510 } })
  })

  test('a tool that it does not let begin is denied, and the turn goes on', async () => {
    const { conversation, stored } = await given(
      [budgetSet({ scope: 'conversation', limits: { toolCalls: { soft: null, hard: 1 } } })],
      { middleware: [budget()] },
    )
    const two = { calls: ['a', 'b'].map((text) => ({ name: 'echo', args: { text } })) }
    const model = scriptedModel({ scripts: [two, { text: 'Done.' }] })
    const { outcome, state } = await runTurn(conversation, 'Go.', { model, tools: createToolRegistry([echo]) }).done
    expect(outcome).toBe('answered')
    expect(resultsIn(state).map(({ status }) => status)).toEqual(['ok', 'denied'])
    expect(typesOf(await stored()).filter((type) => type === 'toolStarted')).toHaveLength(1)
  })
})
