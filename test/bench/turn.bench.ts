/** What a turn costs over the same loop without us, whether a thousand at once lose anything or stay in memory, and how parallel tools are. */
import { createToolRegistry, runTurn, scriptedModel, type ToolRegistry } from '@colloquy/agent'
import type { ConversationState, EventLog, Message } from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { startPostgres } from '../support/postgres-server.ts'
import { type Bench, medianRatio, row } from './report.ts'

const toolMs = 300
const words = 'The fixture counts days in local time, so the first of the month is another day in another zone. '.repeat(6)

/** Two calls of the model, two tools in the first answer, a manifest for each call: 16 envelopes. */
const model = () =>
  scriptedModel({
    scripts: (body) =>
      JSON.stringify(body).includes('tool_result')
        ? { text: words, usage: { input: 400, output: 120 } }
        : {
            text: 'I look.',
            calls: [
              { name: 'look', args: { n: 1 } },
              { name: 'look', args: { n: 2 } },
            ],
            usage: { input: 300, output: 20 },
          },
  })
const tools = createToolRegistry([
  {
    name: 'look',
    input: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] },
    execute: ({ n }: { n: number }) => `${n}: ${words}`,
  },
])
const envelopesOfTurn = 16

export const run: Bench = async (say, { isQuick }) => {
  const rounds = isQuick ? 2 : 5
  const turns = isQuick ? 200 : 1_000
  const parallel = await parallelTools(say, isQuick ? 3 : 9)

  const server = await startPostgres()
  if (server === undefined) throw new Error('This bench needs a real Postgres.')
  const samples = { bare: [] as number[], memory: [] as number[], postgres: [] as number[], heap: [] as number[] }
  let lost = 0
  try {
    const url = await server.createDatabase()
    await using log = await openPostgresLog({ url, migrate: true })
    // The first round is warm-up: code is compiled, connections are opened.
    for (let round = 0; round <= rounds; round++) {
      say(`${turns} turns at once, round ${round} of ${rounds}`)
      const bare = await timed(turns, () => bareTurn(tools))
      await using memory = openMemoryLog()
      const inMemory = await turnsOver(memory, `m${round}`, turns)
      const inPostgres = await turnsOver(log, `p${round}`, turns)
      lost += inMemory.lost + inPostgres.lost
      globalThis.gc?.()
      if (round === 0) continue
      samples.bare.push(bare)
      samples.memory.push(inMemory.ms)
      samples.postgres.push(inPostgres.ms)
      samples.heap.push(process.memoryUsage().heapUsed / 2 ** 20)
    }
  } finally {
    await server.stop()
  }
  const perTurn = (all: readonly number[]) => all.map((ms) => ms / turns)
  const overhead = samples.memory.map((ms, round) => (ms - (samples.bare[round] ?? 0)) / turns)
  const heapGrowth = (samples.heap.at(-1) ?? 0) - (samples.heap[0] ?? 0)
  const slower = medianRatio(
    parallel.ms,
    parallel.ms.map(() => toolMs),
  )
  return {
    bench: 'turn',
    node: process.versions.node,
    rows: [
      row('three tools of 300 ms, behind the last call', parallel.ms.length, 'ms', parallel.ms),
      row('the loop alone: no log, no checks', turns, 'ms a turn', perTurn(samples.bare)),
      row('runTurn, memory log', turns, 'ms a turn', perTurn(samples.memory)),
      row('runTurn, Postgres', turns, 'ms a turn', perTurn(samples.postgres)),
      row('what runTurn and the engine add to the loop', turns, 'ms a turn', overhead),
      row('heap in use behind a round', rounds, 'MiB', samples.heap),
    ],
    checks: [
      {
        promise: 'three tools of 300 ms in one answer end behind its last call like one',
        measured: slower,
        limit: 'at most 1.3 times 300 ms',
        holds: slower <= 1.3,
      },
      {
        promise: 'the first tool began before the stream ended, in so many of the rounds',
        measured: parallel.early / parallel.ms.length,
        limit: 'all: 1',
        holds: parallel.early === parallel.ms.length,
      },
      { promise: 'turns that lost anything', measured: lost, limit: 'none', holds: lost === 0 },
      {
        promise: 'the heap does not grow with the turns that are over (MiB between first and last round)',
        measured: heapGrowth,
        limit: 'at most 16',
        holds: heapGrowth <= 16,
      },
    ],
  }
}

