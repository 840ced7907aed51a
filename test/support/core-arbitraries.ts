/**
 * fast-check generators for core: JSON at its edges, every action by its own schema, and conversations.
 *
 * Actions are generated from the zod schemas, so a new action or field is covered the day it is defined. Ids come from a handful, so
 * that actions meet: results find their calls, redactions their messages.
 */
import {
  type Action,
  type AnyActionCreator,
  compactionUndone,
  contextCompacted,
  conversationSlices,
  type EnvelopeHeader,
  type Json,
  type JsonObject,
  type PositionRange,
  type WorkingMessage,
} from '@colloquy/core'
import fc from 'fast-check'
import { positionRanges } from '../../packages/core/src/action.ts'
import { anyJson, anyJsonObject, id } from '../../packages/core/src/conversation/message.ts'
import { Given, given } from './core-log.ts'

/** Any UTF-16 string: NUL, lone surrogates, everything. */
const anyString: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 8 }) },
  {
    weight: 1,
    arbitrary: fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 4 }).map((codes) => String.fromCharCode(...codes)),
  },
  { weight: 1, arbitrary: fc.constantFrom('\0', '\ud800', '\udfff x', 'é', 'é', '\u2028', '"\\', 'constructor', 'toString') },
)

/** Any number that JSON holds unchanged and a log accepts. */
const anyNumber: fc.Arbitrary<number> = fc
  .oneof(fc.integer(), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true }))
  .map((n) => (Object.is(n, -0) || (Number.isInteger(n) && !Number.isSafeInteger(n)) ? 0 : n))

const anyKey = anyString.filter((key) => key !== '__proto__')

export const anyValue: fc.Arbitrary<Json> = fc.letrec<{ value: Json; object: JsonObject }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false),
    anyNumber,
    anyString,
    fc.array(tie('value'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.dictionary(anyKey, tie('value'), { maxKeys: 3 }) as fc.Arbitrary<JsonObject>,
})).value

export const anyObject: fc.Arbitrary<JsonObject> = fc.dictionary(anyKey, anyValue, { maxKeys: 3 }) as fc.Arbitrary<JsonObject>

const someId = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const someRange: fc.Arbitrary<PositionRange> = fc
  .tuple(fc.integer({ min: 1, max: 12 }), fc.nat({ max: 4 }))
  .map(([from, more]) => [from, from + more])

/** Schemas that zod cannot describe, by identity. */
const byIdentity = new Map<unknown, fc.Arbitrary<unknown>>([
  [anyJson, anyValue],
  [anyJsonObject, anyObject],
  [positionRanges, fc.array(someRange, { maxLength: 3 })],
  [id, someId],
])

interface Bound {
  readonly check: string
  readonly value?: number
  readonly minimum?: number
  readonly inclusive?: boolean
  readonly pattern?: RegExp
}

type Schema = AnyActionCreator['schema']

/** What zod keeps of a schema, as far as ours use it. */
interface Definition {
  readonly type: string
  readonly format?: string
  readonly checks?: readonly { readonly _zod: { readonly def: Bound } }[]
  readonly innerType: Schema
  readonly element: Schema
  readonly valueType: Schema
  readonly options: readonly Schema[]
  readonly shape: Readonly<Record<string, Schema>>
  readonly entries: Readonly<Record<string, string>>
  readonly values: readonly (string | number)[]
}

/** Values that `schema` accepts. Knows the kinds that our actions use, and says so when it meets another. */
function arbitraryOf(schema: Schema): fc.Arbitrary<unknown> {
  const known = byIdentity.get(schema)
  if (known !== undefined) return known
  const def = schema._zod.def as unknown as Definition
  const bounds = (def.checks ?? []).map((check) => check._zod.def)
  switch (def.type) {
    case 'string': {
      const pattern = bounds.find((bound) => bound.pattern)?.pattern
      if (pattern !== undefined) return fc.stringMatching(pattern)
      return bounds.length === 0 ? anyString : fc.string({ minLength: 1, maxLength: 8 })
    }
    case 'number':
      return numberWithin(bounds, def.format === 'safeint')
    case 'boolean':
      return fc.boolean()
    case 'enum':
      return fc.constantFrom(...Object.values(def.entries))
    case 'literal':
      return fc.constantFrom(...def.values)
    case 'optional':
      return arbitraryOf(def.innerType)
    case 'nullable':
      return fc.option(arbitraryOf(def.innerType), { nil: null })
    case 'array':
      return fc.array(arbitraryOf(def.element), { minLength: bounds[0]?.minimum ?? 0, maxLength: 3 })
    case 'record':
      return fc.dictionary(anyKey, arbitraryOf(def.valueType), { maxKeys: 3 })
    case 'union':
      return fc.oneof(...def.options.map(arbitraryOf))
    case 'object':
      return objectOf(def.shape)
    default:
      throw new Error(`arbitraryOf does not know the zod type "${def.type}": teach it, or give the schema a place in byIdentity`)
  }
}

function numberWithin(bounds: readonly Bound[], whole: boolean): fc.Arbitrary<number> {
  const above = bounds.find(({ check }) => check === 'greater_than')
  const below = bounds.find(({ check }) => check === 'less_than')
  if (!whole) return fc.double({ noNaN: true, min: above?.value ?? -1e9, max: below?.value ?? 1e9 }).map((n) => n + 0)
  const min = above?.value === undefined ? Number.MIN_SAFE_INTEGER : above.value + (above.inclusive ? 0 : 1)
  return fc.oneof(
    fc.integer({ min: Math.max(min, 0), max: 1000 }),
    fc.maxSafeInteger().filter((n) => n >= min),
  )
}

