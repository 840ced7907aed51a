import { startFramingProxy } from '../../support/framing-proxy.ts'
import { createLogDatabase, withClient } from '../database.ts'
import { checkWork } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import { randomFrom } from '../random.ts'
import type { Row } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'

const figures = {
  quick: { dispatches: 200 },
  full: { dispatches: 1_000 },
}

export const rollbackTag: Row = {
  id: 'D9',
  promise: 'A COMMIT that the server answers with ROLLBACK is never taken for one.',
  service: 'postgres',
  mutants: ['no-commit-tag'],

  async run({ seed, scale, mutant, directory, postgres }) {
    const url = await createLogDatabase(postgres, { mutant })
    // Where sessions begin elsewhere, an append needs a transaction of its own, and with it a COMMIT.
    await withClient(url, async (client) => {
      const database = client.escapeIdentifier(client.database ?? '')
      await client.query(`alter database ${database} set default_transaction_isolation = 'repeatable read'`)
    })
    const random = randomFrom(seed)
    let rolledBack = 0
    const proxy = await startFramingProxy(url, {
      rollBack: () => {
        const isRolledBack = random.below(3) === 0
        if (isRolledBack) rolledBack += 1
        return isRolledBack
      },
    })
    try {
      const conversations = Array.from({ length: 10 }, (_, c) => `conversation-${c}`)
      const count = figures[scale].dispatches
      // One lane in each conversation's way: batches would leave few commits to answer.
      const job: DispatchJob = { url: proxy.url, seed, count, conversations, lanes: 2, retryWaitMs: 20 }
      const worker = startWorker<DispatchEntry>('dispatch', 'w0', job, { directory, mutant })
      await goTogether([worker])
      const wrong = await endOf([worker])
      const check = await checkWork(url, [worker])
      if (rolledBack === 0) wrong.push('no COMMIT went by')
      return { facts: { 'rolled back': rolledBack, ...check.facts }, wrong: [...wrong, ...check.wrong] }
    } finally {
      await proxy.close()
    }
  },
}
