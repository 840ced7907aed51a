/**
 * Settings of what the model sees and what it may cost: what a configuration file holds. Defaults are filled in, layers lie over one
 * another, and an error names the field.
 */
import { z } from 'zod'
import { type PriceTable, priceTable } from './budget/prices.ts'
import { checkedSettings } from './checked-settings.ts'
import {
  assertTargetBelowThreshold,
  compactionThresholds,
  contextTokens,
  defaultCompactionSettings,
  modelContextTokens,
} from './compaction/compaction-settings.ts'

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

const strategyName = z.enum(strategyNames)

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
  contextBudget: contextTokens.optional(),
  /** Instead of it, by the id of the model. */
  modelBudgets: modelContextTokens.optional(),
  /** Several: the first one that finds a plan. */
  strategy: z
    .union([strategyName, z.array(strategyName).min(1)], { error: `expected one or several of ${strategyNames.join(', ')}` })
    .optional(),
  thresholds: compactionThresholds.partial().optional(),
  prices: priceTable.optional(),
  recall: recall.partial().optional(),
})
export type SettingsLayer = z.infer<typeof layer>

export interface Settings {
  readonly contextBudget: number
  readonly modelBudgets: Readonly<Record<string, number>>
  readonly strategy: StrategyName | readonly StrategyName[]
  readonly thresholds: Readonly<z.infer<typeof compactionThresholds>>
  readonly prices: Readonly<PriceTable>
  readonly recall: Readonly<z.infer<typeof recall>>
}

const { maxContextTokens, modelContextTokens: modelBudgets, ...thresholds } = defaultCompactionSettings

export const defaultSettings: Settings = {
  contextBudget: maxContextTokens,
  modelBudgets,
  strategy: 'adaptive',
  thresholds,
  prices: {},
  recall: { contextWindow: 10, checkpointEvery: 5, historyCap: 100, roleMetadata: true, significance: 0.7 },
}

/** A layer, checked. `source` is where it is from, for the error. @throws `settings_invalid` with the field */
export const settingsLayer = (given: unknown, source?: string): SettingsLayer => checkedSettings(layer, given, { source })

/**
 * Settings out of layers, the first of which goes first; what none of them says is the default. Budgets and prices are put together
 * model by model, thresholds one by one.
 * @throws `settings_invalid` with the field
 */
export function settings(...layers: readonly SettingsLayer[]): Settings {
  const merged = layers.toReversed().reduce<Settings>((below, above) => {
    const { contextBudget, modelBudgets: budgets, strategy, thresholds: marks, prices, recall: memory } = settingsLayer(above)
    return {
      contextBudget: contextBudget ?? below.contextBudget,
      modelBudgets: { ...below.modelBudgets, ...budgets },
      strategy: strategy ?? below.strategy,
      thresholds: { ...below.thresholds, ...said(marks) },
      prices: { ...below.prices, ...prices },
      recall: { ...below.recall, ...said(memory) },
    }
  }, defaultSettings)
  assertTargetBelowThreshold(merged.thresholds, 'thresholds.')
  return merged
}

/** Without what is there and undefined, which would hide the layer below. */
function said<T extends object>(given: T | undefined): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
