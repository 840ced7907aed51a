import { z } from 'zod'
import { ColloquyError } from './errors.ts'
import { assertId } from './ids.ts'
import { defaultLimits, type JsonObject, type Limits, ownJson } from './json.ts'

/** Positions `from` to `to`, both included. */
export type PositionRange = readonly [from: number, to: number]

export const positionRanges = z.array(
  z.custom<PositionRange>(
    (value) =>
      Array.isArray(value) && value.length === 2 && value.every((n) => Number.isSafeInteger(n) && n > 0) && value[0] <= value[1],
    'expected [from, to] with 1 <= from <= to',
  ),
)

/**
 * A fact as plain data, named in the past tense. `payload` is what the schema of its type says; `meta` is what a caller adds about
 * where it came from; `derivedFrom` names the positions it was made from, so that an erasure can follow them.
 */
export interface Action<Type extends string = string, Payload = unknown> {
  readonly type: Type
  readonly payload: Payload
  readonly meta?: JsonObject
  readonly derivedFrom?: readonly PositionRange[]
}

/** What a reducer is handed: the action with what the stamp says of it, and with what it names in the log. */
export interface StampedAction<Type extends string = string, Payload = unknown> extends Action<Type, Payload> {
  readonly position: number
  /** Microseconds since 1970, never less than that of the action before. */
  readonly occurredAt: number
  readonly actor: string | null
  /** The stored actions that `resolve` of the definition asked for, in that order; not part of the envelope. */
  readonly resolved?: readonly StampedAction[]
  /** The schema version, when it is newer than the definition here: no slice applies the action, it is kept as it is. */
  readonly newerSchemaVersion?: number
  /** Why the stored payload could not be made today's: an upcast threw. No slice applies the action, it is kept as it is. */
  readonly upcastProblem?: string
}

/** Turns a payload of schema version n into one of n + 1. Pure; gets and returns plain JSON. */
export type Upcast = (payload: JsonObject) => JsonObject

/** What is known of a kind of action: its schema now, and how older payloads become it. */
export interface ActionDefinition<Type extends string = string, Payload = JsonObject> {
  readonly type: Type
  /** 1 plus the number of upcasts. */
  readonly schemaVersion: number
  readonly schema: z.ZodType<Payload>
  readonly upcasts: readonly Upcast[]
  /** Positions whose stored actions the reducer needs to see, as they stand when the action is applied. */
  readonly resolve?: (payload: Payload) => readonly PositionRange[]
}

// Payload types are invariant in a definition, so no closed type covers all of them.
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyActionDefinition = ActionDefinition<string, any>

/** Makes an action and checks its payload. @throws `action_invalid`, `json_invalid`, `json_too_deep`, `json_too_wide` */
export interface ActionCreator<Type extends string = string, Payload = JsonObject> extends ActionDefinition<Type, Payload> {
  (
    payload: Payload,
    extra?: { readonly meta?: JsonObject; readonly derivedFrom?: readonly PositionRange[] },
  ): Action<Type, Payload>
  readonly match: (action: { readonly type: string }) => action is Action<Type, Payload>
}

/** The actions a creator makes. */
export type ActionOf<C> = C extends ActionCreator<infer Type, infer Payload> ? Action<Type, Payload> : never
/** The actions of a creator as its reducer sees them. */
export type StampedActionOf<C> = C extends ActionCreator<infer Type, infer Payload> ? StampedAction<Type, Payload> : never

/**
 * Defines an action: its type, the schema of its payload, and how older payloads become today's.
 *
 * What the schema returns is stored, defaults filled in, and is what reducers see again on replay: so it must accept what it
 * returns, and not transform it. A new schema version is a new entry at the end of `upcasts`; entries are never changed or removed.
 * @throws `id_invalid` for a type that no column could hold
 */
