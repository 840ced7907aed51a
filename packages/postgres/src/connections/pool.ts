/** Connections of node-postgres, made fit for Kysely and for us. */
import { ColloquyError, isColloquyError } from '@colloquy/core'
import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import type { CustomTypesConfig, Pool, PoolClient, PoolConfig, QueryConfig } from 'pg'
import { appendFailure } from '../append/append-failure.ts'
import {
  type AppendSession,
  type Columns,
  type Parameter,
  readOn,
  type Statement,
  type WithAppendSession,
} from '../append/append-session.ts'
import { preparedFeeds } from '../read/feed.ts'
import type { Database } from '../schema/database.ts'
import { answerTo, inTime } from './answer.ts'
import type { Connection, ReadRows, RowQuery } from './connection.ts'
import { textOf } from './failures.ts'
import { safeInteger } from './int8.ts'
import { type PreparedCall, preparedCalls } from './prepared-call.ts'
import { inTenant } from './tenant-session.ts'

/** What connections of our own are opened with. The server gives up first: a client that gave up would not know what became of it. */
export interface Timeouts {
  readonly statementMs: number
  readonly appendMs: number
}

const connectTimeoutMs = 5_000

/**
 * Pools of our own, for one server or for several of which one takes writes. Does not connect yet.
 * @throws `database_unreachable` for a url that cannot be read
 */
export async function connectUrls(urls: readonly string[], timeouts: Timeouts): Promise<Connection> {
  const target = urls.map(targetOfUrl).join(', ')
  const { Pool } = await import('pg').then((module) => module.default)
  const open = (statementMs: number, max: number) =>
    urls.map((url) => {
      const pool = new Pool({ ...ownSettings(url, statementMs), max })
      // Stays: connections may still report their end after the pool's.
      pool.on('error', ignore)
      pool.on('connect', listen)
      return pool
    })
  const [pools, appendPools] = [open(timeouts.statementMs, 10), open(timeouts.appendMs, 4)]
  const appending = firstOf(appendPools, target)
  return {
    ...(await connectionOver(firstOf(pools, target), appending, target, {
      readMs: answerMs(timeouts.statementMs),
      appendMs: answerMs(timeouts.appendMs),
    })),
    close: async () => void (await Promise.all([...pools, ...appendPools].map((pool) => pool.end()))),
  }
}

function ownSettings(url: string, statementMs: number): PoolConfig {
  return {
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    fallback_application_name: 'colloquy',
    // Lets a transaction of one statement leave in one go (`tenantSessions`).
    pipeline: true,
    ...(statementMs > 0 && { statement_timeout: statementMs }),
  }
}

/** How long an answer is waited for: longer than the server works on it. 0: for ever. */
const answerMs = (statementMs: number): number => Math.ceil(statementMs * 1.25)

/** A pool of the application's, which stays open when we let go of it. */
export async function connectPool(pool: Pool, timeouts: Timeouts): Promise<Connection> {
  const target = targetOfPool(pool)
  const connect = firstOf([pool], target)
  // Without a listener, the end of an idle connection ends the process. The pool drops the client; the next query tells.
  pool.on('error', ignore)
  pool.on('connect', listen)
  return {
    // Its reads last as long as the application lets them.
    ...(await connectionOver(connect, connect, target, { readMs: 0, appendMs: answerMs(timeouts.appendMs) })),
    close: async () => {
      pool.off('error', ignore)
      pool.off('connect', listen)
    },
  }
}

type Connect = () => Promise<PoolClient>

/**
 * A client of the first server that can be reached and, where there are several, takes writes. The one that was found is asked first the
 * next time.
 */
function firstOf(pools: readonly Pool[], target: string): Connect {
  let current = 0
  const fit = new WeakSet<PoolClient>()
  return async () => {
    const problems: unknown[] = []
    for (let i = 0; i < pools.length; i++) {
      const place = (current + i) % pools.length
      try {
        const client = await (pools[place] as Pool).connect()
        if (pools.length > 1 && !fit.has(client)) await assertWritable(client)
        fit.add(client)
        current = place
        return client
      } catch (error) {
        problems.push(error)
      }
    }
    // Told apart here, where nothing was sent yet, from a connection that broke under a statement.
    throw toUnreachable(problems.length === 1 ? problems[0] : new AggregateError(problems), target)
  }
}

