/** Imports one file in a process of its own and prints what it took, as JSON: `node import-process.ts <file> null|<directory>`. */
import type { EventLog } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256 } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { openEmbeddedLog } from '@colloquy/postgres'
import { openFile } from '../../packages/cli/src/transcript-files.ts'

/** What a process that imported a file says of it. */
export interface ImportCost {
  readonly bytes: number
  readonly records: number
  readonly envelopes: number
  readonly readMs: number
  readonly storeMs: number
  /** Of the processor, by all threads of the process: what a busy machine takes away is not in it. */
  readonly readCpuMs: number
  readonly storeCpuMs: number
  /** The largest the process ever was, with Node itself. */
  readonly peakBytes: number
}

/** A log that takes everything and keeps nothing: what is left is the importer and the engine. */
function openNullLog(): EventLog {
  return Object.assign(openMemoryLog(), {
    append: async (requests: Parameters<EventLog['append']>[0]) =>
      requests.map(({ envelopes }) => ({
        status: 'appended' as const,
        envelopes: envelopes.map((envelope) => ({ ...envelope, feedPosition: 0, recordedAt: 0 })),
      })),
  })
}

const [path = '', place = 'null'] = process.argv.slice(2)
await using log = place === 'null' ? openNullLog() : await openEmbeddedLog({ directory: place })
await using engine = createEngine({ log })
using file = openFile(path)
const cpuMs = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1e3
const [begun, begunCpu] = [performance.now(), cpuMs()]
const content = importFile({ source: path, content: file.content, sha256 })
const [read, readCpu] = [performance.now(), cpuMs()]
const results = await engine.importConversation(content.conversations)
const [stored, storedCpu] = [performance.now(), cpuMs()]
const cost: ImportCost = {
  bytes: file.content.size,
  records: content.records,
  envelopes: results.reduce((sum, { appended }) => sum + appended, 0),
  readMs: read - begun,
  storeMs: stored - read,
  readCpuMs: readCpu - begunCpu,
  storeCpuMs: storedCpu - readCpu,
  peakBytes: process.resourceUsage().maxRSS * 1024,
}
process.stdout.write(JSON.stringify(cost))
