/** What appends are compared with. */
import type pg from 'pg'

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
