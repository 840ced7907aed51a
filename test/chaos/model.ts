/**
 * Random histories against a model of a log in a few lines: appends, retries with lost answers, crashes, forks, compactions. What the
 * engine replays must be what the model holds.
 */
import { ColloquyError, contextCompacted, type EventLog, isColloquyError } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256, verifyChain } from '@colloquy/engine'
import fc from 'fast-check'
import { naming } from '../support/core-arbitraries.ts'
import { say } from '../support/given.ts'

/** What the model knows of a conversation: the ids of its messages in the working set, its commands, its length. */
interface ModelConversation {
  messages: string[]
  commands: Set<string>
  position: number
}
type Model = Map<string, ModelConversation>

/** What happens to the next append: nothing, its answer is lost, or it is lost itself. */
type Fault = 'none' | 'answer' | 'append'

class Real {
  fault: Fault = 'none'
  readonly log: EventLog
  engine: ReturnType<typeof createEngine>
  readonly forks: string[] = []

  constructor() {
    const memory = openMemoryLog()
    this.log = {
      ...memory,
      append: async (requests) => {
        const fault = this.fault
        this.fault = 'none'
        const outcomes = fault === 'append' ? [] : await memory.append(requests)
        if (fault === 'none') return outcomes
        throw new ColloquyError('append_outcome_unknown', { conversationId: 'any', position: 0, hash: '' })
      },
    }
    this.engine = createEngine({ log: this.log, snapshotEvery: 3 })
  }

  /** The process ends: nothing of it is left but the log. */
  crash(): void {
    this.engine = createEngine({ log: this.log, snapshotEvery: 3 })
  }
}

type Step = (model: Model, real: Real) => Promise<void>

const roots = ['a', 'b']
const modelOf = (model: Model, id: string): ModelConversation => {
  const found = model.get(id) ?? { messages: [], commands: new Set(), position: 0 }
  model.set(id, found)
  return found
}
/** One of the conversations that there are. */
const pick = (real: Real, which: number): string =>
  [...roots, ...real.forks][which % (roots.length + real.forks.length)] as string

const append =
  (which: number, command: number, fault: Fault): Step =>
  async (model, real) => {
    const id = pick(real, which)
    const commandId = `command ${command}`
    const conversation = modelOf(model, id)
    real.fault = fault
    const dispatch = async () => (await real.engine.open(id)).dispatch(say(commandId), { commandId })
    const result = await dispatch().catch((error: unknown) => {
      if (!isColloquyError(error, 'append_outcome_unknown')) throw error
      return dispatch()
    })
    real.fault = 'none'
    const isNew = !conversation.commands.has(commandId)
    if (isNew) {
      conversation.commands.add(commandId)
      conversation.messages.push(commandId)
      conversation.position += 1
    }
    same(result.position, conversation.position, `the position of ${id}`)
    same(result.envelopes.length, 1, 'the envelopes of one command')
  }

const compact =
  (which: number): Step =>
  async (model, real) => {
    const id = pick(real, which)
    const conversation = modelOf(model, id)
    const handle = await real.engine.open(id)
    const covered = (await handle.refresh()).messages.slice(0, 2)
    if (covered.length === 0) return
    await handle.dispatch(
      contextCompacted({
        covered: naming(covered),
        strategy: 'oldest',
        trigger: 'manual',
        before: { messages: 2, tokens: 2 },
        after: { messages: 0, tokens: 0 },
      }),
    )
    conversation.messages.splice(0, covered.length)
    conversation.position += 1
  }

const fork =
  (which: number): Step =>
  async (model, real) => {
    const id = pick(real, which)
    const parent = modelOf(model, id)
    if (parent.position === 0 || real.forks.length > 3) return
    const forked = await real.engine.fork(id, parent.position)
    real.forks.push(forked.id)
    model.set(forked.id, { messages: [...parent.messages], commands: new Set(), position: parent.position + 1 })
  }

const crash: Step = async (_model, real) => real.crash()

const read =
  (which: number): Step =>
  async (model, real) => {
    const id = pick(real, which)
    const conversation = modelOf(model, id)
    if (conversation.position === 0) return
    const replayed = await real.engine.replay(id)
    same(
      replayed.state.messages.slice().map((message) => message.id),
      conversation.messages,
      `the messages of ${id}`,
    )
    same((await (await real.engine.open(id)).refresh()).messages.length, conversation.messages.length, `the live state of ${id}`)
    same((await verifyChain(real.log, { tenant: 'default', conversationId: id }, sha256)).ok, true, `the chain of ${id}`)
  }

const anyStep: fc.Arbitrary<{ readonly name: string; readonly step: Step }> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.nat(7), fc.nat(9), fc.constantFrom<Fault>('none', 'none', 'answer', 'append'))
      .map(([which, command, fault]) => ({ name: `append ${which} ${command} ${fault}`, step: append(which, command, fault) })),
  },
  { weight: 1, arbitrary: fc.nat(7).map((which) => ({ name: `compact ${which}`, step: compact(which) })) },
  { weight: 1, arbitrary: fc.nat(7).map((which) => ({ name: `fork ${which}`, step: fork(which) })) },
  { weight: 1, arbitrary: fc.constant({ name: 'crash', step: crash }) },
  { weight: 3, arbitrary: fc.nat(7).map((which) => ({ name: `read ${which}`, step: read(which) })) },
)

/** @returns in how many of `runs` histories engine and model differ (the search ends at the first, and prints the shortest like it) */
export async function playAgainstModel(seed: number, runs: number): Promise<number> {
  const play = fc.asyncProperty(fc.array(anyStep, { maxLength: 40 }), async (steps) => {
    const model: Model = new Map()
    const real = new Real()
    for (const { step } of steps) await step(model, real)
    for (const id of [...roots, ...real.forks].keys()) await read(id)(model, real)
  })
  const details = await fc.check(play, { seed, numRuns: runs })
  if (details.failed) process.stderr.write(`${fc.defaultReportMessage(details)}\n`)
  return details.failed ? 1 : 0
}

function same(seen: unknown, expected: unknown, what: string): void {
  const [left, right] = [JSON.stringify(seen), JSON.stringify(expected)]
  if (left !== right) throw new Error(`${what}: the engine says ${left}, the model ${right}`)
}
