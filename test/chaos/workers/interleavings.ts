/** Lets fast-check look for an order of calls, or a story of commands, in which the engine over the memory log breaks its word. */
import { type EventLog, type ImportedConversation, toHex } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256, verifyChain } from '@colloquy/engine'
import fc from 'fast-check'
import { say, storedIn } from '../../support/given.ts'
import { work } from './work.ts'

export interface InterleavingsJob {
  readonly seed: number
  readonly interleavings: number
  readonly models: number
}

export interface InterleavingsEntry {
  readonly what: 'interleavings' | 'stories'
  readonly runs: number
  readonly counterexample: string | null
}

const chatOf = { tenant: 'default', conversationId: 'raced' }

function assert(isSo: boolean, otherwise: string): asserts isSo {
  if (!isSo) throw new Error(otherwise)
}

/** The calls of the log that a dispatch makes, each when the scheduler lets it. */
function scheduled(log: EventLog, scheduler: fc.Scheduler): EventLog {
  const slow = <Name extends 'append' | 'head' | 'command' | 'latest'>(name: Name): EventLog[Name] =>
    scheduler.scheduleFunction(log[name].bind(log) as (...args: unknown[]) => Promise<unknown>) as unknown as EventLog[Name]
  return { ...log, append: slow('append'), head: slow('head'), command: slow('command'), latest: slow('latest') }
}

/** Two engines, as two processes have them, over one log. */
const interleaving = fc.asyncProperty(
  fc.scheduler(),
  fc.array(fc.tuple(fc.boolean(), fc.nat({ max: 5 })), { minLength: 2, maxLength: 8 }),
  async (scheduler, sent) => {
    const log = openMemoryLog()
    const engines = [0, 1].map(() => newEngine(scheduled(log, scheduler)))
    const answers = sent.map(async ([isSecond, word]) => {
      const conversation = await (engines[Number(isSecond)] as OurEngine).open(chatOf.conversationId)
      const commandId = `command-${word}`
      const { envelopes } = await conversation.dispatch(say(commandId), { commandId })
      return { commandId, hash: toHex(envelopes[0]?.hash ?? new Uint8Array()) }
    })
    const told = await scheduler.waitFor(Promise.all(answers))
    const stored = await storedIn(log, chatOf.conversationId)
    assert(
      stored.every(({ position }, i) => position === i + 1),
      `positions ${stored.map(({ position }) => position).join(' ')}`,
    )
    const commands = new Map(stored.map(({ commandId, hash }) => [commandId, toHex(hash)]))
    assert(commands.size === stored.length, `commands ${stored.map(({ commandId }) => commandId).join(' ')}`)
    for (const { commandId, hash } of told)
      assert(commands.get(commandId) === hash, `${commandId} was told of what is not stored`)
    const { ok, problem } = await verifyChain(log, chatOf, sha256)
    assert(ok, `the chain is broken: ${problem?.text}`)
    for (const engine of engines) await engine.close()
  },
)

type OurEngine = ReturnType<typeof newEngine>
const newEngine = (log: EventLog) => createEngine({ log, onError: () => {} })

/** What a conversation holds, as a list of words: all that the model knows. */
type Model = { readonly conversations: Map<string, string[]>; readonly own: Set<string>; readonly forks: string[] }
interface Real {
  readonly log: EventLog
  engine: OurEngine
  /** The model names forks by number; their ids are the engine's. */
  readonly ids: Map<string, string>
}

const idOf = (real: Real, name: string): string => real.ids.get(name) ?? name
const words = async (real: Real, name: string): Promise<string[]> =>
  (await storedIn(real.log, idOf(real, name))).flatMap(({ action }) => wordOf(action) ?? [])

function wordOf({ type, payload }: { readonly type: string; readonly payload: unknown }): string | undefined {
  return type === 'messageAdded' ? (payload as { message: { id: string } }).message.id : undefined
}

const nameOf = (model: Model, choice: number): string => {
  const names = ['story-a', 'story-b', ...model.forks]
  return names[choice % names.length] as string
}

type Command = fc.AsyncCommand<Model, Real>

