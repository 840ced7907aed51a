import {
  amountsOfEstimate,
  amountsOfUsage,
  countRequest,
  countTools,
  estimateCounter,
  type PriceTable,
  reserve,
  type TokenCounter,
} from '@colloquy/context'
import { classify } from '../recovery/classify.ts'
import type { TurnHooks } from './turn-options.ts'

export interface ReserveCallsOptions {
  readonly prices?: PriceTable
  /** What an answer may take, where the request sets no `maxTokens`. Default 4,096. */
  readonly maxOutputTokens?: number
  /** Default: `estimateCounter`. */
  readonly counter?: TokenCounter
}

/**
 * Holds each model call against the budgets before it leaves, and settles it by what the provider counted. A call that the provider
 * refused is given back; of one that broke off, what was held counts, since it may have been answered.
 *
 * The hook throws `budget_exceeded` and `budget_unavailable`: the turn ends, and the model is not called.
 */
export function reserveCalls(options: ReserveCallsOptions = {}): NonNullable<TurnHooks['reserve']> {
  const { prices = {}, maxOutputTokens = 4_096, counter = estimateCounter } = options
  return async (call, conversation) => {
    const model = { provider: call.model.provider, id: call.model.id }
    const { maxTokens } = call.request.config
    const toolTokens = countTools(counter, call.request.tools)
    const estimate = amountsOfEstimate(
      {
        model,
        inputTokens: countRequest(counter, call.request) - toolTokens,
        maxOutputTokens: typeof maxTokens === 'number' ? maxTokens : maxOutputTokens,
        toolTokens,
      },
      prices,
    )
    const held = await reserve(conversation, estimate, { purpose: 'model_call', holder: call.turnId })
    return {
      reservationId: held.reservationId,
      settle: ({ usage, error }) => {
        if (usage !== null) return held.settle(amountsOfUsage(usage, { model, prices, toolTokens }))
        const { status } = classify(error)
        return status === undefined ? held.settle() : held.release(`the provider refused the call: ${status}`)
      },
    }
  }
}
