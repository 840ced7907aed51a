import type { ActionCreator, StampedActionOf } from './action.ts'
import { ColloquyError } from './errors.ts'
import type { JsonObject } from './json.ts'
import type { Vector } from './vector.ts'

/** `T` as a recipe may change it: everything writable, but vectors and free JSON, which are replaced whole. */
export type Draft<T> =
  T extends Vector<unknown>
    ? T
    : [JsonObject] extends [T]
      ? T
      : T extends readonly (infer E)[]
        ? Draft<E>[]
        : T extends object
          ? { -readonly [K in keyof T]: Draft<T[K]> }
          : T

// Payload types are invariant in a creator, so no closed type covers all of them.
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyActionCreator = ActionCreator<string, any>

/**
 * One concept of the state: its name, how it begins, the actions it listens to, what it refuses and how it changes.
 *
 * - `guard` runs at dispatch only, for the actions that the slice lists, and throws to refuse. It sees the whole state, and must
 *   cost the same however long the conversation is.
 * - `reduce` is an immer recipe: change the draft, or return a new state. It uses nothing but its two arguments and is total:
 *   what it cannot apply leaves the state as it is. On replay it refuses nothing.
 * - The state is JSON in objects and arrays, and vectors where a list grows with the conversation; no vector inside a list.
 */
export interface Slice<Name extends string = string, State = unknown> {
  readonly name: Name
  /** Raise it when the same actions lead to another state: snapshots of other versions are not used. */
  readonly version: number
  readonly initial: () => State
  readonly actions: readonly AnyActionCreator[]
  guard?(state: GuardedState<Name, State>, action: StampedActionOf<AnyActionCreator>): void
  reduce(draft: Draft<State>, action: StampedActionOf<AnyActionCreator>): Draft<State> | void
  /**
   * 'bare': on replay the recipe runs without immer on one owned object, which is frozen once at the end (several times faster).
   * Only for recipes that put no object in two places, never change an object that came from a payload or a constant, and never
   * throw; a property test can hold both ways equal. Default 'produce'.
   */
  readonly replay: 'bare' | 'produce'
}

/** What a guard sees: the state of its own slice under its name, and all others. */
export type GuardedState<Name extends string, State> = { readonly [K in Name]: State } & { readonly [other: string]: unknown }

/** Defines a slice. @throws `slice_invalid` for a name that is not an identifier or a version below 1 */
export function defineSlice<const Name extends string, State, const Creators extends readonly AnyActionCreator[]>(definition: {
  readonly name: Name
  readonly version: number
  readonly initial: () => State
  readonly actions: Creators
  readonly guard?: (state: GuardedState<Name, State>, action: StampedActionOf<Creators[number]>) => void
  readonly reduce: (draft: Draft<State>, action: StampedActionOf<Creators[number]>) => Draft<State> | void
  readonly replay?: 'bare' | 'produce'
}): Slice<Name, State> {
  const { name, version } = definition
  if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(name)) {
    throw new ColloquyError('slice_invalid', { slice: name, problem: 'a name is letters, digits and _, beginning with a letter' })
  }
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new ColloquyError('slice_invalid', { slice: name, problem: `version ${version} is not a whole number from 1` })
  }
  return Object.freeze({ replay: 'produce' as const, ...definition })
}