const append = (choice: number, word: number): Command => ({
  check: () => true,
  async run(model, real) {
    const name = nameOf(model, choice)
    const known = model.conversations.get(name) ?? []
    const id = `word-${word}`
    const conversation = await real.engine.open(idOf(real, name))
    const outcome = await conversation.dispatch(say(id), { commandId: id }).then(
      ({ duplicate }) => (duplicate ? 'duplicate' : 'stored'),
      (error: unknown) => String(error),
    )
    // Of a command that a fork shares with its parent the fork knows nothing.
    const isRetry = model.own.has(`${name} ${id}`)
    assert(outcome === (isRetry ? 'duplicate' : 'stored'), `${id} in ${name} was ${outcome}`)
    if (isRetry) return
    model.own.add(`${name} ${id}`)
    model.conversations.set(name, [...known, id])
  },
  toString: () => `append(${choice}, ${word})`,
})

const read = (choice: number): Command => ({
  check: () => true,
  async run(model, real) {
    const name = nameOf(model, choice)
    const found = await words(real, name)
    const known = model.conversations.get(name) ?? []
    assert(found.join() === known.join(), `${name} holds ${found.join()} and not ${known.join()}`)
    const { ok, problem } =
      found.length === 0 ? { ok: true } : await verifyChain(real.log, { ...chatOf, conversationId: idOf(real, name) }, sha256)
    assert(ok, `the chain of ${name} is broken: ${problem?.text}`)
  },
  toString: () => `read(${choice})`,
})

const fork = (choice: number): Command => ({
  check: (model) => (model.conversations.get(nameOf(model, choice))?.length ?? 0) > 0,
  async run(model, real) {
    const parent = nameOf(model, choice)
    const conversation = await real.engine.open(idOf(real, parent))
    const made = await real.engine.fork(idOf(real, parent), conversation.position)
    const name = `fork-${model.forks.length}`
    real.ids.set(name, made.id)
    model.forks.push(name)
    model.conversations.set(name, [...(model.conversations.get(parent) ?? [])])
  },
  toString: () => `fork(${choice})`,
})

const restart = (): Command => ({
  check: () => true,
  async run(_model, real) {
    await real.engine.close()
    real.engine = newEngine(real.log)
  },
  toString: () => 'restart',
})

/** The second time adds nothing. */
const importTwice = (number: number): Command => ({
  check: () => true,
  async run(model, real) {
    const name = `imported-${number}`
    const ids = [`${name}-first`, `${name}-second`]
    const commands = ids.map((id) => ({ commandId: id, actions: [say(id)] }))
    const imported: ImportedConversation = { conversationId: name, format: 'story', commands, media: [] }
    await real.engine.importConversation(imported)
    await real.engine.importConversation(imported)
    const known = model.conversations.get(name) ?? ids
    model.conversations.set(name, known)
    if (!model.forks.includes(name)) model.forks.push(name)
    const found = await words(real, name)
    assert(found.join() === known.join(), `${name} holds ${found.join()} and not ${known.join()}`)
  },
  toString: () => `importTwice(${number})`,
})

const story = fc.asyncProperty(
  fc.commands(
    [
      fc.tuple(fc.nat({ max: 9 }), fc.nat({ max: 15 })).map(([choice, word]) => append(choice, word)),
      fc.nat({ max: 9 }).map(read),
      fc.nat({ max: 9 }).map(fork),
      fc.constant(restart()),
      fc.nat({ max: 1 }).map(importTwice),
    ],
    { maxCommands: 40 },
  ),
  async (commands) => {
    const log = openMemoryLog()
    const real: Real = { log, engine: newEngine(log), ids: new Map() }
    const model: Model = { conversations: new Map(), own: new Set(), forks: [] }
    await fc.asyncModelRun(() => ({ model, real }), commands)
    await real.engine.close()
  },
)

await work<InterleavingsJob>(async ({ job, record: write, start }) => {
  const record = (entry: InterleavingsEntry) => write(entry)
  await start()
  const explore = async <T>(what: InterleavingsEntry['what'], property: fc.IAsyncProperty<T>, numRuns: number) => {
    const { failed, numRuns: runs, counterexample, errorInstance } = await fc.check(property, { seed: job.seed, numRuns })
    const text = failed ? `after ${runs} runs: ${String(errorInstance)} with ${fc.stringify(counterexample).slice(0, 600)}` : null
    record({ what, runs, counterexample: text })
  }
  await explore('interleavings', interleaving, job.interleavings)
  await explore('stories', story, job.models)
})
