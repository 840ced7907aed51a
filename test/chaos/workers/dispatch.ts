/** Dispatches commands through an engine, and each until it knows what became of it, as a careful caller would. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isColloquyError, toHex } from '@colloquy/core'
import { createEngine, type Middleware } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { say } from '../../support/given.ts'
import { randomFrom } from '../random.ts'
import { work } from './work.ts'

export interface DispatchJob {
  readonly url: string
  readonly seed: number
  /** Commands; null: until it is stopped. */
  readonly count: number | null
  readonly conversations: readonly string[]
  /** After so many commands each conversation is left for a new one, so that none grows on. Otherwise they stay. */
  readonly renewEvery?: number
  /** Takes a quarter of the commands, of every worker. */
  readonly shared?: string
  /** Commands under way at a time. */
  readonly lanes: number
  /** One command in so many is sent twice, as by a caller whose own answer got lost. */
  readonly repeatEvery?: number
  /** After an answer that tells nothing the worker waits up to so long. */
  readonly retryWaitMs: number
  /** Up to so long after each command. */
  readonly pauseMs?: number
  /** When an idle conversation leaves memory. */
  readonly idleMs?: number
  /** How long a middleware takes for each attempt. */
  readonly slowMs?: number
  /** Of each message. */
  readonly textBytes?: number
  /** When an append gives up and says that its outcome is unknown. */
  readonly deadlineMs?: number
}

export type DispatchEntry =
  | {
      readonly kind: 'stored'
      readonly commandId: string
      readonly conversationId: string
      readonly position: number
      readonly hash: string
      readonly duplicate: boolean
    }
  /** The outcome was not known, or nobody could be reached: it is sent again. */
  | { readonly kind: 'again'; readonly commandId: string; readonly code: string }
  /** What should not happen. */
  | { readonly kind: 'failed'; readonly commandId: string; readonly text: string }

const patienceMs = 60_000

await work<DispatchJob>(async ({ job, record: write, start, isStopped }) => {
  const record = (entry: DispatchEntry) => write(entry)
  const random = randomFrom(job.seed)
  const log = await openPostgresLog({ url: job.url, ...(job.deadlineMs !== undefined && { deadlineMs: job.deadlineMs }) })
  const { slowMs } = job
  const slow: Middleware = () => (next) => async (action) => {
    await sleep(slowMs)
    return next(action)
  }
  const engine = createEngine({
    log,
    onError: () => {},
    ...(slowMs !== undefined && { middleware: [slow] }),
    ...(job.idleMs !== undefined && { idleMs: job.idleMs }),
  })
  const text = job.textBytes === undefined ? 'hi' : 'hi '.repeat(job.textBytes / 3)
  await start()

  async function command(commandId: string, conversationId: string): Promise<void> {
    const deadline = performance.now() + patienceMs
    for (;;) {
      try {
        const conversation = await engine.open(conversationId)
        const { envelopes, duplicate } = await conversation.dispatch(say(commandId, text), { commandId })
        const [first] = envelopes
        if (first === undefined) throw new Error('The dispatch resolved without an envelope.')
        record({ kind: 'stored', commandId, conversationId, position: first.position, hash: toHex(first.hash), duplicate })
        return
      } catch (error) {
        const isWorthRetrying =
          isColloquyError(error) && (error.retryable || error.code === 'storage_full') && performance.now() < deadline
        if (!isWorthRetrying) {
          record({ kind: 'failed', commandId, text: String(error) })
          return
        }
        record({ kind: 'again', commandId, code: error.code })
        const nextCommandId = commandId
        await sleep(random.fraction() * job.retryWaitMs)
        commandId = nextCommandId
      }
    }
  }

  async function lane(number: number): Promise<void> {
    for (let i = number; !isStopped() && (job.count === null || i < job.count); i += job.lanes) {
      const commandId = `${job.name}-${i}`
      const isShared = job.shared !== undefined && random.below(4) === 0
      const conversationId = isShared ? job.shared : `${random.pick(job.conversations)}${generationAt(i)}`
      await command(commandId, conversationId)
      if (job.pauseMs !== undefined) await sleep(random.below(job.pauseMs))
      if (job.repeatEvery !== undefined && i % job.repeatEvery === 0) await command(commandId, conversationId)
    }
  }

  const generationAt = (i: number): string => (job.renewEvery === undefined ? '' : `.${Math.floor(i / job.renewEvery)}`)

  await Promise.all(Array.from({ length: job.lanes }, (_, number) => lane(number)))
  await engine.close()
  await log.close()
})
