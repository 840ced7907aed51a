/** Limits of a budget as they are typed: `tokens=100000,cost=2.50,model-calls=40..50,tool-calls=none`. */
import { type BudgetKind, type BudgetLimit, budgetKinds, ColloquyError } from '@colloquy/core'

/** Kinds as they are typed: kebab-case, and dollars and seconds beside the exact units. */
const names = new Map<string, { readonly kind: BudgetKind; readonly units: number }>([
  ...budgetKinds.map((kind) => [nameOf(kind), { kind, units: 1 }] as const),
  ['calls', { kind: 'modelCalls', units: 1 }],
  ['cost', { kind: 'costMicros', units: 1_000_000 }],
  ['seconds', { kind: 'wallMs', units: 1_000 }],
])

/** `cost-micros` */
export function nameOf(kind: BudgetKind): string {
  return kind.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** `80..100` warns from 80 on and refuses past 100, `100` only refuses, `80..` only warns, `none` takes the limit away. @throws `usage_invalid` */
export function parseLimits(option: string, text: string): { readonly [K in BudgetKind]?: BudgetLimit | null } {
  const limits: { [K in BudgetKind]?: BudgetLimit | null } = {}
  for (const each of text.split(',')) {
    const [name = '', value = '', ...rest] = each.split('=').map((part) => part.trim())
    const found = names.get(name)
    if (found === undefined || rest.length > 0)
      throw usageInvalid(`${option} takes name=limit, with ${[...names.keys()].join(', ')}, not "${each}"`)
    if (Object.hasOwn(limits, found.kind))
      throw usageInvalid(`${option} limits ${nameOf(found.kind)} twice, the second time with "${each}"`)
    limits[found.kind] = value === 'none' ? null : limitOf(option, each, value, found.units)
  }
  return limits
}

function limitOf(option: string, each: string, value: string, units: number): BudgetLimit {
  const range = value.includes('..')
  const [soft, hard] = range ? value.split('..') : [undefined, value]
  const limit = { soft: amountOf(soft, units), hard: amountOf(hard, units) }
  const isTyped = [soft, hard].every((one) => one === undefined || one === '' || /^\d+(\.\d+)?$/.test(one))
  const isWhole = [limit.soft, limit.hard].every((one) => one === null || Number.isSafeInteger(one))
  if (!isTyped || !isWhole || (limit.soft === null && limit.hard === null))
    throw usageInvalid(`${option} takes limits as 100, 80..100, 80.. or none, not "${each}"`)
  if (limit.soft !== null && limit.hard !== null && limit.soft > limit.hard)
    throw usageInvalid(`${option} takes soft..hard with the smaller first, not "${each}"`)
  return limit
}

function amountOf(text: string | undefined, units: number): number | null {
  if (text === undefined || text === '') return null
  // 2.3 dollars are 2,300,000 millionths, and 2.3 * 1,000,000 is not.
  return Number((Number(text) * units).toFixed(6))
}

const usageInvalid = (problem: string) => new ColloquyError('usage_invalid', { problem })
