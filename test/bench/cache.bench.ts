/**
 * Caches next to each other, in one run, on the same values: about 2 KB of JSON, as an answer is. "memory" is the first tier alone;
 * "Redis" is memory over a real Redis, "disk" memory over a directory.
 */
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis } from '../support/redis-server.ts'
import { type Below, type Kind, kinds, type Measured, type Value } from './cache/caches.ts'
import { installPeers } from './install-peers.ts'
import { type Bench, medianRatio, type Report, row } from './report.ts'

interface Workload {
  readonly name: string
  readonly n: number
  readonly below: 'memory' | 'redis' | 'disk'
  /** Runs once before each round, not measured. */
  readonly prepare?: (cache: Measured, round: number) => Promise<void>
  /** Opened anew for each round, so that its memory is empty. */
  readonly isCold?: true
  /** @returns how many operations it was */
  readonly run: (cache: Measured, round: number) => Promise<number>
}

const keys = Array.from({ length: 500 }, (_, i) => `prompt ${i}`)
const value = (i: number): Value => ({ id: i, role: 'assistant', text: `${i} `.repeat(3).padEnd(2_000, 'an answer in words, ') })

const fill = async (cache: Measured, prefix = '', tag?: string): Promise<void> => {
  for (const [i, key] of keys.entries()) await cache.set(prefix + key, value(i), tag)
}

/** 32 at a time, as a server has them. */
async function inFlight(work: (key: string, i: number) => Promise<unknown>): Promise<number> {
  for (let from = 0; from < keys.length; from += 32) {
    await Promise.all(keys.slice(from, from + 32).map(async (key, i) => work(key, from + i)))
  }
  return keys.length
}

const workloads: readonly Workload[] = [
  {
    name: 'memory: hits, get',
    n: keys.length,
    below: 'memory',
    prepare: async (cache, round) => (round === 0 ? fill(cache) : undefined),
    run: async (cache) => hits(cache, 20),
  },
  {
    name: 'memory: hits, getOrLoad',
    n: keys.length,
    below: 'memory',
    run: async (cache) => {
      for (let i = 0; i < 10; i++) for (const key of keys) await cache.getOrLoad(key, async () => value(0))
      return 10 * keys.length
    },
  },
  {
    name: 'memory: set',
    n: keys.length,
    below: 'memory',
    run: async (cache) => {
      for (let i = 0; i < 10; i++) await fill(cache)
      return 10 * keys.length
    },
  },
  {
    name: 'memory: 50 parallel misses of a key',
    n: 50,
    below: 'memory',
    run: async (cache, round) => {
      for (let i = 0; i < 50; i++) await parallelMisses(cache, `missing ${round} ${i}`)
      return 50 * 50
    },
  },
  {
    name: 'Redis: set, 32 in flight',
    n: keys.length,
    below: 'redis',
    run: async (cache) => inFlight(async (key, i) => cache.set(key, value(i))),
  },
  {
    name: 'Redis: hits there, 32 in flight',
    n: keys.length,
    below: 'redis',
    isCold: true,
    // Once, so that it is connected.
    prepare: async (cache) => void (await cache.get('not there')),
    run: async (cache) => inFlight(async (key) => found(cache.get(key))),
  },
  {
    name: 'Redis: hits there, asked again',
    n: keys.length,
    below: 'redis',
    isCold: true,
    prepare: async (cache) => void (await inFlight(async (key) => cache.get(key))),
    run: async (cache) => hits(cache, 4),
  },
  {
    name: 'Redis: invalidate a tag of 500',
    n: keys.length,
    below: 'redis',
    prepare: async (cache, round) => fill(cache, 'tagged ', `tag ${round}`),
    run: async (cache, round) => {
      await cache.invalidateTag?.(`tag ${round}`)
      for (const key of keys.slice(0, 10)) {
        if ((await cache.get(`tagged ${key}`)) !== undefined) throw new Error('It was invalidated.')
      }
      return 1
    },
  },
  {
    // Over old files bentocache writes in place, which is fast and can be read half written.
    name: 'disk: set of new keys, 32 in flight',
    n: keys.length,
    below: 'disk',
    run: async (cache, round) => inFlight(async (key, i) => cache.set(`${key} ${round}`, value(i))),
  },
  {
    name: 'disk: hits there, 32 in flight',
    n: keys.length,
    below: 'disk',
    isCold: true,
    prepare: async (cache) => void (await cache.get('not there')),
    run: async (cache) => inFlight(async (key) => found(cache.get(`${key} 1`))),
  },
]

