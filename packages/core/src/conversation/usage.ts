import { z } from 'zod'
import { defineAction } from '../action.ts'
import { defineSlice } from '../slice.ts'
import { id, usage as usageSchema } from './message.ts'

/** What one model call took, once per call, however often the provider repeated the figure. */
export const usageRecorded = defineAction(
  'usageRecorded',
  z.strictObject({
    usage: usageSchema,
    messageId: id.optional(),
    model: z.strictObject({ provider: z.string(), id: z.string() }).optional(),
    /** The call was reserved, and the settlement counts it in the budget: it is not counted there again. */
    reservationId: id.optional(),
  }),
)

/** Sums over all recorded calls; tokens as the providers counted them. */
export interface UsageState {
  readonly calls: number
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite: number
  readonly reasoning: number
  /** Millionths of a US dollar, over the calls that said it. */
  readonly costMicros: number
}

/** Tokens over all model calls. */
export const usage = defineSlice({
  name: 'usage',
  version: 1,
  replay: 'bare',
  initial: (): UsageState => ({ calls: 0, input: 0, output: 0, cacheRead: 0, cacheWrite: 0, reasoning: 0, costMicros: 0 }),
  actions: [usageRecorded],
  reduce(draft, action) {
    const used = action.payload.usage
    draft.calls += 1
    draft.input += used.input
    draft.output += used.output
    draft.cacheRead += used.cacheRead
    draft.cacheWrite += used.cacheWrite.ttl5m + used.cacheWrite.ttl1h + used.cacheWrite.other
    draft.reasoning += used.reasoning
    draft.costMicros += used.costMicros ?? 0
  },
})
