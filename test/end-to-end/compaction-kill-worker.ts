/**
 * Appends messages until a compaction is due and stands still at one moment of it, for `kill -9`. Run as a process of its own:
 * `node --conditions=@colloquy/source compaction-kill-worker.ts <directory> <moment>`. Says `there` when it stands.
 */
import { autoCompaction, charactersCounter, contextWindow } from '@colloquy/context'
import { contextCompacted, type EventLog, type Summariser } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openEmbeddedLog } from '@colloquy/postgres'
import { oldest, talk } from '../support/compaction.ts'

const [directory = '', moment = ''] = process.argv.slice(2)

async function standStill(): Promise<never> {
  process.stdout.write('there\n')
  return new Promise(() => {})
}

const summariser: Summariser = {
  id: 'worker',
  version: '1',
  summarise: async () => (moment === 'while the summariser is asked' ? standStill() : { text: 'They talked.' }),
}

const own = await openEmbeddedLog({ directory })
const log: EventLog = new Proxy(own, {
  get(target, name) {
    if (name === 'append') return append
    const value: unknown = Reflect.get(target, name)
    return typeof value === 'function' ? value.bind(target) : value
  },
})

const append: EventLog['append'] = async (requests) => {
  const types = requests.flatMap(({ envelopes }) => envelopes.map(({ type }) => type))
  const isCompaction = types.includes(contextCompacted.type)
  if (isCompaction && moment === 'between summary and commit') return standStill()
  const outcomes = await own.append(requests)
  if (isCompaction && moment === 'between commit and answer') return standStill()
  if (types.length === 9 && moment === 'between message and compaction') return standStill()
  return outcomes
}

const window = contextWindow({ counter: charactersCounter, strategy: oldest, settings: { maxContextTokens: 100 } })
const engine = createEngine({ log, effects: [autoCompaction({ window, summariser })] })
const conversation = await engine.open('c')
await conversation.dispatch(talk(1, 9))
