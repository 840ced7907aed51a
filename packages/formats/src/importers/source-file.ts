import type { ImportedFile, Sha256 } from '@colloquy/core'
import { type JsonDocument, readJsonDocument } from './json-document.ts'
import { type JsonLines, readJsonLines, readText } from './json-lines.ts'

/** What an importer is given: the content of a file and what it is called in messages. */
export interface ImportInput {
  /** Names the file in errors; never stored, so a file imports the same from anywhere. */
  readonly source: string
  readonly content: string | Uint8Array
  readonly sha256: Sha256
  readonly options?: ImportOptions
}

export interface ImportOptions {
  /** Take what is whole of a file whose last line is cut; the cut line is listed in `skipped`. */
  readonly allowTruncated?: boolean
  /** Keep lines that are not JSON as text (`foreignRecordKept`) instead of refusing the file. */
  readonly keepBadLines?: boolean
  /** Instead of the id that the file gives its conversation. */
  readonly conversationId?: string
  /** What one action may take, when the engine that will store it has another limit than the default of 1 MiB. */
  readonly envelopeBytes?: number
}

/** A file as the formats look at it. Each way of reading it is taken once, when the first format asks. */
export interface SourceFile {
  readonly source: string
  readonly text: string
  readonly jsonLines: () => JsonLines
  /** The file as one JSON value, however many lines it takes; undefined when it is not one. */
  readonly jsonDocument: () => JsonDocument | undefined
  readonly sha256: Sha256
  readonly options: ImportOptions
}

/** One kind of transcript: how to know it by its content, and how to import it. */
export interface TranscriptFormat {
  /** Goes into `format` and command ids; never changed, because stored command ids hold it. */
  readonly id: string
  /** By content, never by name: formats are found under each other's extensions. */
  readonly matches: (file: SourceFile) => boolean
  /** @throws `import_refused` */
  readonly importFile: (file: SourceFile) => ImportedFile
}

/** @throws `import_refused` for a file that is empty or no text */
export function openSource({ source, content, sha256, options = {} }: ImportInput): SourceFile {
  const text = readText(source, content)
  let jsonLines: JsonLines | undefined
  let jsonDocument: { readonly read: JsonDocument | undefined } | undefined
  return {
    source,
    text,
    sha256,
    options,
    jsonLines: () => (jsonLines ??= readJsonLines(text)),
    jsonDocument: () => (jsonDocument ??= { read: readJsonDocument(text) }).read,
  }
}
