/** A real Postgres whose processes can be killed, and started again on the same data. */
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './free-port.ts'
import { databasesAt, newEmbedded, type PostgresServer } from './postgres-server.ts'

export interface KillablePostgres extends PostgresServer {
  /** As a power cut for the processes: kill -9 of the postmaster and of all its children. */
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
}

export async function startKillablePostgres(
  options: { readonly directory?: string; readonly initdb?: readonly string[] } = {},
): Promise<KillablePostgres> {
  const directory = options.directory ?? join(tmpdir(), `colloquy-chaos-${randomUUID()}`)
  const port = await freePort()
  const { postgres, messages } = await newEmbedded({ directory, port, initdb: options.initdb ?? [] })
  const start = async (): Promise<void> => {
    try {
      await postgres.start()
    } catch (error) {
      throw new Error(`Postgres did not start:\n${messages.slice(-20).join('\n')}`, { cause: error })
    }
  }
  await postgres.initialise()
  await start()
  return {
    createDatabase: databasesAt(`postgres://colloquy:test@127.0.0.1:${port}/postgres`),
    start,
    stop: () => postgres.stop(),
    async kill() {
      const postmaster = Number(readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n')[0])
      // The postmaster first, so that it starts nobody anew.
      process.kill(postmaster, 'SIGSTOP')
      const family = [postmaster, ...childrenOf(postmaster)]
      for (const pid of family) process.kill(pid, 'SIGKILL')
      while (family.some(isRunning)) await sleep(5)
    },
  }
}

function childrenOf(parent: number): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger)
  return pids.filter((pid) => statOf(pid)?.[1] === String(parent))
}

/** One that has ended and that nobody has asked about yet does not run. */
function isRunning(pid: number): boolean {
  const state = statOf(pid)?.[0]
  return state !== undefined && state !== 'Z'
}

/** State, parent and so on: the fields after the name, which may hold spaces and brackets. */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}
