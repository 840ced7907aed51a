/** What appends are sent through: one connection for as long as a batch takes, below Kysely, which hides tags and notices. */
import { CompiledQuery, type Kysely } from 'kysely'
import type { Database } from '../schema/database.ts'

export interface AppendSession {
  /** A statement with a name is prepared under it, where the connection can. */
  readonly query: <Row>(statement: Statement, values: readonly Parameter[]) => Promise<readonly Row[]>
  /** Commits. @throws `transaction_aborted` when the server answers that it rolled back */
  readonly commit: () => Promise<void>
  /** The server said of a commit that it is not known to be on a standby, which it was to wait for. */
  readonly isLocalOnly: () => boolean
}

/** Bytes are sent in binary format, all else as text. */
export type Parameter = string | number | boolean | Uint8Array | null

export interface Statement {
  readonly text: string
  readonly name?: string
  /** What it answers with, in one row, where that is known beforehand: the names in order, and how text is read that is not null. */
  readonly columns?: readonly (readonly [name: string, read: (text: string) => unknown])[]
}

/** Gives `work` a session. What the connection cannot tell any more, for example after a timeout, is not used again. */
export type WithAppendSession = <T>(work: (session: AppendSession) => Promise<T>) => Promise<T>

/** Over a Kysely, of the application or of PGlite: without names, tags and notices. */
export function kyselySessions(kysely: Kysely<Database>): WithAppendSession {
  const over = (connection: Kysely<Database>): AppendSession => ({
    query: async <Row>({ text }: Statement, values: readonly Parameter[]) =>
      (await connection.executeQuery<Row>(CompiledQuery.raw(text, [...values]))).rows,
    commit: async () => void (await connection.executeQuery(CompiledQuery.raw('commit'))),
    isLocalOnly: () => false,
  })
  if (kysely.isTransaction) return (work) => work(over(kysely))
  return (work) => kysely.connection().execute((connection) => work(over(connection)))
}
