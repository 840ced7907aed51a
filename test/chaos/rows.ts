import type { Row } from './row.ts'
import { power } from './rows/d01-power.ts'
import { cutLines } from './rows/d02-cut-lines.ts'
import { feedOfAll } from './rows/d03-feed.ts'
import { sameCommand } from './rows/d07-same-command.ts'
import { races } from './rows/d08-races.ts'
import { rollbackTag } from './rows/d09-rollback-tag.ts'
import { backends } from './rows/d10-backends.ts'
import { fullDisk } from './rows/d11-full-disk.ts'
import { embedded } from './rows/d12-embedded.ts'
import { clocks } from './rows/d13-clocks.ts'
import { slowReader } from './rows/d14-slow-reader.ts'
import { soak } from './rows/d16-soak.ts'
import { history } from './rows/d17-history.ts'

/** In the order of the plan. D4 is `test/subscriptions/processes.test.ts`, D5 is `test/safety/standby.test.ts`. */
export const rows: readonly Row[] = [
  power,
  cutLines,
  feedOfAll,
  sameCommand,
  races,
  rollbackTag,
  backends,
  fullDisk,
  embedded,
  clocks,
  slowReader,
  soak,
  history,
]
