import { setTimeout as sleep } from 'node:timers/promises'
import { createLogDatabase } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'
import type { ReadFeedEntry, ReadFeedJob } from '../workers/read-feed.ts'
import type { RollBackEntry, RollBackJob } from '../workers/roll-back.ts'

const figures = {
  quick: { envelopes: 2_000, writers: 4, heldMs: 1_000 },
  full: { envelopes: 10_000, writers: 8, heldMs: 5_000 },
}
const patienceMs = 60_000

export const feedOfAll: Row = {
  id: 'D3',
  promise: 'A reader of everything, beside many writers and transactions that roll back, misses nothing and sees nothing twice.',
  service: 'postgres',
  mutants: ['feed-skips', 'feed-skips-in-silence'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const { envelopes, writers, heldMs } = figures[scale]
    const url = await createLogDatabase(postgres, { mutant, partitions: 4 })
    const options = { directory, mutant: undefined }
    const dispatchers = Array.from({ length: writers }, (_, i) => {
      const conversations = Array.from({ length: 20 }, (_, c) => `conversation-${i}-${c}`)
      const job: DispatchJob = {
        url,
        seed: seed + i,
        count: envelopes / writers,
        conversations,
        shared: 'shared',
        lanes: 4,
        retryWaitMs: 50,
      }
      return startWorker<DispatchEntry>('dispatch', `w${i}`, job, options)
    })
    const rollBackJob: RollBackJob = { url, seed, heldMs }
    const rollBack = startWorker<RollBackEntry>('roll-back', 'roll-back', rollBackJob, options)
    const readJob: ReadFeedJob = { url }
    const reader = startWorker<ReadFeedEntry>('read-feed', 'reader', readJob, { directory, mutant })
    await goTogether([...dispatchers, rollBack, reader])
    const wrong = await endOf(dispatchers)
    rollBack.stop()
    wrong.push(...(await endOf([rollBack])))

    const check = await checkWork(url, dispatchers)
    wrong.push(...check.wrong)
    const hasFailed = () => reader.entries().some(({ kind }) => kind === 'failed')
    // A feed skips nothing in silence, so what is missed shows by waiting for it.
    const deadline = performance.now() + (mutant === undefined ? patienceMs : 5_000)
    while (reader.entries().length < check.envelopes.length && !hasFailed() && performance.now() < deadline) await sleep(50)
    reader.stop()
    wrong.push(...(await endOf([reader])))

    const entries = reader.entries()
    for (const entry of entries) if (entry.kind === 'failed') wrong.push(`the reader failed: ${entry.text}`)
    const read = entries.filter((entry) => entry.kind === 'read')
    const seen = new Set(read.map(({ partition, feedPosition }) => `${partition}/${feedPosition}`))
    const missed = check.envelopes.length - seen.size
    const doubled = read.length - seen.size
    const last = new Map<string, number>()
    let disordered = 0
    for (const { partition, feedPosition, conversationId, position } of read) {
      if (feedPosition <= (last.get(`partition ${partition}`) ?? 0) || position !== (last.get(conversationId) ?? 0) + 1)
        disordered += 1
      last.set(`partition ${partition}`, feedPosition)
      last.set(conversationId, position)
    }
    if (missed > 0) wrong.push(`the reader missed ${missed} envelopes`)
    if (doubled > 0) wrong.push(`the reader saw ${doubled} envelopes twice`)
    if (disordered > 0) wrong.push(`the reader saw ${disordered} envelopes out of order`)
    return {
      facts: { envelopes: check.envelopes.length, read: read.length, 'rolled back': rollBack.entries().length, missed, doubled },
      wrong,
    }
  },
}
