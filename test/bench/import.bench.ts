/**
 * What the import of a JSONL transcript of 100 MB costs. Each round is a process of its own.
 *
 * - reading: the file is parsed, checked and turned into actions, all of them, once; nothing is stored.
 * - peak memory: of the whole process, reading and storing, over a log that keeps nothing. An embedded database takes hundreds of
 *   megabytes for itself, whatever is imported into it; what it comes to with one is a row of its own.
 * - a second is one of the clock in the best round, since what else the machine does can only make a round slower; rates for a second
 *   of the processor are beside them, for machines that are busy all the time. They count all threads of the process.
 * - envelopes a second: of storing, which makes the actions again, stamps, reduces and appends them, into a new embedded database in a
 *   directory.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ImportCost } from './import-process.ts'
import { type Report, row } from './report.ts'
import { writeSession } from './transcript-file.ts'

const fileBytes = 100_000_000
const rounds = 2

export async function run(say: (text: string) => void): Promise<Report> {
  const directory = mkdtempSync(join(tmpdir(), 'colloquy-bench-import-'))
  try {
    const file = join(directory, 'session.jsonl')
    const { bytes, records } = writeSession(file, fileBytes)
    say(`a session of ${records} records in ${bytes} bytes`)
    const [alone, embedded]: [ImportCost[], ImportCost[]] = [[], []]
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}: without a database`)
      alone.push(await importInProcess(file, 'null'))
      say(`round ${round + 1} of ${rounds}: into an embedded one`)
      embedded.push(await importInProcess(file, join(directory, `store-${round}`)))
    }
    return reportOf(records, alone, embedded)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function reportOf(records: number, alone: readonly ImportCost[], embedded: readonly ImportCost[]): Report {
  const megabytes = (costs: readonly ImportCost[]) => costs.map(({ peakBytes }) => peakBytes / 1e6)
  const all = [...alone, ...embedded]
  const reading = all.map(({ bytes, readMs }) => bytes / 1e3 / readMs)
  const storing = (costs: readonly ImportCost[]) => costs.map(({ envelopes, storeMs }) => (envelopes * 1e3) / storeMs)
  const [envelopes, peak, speed, rate] = [
    alone[0]?.envelopes ?? 0,
    row('peak memory, a log that keeps nothing', records, 'MB', megabytes(alone)),
    row('reading: parsed, checked, made into actions', records, 'MB/s', reading),
    row('storing, embedded in a directory', alone[0]?.envelopes ?? 0, 'envelopes/s', storing(embedded)),
  ]
  return {
    bench: 'import',
    node: process.versions.node,
    rows: [
      speed,
      row(
        'the same, of the processor',
        records,
        'MB/cpu s',
        all.map(({ bytes, readCpuMs }) => bytes / 1e3 / readCpuMs),
      ),
      row('storing, a log that keeps nothing', envelopes, 'envelopes/s', storing(alone)),
      rate,
      row(
        'the same, of the processor',
        envelopes,
        'envelopes/cpu s',
        embedded.map(({ envelopes, storeCpuMs }) => (envelopes * 1e3) / storeCpuMs),
      ),
      peak,
      row('peak memory, embedded in a directory', records, 'MB', megabytes(embedded)),
    ],
    checks: [
      { promise: '100 MB of JSON lines are read', measured: speed.max, limit: 'at least 20 MB/s', holds: speed.max >= 20 },
      { promise: 'the whole process stays small', measured: peak.max, limit: 'under 400 MB', holds: peak.max < 400 },
      { promise: 'an embedded store takes', measured: rate.max, limit: 'at least 5,000 envelopes/s', holds: rate.max >= 5_000 },
    ],
  }
}

async function importInProcess(file: string, place: string): Promise<ImportCost> {
  const program = fileURLToPath(new URL('import-process.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=@colloquy/source', program, file, place])
  return JSON.parse(stdout) as ImportCost
}
