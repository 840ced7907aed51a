/** Any turn, any tools, a death anywhere: what must be true of what is left. */
import { createToolRegistry, runTurn, scriptedModel, type Tool, type TurnOptions } from '@colloquy/agent'
import { type ConversationState, isColloquyError, type JsonObject, type Message, toolStarted } from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from '../formats/runs.ts'
import { storedIn } from '../support/given.ts'
import { doneOrDead, mortal, mortalLog } from '../support/mortal.ts'

type Behaviour = 'answers' | 'waits' | 'throws' | 'needs approval' | 'is denied' | 'is missing'

const behaviours: readonly Behaviour[] = ['answers', 'waits', 'throws', 'needs approval', 'is denied', 'is missing']
const callArbitrary = fc.record({ behaviour: fc.constantFrom(...behaviours), isIdempotent: fc.boolean() })
type Call = typeof callArbitrary extends fc.Arbitrary<infer T> ? T : never

/** From 0 to below 1, all alike: half of the numbers that `fc.double` draws are nothing but 0. */
const share = fc.nat(999).map((thousandths) => thousandths / 1_000)

/** Each answer is a list of calls; after the last one the model says that it is done. */
const turnArbitrary = fc.record({
  answers: fc.array(fc.array(callArbitrary, { minLength: 1, maxLength: 4 }), { maxLength: 3 }),
  death: share,
  secondDeath: share,
})

const nameOf = ({ behaviour, isIdempotent }: Call): string => `${behaviour.replaceAll(' ', '-')}${isIdempotent ? '-again' : ''}`

function toolsOf(ran: (key: string, isIdempotent: boolean) => void, step: () => unknown): Tool[] {
  return behaviours
    .filter((behaviour) => behaviour !== 'is missing')
    .flatMap((behaviour) =>
      [true, false].map(
        (isIdempotent): Tool => ({
          name: nameOf({ behaviour, isIdempotent }),
          input: {},
          idempotent: isIdempotent,
          needsApproval: behaviour === 'needs approval' || behaviour === 'is denied',
          execute: async (_: never, { idempotencyKey }) => {
            await step()
            ran(idempotencyKey, isIdempotent)
            if (behaviour === 'waits') await new Promise((resolve) => setTimeout(resolve, 1))
            await step()
            if (behaviour === 'throws') throw new Error('it broke')
            return 'done'
          },
        }),
      ),
    )
}

/** Goes by what it is sent alone: as many answers with calls as there are in the plan, whatever came of them. */
function modelOf(answers: readonly (readonly Call[])[], step: () => unknown) {
  return scriptedModel({
    scripts: (body: JsonObject) => {
      const said = (body.messages as unknown as { role: string; content: unknown }[]).filter(({ role, content }) => {
        return role === 'assistant' && JSON.stringify(content).includes('tool_use')
      }).length
      const calls = answers[said]
      return calls === undefined
        ? { text: 'Done.' }
        : { text: 'Next.', calls: calls.map((call) => ({ name: nameOf(call), args: {} })) }
    },
    beforeEvent: async () => {
      await step()
    },
  })
}

async function play(answers: readonly (readonly Call[])[], deaths: readonly number[]) {
  const log = openMemoryLog()
  const ran: { key: string; isIdempotent: boolean }[] = []
  let steps = 0
  for (const diesAt of [...deaths, Number.POSITIVE_INFINITY]) {
    const life = mortal(diesAt)
    const options: TurnOptions = {
      model: modelOf(answers, life.step),
      tools: createToolRegistry(toolsOf((key, isIdempotent) => void ran.push({ key, isIdempotent }), life.step)),
      approve: async ({ name }) => ({ isApproved: !name.startsWith('is-denied') }),
      turnId: 't1',
    }
    const engine = createEngine({ log: mortalLog(log, life) })
    const done = runTurn(await engine.open('c'), 'Go.', options).done
    const isDone = await doneOrDead(done, life.isDead)
    steps = life.steps()
    if (isDone) break
  }
  const { state } = await createEngine({ log }).replay('c')
  return { state, ran, steps, stored: await storedIn(log, 'c') }
}

