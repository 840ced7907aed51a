import { ColloquyError } from '@colloquy/core'
import type { HandlingPolicy } from './handling.ts'

/** What may be said of how a subscription works. */
export interface SubscriptionSettings extends Partial<HandlingPolicy> {
  readonly concurrency?: number
}

/** The longest that Postgres can be told to wait, in milliseconds. */
const longestMs = 2 ** 31 - 1

/** @throws `settings_invalid` */
export function checkedSettings(given: SubscriptionSettings): HandlingPolicy & { readonly concurrency: number } {
  const { filter = {}, limit = 100, concurrency = 4, tries = 5, retryMs = 100, onPoison = 'stop', leaseMs = 10_000 } = given
  for (const [field, value] of Object.entries({ limit, concurrency, tries, leaseMs })) {
    if (!Number.isSafeInteger(value) || value < 1) throw unusable(field, `it is ${value}, not a whole number from 1 on`)
  }
  if (leaseMs > longestMs) throw unusable('leaseMs', `it is ${leaseMs}, more than ${longestMs}`)
  if (!Number.isFinite(retryMs) || retryMs < 0) throw unusable('retryMs', `it is ${retryMs}, not a number from 0 on`)
  if (!['stop', 'park'].includes(onPoison)) throw unusable('onPoison', `it is "${onPoison}", neither "stop" nor "park"`)
  return { filter, limit, concurrency, tries, retryMs, onPoison, leaseMs }
}

const unusable = (field: string, problem: string): ColloquyError => new ColloquyError('settings_invalid', { field, problem })
