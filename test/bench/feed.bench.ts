/**
 * How long an envelope takes to a subscriber in another process, with each signal, while nothing else happens and while 8 writers append,
 * who signal as well; and what signals take from the throughput of appends. There each side has the same subscriber, which reads all
 * that is appended for the few envelopes that it wants: without signals with each sweep, with them as it is told.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import type { ConversationKey, EventLog, Head } from '@colloquy/core'
import { openPostgresLog, type PostgresLog, postgresSignals, type Signals } from '@colloquy/postgres'
import { redisSignals } from '@colloquy/postgres/redis'
import { beginningOf, following, newKey, utf8 } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { startRedis } from '../support/redis-server.ts'
import { medianRatio, type Report, row } from './report.ts'

const rounds = 3
const samples = 80
/** Without signals each takes up to a second. */
const samplesOfSweep = 3
const writers = 8
const inFlight = 256
const throughputMs = 1_000
const signalNames = ['none', 'postgres', 'redis'] as const
type SignalName = (typeof signalNames)[number]

/** About 400 bytes. */
const body = utf8(JSON.stringify({ payload: { text: 'x'.repeat(370) } }))

interface Side {
  readonly name: SignalName
  readonly log: PostgresLog
  /** Another process' log: what the 8 write through. */
  readonly others: PostgresLog
  readonly child: ChildProcess
  /** Told when an envelope was seen. */
  readonly seen: Map<string, (at: bigint) => void>
}

/** Percentiles by round, in ms. */
interface Delays {
  readonly p50: number[]
  readonly p99: number[]
}

export async function run(say: (text: string) => void): Promise<Report> {
  const [server, redis] = [await startPostgres(), await startRedis()]
  if (!server || !redis) throw new Error('This bench needs a real Postgres and a redis-server.')
  const url = await server.createDatabase()
  const signalsOf = (name: SignalName): Signals =>
    name === 'postgres' ? postgresSignals({ url }) : name === 'redis' ? redisSignals({ url: redis.url }) : 'none'
  const sides: Side[] = []
  try {
    for (const name of signalNames) {
      const log = await openPostgresLog({ url, migrate: true, signals: signalsOf(name) })
      const others = await openPostgresLog({ url, signals: signalsOf(name) })
      sides.push({ name, log, others, ...(await startSubscriber(url, name, redis.url)) })
    }
    const delays = new Map<string, Delays>()
    for (let round = 0; round < rounds; round++) {
      for (const isLoaded of [false, true]) {
        say(`round ${round + 1} of ${rounds}: ${isLoaded ? `${writers} writers` : 'idle'}`)
        for (const side of turned(sides, round)) {
          const stop = isLoaded ? writeMeanwhile(side.others) : async () => {}
          const { acknowledged, seen } = await measure(side, side.name === 'none' ? samplesOfSweep : samples)
          const when = isLoaded ? `${writers} writers` : 'idle'
          keep(delays, `${side.name}, ${when}`, seen)
          keep(delays, `${side.name}, ${when}, acknowledged`, acknowledged)
          await stop()
        }
      }
    }
    const throughput = new Map<SignalName, number[]>(signalNames.map((name) => [name, []]))
    for (let round = 0; round < rounds * 2; round++) {
      say(`throughput, round ${round + 1} of ${rounds * 2}`)
      for (const { name, log } of turned(sides, round)) throughput.get(name)?.push(await measureThroughput(log))
    }
    return reportOf(delays, throughput)
  } finally {
    for (const { log, others, child } of sides) {
      child.kill('SIGKILL')
      await Promise.all([log.close(), others.close()])
    }
    await Promise.all([server.stop(), redis.kill()])
  }
}

function reportOf(delays: ReadonlyMap<string, Delays>, throughput: ReadonlyMap<SignalName, readonly number[]>): Report {
  const of = (name: string, which: keyof Delays) => delays.get(name)?.[which] ?? []
  const loaded = `${writers} writers`
  const checks = (['postgres', 'redis'] as const).flatMap((name) => {
    const idle = medianRatio(of(`${name}, idle`, 'p50'), of(`${name}, idle, acknowledged`, 'p50'))
    const busy = medianRatio(of(`${name}, ${loaded}`, 'p99'), of(`${name}, ${loaded}, acknowledged`, 'p99'))
    const kept = medianRatio(throughput.get(name) ?? [], throughput.get('none') ?? [])
    return [
      // The signal and the read are two trips more, neither of which waits for the disk.
      check(`append to subscriber by ${name}, idle p50, next to the acknowledgement`, idle, 'at most 3 times', idle <= 3),
      check(`append to subscriber by ${name}, ${loaded} p99, next to the acknowledgement`, busy, 'at most 3 times', busy <= 3),
      check(`throughput with signals by ${name}, next to none`, kept, 'at least 0.92', kept >= 0.92),
    ]
  })
  return {
    bench: 'feed',
    node: process.versions.node,
    rows: [
      ...[...delays].flatMap(([name, { p50, p99 }]) => [
        row(`${name}, p50`, name.startsWith('none') ? samplesOfSweep : samples, 'ms', p50),
        row(`${name}, p99`, name.startsWith('none') ? samplesOfSweep : samples, 'ms', p99),
      ]),
      ...[...throughput].map(([name, rates]) => row(`appends, signals ${name}`, inFlight, 'a second', rates)),
    ],
    checks,
  }
}

