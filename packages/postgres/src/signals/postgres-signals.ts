import { setTimeout as pause } from 'node:timers/promises'
import type { Client, ClientConfig, Notification } from 'pg'
import {
  coalesce,
  decodePartitions,
  encodePartitions,
  type SignalTransport,
  type SignalWarning,
  warnOfSignals,
} from './signal-transport.ts'

export interface PostgresSignalsOptions {
  /** Of the database itself: a pooler in transaction mode cannot LISTEN, and neither can a standby. */
  readonly url: string
  readonly onWarning?: SignalWarning
}

const channel = 'colloquy_growth'
/** A payload has less than 8,000 bytes. A partition number takes at most 10 of them. */
const partitionsAPayload = 700
const reconnectMs = { least: 100, most: 5_000 }
/** A line may break without a word to either end: what is not answered for so long is taken for that. */
const answerMs = 5_000

/** Signals by NOTIFY and LISTEN, on one connection of its own that is made again when it breaks. Closed with the log it is given to. */
export function postgresSignals({ url, onWarning = warnOfSignals }: PostgresSignalsOptions): SignalTransport {
  const listeners = new Set<(partitions: readonly number[]) => void>()
  let client: Client | undefined
  /** Gives `client` up, and makes another one. */
  let lost: (error: unknown) => void = () => {}
  let processId: number | undefined
  let failures = 0
  let closed = false
  let retry: NodeJS.Timeout | undefined

  async function connect(): Promise<void> {
    const { Client } = await import('pg').then((module) => module.default)
    if (closed) return
    const config: ClientConfig = {
      connectionString: url,
      connectionTimeoutMillis: 10_000,
      query_timeout: answerMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      fallback_application_name: 'colloquy signals',
      // A NOTIFY is a commit. What it tells of is on disk already, so it need not wait for the disk itself.
      options: '-c synchronous_commit=off',
    }
    const made = new Client(config)
    let isLost = false
    function lose(error?: unknown): void {
      if (isLost) return
      isLost = true
      if (client === made) client = undefined
      void end(made)
      if (closed) return
      failures += 1
      if (failures === 1)
        onWarning(`Signals by NOTIFY are down: ${error instanceof Error ? error.message : 'the connection ended'}.`)
      const pause = Math.min(reconnectMs.least * 2 ** (failures - 1), reconnectMs.most)
      retry = setTimeout(() => void connect(), pause * (0.5 + Math.random() / 2)).unref()
    }
    made.on('error', lose)
    made.on('end', lose)
    made.on('notification', hear)
    try {
      await made.connect()
      const { rows } = await made.query<{ pid: number }>('select pg_backend_pid() as pid')
      await made.query(`listen ${channel}`)
      if (isLost) return
      processId = rows[0]?.pid
      client = made
      lost = lose
      failures = 0
      if (closed) await made.end()
    } catch (error) {
      lose(error)
    }
  }

  function hear({ processId: from, payload = '' }: Notification): void {
    if (from === processId) return
    const partitions = decodePartitions(payload)
    if (partitions.length > 0) for (const listener of listeners) listener(partitions)
  }

  const outbox = coalesce(async (partitions) => {
    for (let i = 0; i < partitions.length; i += partitionsAPayload) {
      const payload = encodePartitions(partitions.slice(i, i + partitionsAPayload))
      const query = { name: 'colloquy_notify', text: `select pg_notify('${channel}', $1)`, values: [payload] }
      await client?.query(query).catch(lost)
    }
  })

  const connecting = connect().catch((error: unknown) => {
    onWarning(`Signals by NOTIFY cannot start: ${error instanceof Error ? error.message : 'no reason given'}.`)
  })
  return {
    publish: outbox.add,
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async close() {
      closed = true
      clearTimeout(retry)
      await Promise.all([connecting, outbox.close()])
      const last = client
      client = undefined
      if (last) await end(last)
    },
  }
}

/** Whatever state it is in. Of one that does not answer nobody waits for a farewell. */
async function end(client: Client): Promise<void> {
  await Promise.race([client.end().catch(() => undefined), pause(answerMs, undefined, { ref: false })])
}
