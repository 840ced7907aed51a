/**
 * PGlite for Kysely, over the raw protocol. PGlite's own `query()` takes six turns through its engine for a statement and writes bytes as
 * hex; here a statement is prepared once, by a name, and then costs one turn: bind, execute, sync. Bytes go and come as they are.
 *
 * There is one session. Whoever wants it waits for the one before, and a transaction keeps it.
 */
import type { PGlite } from '@electric-sql/pglite'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  PGliteAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import {
  type Answers,
  bindMessage,
  closeMessage,
  type Field,
  type Message,
  parseMessage,
  readAnswers,
  syncMessage,
} from './protocol.ts'

export function pgliteDialect(pglite: PGlite): Dialect {
  return {
    createAdapter: () => new PGliteAdapter(),
    createDriver: () => new PgliteDriver(pglite),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  }
}

class PgliteDriver implements Driver {
  readonly #connection: PgliteConnection
  /** Settles when the session is free. */
  #free: Promise<void> = Promise.resolve()
  #release: () => void = () => {}

  constructor(pglite: PGlite) {
    this.#connection = new PgliteConnection(pglite)
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    const before = this.#free
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#free = promise
    await before
    this.#release = resolve
    return this.#connection
  }

  async releaseConnection(): Promise<void> {
    this.#release()
  }

  async beginTransaction(connection: DatabaseConnection, { isolationLevel, accessMode }: TransactionSettings): Promise<void> {
    const settings = [isolationLevel && `isolation level ${isolationLevel}`, accessMode].filter(Boolean).join(', ')
    await connection.executeQuery(CompiledQuery.raw(`begin ${settings}`))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'))
  }

  /** The engine is closed by who started it. */
  async destroy(): Promise<void> {}
}

interface Statement {
  readonly name: string
  readonly parameterTypes: readonly number[]
  readonly fields: readonly Field[]
}

/** Statements that stay prepared; the one that was not used for the longest time goes first. */
const statementsKept = 200
/** "Cached plan must not change result type": a table has other columns than when the statement was prepared. */
const planIsOutdated = '0A000'
/** The statement is not known: somebody has discarded all. */
const statementIsUnknown = '26000'

class PgliteConnection implements DatabaseConnection {
  readonly #pglite: PGlite
  readonly #statements = new Map<string, Statement>()
  #prepared = 0
  #hasLearnt = false

  constructor(pglite: PGlite) {
    this.#pglite = pglite
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const known = this.#statements.get(sql)
    if (known === undefined) return this.#execute<R>(await this.#prepare(sql), parameters)
    this.#statements.delete(sql)
    this.#statements.set(sql, known)
    try {
      return await this.#execute<R>(known, parameters)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      // In a transaction the error has ended it, and preparing anew says so.
      if (code !== planIsOutdated && code !== statementIsUnknown) throw error
      await this.#forget(sql, known)
      return this.#execute<R>(await this.#prepare(sql), parameters)
    }
  }

  streamQuery(): AsyncIterableIterator<never> {
    throw new Error('PGlite gives a result whole: there is nothing to stream.')
  }

  async #prepare(sql: string): Promise<Statement> {
    for (const [oldest, statement] of this.#statements) {
      if (this.#statements.size < statementsKept) break
      await this.#forget(oldest, statement)
    }
    const name = `colloquy_${++this.#prepared}`
    const { parameterTypes, fields } = await this.#ask(parseMessage(name, sql))
    await this.#learn([...parameterTypes, ...fields.map(({ type }) => type)])
    const statement = { name, parameterTypes, fields }
    this.#statements.set(sql, statement)
    return statement
  }

  /** PGlite parses arrays by what it asks the catalog, once: the first time that a type comes up which may be one. */
  async #learn(typesOfStatement: readonly number[]): Promise<void> {
    if (this.#hasLearnt || typesOfStatement.every((type) => type in this.#pglite.parsers)) return
    await this.#pglite.refreshArrayTypes()
    this.#hasLearnt = true
  }

  async #forget(sql: string, { name }: Statement): Promise<void> {
    this.#statements.delete(sql)
    await this.#ask(closeMessage(name))
  }

  async #execute<R>({ name, parameterTypes, fields }: Statement, parameters: readonly unknown[]): Promise<QueryResult<R>> {
    const { serializers, parsers } = this.#pglite
    const values = parameters.map((value, i) => {
      if (value === null || value === undefined) return null
      if (value instanceof Uint8Array) return value
      const serialize = serializers[parameterTypes[i] ?? 0]
      if (serialize) return serialize(value)
      return typeof value === 'bigint' ? value.toString() : typeof value === 'string' ? value : JSON.stringify(value)
    })
    const { rows, affectedRows } = await this.#ask(bindMessage(name, values, fields), fields, (text, type) => {
      const parse = parsers[type]
      return parse ? parse(text, type) : text
    })
    return { rows: rows as R[], ...(affectedRows !== undefined && { numAffectedRows: affectedRows }) }
  }

  /**
   * By the streaming call: the other one has each answer parsed by PGlite as well, which takes as long as a small statement, and keeps what
   * it parsed for ever (PGlite 0.5.16, measured 2026-11-27).
   */
  async #ask(message: Message, fields?: readonly Field[], parse?: (text: string, type: number) => unknown): Promise<Answers> {
    const answers: Uint8Array[] = []
    // Always with a sync: after an error the session takes nothing else.
    await this.#pglite.execProtocolRawStream(Buffer.concat([...message, ...syncMessage]), {
      // A directory of Node's is written as it goes, and memory nowhere: there is nothing to bring in line.
      syncToFs: false,
      // What is given is the engine's own memory.
      onRawData: (bytes) => void answers.push(bytes.slice()),
    })
    return readAnswers(Buffer.concat(answers), fields, parse)
  }
}
