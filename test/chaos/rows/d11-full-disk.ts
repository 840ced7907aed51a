import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { openPostgresLog } from '@colloquy/postgres'
import { startKillablePostgres } from '../../support/killable-postgres.ts'
import { createLogDatabase } from '../database.ts'
import { checkDispatches, checkLog } from '../oracle.ts'
import { endOf, goTogether, startWorker } from '../processes.ts'
import { type Row, ServiceMissing } from '../row.ts'
import type { DispatchEntry, DispatchJob } from '../workers/dispatch.ts'

const figures = {
  quick: { refusals: 20 },
  full: { refusals: 200 },
}
const megabyte = 1_048_576
const run = promisify(execFile)

export const fullDisk: Row = {
  id: 'D11',
  promise: 'On a full disk appends fail by name and reads go on; when there is room again nothing is lost.',
  service: 'own postgres',
  mutants: ['no-storage-full'],

  async run({ seed, scale, mutant, directory }) {
    const { refusals } = figures[scale]
    const small = join(directory, 'small')
    // Where the server's own user may make it.
    const wal = join(tmpdir(), `colloquy-chaos-wal-${randomUUID()}`)
    await mkdir(small)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=120m', 'tmpfs', small]).catch((error: unknown) => {
      throw new ServiceMissing(`it needs the right to mount a file system of 120 MB: ${String(error)}`)
    })
    try {
      // The WAL lies elsewhere: Postgres answers a full disk there by ending itself, which is D1.
      const server = await startKillablePostgres({
        directory: join(small, 'data'),
        initdb: [`--waldir=${wal}`],
      })
      try {
        const url = await createLogDatabase(server, { mutant })
        const filler = join(small, 'filler')
        const { bavail, bsize } = await statfs(small)
        await writeFile(filler, Buffer.alloc(bavail * bsize - 4 * megabyte))
        const conversations = Array.from({ length: 20 }, (_, c) => `conversation-${c}`)
        const job: DispatchJob = { url, seed, count: null, conversations, lanes: 4, textBytes: 4_000, retryWaitMs: 200 }
        const worker = startWorker<DispatchEntry>('dispatch', 'w0', job, { directory, mutant })
        await goTogether([worker])
        let done = false
        const ended = endOf([worker]).finally(() => {
          done = true
        })
        const refused = () => worker.entries().filter((entry) => entry.kind === 'again' && entry.code === 'storage_full').length
        const failed = () => worker.entries().some(({ kind }) => kind === 'failed')
        const deadline = performance.now() + 60_000
        while (refused() < refusals && !failed() && !done && performance.now() < deadline) await sleep(50)
        const wrong: string[] = []
        if (refused() < refusals) wrong.push(`only ${refused()} appends were refused with storage_full`)

        await using log = await openPostgresLog({ url })
        const before = worker.entries()
        const whileFull = await checkLog(log)
        const readable = checkDispatches(whileFull.envelopes, before)
        wrong.push(...whileFull.wrong.map((text) => `while full: ${text}`))
        wrong.push(...readable.wrong.map((text) => `while full: ${text}`))

        await rm(filler)
        const known = readable.facts.stored
        const storedNow = () => worker.entries().filter(({ kind }) => kind === 'stored').length
        while (storedNow() < known + 50 && !failed() && !done && performance.now() < deadline) await sleep(50)
        if (storedNow() < known + 50) wrong.push('appends did not go on when there was room again')
        worker.stop()
        wrong.push(...(await ended))
        const check = await checkLog(log)
        const dispatches = checkDispatches(check.envelopes, worker.entries())
        return {
          facts: { refused: refused(), 'read while full': whileFull.envelopes.length, ...dispatches.facts },
          wrong: [...wrong, ...check.wrong, ...dispatches.wrong],
        }
      } finally {
        await server.stop()
      }
    } finally {
      await run('umount', ['--lazy', small])
      await rm(wal, { recursive: true, force: true })
    }
  },
}