async function assertWritable(client: PoolClient): Promise<void> {
  client.on('error', ignore)
  try {
    const text = `select not pg_is_in_recovery() and current_setting('default_transaction_read_only') = 'off' as writable`
    // A part of connecting: a host that froze behind it must not keep the others from being tried.
    const { rows } = await inTime(client, answerTo(client, { text }), connectTimeoutMs)
    if ((rows[0] as { writable: boolean } | undefined)?.writable !== true) throw new Error('the server is read-only')
  } catch (error) {
    client.release(true)
    throw error
  }
}

async function connectionOver(
  connect: Connect,
  connectToAppend: Connect,
  target: string,
  patience: { readonly readMs: number; readonly appendMs: number },
): Promise<Omit<Connection, 'close'>> {
  const { Client, Query, types } = await import('pg').then((module) => module.default)
  const driver: Driver = { Client, Query, PreparedCall: preparedCalls({ Query }) }
  // Given with each query: the application's own parsers stay as they are, in its pool and everywhere.
  const ourTypes: CustomTypesConfig = {
    getTypeParser: (oid, format) =>
      oid === types.builtins.INT8 && format !== 'binary' ? safeInteger : types.getTypeParser(oid, format),
  }
  const known = new WeakMap<PoolClient, Adopted>()
  const adopted = async (from: Connect): Promise<Adopted> => {
    const client = await from()
    const found = known.get(client) ?? adopt(client, ourTypes, driver, target, patience.readMs)
    known.set(client, found)
    return found
  }
  const ourPool: PostgresPool = { options: {}, connect: () => adopted(connect), end: () => Promise.resolve() }
  return {
    target,
    kysely: new Kysely<Database>({ dialect: new PostgresDialect({ pool: ourPool }) }),
    pool: ourPool,
    readRows: overPool(() => adopted(connect)),
    withAppendSession: overClients(() => adopted(connectToAppend), patience.appendMs),
  }
}

interface Adopted extends PostgresPoolClient {
  readonly send: <Row>(
    query: QueryConfig,
    withinMs?: number,
  ) => Promise<{ readonly rows: Row[]; readonly command: string | null }>
  /** A prepared statement that answers with one row. */
  readonly call: (query: QueryConfig, columns: Columns, withinMs: number) => Promise<Record<string, unknown>>
  readonly rows: (query: RowQuery, onRow: (row: readonly unknown[]) => void) => Promise<void>
  /** Commits whose wait for a standby was cancelled, since the client was opened. */
  readonly localCommits: () => number
}

function adopt(client: PoolClient, types: CustomTypesConfig, driver: Driver, target: string, readMs: number): Adopted {
  let isUnsure = false
  let localCommits = 0
  listen(client)
  // By the name of the function, which no language changes: the notice has no SQLSTATE of its own.
  client.on('notice', ({ routine }) => {
    if (routine === 'SyncRepWaitForLSN') localCommits++
  })
  const watched = async <T>(answer: Promise<T>, withinMs: number): Promise<T> => {
    try {
      return await (withinMs > 0 ? inTime(client, answer, withinMs) : answer)
    } catch (error) {
      // An answer that comes late would be taken for that of the next statement, and a read-only server will not do.
      const failure = appendFailure(error)
      isUnsure ||= failure === 'lost' || failure === 'read_only'
      throw error
    }
  }
  const send = async (query: QueryConfig, withinMs = readMs) => {
    const result = await watched(answerTo(client, { ...query, types }), withinMs)
    // The commit of a transaction in which a statement failed answers with ROLLBACK, and is no error to a driver.
    if (result.command === 'ROLLBACK' && query.text === 'commit') throw new ColloquyError('transaction_aborted', { target })
    return result
  }
  return {
    send,
    async call(query, columns, withinMs) {
      // An application's pool may be of another copy of pg, or of its native twin.
      if (!((client as object) instanceof driver.Client))
        return readOn((await send(query, withinMs)).rows[0] as Record<string, unknown>, columns)
      const values = await watched(
        new Promise<readonly (string | null)[]>((resolve, reject) => {
          const { query: submit } = client as unknown as { query: (query: object) => void }
          submit.call(client, new driver.PreparedCall(query, (error, row) => (error ? reject(error) : resolve(row ?? []))))
        }),
        withinMs,
      )
      const row: Record<string, unknown> = {}
      for (const [i, [name, read]] of columns.entries()) {
        const value = values[i] ?? null
        row[name] = value === null ? null : read(value)
      }
      return row
    },
    rows: (query, onRow) => watched(sendForRows(client, driver, query, types, onRow), readMs),
    query: ((text: string, values: unknown[]) => {
      const name = preparedFeeds.get(text)
      return send({ text, values, ...(name !== undefined && { name }) })
    }) as unknown as PostgresPoolClient['query'],
    release: (destroy) => client.release(isUnsure || destroy),
    localCommits: () => localCommits,
  }
}