/** From the last call of an answer to the end of the last tool, in the log. */
async function parallelTools(say: (text: string) => void, rounds: number): Promise<{ ms: number[]; early: number }> {
  const ms: number[] = []
  let early = 0
  await using engine = createEngine({ log: openMemoryLog() })
  for (let round = 0; round < rounds; round++) {
    say(`three tools at once, round ${round + 1} of ${rounds}`)
    let calls = 0
    let lastCallAt = 0
    let streamEndedAt = 0
    let firstStartAt = 0
    let lastEndAt = 0
    const slow = createToolRegistry([
      { name: 'slow', input: {}, execute: () => new Promise((resolve) => setTimeout(resolve, toolMs, 'done')) },
    ])
    const three = scriptedModel({
      scripts: [{ calls: [1, 2, 3].map(() => ({ name: 'slow', args: {} })) }, { text: 'All are done.' }],
      beforeEvent: async (event) => {
        if (event.type === 'partDone') await new Promise((resolve) => setTimeout(resolve, 40))
        if (event.type === 'partDone' && ++calls === 3) lastCallAt = performance.now()
        if (event.type === 'answerEnded' && streamEndedAt === 0) {
          await new Promise((resolve) => setTimeout(resolve, 40))
          streamEndedAt = performance.now()
        }
      },
    })
    const conversation = await engine.open(`tools-${round}`)
    conversation.envelopes$.subscribe(({ type }) => {
      if (type === 'toolStarted' && firstStartAt === 0) firstStartAt = performance.now()
      if (type === 'toolSucceeded') lastEndAt = performance.now()
    })
    await runTurn(conversation, 'Go.', { model: three, tools: slow }).done
    ms.push(lastEndAt - lastCallAt)
    if (firstStartAt < streamEndedAt) early += 1
  }
  return { ms, early }
}

async function turnsOver(log: EventLog, prefix: string, turns: number): Promise<{ ms: number; lost: number }> {
  await using engine = createEngine({ log })
  const conversations = await Promise.all(Array.from({ length: turns }, (_, index) => engine.open(`${prefix}-${index}`)))
  let next = 0
  const ms = await timed(turns, async () => {
    const conversation = conversations[next++]
    if (conversation !== undefined) await runTurn(conversation, 'Why is the test red?', { model: model(), tools }).done
  })
  let lost = 0
  for (const { id } of conversations) {
    const { state, position } = await engine.replay(id)
    if (position !== envelopesOfTurn || !isWhole(state)) lost += 1
  }
  return { ms, lost }
}

function isWhole({ messages, turn, tools: { open, succeeded }, usage }: ConversationState): boolean {
  const last = messages.at(3)?.parts[0]
  const isSaid = last?.type === 'text' && last.text === words
  return (
    messages.length === 4 && isSaid && turn.last?.outcome === 'ended' && open.length === 0 && succeeded === 2 && usage.calls === 2
  )
}

async function timed(turns: number, one: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await Promise.all(Array.from({ length: turns }, one))
  return performance.now() - start
}

/** The same calls of model and tools, with a list for a memory. */
async function bareTurn(registry: ToolRegistry): Promise<Message[]> {
  const asked = model()
  const { signal } = new AbortController()
  const conversation = { id: 'bare', tenant: 'bare', getState: () => ({}) as never }
  const messages: Message[] = [{ v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text: 'Why is the test red?' }] }]
  for (;;) {
    const schemas = await registry.schemas(conversation)
    const body = asked.encoder.encode({ system: null, tools: schemas, messages, config: { model: asked.id } })
    let answer: Message | undefined
    for await (const event of asked.stream(body, { signal })) if (event.type === 'answerEnded') answer = event.message
    if (answer === undefined) return messages
    messages.push(answer)
    const calls = answer.parts.flatMap((part) => (part.type === 'tool_call' ? [part] : []))
    if (calls.length === 0) return messages
    const results = await Promise.all(
      calls.map(async ({ callId, name, args }) => {
        const { tool } = await registry.resolve(name, conversation)
        const text = String(await tool.execute(args.json as never, {} as never))
        return {
          type: 'tool_result' as const,
          callId,
          callMessageId: answer.id,
          status: 'ok' as const,
          content: [{ type: 'text' as const, text }],
        }
      }),
    )
    messages.push({ v: 1, id: `m${messages.length + 1}`, role: 'tool', parts: results })
  }
}
