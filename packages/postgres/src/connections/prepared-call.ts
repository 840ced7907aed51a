/**
 * A call of a prepared statement through node-postgres, in one message. The driver itself writes it in five pieces, copies large parameters
 * again each time its buffer grows, and has the server describe the answer anew for each call: for one append that is a third of what its
 * client does.
 *
 * It goes through the driver's own `Query`, which prepares the statement the first time, and hears the answers; only what is written from
 * the second time on is ours.
 */
import type { Connection, Query, QueryConfig } from 'pg'
import type { Parameter } from '../append/append-session.ts'
import { callMessage } from './protocol.ts'

/** What of `Query` there is beside what its types tell (pg 8.23, `lib/query.js`). */
interface QueryInside {
  /** Set by a client that asks for binary answers. */
  binary: boolean
  readonly name: string
  readonly values: readonly Parameter[]
  hasBeenParsed(connection: Connection): boolean
  prepare(connection: Connection): void
  callback: (error: Error | null | undefined, result?: unknown) => void
}

type QueryClass = new (config: QueryConfig, values: undefined, callback: QueryInside['callback']) => Query & QueryInside

type Settle = (error: Error | null | undefined, row?: readonly (string | null)[]) => void

export type PreparedCall = new (config: QueryConfig, settle: Settle) => Query

/** The class of such calls, for one copy of the driver. A call answers with one row: its values as text, or null, unparsed. */
export function preparedCalls(driver: Pick<typeof import('pg'), 'Query'>): PreparedCall {
  const Base = driver.Query as unknown as QueryClass
  return class extends Base {
    #row: readonly (string | null)[] = []

    constructor(config: QueryConfig, settle: Settle) {
      super(config, undefined, settle as QueryInside['callback'])
    }

    override prepare(connection: Connection): void {
      this.binary = false
      if (this.hasBeenParsed(connection)) connection.stream.write(callMessage(this.name, this.values))
      else super.prepare(connection)
    }

    handleRowDescription(): void {}

    handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
      this.#row = fields
    }

    handleCommandComplete(): void {}

    handleReadyForQuery(): void {
      this.callback(null, this.#row)
    }
  }
}
