import type { ImportedConversation, ImportedFile, Json, Sha256 } from '@colloquy/core'
import { damageOf, type JsonDocument, readJsonDocument } from './json-document.ts'
import { type BadLine, type JsonLines, type JsonRecord, readJsonLines, readText } from './json-lines.ts'
import type { ByteSource } from './streamed-file.ts'

/** What an importer is given: the content of a file and what it is called in messages. */
export interface ImportInput {
  /** Names the file in errors; never stored, so a file imports the same from anywhere. */
  readonly source: string
  /** Of what is read piece by piece, JSON lines need not fit into memory; see `importFile`. */
  readonly content: string | Uint8Array | ByteSource
  readonly sha256: Sha256
  readonly options?: ImportOptions
}

/** The content as a whole. */
export interface HeldInput extends ImportInput {
  readonly content: string | Uint8Array
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
  /** A file that is read piece by piece is held all the same when it has no more bytes. Default 8 MiB. */
  readonly heldBytes?: number
}

/** A file as the formats look at it. Each way of reading it is taken once, when the first format asks. */
export interface SourceFile {
  readonly source: string
  /** The file is in memory, so what is made of it may be too. */
  readonly isHeld: boolean
  /** Every value of every line, and every line that is none, in order; or the elements, where the file is one JSON list. */
  readonly lines: () => Iterable<JsonRecord | BadLine>
  readonly jsonLines: () => JsonLines
  /** The file as one JSON value, however many lines it takes; undefined when it is not one. */
  readonly jsonDocument: () => JsonDocument | undefined
  /** Why it is none, and in which line, when it begins as one. */
  readonly damage: () => { readonly line: number; readonly problem: string } | undefined
  readonly sha256: Sha256
  readonly options: ImportOptions
}

/** One kind of transcript: how to know it by its content, and how to import it. */
export interface TranscriptFormat {
  /** Goes into `format` and command ids; never changed, because stored command ids hold it. */
  readonly id: string
  /** Whose transcripts they are, in a few words. */
  readonly describe: string
  /** What such files are usually called, without the dot: a hint for people, nothing is known by it. */
  readonly files: readonly string[]
  /** By content, never by name: formats are found under each other's extensions. */
  readonly matches: (file: SourceFile) => boolean
  /** Files of JSON lines that do not fit into memory are imported too. */
  readonly streams?: true
  /** @throws `import_refused` */
  readonly importFile: (file: SourceFile) => ImportedFile<ImportedConversation>
}

/** @throws `import_refused` for a file that is empty or no text */
export function openSource({ source, content, sha256, options = {} }: HeldInput): SourceFile {
  const text = readText(source, content)
  let jsonLines: JsonLines | undefined
  let jsonDocument: { readonly read: JsonDocument | undefined } | undefined
  const readLines = (): JsonLines => (jsonLines ??= readJsonLines(text))
  const readDocument = (): JsonDocument | undefined => (jsonDocument ??= { read: readJsonDocument(text) }).read
  return {
    source,
    sha256,
    options,
    isHeld: true,
    lines: () => elementsOf(readDocument()) ?? inOrder(readLines()),
    jsonLines: readLines,
    jsonDocument: readDocument,
    damage: () => damageOf(text),
  }
}

/** The elements of a list as if each were a line. */
function elementsOf(document: JsonDocument | undefined): readonly JsonRecord[] | undefined {
  if (document === undefined || !Array.isArray(document.value)) return undefined
  const problems = Map.groupBy(document.problems, ({ path }) => Number(/^\$\[(\d+)\]/.exec(path)?.[1]))
  return (document.value as readonly Json[]).map((value, index) => ({
    line: index + 1,
    ordinal: 1,
    value,
    // What had to become text did so where it stands, so the element is whole.
    problems: (problems.get(index) ?? []).map(({ path, problem }) => ({ path, problem, member: path })),
  }))
}

function inOrder({ records, bad }: JsonLines): readonly (JsonRecord | BadLine)[] {
  return bad.length === 0 ? records : [...records, ...bad].sort((a, b) => a.line - b.line || a.ordinal - b.ordinal)
}
