/** Real transcripts, which are not part of the repository: where they are absent, the tests over them are skipped and say so. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type Action, type ImportedFile, type Message, messageAdded } from '@colloquy/core'
import { importFile } from '@colloquy/formats'
import { afterAll, describe, expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { accountedFor, actionsOf, foldImported, refusalsOf } from './imported.ts'

const transcripts = new URL('../../../shared/data/transcripts/', import.meta.url)

interface RealFiles {
  readonly names: readonly string[]
  /** For the title of a describe block. */
  readonly notice: string
  readonly import: (name: string) => ImportedFile
  readonly text: (name: string) => string
  /** The file as JSON, or as the list of its lines. */
  readonly json: (name: string) => unknown
}

function realFiles(folder: string): RealFiles {
  const directory = new URL(`${folder}/`, transcripts)
  const names = existsSync(directory) ? readdirSync(directory).sort() : []
  const text = (name: string): string => readFileSync(new URL(name, directory), 'utf8')
  return {
    names,
    notice: names.length > 0 ? '' : ' (skipped: ../shared/data is not beside this checkout)',
    import: (name) => importFile({ source: name, content: readFileSync(new URL(name, directory)), sha256 }),
    text,
    json: (name) => valueOf(text(name)),
  }
}

/** What can be counted in a file without the importer. */
interface Counts {
  readonly records: number
  readonly conversations: number
  readonly messages: number
  readonly calls: number
  readonly unanswered: number
  /** With what was read from and written to a cache. */
  readonly input: number
  readonly output: number
}

function countsOf(file: ImportedFile): Counts {
  const states = file.conversations.map((conversation) => foldImported(conversation).state)
  const sum = (count: (state: (typeof states)[number]) => number): number => states.reduce((all, state) => all + count(state), 0)
  return {
    records: file.records,
    conversations: states.length,
    messages: messagesOf(file.conversations.flatMap(actionsOf)).length,
    calls: sum(({ tools }) => tools.requested),
    unanswered: sum(({ tools }) => tools.open.length),
    input: sum(({ usage }) => usage.input + usage.cacheRead + usage.cacheWrite),
    output: sum(({ usage }) => usage.output),
  }
}

/** The row of a file in the table that the tests print. `kept` are the records that are in no message, `unknown` those of them that could not be read. */
export function rowOf(name: string, file: ImportedFile) {
  const kept = file.conversations.flatMap(actionsOf).filter(({ type }) => type === 'foreignRecordKept')
  const unknown = kept.filter(({ payload }) => /not (know|be read)|unread/.test((payload as { reason: string }).reason))
  return {
    file: name,
    format: file.format,
    ...countsOf(file),
    unknown: unknown.length,
    kept: kept.length,
    skipped: file.skipped.length,
    remarks: file.remarks.length,
  }
}

/** What holds for every file: all records are somewhere, no id is there twice, and nothing is refused or left unapplied. */
function expectWhole(file: ImportedFile): void {
  expect(accountedFor(file)).toBe(file.records)
  for (const conversation of file.conversations) {
    expect(foldImported(conversation).unappliedCount).toBe(0)
    expect(refusalsOf(conversation)).toEqual([])
    expect(new Set(conversation.commands.map(({ commandId }) => commandId)).size).toBe(conversation.commands.length)
  }
  expect(new Set(file.conversations.map(({ conversationId }) => conversationId)).size).toBe(file.conversations.length)
}

const messagesOf = (actions: readonly Action[]): Message[] =>
  actions.flatMap((action) => (messageAdded.match(action) ? [action.payload.message] : []))

interface RealFile {
  readonly value: unknown
  readonly imported: ImportedFile
}

/**
 * Tests over every file of a folder: it is whole (`expectWhole`), and holds what `count` finds in the raw file. `more` adds what
 * only this format promises; `isRightlySkipped` judges the reasons for which records were left out, and without it none may be.
 */
export function describeRealFiles(
  folder: string,
  format: string,
  files: number,
  count: (value: unknown, name: string) => Counts,
  more: (name: string, read: () => RealFile) => void,
  /** Records that the format leaves out because others say the same; default: none. */
  mayBeSkipped: (reason: string) => boolean = () => false,
): void {
  const { names, notice, json, import: imported } = realFiles(folder)
  describe.skipIf(names.length === 0)(`real files in ${folder}${notice}`, () => {
    const table: object[] = []
    afterAll(() => console.table(table))

    test('are all there', () => expect(names).toHaveLength(files))

    for (const name of names) {
      describe(`${name}:`, () => {
        test('is found by its content, and what was counted is there', () => {
          const file = imported(name)
          table.push(rowOf(name, file))
          expect([file.format, file.skipped.filter(({ reason }) => !mayBeSkipped(reason))]).toEqual([format, []])
          expect(countsOf(file)).toEqual(count(json(name), name))
        })

        test('is in actions as a whole, the same every time, and passes every schema, guard and reducer', () => {
          const file = imported(name)
          expect(imported(name)).toEqual(file)
          expectWhole(file)
        })

        more(name, () => ({ value: json(name), imported: imported(name) }))
      })
    }
  })
}

export const realFolders = (): readonly string[] => (existsSync(transcripts) ? readdirSync(transcripts).sort() : [])

/** The files of a folder; none where the data is absent. */
export const realNames = (folder: string): readonly string[] => realFiles(folder).names

/** The file as it is known elsewhere, for tests that need two of them. */
export const readReal = (path: string): string | undefined => {
  const url = new URL(path, transcripts)
  return existsSync(url) ? readFileSync(url, 'utf8') : undefined
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Between two lines a line break may be lost.
    return text
      .split(/\n|(?<=\})(?=\{"type":)/)
      .filter((line) => line.trim() !== '')
      .map((line): unknown => JSON.parse(line))
  }
}

/** The records of messages as they were, put together again from the actions. */
export function rebuiltRecords(file: ImportedFile): unknown[] {
  return file.conversations.flatMap(actionsOf).flatMap((action) => {
    if (!messageAdded.match(action)) return []
    const records = (action.meta?.records ?? []) as unknown as { record: unknown }[]
    return records.map(({ record }) => resolved(record, () => action.payload.message))
  })
}

/** `value` with the words in it again that stand in messages; `messageFor` finds one by the id before the pointer. */
export function resolved(value: unknown, messageFor: (id: string) => Message | undefined): unknown {
  if (Array.isArray(value)) return value.map((item) => resolved(item, messageFor))
  if (typeof value !== 'object' || value === null) return value
  if ('$message' in value && typeof value.$message === 'string') {
    const at = value.$message.indexOf('/parts/')
    const steps = value.$message.slice(at + 1).split('/')
    return steps.reduce<unknown>(
      (found, step) => (found as Record<string, unknown>)[step.replaceAll('~1', '/').replaceAll('~0', '~')],
      messageFor(value.$message.slice(0, at)),
    )
  }
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, resolved(field, messageFor)]))
}

export const textOf = ({ parts }: Message): string => parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
