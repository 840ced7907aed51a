import { z } from 'zod'
import { defineAction } from '../action.ts'
import { defineSlice } from '../slice.ts'
import { anyJson } from './message.ts'

/** Something failed outside the conversation's own tools: a provider, a network, a file that was imported. */
export const errorRecorded = defineAction(
  'errorRecorded',
  z.strictObject({
    kind: z.string(),
    problem: z.string(),
    retryable: z.boolean().optional(),
    retryInMs: z.number().nonnegative().optional(),
    attempt: z.int().nonnegative().optional(),
    details: anyJson.optional(),
  }),
)

/** From here on the conversation can do less; `agent` knows what each mode still allows. */
export const degraded = defineAction(
  'degraded',
  z.strictObject({
    mode: z.string(),
    reason: z.string(),
    /** When it is worth trying again, in microseconds since 1970: what a provider asked for. */
    retryAt: z.int().nonnegative().optional(),
  }),
)
/** Nothing is degraded any more. */
export const recovered = defineAction('recovered', z.strictObject({ reason: z.string().optional() }))

/** A provider failed so often that it is left alone: `circuit` is `<provider>/<operation>`, `openedAt` in microseconds since 1970. */
export const circuitOpened = defineAction(
  'circuitOpened',
  z.strictObject({ circuit: z.string().min(1).max(200), failures: z.int().positive(), openedAt: z.int().nonnegative() }),
)
/** It works again. */
export const circuitClosed = defineAction('circuitClosed', z.strictObject({ circuit: z.string().min(1).max(200) }))

/** So many circuits are known to be open; of more, those that opened last. */
const limitOpenCircuits = 32

/** What fails now, and what failed last. */
export interface HealthState {
  readonly degraded: {
    readonly mode: string
    readonly reason: string
    readonly sincePosition: number
    readonly retryAt?: number
  } | null
  readonly errors: number
  readonly lastError: { readonly kind: string; readonly problem: string; readonly position: number } | null
  /** Those that are open, in the order in which they opened; absent until the first one did. */
  readonly openCircuits?: readonly { readonly circuit: string; readonly failures: number; readonly openedAt: number }[]
}

/** What fails, whether the conversation is degraded because of it, and which providers are left alone. */
export const health = defineSlice({
  name: 'health',
  version: 1,
  replay: 'bare',
  initial: (): HealthState => ({ degraded: null, errors: 0, lastError: null }),
  actions: [errorRecorded, degraded, recovered, circuitOpened, circuitClosed],
  reduce(draft, action) {
    switch (action.type) {
      case 'errorRecorded':
        draft.errors += 1
        draft.lastError = { kind: action.payload.kind, problem: action.payload.problem, position: action.position }
        return
      case 'degraded': {
        const { mode, reason, retryAt } = action.payload
        draft.degraded = { mode, reason, sincePosition: action.position, ...(retryAt !== undefined && { retryAt }) }
        return
      }
      case 'recovered':
        draft.degraded = null
        return
      case 'circuitOpened': {
        const { circuit, failures, openedAt } = action.payload
        const others = (draft.openCircuits ?? []).filter((open) => open.circuit !== circuit)
        draft.openCircuits = [...others, { circuit, failures, openedAt }].slice(-limitOpenCircuits)
        return
      }
      case 'circuitClosed':
        if (draft.openCircuits) draft.openCircuits = draft.openCircuits.filter((open) => open.circuit !== action.payload.circuit)
        return
      default:
        action satisfies never
    }
  },
})
