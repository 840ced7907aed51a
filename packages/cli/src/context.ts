import type { Io, Output } from './output.ts'

/** Options of every command. */
export interface GlobalOptions {
  readonly db?: string
  /** Where commands that only read go, instead of `db`. */
  readonly readUrl?: string
  readonly tenant?: string
  /** The configuration file, instead of the one of the directory. */
  readonly config?: string
  readonly json?: boolean
  readonly quiet?: boolean
  readonly debug?: boolean
}

/** What every command is given. */
export interface Context {
  readonly io: Io
  readonly output: Output
  readonly options: GlobalOptions
}
