/** What every worker process does: take its job, say that it is ready, wait for the start, write down what happens. */
import { openSync, writeSync } from 'node:fs'

export interface Work<Job> {
  readonly job: Job & { readonly name: string }
  /** Synchronous, so that what is written down was true, and what was true is written down, whenever the process dies. */
  record(entry: object): void
  /** Says that the worker is ready; resolves when all may begin. */
  start(): Promise<void>
  isStopped(): boolean
  readonly stopped: Promise<void>
}

export async function work<Job>(body: (work: Work<Job>) => Promise<void>): Promise<void> {
  const [file, text] = process.argv.slice(2)
  if (file === undefined || text === undefined) throw new Error('A worker is started with a file and a job.')
  const descriptor = openSync(file, 'a')
  const start = Promise.withResolvers<void>()
  const stop = Promise.withResolvers<void>()
  let isStopped = false
  process.on('message', (word) => {
    if (word === 'go') start.resolve()
    else {
      isStopped = true
      stop.resolve()
    }
  })
  // Nobody is left to read what a worker finds when its parent has died.
  process.on('disconnect', () => process.exit(1))
  await body({
    job: JSON.parse(text) as Job & { name: string },
    record: (entry) => void writeSync(descriptor, `${JSON.stringify(entry)}\n`),
    start: () => {
      process.send?.('ready')
      return start.promise
    },
    isStopped: () => isStopped,
    stopped: stop.promise,
  })
  process.removeAllListeners('disconnect')
  process.disconnect()
}
