import { createLogDatabase, withClient } from '../database.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import type { Row } from '../row.ts'
import type { ClocksEntry, ClocksJob } from '../workers/clocks.ts'
import type { FeedListEntry, FeedListJob } from '../workers/feed-list.ts'

const figures = {
  quick: { cases: 50 },
  full: { cases: 200 },
}

export const clocks: Row = {
  id: 'D13',
  promise: 'Clocks that are an hour off and jump backwards change no order, and the time of recording is that of the database.',
  service: 'postgres',
  mutants: ['feed-by-time', 'clock-believed'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const { cases } = figures[scale]
    const url = await createLogDatabase(postgres, { partitions: 1 })
    const now = () =>
      withClient(url, async (client) => {
        const { rows } = await client.query<{ now: string }>(
          'select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now',
        )
        return Number(rows[0]?.now)
      })
    const begun = await now()
    const job: ClocksJob = { url, seed, cases }
    const isReader = mutant === 'feed-by-time'
    const writer = startWorker<ClocksEntry>('clocks', 'writer', job, { directory, mutant: isReader ? undefined : mutant })
    await goTogether([writer])
    const wrong = await endOf([writer])
    const ended = await now()
    const listJob: FeedListJob = { url }
    const lister = startWorker<FeedListEntry>('feed-list', 'lister', listJob, {
      directory,
      mutant: isReader ? mutant : undefined,
    })
    await goTogether([lister])
    wrong.push(...(await endOf([lister])))

    const written = writer.entries()
    const listed = lister.entries()
    const misplaced = written.filter(({ commandId }, i) => listed[i]?.commandId !== commandId)
    if (misplaced.length > 0 || listed.length !== written.length)
      wrong.push(
        `${misplaced.length} of ${written.length} envelopes are not where they were appended, ${listed.length} are there`,
      )
    const last = new Map<string, number>()
    let backwards = 0
    for (const { conversationId, occurredAt } of listed) {
      if (occurredAt < (last.get(conversationId) ?? 0)) backwards += 1
      last.set(conversationId, occurredAt)
    }
    if (backwards > 0) wrong.push(`the time of a conversation goes back ${backwards} times`)
    const foreign = listed.filter(({ recordedAt }) => recordedAt < begun || recordedAt > ended)
    if (foreign.length > 0) wrong.push(`${foreign.length} envelopes were recorded at a time that was not the database's`)
    return { facts: { cases, envelopes: listed.length, misplaced: misplaced.length, backwards }, wrong }
  },
}
