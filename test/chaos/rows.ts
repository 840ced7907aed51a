import type { Row } from './row.ts'
import { power } from './rows/d01-power.ts'

/** In the order of the plan. */
export const rows: readonly Row[] = [power]
