/** The subscriber of the feed bench: says when it saw each envelope, by the clock that all processes of a machine share. */
import { createEngine } from '@colloquy/engine'
import { openPostgresLog, postgresSignals } from '@colloquy/postgres'
import { redisSignals } from '@colloquy/postgres/redis'

const [url = '', signal, redisUrl = ''] = process.argv.slice(2)
const signals = signal === 'postgres' ? postgresSignals({ url }) : signal === 'redis' ? redisSignals({ url: redisUrl }) : 'none'
const log = await openPostgresLog({ url, signals })
const engine = createEngine({ log })

engine.feed$({ tenant: 'timed', from: 'end' }).subscribe(({ conversationId, position }) => {
  process.send?.({ id: `${conversationId}/${position}`, at: String(process.hrtime.bigint()) })
})
process.send?.({ isReady: true })
