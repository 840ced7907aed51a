import type { Row } from './row.ts'
import { killedServer } from './rows/d01-killed-server.ts'
import { cutLines } from './rows/d02-cut-lines.ts'
import { sameCommand } from './rows/d07-same-command.ts'
import { races } from './rows/d08-races.ts'
import { commitThatRollsBack } from './rows/d09-commit-that-rolls-back.ts'
import { killedDirectory } from './rows/d12-killed-directory.ts'
import { clocks } from './rows/d13-clocks.ts'
import { soak } from './rows/d16-soak.ts'
import { listHistories } from './rows/d17-list-histories.ts'

/** In the order in which they run. */
export const rows: readonly Row[] = [
  killedServer,
  cutLines,
  sameCommand,
  races,
  commitThatRollsBack,
  killedDirectory,
  clocks,
  soak,
  listHistories,
]