export async function run(say: (text: string) => void, { isQuick }: Parameters<Bench>[1]): Promise<Report> {
  const rounds = isQuick ? 3 : 9
  installPeers(say)
  const redis = await startRedis()
  if (!redis) throw new Error('There is no redis-server to measure with.')
  const directory = mkdtempSync(join(tmpdir(), 'colloquy-bench-cache-'))
  const belows: Record<Workload['below'], Below> = { memory: {}, redis: { redisUrl: redis.url }, disk: { directory } }
  const samples = new Map<string, number[]>()
  try {
    for (const workload of workloads) {
      say(workload.name)
      await measure(workload, belows[workload.below], rounds, samples)
    }
    const calls = await Promise.all(kinds.map(async (kind) => [kind.name, await sourceCalls(kind)] as const))
    return reportOf(samples, new Map(calls))
  } finally {
    await redis.kill()
    await rm(directory, { recursive: true, force: true })
  }
}

async function measure(workload: Workload, below: Below, rounds: number, samples: Map<string, number[]>): Promise<void> {
  const warm = new Map<Kind, Measured>()
  for (const kind of kinds) {
    const cache = await kind.open(below)
    if (!cache) continue
    if (workload.name.includes('tag') && !cache.invalidateTag) await cache.close()
    else warm.set(kind, cache)
  }
  // Round 0 warms up. Another order each round, so that none always runs after the same one.
  for (let round = 0; round <= rounds; round++) {
    const order = [...warm]
    for (const [kind, cache] of [...order.slice(round % order.length), ...order.slice(0, round % order.length)]) {
      const subject = workload.isCold ? ((await kind.open(below)) ?? cache) : cache
      await workload.prepare?.(subject, round)
      const start = performance.now()
      const operations = await workload.run(subject, round)
      const perSecond = (1_000 * operations) / (performance.now() - start)
      const name = `${workload.name}|${kind.name}`
      if (round > 0) samples.set(name, [...(samples.get(name) ?? []), perSecond])
      if (subject !== cache) await subject.close()
    }
  }
  for (const cache of warm.values()) await cache.close()
}

/** One after the other, all of them there. */
async function hits(cache: Measured, times: number): Promise<number> {
  for (let i = 0; i < times; i++) for (const key of keys) await found(cache.get(key))
  return times * keys.length
}

async function found(asked: Promise<unknown>): Promise<void> {
  if ((await asked) === undefined) throw new Error('What should be there is not.')
}

async function parallelMisses(cache: Measured, key: string): Promise<number> {
  let calls = 0
  const source = async (): Promise<Value> => {
    calls += 1
    await new Promise((resolve) => setImmediate(resolve))
    return value(calls)
  }
  await Promise.all(Array.from({ length: 50 }, async () => cache.getOrLoad(key, source)))
  return calls
}

async function sourceCalls(kind: Kind): Promise<number> {
  const cache = await kind.open({})
  if (!cache) return Number.NaN
  const calls = await parallelMisses(cache, 'asked by fifty')
  await cache.close()
  return calls
}

function reportOf(samples: ReadonlyMap<string, readonly number[]>, calls: ReadonlyMap<string, number>): Report {
  const of = (workload: string, kind: string): readonly number[] => samples.get(`${workload}|${kind}`) ?? []
  const ratios = workloads.flatMap(({ name }) =>
    kinds.slice(1).flatMap((kind) => {
      const other = of(name, kind.name)
      if (other.length === 0) return []
      const measured = medianRatio(of(name, 'Colloquy'), other)
      const least = leastRatio[`${name}|${kind.name}`] ?? 0.5
      return [{ promise: `${name}, next to ${kind.name}`, measured, limit: `at least ${least}`, holds: measured >= least }]
    }),
  )
  const ours = calls.get('Colloquy') ?? Number.NaN
  return {
    bench: 'cache',
    node: process.versions.node,
    rows: [
      ...workloads.flatMap(({ name, n }) =>
        kinds
          .filter((kind) => of(name, kind.name).length > 0)
          .map((kind) => row(`${name}: ${kind.name}`, n, 'a second', of(name, kind.name))),
      ),
      ...[...calls].map(([name, count]) => row(`50 parallel misses: ${name}`, 50, 'source calls', [count])),
    ],
    checks: [{ promise: '50 parallel misses call the source', measured: ours, limit: 'once', holds: ours === 1 }, ...ratios],
  }
}

/** What is promised of us next to them. Where nothing stands, half is enough: medians of so short rounds vary by that. */
const leastRatio: Readonly<Record<string, number>> = {
  'memory: hits, get|bentocache': 1,
  'memory: hits, get|cache-manager': 1,
  // Its `get` copies nothing into memory, which is faster once and never again.
  'Redis: hits there, 32 in flight|cache-manager': 0.3,
  'Redis: hits there, asked again|cache-manager': 5,
  // It notes the time at the tag, and compares on every get. We take the entries out, so that their bytes are gone.
  'Redis: invalidate a tag of 500|bentocache': 0.05,
}
