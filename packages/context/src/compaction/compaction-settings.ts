import { ColloquyError } from '@colloquy/core'
import { z } from 'zod'
import { checkedSettings } from '../checked-settings.ts'
import { type CompactionPolicy, defaultPolicy } from './policy.ts'

/**
 * When the working set is compacted, and how far. The window of the model, where the conversation knows it, holds beside
 * `maxContextTokens`: the lower one counts. `leastTokens` holds as long as the limit leaves room to free a tenth above it.
 */
export interface CompactionSettings extends CompactionPolicy {
  /** Instead of `maxContextTokens`, by the model's id. */
  readonly modelContextTokens: Readonly<Record<string, number>>
  /**
   * While a turn runs: `false` not at all, unless the limit is reached; `true` after any answer of the model; a number after every so
   * many answers, counted in the state since the last compaction. Between turns whenever it is due.
   */
  readonly perTurn: boolean | number
}

export const defaultCompactionSettings: CompactionSettings = { ...defaultPolicy, modelContextTokens: {}, perTurn: false }

const ratio = z.number().gt(0).max(1)

/** Of the limit, and by the id of the model. */
export const contextTokens = z.int().positive()
export const modelContextTokens = z.record(z.string().min(1), contextTokens)

/** `CompactionSettings` without the limits, as a configuration file names them too. */
export const compactionThresholds = z.strictObject({
  summaryThreshold: ratio,
  targetRatio: ratio,
  leastTokens: z.int().nonnegative(),
  perTurn: z.union([z.boolean(), z.int().positive()], { error: 'expected true, false or a whole number from 1' }),
})

const schema = compactionThresholds.extend({ maxContextTokens: contextTokens, modelContextTokens })

/** Settings with the defaults filled in. @throws `settings_invalid` with the name of the field */
export function compactionSettings(given: Partial<CompactionSettings> = {}): CompactionSettings {
  const settings = checkedSettings(schema, { ...defaultCompactionSettings, ...given })
  assertTargetBelowThreshold(settings)
  return settings
}

/** @throws `settings_invalid`; `under` goes before the names of the fields */
export function assertTargetBelowThreshold(
  { targetRatio, summaryThreshold }: Pick<CompactionSettings, 'targetRatio' | 'summaryThreshold'>,
  under = '',
): void {
  if (targetRatio < summaryThreshold) return
  const problem = `${targetRatio} is not less than ${under}summaryThreshold, which is ${summaryThreshold}`
  throw new ColloquyError('settings_invalid', { field: `${under}targetRatio`, problem })
}
