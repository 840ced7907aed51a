/** Tries to open a directory, and tells what came of it and how long it took. */
import { isColloquyError } from '@colloquy/core'
import { openEmbeddedLog } from '@colloquy/postgres'
import { atTheStart, readTask, teller } from '../worker.ts'

export interface OpenDirectoryTask {
  readonly directory: string
  readonly tries: number
}

const task = readTask<OpenDirectoryTask>()
const tell = teller()
await atTheStart(tell)
for (let i = 0; i < task.tries; i++) {
  const start = performance.now()
  try {
    await (await openEmbeddedLog({ directory: task.directory })).close()
    tell({ opened: true })
  } catch (error) {
    const holder = isColloquyError(error, 'directory_locked') ? error.details.pid : 0
    tell({ opened: false, holder, ms: performance.now() - start })
  }
}
