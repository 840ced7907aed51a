/**
 * A value that no action can hold, put in place of each field of each sample in turn. The importer refuses the file and names the
 * record, or keeps the value in another form: nothing is left for the engine to refuse, which knows no lines.
 */
import { readFileSync } from 'node:fs'
import { type ImportedFile, isColloquyError } from '@colloquy/core'
import { importFile } from '@colloquy/formats'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { agentDocuments } from './agent-samples.ts'
import {
  chatBotText,
  exchangeList,
  gptTree,
  inspectLog,
  langChainList,
  langGraphThread,
  openHandsLog,
  shareGptList,
  tau2Run,
  tauRun,
} from './app-fixtures.ts'
import { schemaRefusalsOf } from './imported.ts'

const claudeCode = readFileSync(new URL('../../packages/cli/samples/claude-code.jsonl', import.meta.url), 'utf8').split('\n')
const apps = [gptTree, tauRun, tau2Run, openHandsLog, exchangeList, langGraphThread, langChainList, shareGptList, inspectLog]

type Path = readonly [number | string, ...(number | string)[]]

/** The places of all values inside a value. */
function placesIn(value: unknown): Path[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, field]): Path[] => {
    const step = Array.isArray(value) ? Number(key) : key
    return [[step], ...placesIn(field).map((rest): Path => [step, ...rest])]
  })
}

/** A copy with another value there; a JSON text, because samples share what stands in them twice. */
function textWith(document: unknown, path: Path, value: unknown): string {
  const copy = JSON.parse(JSON.stringify(document)) as Record<string | number, unknown>
  let at = copy
  for (const step of path.slice(0, -1)) at = at[step] as typeof copy
  at[path.at(-1) as string | number] = value
  return JSON.stringify(copy)
}

/** What an engine would refuse, and refusals that name the first line for what stands in another. */
function faults(document: unknown, value: unknown, isAbout: RegExp): string[] {
  return placesIn(document).flatMap((path) => {
    const place = path.join('.')
    let file: ImportedFile
    try {
      file = importFile({ source: 'sample', content: textWith(document, path, value), sha256 })
    } catch (error) {
      if (!isColloquyError(error, 'import_refused')) return [`${place}: ${String(error)}`]
      const { line, problem } = error.details
      const isElsewhere = Array.isArray(document) && Number(path[0]) > 0 && line === 1
      return isAbout.test(problem) && isElsewhere ? [`${place} is not in line 1: ${problem}`] : []
    }
    return file.conversations.flatMap(schemaRefusalsOf).map((code) => `${place}: left to the engine: ${code}`)
  })
}

const wide = Array.from({ length: 10_001 }, () => 0)
/** As deep as a reader lets it through; the file in it is one level more when it is taken out. */
const deep = Array.from({ length: 52 }).reduce<unknown>((inner) => [inner], 'data:image/png;base64,YWJjZGVmZ2g=')

describe.each([
  ['a list of more entries than an action takes', wide, /has 10001 entries/],
  ['a file as deep as an action takes', deep, /nested deeper/],
])('%s', (_, value, isAbout) => {
  test('in agents’ transcripts', () => {
    expect(agentDocuments.flatMap((document) => faults(document, value, isAbout))).toEqual([])
  })

  test('in apps’ and logs’ transcripts', () => {
    expect([...apps, JSON.parse(chatBotText)].flatMap((document) => faults(document, value, isAbout))).toEqual([])
  })
})

test('a record too large is refused with its line and the field that is too large', () => {
  const content = claudeCode.map((line, index) => {
    if (index !== 1) return line
    const record = JSON.parse(line) as { message: { content: unknown } }
    record.message.content = 'x'.repeat(2 ** 20)
    return JSON.stringify(record)
  })
  expect(() => importFile({ source: 'session.jsonl', content: content.join('\n'), sha256 })).toThrow(
    expect.objectContaining({
      code: 'import_refused',
      details: expect.objectContaining({
        line: 2,
        problem: expect.stringMatching(/\$\.payload\.message\.parts\[0\]\.text has most of them\. Shorten that in the file/),
      }),
      message: expect.not.stringContaining('..'),
    }),
  )
})
