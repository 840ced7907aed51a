/**
 * Writes the golden files that are missing: `node --conditions=@colloquy/source test/golden/record.ts`.
 * What is there is never written again: a golden log is what some version of us really stored.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { conversationReducer } from '@colloquy/core'
import { envelopesOf } from '../support/core-log.ts'
import {
  type ActionType,
  decodeLog,
  directory,
  encodeEnvelope,
  expectationFile,
  expectationOf,
  expectationsOf,
  goldenLogs,
  logFile,
  read,
  replayLog,
  sumsFile,
  unrecordedSlices,
} from './golden-files.ts'
import { scenarios } from './scenarios.ts'

/** @throws when the file exists */
function writeNew(file: string, text: string): void {
  writeFileSync(join(directory, file), text, { flag: 'wx' })
  appendFileSync(join(directory, sumsFile), `${createHash('sha256').update(text).digest('hex')}  ${file}\n`)
  console.log(`recorded ${file}`)
}

const present = new Set(goldenLogs())
for (const type of Object.keys(scenarios) as ActionType[]) {
  const version = conversationReducer.definition(type)?.schemaVersion
  if (version === undefined) throw new Error(`no slice defines "${type}"`)
  const file = logFile(type, version)
  if (!present.has(file))
    writeNew(
      file,
      envelopesOf(scenarios[type])
        .map((e) => `${encodeEnvelope(e)}\n`)
        .join(''),
    )
}

for (const log of goldenLogs()) {
  const envelopes = decodeLog(read(log))
  const expectations = expectationsOf(log)
  if (expectations.length > 0 && unrecordedSlices(envelopes, expectations).length === 0) continue
  const { state } = await replayLog(envelopes)
  writeNew(expectationFile(log, expectations.length + 1), `${JSON.stringify(expectationOf(state), null, 2)}\n`)
}
