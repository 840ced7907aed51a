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
  /** What it answers with, in one row, where that is known beforehand. */
  readonly columns?: Columns
}

/** The names in order, and how text is read that is not null. */
export type Columns = readonly (readonly [name: string, read: (text: string) => unknown])[]

/** The row as a driver of somebody else gives it, which may or may not have read what is an array. */
export function readOn(row: Record<string, unknown>, columns: Columns): Record<string, unknown> {
  return Object.fromEntries(
    columns.map(([name, read]) => {
      const value = row[name]
      return [name, typeof value === 'string' ? read(value) : value]
    }),
  )
}

/** Gives `work` a session. What the connection cannot tell any more, for example after a timeout, is not used again. */
export type WithAppendSession = <T>(work: (session: AppendSession) => Promise<T>) => Promise<T>

/** Over a Kysely, of the application or of PGlite: without names, tags and notices. */
export function kyselySessions(kysely: Kysely<Database>): WithAppendSession {
  const over = (connection: Kysely<Database>): AppendSession => ({
    async query<Row>({ text, columns }: Statement, values: readonly Parameter[]) {
      const { rows } = await connection.executeQuery<Record<string, unknown>>(CompiledQuery.raw(text, [...values]))
      return (columns ? rows.map((row) => readOn(row, columns)) : rows) as Row[]
    },
    commit: async () => void (await connection.executeQuery(CompiledQuery.raw('commit'))),
    isLocalOnly: () => false,
  })
  if (kysely.isTransaction) return (work) => work(over(kysely))
  return (work) => kysely.connection().execute((connection) => work(over(connection)))
}
