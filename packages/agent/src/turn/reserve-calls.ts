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
import type { BudgetAmounts, Usage } from '@colloquy/core'
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
 * refused, or that did not leave, is given back. Of one that broke off or was aborted, what was held for the answer counts: the model may
 * have said more than arrived, and what a provider counts before its answer is whole (Anthropic: one token, in `message_start`) is no
 * count of it. What it counted of the request stands.
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
      settle: ({ usage, error, answer }) => {
        if (usage !== null) {
          const taken = answer === 'whole' ? usage : atLeast(usage, estimate)
          return held.settle(amountsOfUsage(taken, { model, prices, toolTokens }))
        }
        const { status } = classify(error)
        const isRefused = answer === 'none' && status !== undefined
        return isRefused ? held.release(`the provider refused the call: ${status}`) : held.settle()
      },
      release: (reason) => held.release(reason),
    }
  }
}

/** The cost is left out, where it is not of what counts: then that is worked out by the prices, or counts as it was held. */
function atLeast({ costMicros, ...usage }: Usage, held: BudgetAmounts): Usage {
  const output = Math.max(usage.output, held.outputTokens ?? 0)
  const isCost = costMicros !== undefined && (output === usage.output || costMicros >= (held.costMicros ?? 0))
  return { ...usage, output, ...(isCost && { costMicros }) }
}
