import { readdirSync } from 'node:fs'
import { isColloquyError } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { type Attack, startFrameProxy } from '../../support/frame-proxy.ts'
import { say } from '../../support/given.ts'
import { newCluster, withClient } from '../database.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import { acknowledgement, untilDone } from '../retry.ts'
import { defineRow, randomFrom } from '../row.ts'
import { sleep } from '../worker.ts'

interface Sample {
  readonly hours: number
  readonly megabytes: number
  readonly files: number
}

/** Shorter runs tell the slope, but it says little: the heap is still finding its size. */
const judgedFromMinutes = 30

export const soak = defineRow({
  id: 'D16',
  proves: 'hours of work through cut lines and ended connections lose nothing and leave nothing behind in the process',
  // How long is said with --minutes.
  scales: { quick: { lanes: 4 }, full: { lanes: 8 } },
  byHand: true,
  mutants: [],
  async run(run) {
    const random = randomFrom(run.seed)
    const cluster = await newCluster(run)
    const attacks: Attack[] = ['before', 'middle', 'after', 'late']
    let cuts = 0
    const proxy = await startFrameProxy(cluster.url, () => {
      if (random() > 0.005) return undefined
      cuts += 1
      return attacks[Math.floor(random() * attacks.length)]
    })
    run.defer(proxy.close)
    const end = performance.now() + run.minutes * 60_000
    const acknowledged: Acknowledged[] = []
    const samples: Sample[] = []
    const log = await openPostgresLog({ url: proxy.url })
    const engine = createEngine({ log, idleMs: 30_000 })

    async function lane(number: number): Promise<void> {
      for (let i = 0; performance.now() < end; i++) {
        // Conversations end and others begin, so that what is kept for each would show.
        const conversationId = `c${number}-${Math.floor(i / 200)}`
        const commandId = `${number} ${i}`
        const result = await untilDone(async () => {
          const conversation = await engine.open(conversationId)
          return acknowledgement(conversation, commandId, await conversation.dispatch(say(commandId), { commandId }))
        }, random)
        // What the row itself keeps must not grow the process: one in fifty is enough to see a loss.
        if (i % 50 === 0) acknowledged.push(result)
        if (i % 20 === 0) await engine.replay(conversationId).catch(ignoreUnreachable)
      }
    }
    async function endConnections(): Promise<void> {
      while (performance.now() < end) {
        await sleep(2_000 + random() * 8_000)
        await withClient(cluster.url, (client) =>
          client.query(
            `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and application_name = 'colloquy' and random() < 0.5`,
          ),
        )
      }
    }
    async function sample(): Promise<void> {
      const start = performance.now()
      const everyMs = Math.max(500, (run.minutes * 60_000) / 200)
      while (performance.now() < end) {
        await sleep(everyMs)
        globalThis.gc?.()
        samples.push({
          hours: (performance.now() - start) / 3_600_000,
          megabytes: process.memoryUsage.rss() / 2 ** 20,
          files: process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0,
        })
      }
    }
    await Promise.all([...Array.from({ length: run.scale.lanes }, (_, number) => lane(number)), endConnections(), sample()])
    await engine.close()
    await log.close()
    await sleep(1_000)
    await using direct = await openPostgresLog({ url: cluster.url })
    // The first half is the process finding its size.
    const settled = samples.slice(samples.length >> 1)
    const isJudged = run.minutes >= judgedFromMinutes
    return [
      { what: 'minutes', seen: run.minutes },
      { what: 'lines cut', seen: cuts },
      { what: 'MB an hour', seen: slopeOf(settled), ...(isJudged && { atMost: 1 }) },
      { what: 'MB at the end', seen: settled.at(-1)?.megabytes ?? 0 },
      { what: 'files open at most', seen: Math.max(0, ...settled.map(({ files }) => files)), atMost: 100 },
      ...(await audit(direct, acknowledged)),
    ]
  },
})

/** Least squares, in MB an hour. */
function slopeOf(samples: readonly Sample[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const [hours, megabytes] = [mean(samples.map((s) => s.hours)), mean(samples.map((s) => s.megabytes))]
  const above = samples.reduce((sum, s) => sum + (s.hours - hours) * (s.megabytes - megabytes), 0)
  return above / samples.reduce((sum, s) => sum + (s.hours - hours) ** 2, 0)
}

function ignoreUnreachable(error: unknown): void {
  if (!isColloquyError(error) || !error.retryable) throw error
}
