/** What models cost. */
import type { BudgetAmounts, Usage } from '@colloquy/core'
import { z } from 'zod'
import { checkedSettings } from '../checked-settings.ts'

const usdPerMillion = z.number().nonnegative()

/** US dollars for a million tokens. What a provider has no price of its own for costs what input costs. */
const modelPrice = z.strictObject({
  input: usdPerMillion,
  output: usdPerMillion,
  cacheRead: usdPerMillion.optional(),
  cacheWrite5m: usdPerMillion.optional(),
  cacheWrite1h: usdPerMillion.optional(),
})

/** By the id of the model as usage names it, or `<provider>/<id>`, which goes first. */
export const priceTable = z.record(z.string(), modelPrice)
export type PriceTable = z.infer<typeof priceTable>

/** A model as `usageRecorded` names it. */
export interface PricedModel {
  readonly provider: string
  readonly id: string
}

/** A table that was checked. @throws `settings_invalid` with the field */
export const definePrices = (table: unknown): PriceTable => checkedSettings(priceTable, table, { under: 'prices' })

/**
 * Millionths of a US dollar, rounded up; undefined for a model that the table does not have. Cache writes of which the provider does
 * not say how long they live cost as those of five minutes, which is its default.
 */
export function costOf(usage: Usage, model: PricedModel, prices: PriceTable): number | undefined {
  const own = (key: string) => (Object.hasOwn(prices, key) ? prices[key] : undefined)
  const price = own(`${model.provider}/${model.id}`) ?? own(model.id)
  if (price === undefined) return undefined
  const { input, output, cacheRead = input, cacheWrite5m = input, cacheWrite1h = cacheWrite5m } = price
  const { ttl5m, ttl1h, other } = usage.cacheWrite
  // A dollar for a million tokens is a millionth for one.
  const micros =
    usage.input * input +
    usage.output * output +
    usage.cacheRead * cacheRead +
    (ttl5m + other) * cacheWrite5m +
    ttl1h * cacheWrite1h
  // Prices have few digits, and 3 * 0.1 is more than 0.3: what rounding up must not turn into a whole millionth.
  return Math.ceil(Number(micros.toFixed(6)))
}

/** What a model call is expected to take at most. */
export interface CallEstimate {
  readonly model: PricedModel
  /**
   * All that is sent, but for `toolTokens`. Without knowing better, none of it comes from a cache, and all of it may be written to one for
   * five minutes, where that costs more; for an hour it costs more still, which is not foreseen.
   */
  readonly inputTokens: number
  /** As the request limits it. */
  readonly maxOutputTokens: number
  /** Of what is sent, the schemas of tools. */
  readonly toolTokens?: number
}

/** The amounts to reserve for a model call. Its cost is left out where the table has no price, which a limit on costs refuses. */
export function amountsOfEstimate(estimate: CallEstimate, prices: PriceTable = {}): BudgetAmounts {
  const { model, inputTokens, maxOutputTokens, toolTokens = 0 } = estimate
  const sent = inputTokens + toolTokens
  const costIf = (input: number, ttl5m: number): number | undefined => {
    const cacheWrite = { ttl5m, ttl1h: 0, other: 0 }
    return costOf({ input, output: maxOutputTokens, cacheRead: 0, cacheWrite, reasoning: 0 }, model, prices)
  }
  const [uncached, cached] = [costIf(sent, 0), costIf(0, sent)]
  const price = uncached !== undefined && cached !== undefined ? Math.max(uncached, cached) : undefined
  return {
    modelCalls: 1,
    inputTokens,
    outputTokens: maxOutputTokens,
    ...(toolTokens > 0 && { toolTokens }),
    ...(price !== undefined && { costMicros: price }),
  }
}

/**
 * What a model call took, for its settlement; nothing is left out that the provider said. `toolTokens` (an estimate) are taken out of
 * the input. The provider's own cost goes before the table's; without either the cost that was reserved counts.
 */
export function amountsOfUsage(
  usage: Usage,
  options: { readonly model?: PricedModel; readonly prices?: PriceTable; readonly toolTokens?: number } = {},
): BudgetAmounts {
  const { model, prices = {} } = options
  const toolTokens = Math.min(options.toolTokens ?? 0, usage.input)
  const costMicros = usage.costMicros ?? (model && costOf(usage, model, prices))
  return {
    modelCalls: 1,
    inputTokens: usage.input - toolTokens,
    outputTokens: usage.output,
    cacheReadTokens: usage.cacheRead,
    cacheWriteTokens: usage.cacheWrite.ttl5m + usage.cacheWrite.ttl1h + usage.cacheWrite.other,
    toolTokens,
    ...(costMicros !== undefined && { costMicros }),
  }
}
