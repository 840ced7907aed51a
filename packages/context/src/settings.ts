/**
 * Settings of what the model sees and what it may cost: what a configuration file holds. Defaults are filled in, layers lie over one
 * another, and an error names the field.
 */
import { ColloquyError } from '@colloquy/core'
import { z } from 'zod'
import { type PriceTable, priceTable } from './budget/prices.ts'
import type { CompactionSettings } from './compaction/compaction-settings.ts'

/** Strategies by the names under which compactions store them; `adaptive` chooses by what is in the working set. */
export const strategyNames = [
  'adaptive',
  'preserve-tool-context',
  'topic-based',
  'chronological',
  'summarizing',
  'sliding-window',
  'token-budget',
  'null',
] as const
export type StrategyName = (typeof strategyNames)[number]

const tokens = z.int().positive()
const ratio = z.number().gt(0).max(1)
const strategyName = z.enum(strategyNames)
const modelName = z.string().min(1)

const thresholds = z.strictObject({
  /** A compaction begins when so much of the budget is used. */
  summaryThreshold: ratio,
  /** It goes down to so much of it. */
  targetRatio: ratio,
  /** It does not go below so many tokens. */
  leastTokens: z.int().nonnegative(),
  /** While a turn runs: not at all, after any answer of the model, or after every so many. */
  perTurn: z.union([z.boolean(), z.int().positive()]),
})

const recall = z.strictObject({
  /** Interactions that are recalled at most. */
  contextWindow: z.int().positive(),
  /** Interactions are taken into the index so many at a time. */
  checkpointEvery: z.int().positive(),
  /** Interactions that are kept of a session. */
  historyCap: z.int().positive(),
  /** Interactions say who said what. */
  roleMetadata: z.boolean(),
  /** Of an interaction that does not say it itself. */
  significance: z.number().min(0).max(1),
})

/** What may be left out, in a file or any other layer. */
const layer = z.strictObject({
  /** The working set may hold so many tokens. */
  contextBudget: tokens.optional(),
  /** Instead of it, by the id of the model. */
  modelBudgets: z.record(modelName, tokens).optional(),
  /** Several: the first one that finds a plan. */
  strategy: z.union([strategyName, z.array(strategyName).min(1)]).optional(),
  thresholds: thresholds.partial().optional(),
  prices: priceTable.optional(),
  recall: recall.partial().optional(),
})
export type SettingsLayer = z.infer<typeof layer>

export interface Settings {
  readonly contextBudget: number
  readonly modelBudgets: Readonly<Record<string, number>>
  readonly strategy: StrategyName | readonly StrategyName[]
  readonly thresholds: Readonly<z.infer<typeof thresholds>>
  readonly prices: Readonly<PriceTable>
  readonly recall: Readonly<z.infer<typeof recall>>
}

export const defaultSettings: Settings = {
  contextBudget: 50_000,
  modelBudgets: {},
  strategy: 'adaptive',
  thresholds: { summaryThreshold: 0.85, targetRatio: 0.6, leastTokens: 10_000, perTurn: false },
  prices: {},
  recall: { contextWindow: 10, checkpointEvery: 5, historyCap: 100, roleMetadata: true, significance: 0.7 },
}

/** A layer, checked. `source` is where it is from, for the error. @throws `settings_invalid` with the field */
export function settingsLayer(given: unknown, source?: string): SettingsLayer {
  const parsed = layer.safeParse(given)
  if (parsed.success) return parsed.data
  const { field, problem } = firstProblem(parsed.error.issues)
  throw new ColloquyError(
    'settings_invalid',
    { field, problem: source === undefined ? problem : `${problem} (in ${source})` },
    { cause: parsed.error },
  )
}

/**
 * Settings out of layers, the first of which goes first; what none of them says is the default. Budgets and prices are put together
 * model by model, thresholds one by one.
 * @throws `settings_invalid` with the field
 */
export function settings(...layers: readonly SettingsLayer[]): Settings {
  const merged = layers.toReversed().reduce<Settings>((below, above) => {
    const { contextBudget, modelBudgets, strategy, thresholds: marks, prices, recall: memory } = settingsLayer(above)
    return {
      contextBudget: contextBudget ?? below.contextBudget,
      modelBudgets: { ...below.modelBudgets, ...modelBudgets },
      strategy: strategy ?? below.strategy,
      thresholds: { ...below.thresholds, ...said(marks) },
      prices: { ...below.prices, ...prices },
      recall: { ...below.recall, ...said(memory) },
    }
  }, defaultSettings)
  const { summaryThreshold, targetRatio } = merged.thresholds
  if (targetRatio >= summaryThreshold) {
    const problem = `${targetRatio} is not less than thresholds.summaryThreshold, which is ${summaryThreshold}`
    throw new ColloquyError('settings_invalid', { field: 'thresholds.targetRatio', problem })
  }
  return merged
}

/** What the context window takes of them. */
export function compactionSettingsOf({ contextBudget, modelBudgets, thresholds: marks }: Settings): CompactionSettings {
  return { maxContextTokens: contextBudget, modelContextTokens: modelBudgets, ...marks }
}

/** Without what is there and undefined, which would hide the layer below. */
function said<T extends object>(given: T | undefined): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}

function firstProblem(issues: readonly z.core.$ZodIssue[]): { readonly field: string; readonly problem: string } {
  const [issue] = issues
  if (issue === undefined) return { field: '(all)', problem: 'invalid' }
  const strange = issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []
  const field = [...issue.path, ...strange].map(String).join('.') || '(all)'
  if (issue.code === 'unrecognized_keys') return { field, problem: 'there is no such setting' }
  if (issue.code === 'invalid_union' && field === 'strategy')
    return { field, problem: `expected one or several of ${strategyNames.join(', ')}` }
  return { field, problem: issue.message.charAt(0).toLowerCase() + issue.message.slice(1) }
}
