import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKillablePostgres } from '../../support/killable-postgres.ts'
import { createLogDatabase, withClient } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import { randomFrom } from '../random.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'

const processes = 3
/** What a process may grow in an hour, after the first third, in which caches fill up. */
const limitBytesPerHour = 64 * 1_048_576
const limitDescriptors = 5

interface Sample {
  readonly atMs: number
  readonly rssBytes: number
  readonly descriptors: number
}

export const soak: Row = {
  id: 'D16',
  promise: 'Hours of work under random faults lose nothing, and no process grows.',
  service: 'own postgres',
  mutants: [],
  byHand: true,

  async run({ seed, minutes, mutant, directory }) {
    const random = randomFrom(seed)
    const server = await startKillablePostgres()
    try {
      const url = await createLogDatabase(server, { mutant })
      const workers = Array.from({ length: processes }, (_, i) => {
        const conversations = Array.from({ length: 2_000 }, (_, c) => `conversation-${i}-${c}`)
        const job: DispatchJob = {
          url,
          seed: seed + i,
          count: null,
          conversations,
          // Twenty messages each. A conversation that grows for an hour takes more memory to load, which is no leak and would hide one.
          renewEvery: 40_000,
          lanes: 4,
          pauseMs: 40,
          idleMs: 1_000,
          retryWaitMs: 300,
        }
        return startWorker<DispatchEntry>('dispatch', `w${i}`, job, { directory, mutant })
      })
      await goTogether(workers)
      const ended = endOf(workers)
      const begun = performance.now()
      const samples = workers.map((): Sample[] => [])
      let kills = 0
      let terminated = 0
      while (performance.now() - begun < minutes * 60_000) {
        await sleep(1_000 + random.below(4_000))
        if (random.below(4) === 0) {
          await server.kill()
          await server.start()
          kills += 1
        } else {
          await withClient(url, async (client) => {
            const { rows } = await client.query(
              `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and random() < 0.5`,
            )
            terminated += rows.length
          }).catch(() => undefined)
        }
        for (const [i, { pid }] of workers.entries()) samples[i]?.push(...sampleOf(pid, performance.now() - begun))
      }
      for (const worker of workers) worker.stop()
      const wrong = await ended
      const check = await checkWork(url, workers)
      wrong.push(...check.wrong)
      const later = samples.map((of) => of.slice(Math.floor(of.length / 3)))
      const slope = Math.max(...later.map((of) => slopeOf(of)))
      const descriptors = Math.max(...later.map((of) => (of.at(-1)?.descriptors ?? 0) - (of[0]?.descriptors ?? 0)))
      // Shorter runs say nothing about hours: a process is still filling its caches.
      if (minutes >= 30 && slope > limitBytesPerHour) wrong.push(`a process grows by ${Math.round(slope / 1_048_576)} MB an hour`)
      if (descriptors > limitDescriptors) wrong.push(`a process has ${descriptors} more open files than before`)
      return {
        facts: {
          minutes,
          kills,
          terminated,
          ...check.facts,
          'MB an hour': Math.round(slope / 1_048_576),
          'more files': descriptors,
        },
        wrong,
      }
    } finally {
      await server.stop()
    }
  },
}

/** None of a process that has ended. */
function sampleOf(pid: number, atMs: number): Sample[] {
  try {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1])
    return [{ atMs, rssBytes: pages * 4_096, descriptors: readdirSync(`/proc/${pid}/fd`).length }]
  } catch {
    return []
  }
}

/** Bytes an hour, by least squares. */
function slopeOf(samples: readonly Sample[]): number {
  const meanOf = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0) / Math.max(numbers.length, 1)
  const [at, rss] = [meanOf(samples.map(({ atMs }) => atMs)), meanOf(samples.map(({ rssBytes }) => rssBytes))]
  const spread = samples.reduce((sum, { atMs }) => sum + (atMs - at) ** 2, 0)
  const together = samples.reduce((sum, { atMs, rssBytes }) => sum + (atMs - at) * (rssBytes - rss), 0)
  return spread === 0 ? 0 : (together / spread) * 3_600_000
}
