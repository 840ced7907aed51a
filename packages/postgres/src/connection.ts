import { ColloquyError } from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { Database } from './database.ts'
import { toColloquyError } from './failures.ts'

/** A database and how to let go of it. */
export interface Connection {
  readonly kysely: Kysely<Database>
  /** Where it is, for people: never with a password. */
  readonly target: string
  /** Frees what was opened here, and only that: a pool or a Kysely that was handed in stays open. */
  readonly close: () => Promise<void>
}

/** What the parts of a log work on: a connection with a log's tables in it. */
export interface LogConnection {
  readonly kysely: Kysely<Database>
  readonly target: string
  readonly partitions: number
  /** Sessions do not start at read committed, so an append has to ask for it. */
  readonly needsReadCommitted: boolean
  /** Does `work`; what it throws becomes a ColloquyError. @throws `database_unreachable`, `database_failed` */
  readonly run: <T>(operation: string, work: () => Promise<T>) => Promise<T>
  /** Refuses new work, waits for what is under way, then lets go. Idempotent. */
  readonly close: () => Promise<void>
}

export function logConnection(
  { kysely, target, close }: Connection,
  facts: Pick<LogConnection, 'partitions' | 'needsReadCommitted'>,
): LogConnection {
  const pending = new Set<Promise<unknown>>()
  let closing: Promise<void> | undefined
  return {
    ...facts,
    kysely,
    target,
    async run(operation, work) {
      if (closing) throw new ColloquyError('database_unreachable', { target, problem: 'the log is closed' })
      const working = work()
      pending.add(working)
      try {
        return await working
      } catch (error) {
        throw toColloquyError(error, operation, target)
      } finally {
        pending.delete(working)
      }
    },
    close() {
      closing ??= Promise.allSettled(pending).then(close)
      return closing
    },
  }
}
