import { produce } from 'immer'
import { type AnyActionDefinition, type StampedAction, upcast } from './action.ts'
import { ColloquyError } from './errors.ts'
import { deepFreeze } from './json.ts'
import type { AnyActionCreator, Slice } from './slice.ts'
import { Vector } from './vector.ts'

/** The state of a set of slices, by slice name. */
export type StateOf<Slices extends readonly Slice[]> = {
  readonly [S in Slices[number] as S['name']]: S extends Slice<string, infer State> ? State : never
}

/** Something a reducer could not apply: the state of that slice stayed as it was. */
export interface Unapplied {
  readonly position: number
  readonly type: string
  /** null when no slice knows the action. */
  readonly slice: string | null
  readonly problem: string
}

/** Slices as one: guard, reduce, replay. */
export interface Reducer<State = unknown> {
  readonly slices: readonly Slice[]
  initial(): State
  definition(type: string): AnyActionDefinition | undefined
  /** Lets every slice refuse. @throws what the slice throws */
  guard(state: State, action: StampedAction): void
  /** The next state, frozen; the same object when nothing changed. @throws `reducer_failed` */
  reduce(state: State, action: StampedAction): State
  /** Folds onto `state`, which it owns and changes; see `Slice.replay`. Never throws. @returns what could not be applied */
  applyOwned(state: State, action: StampedAction): readonly Unapplied[]
  /**
   * Names everything a stored state depends on: state format, slices with their versions, and the upcasts of their actions.
   * A snapshot under another key is not used.
   */
  readonly stateKey: string
}

const stateFormatVersion = 1

/** @throws `slice_invalid` for a name or an action type that is taken */
export function combineSlices<const Slices extends readonly Slice[]>(slices: Slices): Reducer<StateOf<Slices>> {
  type State = StateOf<Slices>
  type Open = Record<string, unknown>
  const definitions = new Map<string, AnyActionCreator>()
  const listeners = new Map<string, Slice[]>()
  const names = new Set<string>()

  for (const slice of slices) {
    if (names.has(slice.name))
      throw new ColloquyError('slice_invalid', { slice: slice.name, problem: 'another slice has this name' })
    names.add(slice.name)
    for (const creator of slice.actions) {
      const known = definitions.get(creator.type)
      if (known !== undefined && known !== creator) {
        throw new ColloquyError('slice_invalid', {
          slice: slice.name,
          problem: `another slice defines "${creator.type}" differently`,
        })
      }
      definitions.set(creator.type, creator)
      const listening = listeners.get(creator.type) ?? []
      listeners.set(creator.type, [...listening, slice])
    }
  }

  return {
    slices,
    definition: (type) => definitions.get(type),
    stateKey: stateKeyOf(slices, [...definitions.values()]),

    initial() {
      const state: Open = {}
      for (const slice of slices) state[slice.name] = slice.initial()
      return state as State
    },

    guard(state, action) {
      for (const slice of listeners.get(action.type) ?? []) slice.guard?.(state, action)
    },

    reduce(state, action) {
      let next = state as Open
      for (const slice of listeners.get(action.type) ?? []) {
        const before = next[slice.name]
        const after = reduceSlice(slice, before, action)
        if (after === before) continue
        if (next === state) next = { ...next }
        next[slice.name] = after
      }
      return Object.freeze(next) as State
    },

    applyOwned(state, action) {
      const owned = state as Open
      const listening = listeners.get(action.type)
      if (listening === undefined)
        return [{ position: action.position, type: action.type, slice: null, problem: 'no slice knows this action' }]
      let unapplied: Unapplied[] | undefined
      for (const slice of listening) {
        try {
          const before = owned[slice.name]
          owned[slice.name] =
            slice.replay === 'bare' ? (slice.reduce(before, action) ?? before) : reduceSlice(slice, before, action)
        } catch (error) {
          unapplied ??= []
          unapplied.push({ position: action.position, type: action.type, slice: slice.name, problem: problemOf(error) })
        }
      }
      return unapplied ?? nothing
    },
  }
}

const nothing: readonly Unapplied[] = []

function reduceSlice(slice: Slice, before: unknown, action: StampedAction): unknown {
  try {
    // immer would leave a vector alone and complain about a recipe that returns another one.
    return Vector.isVector(before)
      ? (slice.reduce(before, action) ?? before)
      : produce(before, (draft) => slice.reduce(draft as never, action) as never)
  } catch (error) {
    throw new ColloquyError(
      'reducer_failed',
      { type: action.type, slice: slice.name, problem: problemOf(error) },
      { cause: error },
    )
  }
}

/** Freezes a state that replay owned, and hands it out. */
export function freezeState<State>(state: State): State {
  return deepFreeze(state)
}

function stateKeyOf(slices: readonly Slice[], creators: readonly AnyActionCreator[]): string {
  const versions = slices.map((slice) => `${slice.name}@${slice.version}`).sort()
  const upcasts = creators.filter((c) => c.schemaVersion > 1).map((c) => `${c.type}@${c.schemaVersion}`)
  return `v${stateFormatVersion};${versions.join(',')};${upcasts.sort().join(',')}`
}

/** The stored action as today's reducers see it. An unknown type or a version of the future passes through as it is. */
export function upcastAction(reducer: Pick<Reducer, 'definition'>, action: StampedAction, schemaVersion: number): StampedAction {
  const definition = reducer.definition(action.type)
  if (definition === undefined || schemaVersion >= definition.schemaVersion) return action
  return { ...action, payload: upcast(definition, action.payload, schemaVersion) }
}

function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
