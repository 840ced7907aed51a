/**
 * A file that is not held: its lines are read one after another, and of a record there is only where it stands. A value is read
 * again when it is asked for, which costs less than it sounds (what was checked once is only parsed) and keeps a file of any
 * length in a few megabytes.
 */
import { fromUtf8, type Json } from '@colloquy/core'
import { type BadLine, emptyFile, type JsonRecord, notUtf8, nulByte, readLine } from './json-lines.ts'
import { refusal } from './refusal.ts'
import type { JsonProblem } from './scan-json.ts'
import type { ImportInput, SourceFile } from './source-file.ts'

/** The whole of it. @throws `import_refused` when it is shorter than it was */
export function readWhole(source: string, content: ByteSource, length = content.size): Uint8Array {
  const bytes = new Uint8Array(length)
  if (content.read(bytes, 0) === length) return bytes
  throw becameShorter(source)
}

/** The bytes of a file, read piece by piece. */
export interface ByteSource {
  readonly size: number
  /** Fills `target` with what stands from `from` on. @returns how many bytes there were */
  read(target: Uint8Array, from: number): number
}

/** What is read at once, and how many such pieces are kept: records that belong together rarely stand further apart. */
const windowBytes = 2 ** 20
const windowsKept = 4
/** Values of so many bytes of text are kept, because every step asks a record for several fields. */
const valueBytes = 2 ** 22
/** No action takes a line that is longer: an envelope is smaller by default. */
const longestLine = 2 ** 24

const byteOrderMark = [0xef, 0xbb, 0xbf]

export function openStreamed(input: ImportInput & { readonly content: ByteSource }): SourceFile {
  const { source, content, sha256, options = {} } = input
  const bytes = windowed(source, content)
  const values = recentValues()

  function* lines(): Generator<JsonRecord | BadLine> {
    let line = 0
    let isEmpty = true
    /** Its value does not end: whether the file was cut there is known when something follows, or nothing. */
    let open: BadLine | undefined
    for (let from = firstByte(bytes), end = 0; from < content.size; from = end + 1) {
      line += 1
      end = bytes.lineEnd(from)
      for (const found of readLine(textOf(from, end, line))) {
        isEmpty = false
        if (open) yield open
        open = undefined
        if ('bad' in found) {
          const bad = { line, ...found.bad, isTruncated: false }
          if (found.isOpen) open = bad
          else yield bad
        } else {
          const { ordinal, value, problems, isWholeLine } = found
          const record = new StreamedRecord({ line, ordinal, problems, isWholeLine, from, end, load: valueOf })
          values.keep(record, value)
          yield record
        }
      }
    }
    if (open) yield { ...open, isTruncated: true }
    if (isEmpty) throw emptyFile(source)
  }

  function textOf(from: number, end: number, line: number): string {
    if (end - from > longestLine) {
      const problem = `the line has ${end - from} bytes, and of a file of this size no line may have more than ${longestLine}`
      throw refusal(source, line, `${problem}. Give a transcript as its program wrote it`)
    }
    const own = bytes.read(from, end)
    let text: string
    try {
      text = fromUtf8(own)
    } catch (cause) {
      throw notUtf8(source, line, cause)
    }
    if (text.includes('\0')) throw nulByte(source, line)
    return text
  }

  function valueOf(record: StreamedRecord): Json {
    const { line, ordinal, from, end, isWholeLine } = record
    const text = textOf(from, end, line)
    const found = isWholeLine ? parsed(text) : readLine(text)[ordinal - 1]
    if (found === undefined || !('value' in found))
      throw refusal(source, line, 'the line was changed while the file was imported. Import it when nothing writes to it')
    values.keep(record, found.value)
    return found.value
  }

  return {
    source,
    sha256,
    options,
    isHeld: false,
    lines,
    jsonLines() {
      const all = [...lines()]
      return { records: all.filter((item) => 'value' in item), bad: all.filter((item) => 'text' in item) }
    },
    // A document can only be read whole: see `importFile`.
    jsonDocument: () => undefined,
    damage: () => undefined,
  }
}

