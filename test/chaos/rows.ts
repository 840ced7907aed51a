import type { Row } from './row.ts'
import { power } from './rows/d01-power.ts'
import { cutLines } from './rows/d02-cut-lines.ts'
import { sameCommand } from './rows/d07-same-command.ts'
import { races } from './rows/d08-races.ts'

/** In the order of the plan. */
export const rows: readonly Row[] = [power, cutLines, sameCommand, races]
