import type { Strategy } from '../strategy.ts'

/** Nothing ever leaves: for whoever keeps the context small in another way. */
export const nullStrategy: Strategy = { name: 'null', plan: () => ({ reason: 'nothing_removable' }) }
