/** Appends words to shared lists and reads the lists, and writes down when each began, when it ended and what it gave. */
import type { ConversationKey, StoredEnvelope } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import type { Operation } from '../list-append.ts'
import { randomFrom } from '../random.ts'
import { work } from './work.ts'

export interface HistoryJob {
  readonly url: string
  readonly seed: number
  readonly operations: number
  readonly lists: number
}

const lanes = 3
/** The same clock in all processes of a machine. */
const now = () => Number(process.hrtime.bigint() / 1_000n)

await work<HistoryJob>(async ({ job, record: write, start }) => {
  const record = (operation: Operation) => write(operation)
  const random = randomFrom(job.seed)
  await using log = await openPostgresLog({ url: job.url })
  await using engine = createEngine({ log, onError: () => {} })
  await start()

  const wordOf = ({ commandId }: StoredEnvelope): string => commandId ?? ''
  async function readList(conversationId: string): Promise<string[]> {
    const key: ConversationKey = { tenant: 'default', conversationId }
    const list: string[] = []
    for await (const page of log.read(key)) list.push(...page.map(wordOf))
    return list
  }

  async function lane(number: number): Promise<void> {
    for (let i = number; i < job.operations; i += lanes) {
      const conversationId = `list-${random.below(job.lists)}`
      const begun = now()
      if (random.below(2) === 0) {
        const list = await readList(conversationId)
        record({ kind: 'read', list: conversationId, begun, ended: now(), words: list })
      } else {
        const word = `${job.name}-${i}`
        await (await engine.open(conversationId)).dispatch(say(word), { commandId: word })
        record({ kind: 'append', list: conversationId, begun, ended: now(), word })
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))
})
