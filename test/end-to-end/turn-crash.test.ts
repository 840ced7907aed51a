/** A process may die at any step of a turn: who comes after it finishes the turn, and runs nothing twice that must not be. */

import { createToolRegistry, resumeTurn, runTurn, scriptedModel, type TurnOptions } from '@colloquy/agent'
import { approvalDecided, type ConversationState, type EventLog } from '@colloquy/core'
import { createEngine, type Engine, openMemoryLog } from '@colloquy/engine'
import { expect, test, vi } from 'vitest'
import { storedIn } from '../support/given.ts'
import { doneOrDead, mortal, mortalLog } from '../support/mortal.ts'
import { finalOf, twoToolModel, twoTools } from '../support/two-tools.ts'

type Ran = { readonly tool: string; readonly key: string }

const typesIn = async (log: EventLog): Promise<string[]> => (await storedIn(log, 'c')).map(({ type }) => type)

async function play(diesAt: number) {
  const log = openMemoryLog()
  const ran: Ran[] = []
  const life = mortal(diesAt)
  const tools = (step: () => unknown) => createToolRegistry(twoTools((tool, key) => void ran.push({ tool, key }), step))
  const options: TurnOptions = { model: twoToolModel(life.step), tools: tools(life.step), turnId: 't1' }

  const first: Engine<ConversationState> = createEngine({ log: mortalLog(log, life) })
  const whole = runTurn(await first.open('c'), 'Do both.', options).done
  const isDone = await doneOrDead(whole, life.isDead)
  const second = createEngine({ log })
  const conversation = await second.open('c')
  const model = twoToolModel(() => {})
  // The client sends its request again: that begins, resumes, or tells of the turn.
  if (!isDone) await runTurn(conversation, 'Do both.', { ...options, model, tools: tools(() => {}) }).done
  const state = await conversation.refresh()
  const replayed = await second.replay('c')
  expect(replayed.state).toEqual(state)
  return { state, ran, steps: life.steps(), isDone, stored: await storedIn(log, 'c') }
}

test('wherever the process dies in a turn of two tools, the turn is finished, and the unsafe tool ran at most once', async () => {
  const undisturbed = await play(Number.POSITIVE_INFINITY)
  expect(finalOf(undisturbed.state)).toEqual({
    answer: 'safe: ok, safe did it; unsafe: ok, unsafe did it',
    results: ['ok', 'ok'],
    open: 0,
    turn: 'ended',
  })
  let unknown = 0
  const steps = undisturbed.steps
  expect(steps).toBeGreaterThan(25)
  for (let at = 1; at <= steps; at++) {
    const { state, ran, isDone } = await play(at)
    expect(isDone, `died at ${at}`).toBe(false)
    const unsafe = ran.filter(({ tool }) => tool === 'unsafe')
    expect(unsafe.length, `unsafe runs, died at ${at}`).toBeLessThanOrEqual(1)
    const safe = ran.filter(({ tool }) => tool === 'safe')
    expect(new Set(safe.map(({ key }) => key)).size, `keys of the safe tool, died at ${at}`).toBe(1)
    const final = finalOf(state)
    expect(final, `died at ${at}`).toMatchObject({ open: 0, turn: 'ended' })
    expect(final.results[0], `died at ${at}`).toBe('ok')
    if (final.results[1] === 'unknown') unknown += 1
    else {
      expect(final, `died at ${at}`).toEqual(finalOf(undisturbed.state))
      expect(unsafe, `died at ${at}`).toHaveLength(1)
    }
  }
  expect(unknown).toBeGreaterThan(0)
  expect(unknown).toBeLessThan(steps / 3)
})