const check = (promise: string, measured: number, limit: string, holds: boolean) => ({ promise, measured, limit, holds })

async function startSubscriber(url: string, name: SignalName, redisUrl: string): Promise<Pick<Side, 'child' | 'seen'>> {
  const child = fork(new URL('feed-process.ts', import.meta.url), [url, name, redisUrl], {
    execArgv: ['--conditions=@colloquy/source', '--disable-warning=COLLOQUY_DATABASE'],
  })
  const seen: Side['seen'] = new Map()
  await new Promise<void>((resolve) => {
    child.on('message', (message: { isReady?: true; id?: string; at?: string }) => {
      if (message.isReady) resolve()
      else seen.get(message.id ?? '')?.(BigInt(message.at ?? 0))
    })
  })
  // Its transport and its first look at the feed come after.
  await setTimeout(1_500)
  return { child, seen }
}

async function measure({ log, seen }: Side, count: number): Promise<{ acknowledged: number[]; seen: number[] }> {
  const delays = { acknowledged: [] as number[], seen: [] as number[] }
  for (let i = 0; i < count; i++) {
    const key = newKey('timed')
    const told = Promise.withResolvers<bigint>()
    seen.set(`${key.conversationId}/1`, told.resolve)
    const start = process.hrtime.bigint()
    await appendOne(log, key, beginningOf(key))
    delays.acknowledged.push(msBetween(start, process.hrtime.bigint()))
    delays.seen.push(msBetween(start, await told.promise))
    seen.delete(`${key.conversationId}/1`)
    // Apart from the sample before, whose signal others could share.
    await setTimeout(4)
  }
  return delays
}

/** Eight that append one after the other, each as fast as it can, until stopped. */
function writeMeanwhile(log: EventLog): () => Promise<void> {
  let isRunning = true
  const writing = Array.from({ length: writers }, async () => {
    while (isRunning) {
      const key = newKey('others')
      let head: Pick<Head, 'position' | 'hash'> = beginningOf(key)
      for (let i = 0; i < 20 && isRunning; i++) head = await appendOne(log, key, head)
    }
  })
  return async () => {
    isRunning = false
    await Promise.all(writing)
  }
}

/** Appends a second, one envelope each, with so many under way. */
async function measureThroughput(log: EventLog): Promise<number> {
  const start = performance.now()
  let appended = 0
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      const key = newKey('others')
      let head: Pick<Head, 'position' | 'hash'> = beginningOf(key)
      while (performance.now() - start < throughputMs) {
        head = await appendOne(log, key, head)
        appended += 1
      }
    }),
  )
  return (appended * 1_000) / (performance.now() - start)
}

async function appendOne(log: EventLog, key: ConversationKey, expected: Pick<Head, 'position' | 'hash'>) {
  const envelopes = following(key, expected, [{ body }])
  const [outcome] = await log.append([{ key, expected, envelopes }])
  if (outcome?.status !== 'appended') throw new Error(`The append came back as ${outcome?.status}.`)
  return outcome.envelopes[0] as Pick<Head, 'position' | 'hash'>
}

function keep(delays: Map<string, Delays>, name: string, values: readonly number[]): void {
  const kept = delays.get(name) ?? { p50: [], p99: [] }
  const sorted = values.toSorted((a, b) => a - b)
  kept.p50.push(sorted[Math.floor(sorted.length / 2)] ?? Number.NaN)
  kept.p99.push(sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN)
  delays.set(name, kept)
}

/** Another one first in each round. */
const turned = <T>(items: readonly T[], round: number): T[] => [
  ...items.slice(round % items.length),
  ...items.slice(0, round % items.length),
]

const msBetween = (start: bigint, end: bigint): number => Number(end - start) / 1_000_000
