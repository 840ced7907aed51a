import type { PostgresServer } from '../support/postgres-server.ts'
import type { MutantName } from './mutants.ts'

export type Scale = 'quick' | 'full'

/** What a row runs with. */
export interface Chaos {
  /** Decides every choice that is the row's own; the order in which processes run is the machine's. */
  readonly seed: number
  readonly scale: Scale
  /** Breaks the product on purpose: the row must then find something wrong. */
  readonly mutant: MutantName | undefined
  /** Of this run alone, for the files of its processes. Open to other users, since the server's user is another one. */
  readonly directory: string
  /** How long what runs by the clock goes on. */
  readonly minutes: number
  /** The shared server. Only rows with `service: 'postgres'` may ask. */
  readonly postgres: PostgresServer
}

interface Findings {
  /** What was counted. */
  readonly facts: Readonly<Record<string, number | string>>
  /** One sentence for each broken promise; none: the row is green. */
  readonly wrong: readonly string[]
}

/** A way in which things die, and what must not be lost by it. */
export interface Row {
  readonly id: string
  /** One sentence. */
  readonly promise: string
  /** `postgres`: the shared server. `own postgres`: one that the row may kill. */
  readonly service: 'postgres' | 'own postgres' | 'none'
  /** Each must be found. */
  readonly mutants: readonly MutantName[]
  /** Runs only when it is asked for by its id. */
  readonly byHand?: true
  /** @throws ServiceMissing where this machine cannot do it */
  run(chaos: Chaos): Promise<Findings>
}

/** This machine cannot run the row: there is no Postgres, or it does not give the right that the row needs. */
export class ServiceMissing extends Error {}
