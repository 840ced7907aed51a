import { amountsOfEstimate, amountsOfUsage, type PriceTable, reserve } from '@colloquy/context'
import { countTokens } from '@colloquy/formats'
import { classify } from '../recovery/classify.ts'
import type { ModelCall, TurnHooks } from './turn-options.ts'

export interface ReserveCallsOptions {
  readonly prices?: PriceTable
  /** What an answer may take, where the request sets no `maxTokens`. Default 4,096. */
  readonly maxOutputTokens?: number
}

/**
 * Holds each model call against the budgets before it leaves, and settles it by what the provider counted. A call that the provider
 * refused is given back; of one that broke off, what was held counts, since it may have been answered.
 *
 * The hook throws `budget_exceeded` and `budget_unavailable`: the turn ends, and the model is not called.
 */
export function reserveCalls(options: ReserveCallsOptions = {}): NonNullable<TurnHooks['reserve']> {
  const { prices = {}, maxOutputTokens = 4_096 } = options
  return async (call, conversation) => {
    const model = { provider: call.model.provider, id: call.model.id }
    const { maxTokens } = call.request.config
    const toolTokens = countTools(call)
    const estimate = amountsOfEstimate(
      {
        model,
        inputTokens: countInput(call),
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

const countInput = ({ request: { system, messages } }: ModelCall): number =>
  messages.reduce((sum, { parts }) => sum + countTokens(parts), Math.ceil((system ?? '').length / 4))

const countTools = ({ request: { tools } }: ModelCall): number =>
  tools.length === 0 ? 0 : Math.ceil(JSON.stringify(tools).length / 4)