const callsOf = ({ id, parts }: Message): string[] =>
  parts.flatMap((part) => (part.type === 'tool_call' ? [`${id} ${part.callId}`] : []))
const answersOf = ({ parts }: Message): string[] =>
  parts.flatMap((part) => (part.type === 'tool_result' ? [`${part.callMessageId} ${part.callId}`] : []))

function expectSound(state: ConversationState, ran: readonly { key: string; isIdempotent: boolean }[]): void {
  const messages = state.messages.slice()
  expect(state.turn).toMatchObject({ current: null, last: { outcome: 'ended' } })
  expect(state.tools).toMatchObject({ open: [], answered: [] })
  // Every call has one answer, and they stand in the order of the calls.
  expect(messages.flatMap(answersOf)).toEqual(messages.flatMap(callsOf))
  const unsafe = ran.filter(({ isIdempotent }) => !isIdempotent).map(({ key }) => key)
  expect(new Set(unsafe).size).toBe(unsafe.length)
  expect(messages.at(-1)?.parts).toMatchObject([{ type: 'text', text: 'Done.' }])
}

/** A process that falls asleep at a step, and goes on when it is woken. */
function sleeper(at: number) {
  let steps = 0
  let isAsleep = false
  let wake = (): void => {}
  const asleep = new Promise<void>((resolve) => {
    wake = resolve
  })
  const step = (): void | Promise<void> => {
    steps += 1
    if (steps < at) return undefined
    isAsleep = true
    return asleep
  }
  return { step, isAsleep: () => isAsleep, wake }
}

test('wherever a process sleeps while another one finishes its turn, it says nothing in it any more when it wakes up', async () => {
  await fc.assert(
    fc.asyncProperty(turnArbitrary, async ({ answers, death }) => {
      const { steps } = await play(answers, [])
      const first = sleeper(1 + Math.floor(death * steps))
      const log = openMemoryLog()
      const ran: { key: string; isIdempotent: boolean }[] = []
      const ask = async (engine: ReturnType<typeof createEngine>, step: () => unknown) =>
        runTurn(await engine.open('c'), 'Go.', {
          model: modelOf(answers, step),
          tools: createToolRegistry(toolsOf((key, isIdempotent) => void ran.push({ key, isIdempotent }), step)),
          approve: async ({ name }) => ({ isApproved: !name.startsWith('is-denied') }),
          turnId: 't1',
        }).done
      const sleeping = ask(createEngine({ log: mortalLog(log, { step: first.step, isDead: () => false }) }), first.step)
      const isDone = await doneOrDead(sleeping, first.isAsleep)
      const second = createEngine({ log })
      await ask(second, () => {})
      const { length } = await storedIn(log, 'c')
      first.wake()
      await sleeping.catch((error: unknown) => {
        if (isDone || !isColloquyError(error, 'turn_not_open')) throw error
      })
      expectSound((await second.replay('c')).state, ran)
      expect((await storedIn(log, 'c')).slice(length).filter(({ type }) => type !== 'toolEndedLate')).toEqual([])
    }),
    { numRuns: runs(60) },
  )
})

test('whatever is called, and wherever processes die, every call is answered once and in order, and no unsafe call ran twice', async () => {
  await fc.assert(
    fc.asyncProperty(turnArbitrary, async ({ answers, death, secondDeath }) => {
      const undisturbed = await play(answers, [])
      expectSound(undisturbed.state, undisturbed.ran)
      const at = 1 + Math.floor(death * (undisturbed.steps - 1))
      const again = 1 + Math.floor(secondDeath * undisturbed.steps)
      const { state, ran, stored } = await play(answers, [at, again])
      expectSound(state, ran)
      // An unsafe tool is started once in the log, too.
      const starts = stored.flatMap(({ action }) => (toolStarted.match(action) ? [action.payload] : []))
      for (const { messageId, callId, attempt } of starts) {
        const part = state.messages
          .slice()
          .find(({ id }) => id === messageId)
          ?.parts.find((one) => one.type === 'tool_call' && one.callId === callId)
        if (part?.type === 'tool_call' && !part.name.endsWith('-again')) expect(attempt).toBe(1)
      }
    }),
    { numRuns: runs(60) },
  )
})