export function defineAction<const Type extends string, Schema extends z.ZodType>(
  type: Type,
  schema: Schema,
  options: {
    readonly upcasts?: readonly Upcast[]
    readonly resolve?: (payload: z.infer<Schema>) => readonly PositionRange[]
  } = {},
): ActionCreator<Type, z.infer<Schema>> {
  type Payload = z.infer<Schema>
  assertId('action type', type)
  const upcasts = options.upcasts ?? []
  const definition = {
    type,
    schema: schema as unknown as z.ZodType<Payload>,
    upcasts,
    schemaVersion: 1 + upcasts.length,
    ...(options.resolve && { resolve: options.resolve }),
  }
  const create = (
    payload: Payload,
    extra?: { meta?: JsonObject; derivedFrom?: readonly PositionRange[] },
  ): Action<Type, Payload> => checkAction(creator, { type, payload, ...extra }) as Action<Type, Payload>
  const match = (action: { readonly type: string }): action is Action<Type, Payload> => action.type === type
  // `Function.prototype.name` is read-only by assignment; naming the creator after its type makes stack traces readable.
  const creator: ActionCreator<Type, Payload> = Object.freeze(
    Object.assign(Object.defineProperty(create, 'name', { value: type }), definition, { match }),
  )
  return creator
}

const actionKeys = new Set(['type', 'payload', 'meta', 'derivedFrom'])

/** Actions that went through `checkAction`, and by what: they are frozen, so the same check need not be made again. */
const checked = new WeakMap<object, { readonly definition: AnyActionDefinition; readonly limits: Limits }>()

/**
 * The action as it will be stored: checked against its definition, copied, frozen. Depth counts from the action itself.
 * @throws `action_invalid`, `json_invalid`, `json_too_deep`, `json_too_wide`
 */
export function checkAction(definition: AnyActionDefinition, action: Action, limits: Limits = defaultLimits): Action {
  const known = isObject(action) ? checked.get(action) : undefined
  if (known?.definition === definition && isSameLimits(known.limits, limits)) return action
  const owned = ownJson(action, limits)
  const { type } = definition
  const invalid = (path: string, problem: string) => new ColloquyError('action_invalid', { type, path, problem })
  if (!isObject(owned)) throw invalid('$', 'an action is an object with type and payload')
  if (owned.type !== type) throw invalid('$.type', `expected "${type}"`)
  const strangeKey = Object.keys(owned).find((key) => !actionKeys.has(key))
  if (strangeKey !== undefined) throw invalid(`$.${strangeKey}`, 'actions have no such field')
  if (owned.meta !== undefined && !isObject(owned.meta)) throw invalid('$.meta', 'expected an object')
  if (owned.derivedFrom !== undefined) parse(type, positionRanges, owned.derivedFrom, '$.derivedFrom')
  const parsed = parse(type, definition.schema, owned.payload, '$.payload')
  // What a schema returns may hold anything and may be anybody's, so it is checked and copied like the input was. It stands one level
  // down in the action, whose other fields are ours already.
  const payload = ownJson(parsed, limits, '$.payload', 1)
  const result = Object.freeze({ ...owned, payload }) as unknown as Action
  checked.set(result, { definition, limits })
  return result
}

function isSameLimits(a: Limits, b: Limits): boolean {
  return a.depth === b.depth && a.keys === b.keys && a.envelopeBytes === b.envelopeBytes
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parse(type: string, schema: z.ZodType, value: unknown, path: string): unknown {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const steps = [...(issue?.path ?? []), ...(issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [])]
  const at = steps.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('')
  throw new ColloquyError(
    'action_invalid',
    { type, path: path + at, problem: issue?.message ?? 'invalid' },
    { cause: result.error },
  )
}

/** A payload of an older schema version as today's. Versions of the future are not touched: the caller treats them as opaque. */
export function upcast(definition: AnyActionDefinition, payload: JsonObject, schemaVersion: number): JsonObject {
  let current = payload
  for (let version = schemaVersion; version < definition.schemaVersion; version++) {
    const step = definition.upcasts[version - 1]
    if (step) current = step(current)
  }
  return current
}
