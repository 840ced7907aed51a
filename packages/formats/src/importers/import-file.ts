import type { ImportedFile } from '@colloquy/core'
import { claudeCode } from './claude-code/claude-code.ts'
import { refusal } from './json-lines.ts'
import { type ImportInput, openSource, type TranscriptFormat } from './source-file.ts'

/** The first that matches imports, so the one with the sharper test stands first. */
export const formats: readonly TranscriptFormat[] = [claudeCode]

/**
 * Imports a transcript of any format that we know.
 * @throws `import_refused` for a file that is empty, no text, of no known format, or damaged
 */
export function importFile(input: ImportInput): ImportedFile {
  const file = openSource(input)
  const format = formats.find((candidate) => candidate.matches(file))
  if (format !== undefined) return format.importFile(file)
  const { records, bad } = file.jsonLines()
  const known = formats.map(({ id }) => id).join(', ')
  const found = records.length === 0 && bad[0] ? `${bad[0].problem}, and nothing else in the file is` : 'the content'
  throw refusal(
    file.source,
    bad[0]?.line ?? 1,
    `${found} of a format that can be imported (${known}). Give a transcript as its program wrote it`,
  )
}