interface Place {
  readonly from: number
  readonly end: number
  /** The line is the record and nothing else, and JSON as it is. */
  readonly isWholeLine: boolean
}

class StreamedRecord implements JsonRecord, Place {
  readonly line: number
  readonly ordinal: number
  readonly problems: readonly JsonProblem[]
  readonly from: number
  readonly end: number
  readonly isWholeLine: boolean
  /** The value, for a while. */
  kept: Json | undefined
  readonly #load: (record: StreamedRecord) => Json

  constructor(record: Omit<JsonRecord, 'value'> & Place & { readonly load: (record: StreamedRecord) => Json }) {
    this.line = record.line
    this.ordinal = record.ordinal
    this.problems = record.problems
    this.from = record.from
    this.end = record.end
    this.isWholeLine = record.isWholeLine
    this.#load = record.load
  }

  get value(): Json {
    return this.kept ?? this.#load(this)
  }
}

function parsed(text: string): { readonly value: Json } | undefined {
  try {
    return { value: JSON.parse(text) as Json }
  } catch {
    return undefined
  }
}

/** Lets records keep their values, the youngest, up to `valueBytes` of text. */
function recentValues() {
  const holders: (StreamedRecord | undefined)[] = []
  let first = 0
  let bytes = 0
  return {
    keep(record: StreamedRecord, value: Json): void {
      record.kept = value
      holders.push(record)
      bytes += sizeOf(record)
      for (; bytes > valueBytes && first < holders.length - 1; first++) {
        const oldest = holders[first] as StreamedRecord
        oldest.kept = undefined
        bytes -= sizeOf(oldest)
      }
      if (first > 1000) holders.splice(0, first)
      if (first > 1000) first = 0
    },
  }
}

const sizeOf = ({ from, end }: StreamedRecord): number => end - from

interface Windowed {
  /** Only until the next call. */
  read(from: number, to: number): Uint8Array
  /** Where the line ends in which `from` stands: at its line feed, or at the end of the file. */
  lineEnd(from: number): number
}

function windowed(source: string, content: ByteSource): Windowed {
  /** By their number, the oldest first. Their memory is used again: what is read is decoded at once. */
  const windows = new Map<number, Uint8Array>()

  function fill(target: Uint8Array, from: number): Uint8Array {
    if (content.read(target, from) === target.length) return target
    throw becameShorter(source)
  }

  function windowAt(number: number): Uint8Array {
    const known = windows.get(number)
    if (known !== undefined) return known
    const [oldest] = windows
    const isFull = windows.size >= windowsKept && oldest !== undefined
    if (isFull) windows.delete(oldest[0])
    const from = number * windowBytes
    const size = Math.min(content.size - from, windowBytes)
    const memory = isFull && oldest[1].length >= size ? oldest[1].subarray(0, size) : new Uint8Array(size)
    windows.set(number, fill(memory, from))
    return memory
  }

  return {
    read(from, to) {
      const number = Math.floor(from / windowBytes)
      const start = number * windowBytes
      return to <= start + windowBytes
        ? windowAt(number).subarray(from - start, to - start)
        : fill(new Uint8Array(to - from), from)
    },
    lineEnd(from) {
      for (let number = Math.floor(from / windowBytes); number * windowBytes < content.size; number++) {
        const start = number * windowBytes
        const found = windowAt(number).indexOf(0x0a, Math.max(0, from - start))
        if (found >= 0) return start + found
      }
      return content.size
    },
  }
}

const becameShorter = (source: string) =>
  refusal(source, 0, 'the file became shorter while it was imported. Import it when nothing writes to it')

function firstByte(bytes: Windowed): number {
  const head = bytes.read(0, Math.min(3, bytes.lineEnd(0)))
  return byteOrderMark.every((byte, index) => head[index] === byte) ? 3 : 0
}