test('two processes that resume one turn start no tool twice', async () => {
  const log = openMemoryLog()
  const ran: Ran[] = []
  const life = mortal(12)
  const tools = createToolRegistry(twoTools((tool, key) => void ran.push({ tool, key }), life.step))
  const dead = createEngine({ log: mortalLog(log, life) })
  void runTurn(await dead.open('c'), 'Do both.', { model: twoToolModel(life.step), tools }).done
  await doneOrDead(new Promise(() => {}), life.isDead)
  const before = ran.length
  const others = [createEngine({ log }), createEngine({ log })]
  const done = await Promise.allSettled(
    others.map(async (engine) => {
      const again = createToolRegistry(
        twoTools(
          (tool, key) => void ran.push({ tool, key }),
          () => new Promise((resolve) => setTimeout(resolve, 5)),
        ),
      )
      const handle = await resumeTurn(await engine.open('c'), { model: twoToolModel(() => {}), tools: again })
      return handle.done
    }),
  )
  expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  for (const one of done) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'turn_already_open' })
  expect(ran.slice(before).filter(({ tool }) => tool === 'unsafe').length).toBeLessThanOrEqual(1)
  const { state } = await (others[0] as Engine<ConversationState>).replay('c')
  expect(state.turn.current).toBeNull()
  expect(state.tools.open).toEqual([])
})

test('of two processes that are asked again for a turn at the same time one goes on with it, and the other says so or waits', async () => {
  for (const whenBusy of ['reject', 'interrupt', 'queue'] as const) {
    const log = openMemoryLog()
    const life = mortal(12)
    const ask = async (engine: Engine<ConversationState>, step: () => unknown) => {
      const options = { model: twoToolModel(step), tools: createToolRegistry(twoTools(() => {}, step)), turnId: 't1', whenBusy }
      return runTurn(await engine.open('c'), 'Do both.', options).done
    }
    void ask(createEngine({ log: mortalLog(log, life) }), life.step)
    await doneOrDead(new Promise(() => {}), life.isDead)
    const others = [createEngine({ log }), createEngine({ log })]
    const done = await Promise.allSettled(others.map((engine) => ask(engine, () => {})))
    const told = done.map((one) => (one.status === 'fulfilled' ? one.value.outcome : one.reason.code))
    expect(told.toSorted(), whenBusy).toEqual(['answered', whenBusy === 'queue' ? 'answered' : 'turn_already_open'])
    expect((await typesIn(log)).filter((type) => type === 'turnResumed')).toHaveLength(1)
  }
})

test('a process that was taken for dead and wakes up starts and ends nothing of a turn that another one has finished', async () => {
  const log = openMemoryLog()
  const ran: string[] = []
  let wakeUp = (): void => {}
  const asleep = new Promise<void>((resolve) => {
    wakeUp = resolve
  })
  const started = vi.fn(() => asleep)
  const slow = createToolRegistry(twoTools((tool) => void ran.push(`slow ${tool}`), started))
  const sleeper = createEngine({ log })
  const first = runTurn(await sleeper.open('c'), 'Do both.', { model: twoToolModel(() => {}), tools: slow })
  await vi.waitFor(() => expect(started).toHaveBeenCalledTimes(2))
  await expect.poll(() => typesIn(log)).toContain('usageRecorded')
  const engine = createEngine({ log })
  const conversation = await engine.open('c')
  const tools = createToolRegistry(
    twoTools(
      (tool) => void ran.push(tool),
      () => {},
    ),
  )
  const second = await resumeTurn(conversation, { model: twoToolModel(() => {}), tools })
  const { outcome } = await second.done
  expect(outcome).toBe('answered')
  const { position } = conversation
  wakeUp()
  await expect(first.done).rejects.toMatchObject({ code: 'turn_not_open' })
  await expect.poll(() => typesIn(log)).toHaveLength(position + 2)
  const state = await conversation.refresh()
  // The tools that ran there did, and are told to have ended late; nothing else was stored.
  expect(finalOf(state)).toEqual({
    answer: expect.stringContaining('may have done its work'),
    results: ['ok', 'unknown'],
    open: 0,
    turn: 'ended',
  })
  expect((await typesIn(log)).slice(position)).toEqual(['toolEndedLate', 'toolEndedLate'])
  expect(ran).toEqual(['safe', 'slow safe', 'slow unsafe'])
})

