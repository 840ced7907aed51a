import { ColloquyError } from '@colloquy/core'
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

/** Settings with the defaults filled in. @throws `settings_invalid` with the name of the field */
export function compactionSettings(given: Partial<CompactionSettings> = {}): CompactionSettings {
  const settings = { ...defaultCompactionSettings, ...given }
  assertTokens('maxContextTokens', settings.maxContextTokens, 1)
  for (const [model, tokens] of Object.entries(settings.modelContextTokens))
    assertTokens(`modelContextTokens.${model}`, tokens, 1)
  assertTokens('leastTokens', settings.leastTokens, 0)
  assertRatio('summaryThreshold', settings.summaryThreshold)
  assertRatio('targetRatio', settings.targetRatio)
  if (settings.targetRatio >= settings.summaryThreshold) {
    throw invalid('targetRatio', `${settings.targetRatio} is not less than summaryThreshold, ${settings.summaryThreshold}`)
  }
  if (typeof settings.perTurn !== 'boolean') assertTokens('perTurn', settings.perTurn, 1)
  return settings
}

const invalid = (field: string, problem: string) => new ColloquyError('settings_invalid', { field, problem })

function assertTokens(field: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) throw invalid(field, `${value} is not a whole number from ${least}`)
}

function assertRatio(field: string, value: number): void {
  if (!(value > 0 && value <= 1)) throw invalid(field, `${value} is not above 0 and at most 1`)
}