function objectOf(shape: Readonly<Record<string, Schema>>): fc.Arbitrary<unknown> {
  const fields = Object.entries(shape)
  const arbitraries = Object.fromEntries(fields.map(([key, schema]) => [key, arbitraryOf(schema)]))
  const required = fields.filter(([, schema]) => schema._zod.def.type !== 'optional')
  return fc.record(arbitraries, { requiredKeys: required.map(([key]) => key) })
}

/** The creators of all of our actions. */
const conversationCreators: readonly AnyActionCreator[] = [
  ...new Set<AnyActionCreator>(conversationSlices.flatMap((slice) => [...slice.actions])),
]

function actionOf(creator: AnyActionCreator): fc.Arbitrary<Action> {
  const extra = fc.record({ meta: anyObject, derivedFrom: fc.array(someRange, { maxLength: 2 }) }, { requiredKeys: [] })
  return fc.tuple(arbitraryOf(creator.schema), extra).map(([payload, rest]) => creator(payload, rest))
}

/** Any action of ours that its schema accepts, whether or not it makes sense where it stands. */
export const anyAction: fc.Arbitrary<Action> = fc.oneof(...conversationCreators.map(actionOf))

type Intent =
  | { readonly kind: 'any'; readonly action: Action }
  | { readonly kind: 'compact'; readonly picks: readonly boolean[]; readonly action: Action }
  | { readonly kind: 'undo'; readonly which: number }

const anyCompaction = actionOf(contextCompacted)
const anyIntent: fc.Arbitrary<Intent> = fc.oneof(
  { weight: 12, arbitrary: anyAction.map((action): Intent => ({ kind: 'any', action })) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }), anyCompaction)
      .map(([picks, action]): Intent => ({ kind: 'compact', picks, action })),
  },
  { weight: 1, arbitrary: fc.nat({ max: 5 }).map((which): Intent => ({ kind: 'undo', which })) },
)

/** Histories in which anything may happen in any order; compactions and their undoing name what is really there. */
export const anyHistory: fc.Arbitrary<readonly Action[]> = fc
  .array(anyIntent, { maxLength: 40 })
  .map((intents) => played(intents))

/** Histories as dispatches make them: what a guard refuses is left out. */
export const acceptedHistory: fc.Arbitrary<readonly Action[]> = anyHistory.map((actions) => {
  let past = given()
  return actions.filter((action) => {
    try {
      past.guard(action)
    } catch {
      return false
    }
    past = past.when(action)
    return true
  })
})

function played(intents: readonly Intent[]): Action[] {
  let past = given()
  const actions: Action[] = []
  for (const intent of intents) {
    const action = actionFor(intent, past)
    if (action === undefined) continue
    actions.push(action)
    past = past.when(action)
  }
  return actions
}

function actionFor(intent: Intent, past: Given): Action | undefined {
  switch (intent.kind) {
    case 'any':
      return intent.action
    case 'compact': {
      const covered = past.state.messages.slice().filter((_, index) => intent.picks[index % intent.picks.length])
      if (covered.length === 0) return undefined
      const template = intent.action.payload as Parameters<typeof contextCompacted>[0]
      const redactedIds = covered.filter((m) => m.redacted).map((m) => m.id)
      return contextCompacted({ ...template, covered: naming(covered), redactedIds })
    }
    case 'undo': {
      const compactions = past.log.filter(contextCompacted.match)
      const compaction = compactions[intent.which % Math.max(1, compactions.length)]
      return compaction && undoOf(compaction as never, past)
    }
    default:
      return intent satisfies never
  }
}

/** Messages as a compaction names them. */
export function naming(covered: readonly WorkingMessage[]) {
  return {
    messageIds: covered.map((m) => m.id),
    ranges: covered.map((m): PositionRange => [m.position, m.position]),
    tokens: covered.reduce((sum, m) => Math.min(sum + m.tokenCount, Number.MAX_SAFE_INTEGER), 0),
  }
}

/** The action that undoes a compaction, with every redaction there was. */
export function undoOf(
  compaction: { readonly position: number; readonly payload: Parameters<typeof contextCompacted>[0] },
  past: Given,
): Action {
  const redactions = past.log.filter(({ type }) => type === 'messageRedacted')
  return compactionUndone({
    compactionPosition: compaction.position,
    restored: compaction.payload.covered,
    summaryTokens: compaction.payload.summary?.tokenCount ?? 0,
    redactions: redactions.map(({ position }): PositionRange => [position, position]),
  })
}

const headerText = fc.oneof(fc.constantFrom('', 'a', 'b', 'ab'), fc.string({ unit: 'grapheme', maxLength: 6 }))

/** Headers that a stamp accepts. */
export const anyHeader: fc.Arbitrary<EnvelopeHeader> = fc.record({
  tenant: headerText,
  conversationId: headerText,
  position: fc.oneof(
    fc.integer({ min: 1, max: 3 }),
    fc.maxSafeInteger().filter((n) => n >= 1),
  ),
  type: headerText,
  schemaVersion: fc.integer({ min: 1, max: 0xffffffff }),
  occurredAt: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.maxSafeInteger()),
  commandId: fc.option(headerText),
  commandIndex: fc.option(fc.nat({ max: 3 })),
  actor: fc.option(headerText),
  cause: fc.option(headerText),
  keyId: fc.option(headerText),
})
