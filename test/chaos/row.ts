import type { Fact } from './fact.ts'
import type { MutantName } from './mutants.ts'

/** One promise under attack. */
export interface Row<Scale = unknown> {
  readonly id: string
  /** In a sentence. */
  readonly proves: string
  /** How much of it: `quick` runs with the tests, `full` by `npm run chaos`. */
  readonly scales: { readonly quick: Scale; readonly full: Scale }
  /** Only when it is asked for by its id. */
  readonly byHand?: boolean
  /** Each of them must break it: a row that survives its mutant proves nothing. */
  readonly mutants: readonly MutantName[]
  /** @throws Unavailable where this machine lacks what the row needs */
  run(run: Run<Scale>): Promise<readonly Fact[]>
}

export interface Run<Scale> {
  readonly seed: number
  readonly scale: Scale
  readonly minutes: number
  /** An empty directory that is removed afterwards. */
  readonly directory: string
  /** Called at the end, last first. */
  readonly defer: (end: () => unknown) => void
}

/** Keeps the scale's type for `run`, and forgets it for everybody else. */
export function defineRow<Scale>(row: Row<Scale>): Row {
  return row
}

/** This machine lacks what a row needs. */
export class Unavailable extends Error {}

/** Numbers in [0, 1) that a seed decides. mulberry32, public domain. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}