test('a process that was taken for dead while it listened to the model says nothing more in the turn, and calls no model', async () => {
  const log = openMemoryLog()
  let wakeUp = (): void => {}
  const asleep = new Promise<void>((resolve) => {
    wakeUp = resolve
  })
  let isStopped = false
  let calls = 0
  const model = (hold: () => Promise<void> | undefined) => {
    return scriptedModel({
      scripts: (body) => {
        calls += 1
        const isCalled = JSON.stringify(body).includes('tool_result')
        return isCalled ? { text: 'Done.' } : { text: 'I do it.', calls: [{ name: 'safe', args: {} }] }
      },
      beforeEvent: (event) => (event.type === 'answerStopped' ? hold() : undefined),
    })
  }
  const tools = () =>
    createToolRegistry(
      twoTools(
        () => {},
        () => {},
      ),
    )
  const hold = (): Promise<void> => {
    isStopped = true
    return asleep
  }
  const first = runTurn(await createEngine({ log }).open('c'), 'Do it.', { model: model(hold), tools: tools() })
  await expect.poll(async () => isStopped && (await typesIn(log)).includes('toolSucceeded')).toBe(true)
  const conversation = await createEngine({ log }).open('c')
  const second = await resumeTurn(conversation, { model: model(() => undefined), tools: tools() })
  expect((await second.done).outcome).toBe('answered')
  const before = await typesIn(log)
  const called = calls
  wakeUp()
  await expect(first.done).rejects.toMatchObject({ code: 'turn_not_open' })
  expect(await typesIn(log)).toEqual(before)
  expect(calls).toBe(called)
})

test('a call that waited for an approval when its process died waits on in the next one, and runs when it is allowed', async () => {
  const log = openMemoryLog()
  const ran: string[] = []
  const asking = (tool: string): void => void ran.push(tool)
  const tools = createToolRegistry(twoTools(asking, () => {}).map((tool) => ({ ...tool, needsApproval: true })))
  const asked: string[] = []
  const dead = createEngine({ log })
  void runTurn(await dead.open('c'), 'Do both.', {
    model: twoToolModel(() => {}),
    tools,
    approve: async ({ name }) => {
      asked.push(name)
      if (name === 'unsafe') return { isApproved: true }
      return new Promise(() => {})
    },
  })
  await expect.poll(() => typesIn(log)).toEqual(expect.arrayContaining(['usageRecorded', 'toolSucceeded']))
  expect([asked, ran]).toEqual([['safe', 'unsafe'], ['unsafe']])
  const engine = createEngine({ log })
  const conversation = await engine.open('c')
  const turn = await resumeTurn(conversation, { model: twoToolModel(() => {}), tools })
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect(ran).toEqual(['unsafe'])
  const [open] = conversation.getState().tools.open
  const { messageId = '', callId = '', approval } = open ?? {}
  await conversation.dispatch(
    approvalDecided({ messageId, callId, approvalId: approval?.approvalId ?? '', decision: 'approved' }),
  )
  expect(finalOf((await turn.done).state)).toMatchObject({ results: ['ok', 'ok'], turn: 'ended' })
  expect(ran).toEqual(['unsafe', 'safe'])
})

test('there is nothing to resume in a conversation without an open turn', async () => {
  const engine = createEngine({ log: openMemoryLog() })
  await expect(resumeTurn(await engine.open('c'), { model: twoToolModel(() => {}) })).rejects.toMatchObject({
    code: 'turn_not_open',
  })
})

test('a turn that was left open is interrupted by the next one that may, with all its calls closed', async () => {
  const log = openMemoryLog()
  const life = mortal(18)
  const tools = createToolRegistry(twoTools(() => {}, life.step))
  const dead = createEngine({ log: mortalLog(log, life) })
  void runTurn(await dead.open('c'), 'Do both.', { model: twoToolModel(life.step), tools }).done
  await doneOrDead(new Promise(() => {}), life.isDead)
  const engine = createEngine({ log })
  const conversation = await engine.open('c')
  const open = conversation.getState().tools.open.length
  expect(open).toBeGreaterThan(0)
  const model = twoToolModel(() => {})
  await expect(runTurn(conversation, 'Next.', { model }).done).rejects.toMatchObject({ code: 'turn_already_open' })
  const { state } = await runTurn(conversation, 'Next.', { model, whenBusy: 'interrupt' }).done
  expect(state.tools).toMatchObject({ open: [], answered: [] })
  expect(state.turn).toMatchObject({ current: null, started: 2, last: { outcome: 'ended' } })
})