type Driver = Pick<typeof import('pg'), 'Client' | 'Query'> & { readonly PreparedCall: PreparedCall }

/**
 * pg decodes every field as UTF-8 before it looks at its format. So bytes that are text come as text, neither written in hex by the
 * server nor read from it here: half of what a row costs.
 */
async function sendForRows(
  client: PoolClient,
  { Client, Query }: Driver,
  query: RowQuery,
  types: CustomTypesConfig,
  onRow: (row: readonly unknown[]) => void,
): Promise<void> {
  const config = { name: query.name, text: query.text, values: [...query.values], rowMode: 'array' as const }
  // An application's pool may be of another copy of pg, or of its native twin: that gives all rows at the end.
  if (!((client as object) instanceof Client)) {
    for (const row of (await client.query<unknown[]>({ ...config, types })).rows) onRow(row)
    return
  }
  await new Promise<void>((resolve, reject) => {
    // Taken before pg makes rows of them: it would also keep every row until the last has come, and the collector carries them around.
    const handleDataRow = ({ fields }: { readonly fields: readonly unknown[] }): void => onRow(fields)
    const asked = Object.assign(new Query({ ...config, binary: true } as QueryConfig), { handleDataRow })
    // With a callback errors come to it. pg's types know one for other forms of a query only.
    const { query: send } = client as unknown as { query: (query: object, ended: (error: Error | null) => void) => void }
    send.call(client, asked, (error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

function overPool(connect: () => Promise<Adopted>): ReadRows {
  return async (tenant, query, onRow) => {
    const client = await connect()
    try {
      const read = () => client.rows(query, onRow)
      await (tenant === null ? read() : inTenant(client, tenant, read))
    } finally {
      client.release()
    }
  }
}

function overClients(connect: () => Promise<Adopted>, withinMs: number): WithAppendSession {
  return async (work) => {
    const client = await connect()
    const before = client.localCommits()
    const session: AppendSession = {
      async query<Row>({ text, name, columns }: Statement, values: readonly Parameter[]) {
        const query = { text, values: [...values], ...(name !== undefined && { name }) }
        return columns ? [(await client.call(query, columns, withinMs)) as Row] : (await client.send<Row>(query, withinMs)).rows
      },
      commit: async () => void (await client.send({ text: 'commit' }, withinMs)),
      isLocalOnly: () => client.localCommits() > before,
    }
    try {
      return await work(session)
    } finally {
      client.release()
    }
  }
}

/**
 * The pool listens to idle clients only. One that is checked out may lose its connection between two statements, and one that is being
 * handed over between the pool's listener and ours: so from the connection on.
 */
function listen(client: PoolClient): void {
  if (!client.listeners('error').includes(ignore)) client.on('error', ignore)
}

function ignore(): void {}

function toUnreachable(error: unknown, target: string): ColloquyError {
  if (isColloquyError(error, 'database_unreachable')) return error
  return new ColloquyError('database_unreachable', { target, problem: textOf(error) }, { cause: error })
}

/** Host, port and database: what a person needs, and nothing secret. */
function targetOfUrl(url: string): string {
  const parsed = URL.parse(url)
  // An error of the parser would quote the url, password included, so there is no `cause`.
  if (!parsed) {
    throw new ColloquyError('database_unreachable', {
      target: 'the given url',
      problem: 'it cannot be read as postgres://user:password@host:port/database',
    })
  }
  // A password with a slash that was not escaped ends up in the path, up to its "@".
  const database = parsed.pathname.includes('@') ? '' : parsed.pathname
  return `${parsed.host}${database}`
}

function targetOfPool({ options }: Pool): string {
  if (options.connectionString !== undefined)
    return URL.parse(options.connectionString) ? targetOfUrl(options.connectionString) : 'the given pool'
  return `${options.host ?? 'localhost'}:${options.port ?? 5432}/${options.database ?? ''}`
}
