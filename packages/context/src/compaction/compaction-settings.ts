import { ColloquyError } from '@colloquy/core'

/** When the working set is compacted, and how far. */
export interface CompactionSettings {
  /** The working set may hold so many tokens; the window of the model, where the conversation knows it, when that is less. */
  readonly maxContextTokens: number
  /** Instead of `maxContextTokens`, by the model's id. */
  readonly modelContextTokens: Readonly<Record<string, number>>
  /** A compaction begins when so much of the limit is used. */
  readonly summaryThreshold: number
  /** It goes down to so much of it. Between the two the prefix stays the same, and with it the provider's cache. */
  readonly targetRatio: number
  /** It does not go below so many tokens, as long as the limit leaves it room to free a tenth above that. */
  readonly leastTokens: number
  /**
   * While a turn runs: `false` not at all, unless the limit is reached; `true` after any answer of the model; a number after every so
   * many answers, counted in the state since the last compaction. Between turns whenever it is due.
   */
  readonly perTurn: boolean | number
}

/** 85 % and 60 %: measured on recorded sessions, see `npm run bench -- context`. */
export const defaultCompactionSettings: CompactionSettings = {
  maxContextTokens: 50_000,
  modelContextTokens: {},
  summaryThreshold: 0.85,
  targetRatio: 0.6,
  leastTokens: 10_000,
  perTurn: false,
}

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
