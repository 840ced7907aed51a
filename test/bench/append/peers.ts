/** What appends are compared with. Installed on the first use, by a package.json of its own: users do not pay for our comparisons. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'

const directory = fileURLToPath(new URL('..', import.meta.url))

export function installPeers(say: (text: string) => void): void {
  if (existsSync(`${directory}node_modules/@event-driven-io/emmett-postgresql`)) return
  say('installing what we compare with (test/bench/package-lock.json), once')
  const { status, stderr } = spawnSync('npm', ['ci', '--no-workspaces'], { cwd: directory, encoding: 'utf8' })
  if (status !== 0) throw new Error(`The peers could not be installed:\n${stderr}`)
}

/** The part of Emmett that is used here. */
interface Emmett {
  readonly getPostgreSQLEventStore: (
    url: string,
    options: { readonly connectionOptions: { readonly pool: pg.Pool } },
  ) => {
    readonly schema: { readonly migrate: () => Promise<unknown> }
    readonly appendToStream: (
      stream: string,
      events: readonly { readonly type: string; readonly data: unknown }[],
      options: { readonly expectedStreamVersion: bigint },
    ) => Promise<{ readonly nextExpectedStreamVersion: bigint }>
  }
}

/** The part of LangGraph's checkpointer that is used here. */
interface LangGraph {
  readonly PostgresSaver: new (
    pool: pg.Pool,
  ) => {
    readonly setup: () => Promise<void>
    readonly put: (
      config: { readonly configurable: Record<string, string | undefined> },
      checkpoint: Record<string, unknown>,
      metadata: Record<string, unknown>,
      versions: Record<string, number>,
    ) => Promise<unknown>
  }
}

// Held in variables, so that no compiler looks for what is not installed yet.
const emmett = '@event-driven-io/emmett-postgresql'
const langGraph = '@langchain/langgraph-checkpoint-postgres'

export const importEmmett = async (): Promise<Emmett> => (await import(emmett)) as Emmett
export const importLangGraph = async (): Promise<LangGraph> => (await import(langGraph)) as LangGraph
