import { Immer } from 'immer'
import { type AnyActionDefinition, type StampedAction, upcast } from './action.ts'
import { ColloquyError } from './errors.ts'
import { deepFreeze, type JsonObject } from './json.ts'
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
  /** The state before the first action, frozen. */
  initial(): State
  definition(type: string): AnyActionDefinition | undefined
  /** How many types of action the slices know. */
  readonly actionCount: number
  /** Lets every slice refuse. @throws what the slice throws */
  guard(state: State, action: StampedAction): void
  /**
   * The next state, frozen; the same object when nothing changed.
   * With `onUnapplied`, for actions that are stored already, a slice that cannot apply one is reported and left as it is.
   * @throws `reducer_failed` without `onUnapplied`
   */
  reduce(state: State, action: StampedAction, onUnapplied?: (unapplied: Unapplied) => void): State
  /**
   * Folds onto `state`, which it owns and changes; see `Slice.replay`. Never throws. A slice whose reducer does stays as it was, unless
   * it is one of those that promised not to.
   * @returns what could not be applied
   */
  applyOwned(state: State, action: StampedAction): readonly Unapplied[]
  /**
   * Names everything a stored state depends on: state format, slices with their versions, and the upcasts of their actions.
   * A snapshot under another key is not used.
   */
  readonly stateKey: string
}

const stateFormatVersion = 1

/** Our own instance: an application that calls immer's `setAutoFreeze(false)` must not thaw conversations. */
const { produce } = new Immer({ autoFreeze: true })

/** What is known of a type of action. */
interface Known {
  readonly creator: AnyActionCreator
  /** The slices that it is for. */
  readonly listening: Slice[]
}

/** Every type that is known has somebody who listens. */
const nobody: readonly Slice[] = []

/** @throws `slice_invalid` for a name or an action type that is taken */
export function combineSlices<const Slices extends readonly Slice[]>(slices: Slices): Reducer<StateOf<Slices>> {
  type State = StateOf<Slices>
  type Open = Record<string, unknown>
  const knownTypes = new Map<string, Known>()
  const names = new Set<string>()

  for (const slice of slices) {
    if (names.has(slice.name))
      throw new ColloquyError('slice_invalid', { slice: slice.name, problem: 'another slice has this name' })
    names.add(slice.name)
    if (new Set(slice.actions).size < slice.actions.length)
      throw new ColloquyError('slice_invalid', { slice: slice.name, problem: 'it lists an action twice' })
    for (const creator of slice.actions) {
      const known = knownTypes.get(creator.type)
      if (known === undefined) {
        knownTypes.set(creator.type, { creator, listening: [slice] })
        continue
      }
      if (known.creator !== creator) {
        throw new ColloquyError('slice_invalid', {
          slice: slice.name,
          problem: `another slice defines "${creator.type}" differently`,
        })
      }
      known.listening.push(slice)
    }
  }

  /** The slices that an action is for. One that is not of today's schema is for none: today's recipes would misread it. */
  const listening = ({ type, newerSchemaVersion, upcastProblem }: StampedAction): readonly Slice[] =>
    newerSchemaVersion === undefined && upcastProblem === undefined ? (knownTypes.get(type)?.listening ?? nobody) : nobody

  /** Why a stored action is for nobody. */
  function strangerProblem({ type, newerSchemaVersion, upcastProblem }: StampedAction): string {
    const known = knownTypes.get(type)
    if (upcastProblem !== undefined) return upcastProblem
    if (known === undefined) return 'no slice knows this action'
    return `it has schema version ${newerSchemaVersion}, newer than ${known.creator.schemaVersion}, the last one known here`
  }

  return {
    slices,
    definition: (type) => knownTypes.get(type)?.creator,
    actionCount: knownTypes.size,
    stateKey: stateKeyOf(
      slices,
      [...knownTypes.values()].map(({ creator }) => creator),
    ),

    initial() {
      const state: Open = {}
      for (const slice of slices) state[slice.name] = slice.initial()
      return deepFreeze(state) as State
    },

    guard(state, action) {
      for (const slice of listening(action)) slice.guard?.(state, action)
    },

    reduce(state, action, onUnapplied) {
      let next = state as Open
      const audience = listening(action)
      if (audience === nobody) onUnapplied?.(unapplied(action, null, strangerProblem(action)))
      for (const slice of audience) {
        const before = next[slice.name]
        let after = before
        try {
          after = reduceSlice(slice, before, action)
        } catch (error) {
          if (onUnapplied === undefined) throw reducerFailed(slice, action, error)
          onUnapplied(unapplied(action, slice.name, problemOf(error)))
        }
        if (after === before) continue
        if (next === state) next = { ...next }
        next[slice.name] = after
      }
      return Object.freeze(next) as State
    },

    applyOwned(state, action) {
      const owned = state as Open
      const audience = listening(action)
      if (audience === nobody) return [unapplied(action, null, strangerProblem(action))]
      let failures = nothing
      for (const slice of audience) {
        try {
          const before = owned[slice.name]
          const after =
            slice.replay === 'bare' ? changed(before, slice.reduce(before, action)) : reduceSlice(slice, before, action)
          if (after !== before) owned[slice.name] = after
        } catch (error) {
          failures = [...failures, unapplied(action, slice.name, problemOf(error))]
        }
      }
      return failures
    },
  }
}

const nothing: readonly Unapplied[] = []

function unapplied({ position, type }: StampedAction, slice: string | null, problem: string): Unapplied {
  return { position, type, slice, problem }
}

function reduceSlice(slice: Slice, before: unknown, action: StampedAction): unknown {
  // immer would leave a vector alone and complain about a recipe that returns another one.
  return Vector.isVector(before)
    ? deepFreeze(changed(before, slice.reduce(before, action)))
    : produce(before, (draft) => slice.reduce(draft as never, action) as never)
}

/** A recipe that returns nothing has changed its draft; null is a state like any other. */
const changed = (before: unknown, returned: unknown): unknown => (returned === undefined ? before : returned)

function reducerFailed(slice: Slice, { type }: StampedAction, cause: unknown): ColloquyError {
  return new ColloquyError('reducer_failed', { type, slice: slice.name, problem: problemOf(cause) }, { cause })
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

/** A copy to fold onto, of a state that is frozen; the state itself when it is not. Vectors are shared: they never change. */
export function ownState<State>(state: State): State {
  return Object.isFrozen(state) ? (thawed(state) as State) : state
}

function thawed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Vector.isVector(value)) return value
  if (Array.isArray(value)) return value.map(thawed)
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, thawed(child)]))
}

/**
 * The stored action as today's reducers see it. An unknown type passes through as it is; a version of the future is marked, and so is
 * one whose upcast throws: what cannot be applied makes nothing else unreadable.
 */
export function upcastAction(reducer: Pick<Reducer, 'definition'>, action: StampedAction, schemaVersion: number): StampedAction {
  const definition = reducer.definition(action.type)
  if (definition === undefined || schemaVersion === definition.schemaVersion) return action
  if (schemaVersion > definition.schemaVersion) return { ...action, newerSchemaVersion: schemaVersion }
  try {
    return { ...action, payload: upcast(definition, action.payload as JsonObject, schemaVersion) }
  } catch (error) {
    const upcastProblem = `it has schema version ${schemaVersion}, and an upcast to ${definition.schemaVersion} threw: ${problemOf(error)}`
    return { ...action, upcastProblem }
  }
}

function problemOf(error: unknown): string {
  if (error instanceof Error) return error.message
  return typeof error === 'string' ? error : 'it threw something that is not an Error'
}
