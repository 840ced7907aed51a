/** The entry point `@colloquy/postgres/redis`: apart, since `redis` is an optional peer. */
import { randomUUID } from 'node:crypto'
import { createClient } from 'redis'
import {
  coalesce,
  decodePartitions,
  encodePartitions,
  type SignalTransport,
  type SignalWarning,
  warnOfSignals,
} from './signal-transport.ts'

export interface RedisSignalsOptions {
  readonly url: string
  /** One for each database of a log. Default `colloquy`. */
  readonly channel?: string
  readonly onWarning?: SignalWarning
}

/** Signals by Redis' PUBLISH and SUBSCRIBE, on two connections that are made again when they break. Closed with the log it is given to. */
export function redisSignals({ url, channel = 'colloquy', onWarning = warnOfSignals }: RedisSignalsOptions): SignalTransport {
  const listeners = new Set<(partitions: readonly number[]) => void>()
  // Before the partitions of each message, so that a process leaves out its own.
  const sender = randomUUID()
  let isDown = false
  let isClosed = false
  function isDownBy(error: unknown): void {
    if (!isDown && !isClosed) onWarning(`Signals by Redis are down: ${error instanceof Error ? error.message : String(error)}.`)
    isDown = true
  }

  const publisher = createClient({
    url,
    // What was published while nobody could hear it would be told when it is of no use.
    disableOfflineQueue: true,
    socket: { reconnectStrategy: (retries) => Math.min(100 * 2 ** retries, 5_000) },
  })
  const subscriber = publisher.duplicate({ disableOfflineQueue: false })
  for (const client of [publisher, subscriber]) {
    client.on('error', isDownBy)
    client.on('ready', () => {
      isDown = false
    })
  }

  function hear(message: string): void {
    const [from, partitionsText = ''] = message.split(' ')
    if (from === sender) return
    const partitions = decodePartitions(partitionsText)
    if (partitions.length > 0) for (const listener of listeners) listener(partitions)
  }

  // To connect is tried again and again, and does not fail before `close`. A server may refuse the channel.
  publisher.connect().catch(isDownBy)
  subscriber
    .connect()
    .then(() => subscriber.subscribe(channel, hear))
    .catch(isDownBy)

  const outbox = coalesce(async (partitions) => {
    if (publisher.isReady) await publisher.publish(channel, `${sender} ${encodePartitions(partitions)}`).catch(isDownBy)
  })

  return {
    publish: outbox.add,
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async close() {
      isClosed = true
      await outbox.close()
      publisher.destroy()
      subscriber.destroy()
    },
  }
}
