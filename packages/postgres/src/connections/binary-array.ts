/**
 * Arrays in Postgres' binary format. Both drivers send a Buffer as it is; an array of theirs they would write as text, with bytes in
 * hex and escapes to undo on the other side.
 *
 *     int32 dimensions, int32 has nulls, int32 type of the elements, int32 length, int32 lower bound, then (int32 size, bytes) each
 *
 * Source: `array_recv` in PostgreSQL's arrayfuncs.c. Written in one pass over the rows into a buffer that is kept, without a list of
 * values, lengths or BigInts in between: at a thousand appends in flight, that garbage cost more than the writing.
 */

type Nullable<T> = readonly (T | null)[]

export const boolArray = (values: Nullable<boolean>): Buffer => boolColumn(values, itself)
export const byteaArray = (values: Nullable<Uint8Array>): Buffer => byteaColumn(values, itself)
export const int8Array = (values: Nullable<number>): Buffer => int8Column(values, itself)
export const int4Array = (values: Nullable<number>): Buffer => int4Column(values, itself)
export const textArray = (values: Nullable<string>): Buffer => textColumn(values, itself)

const itself = <T>(value: T): T => value

type ValueOf<Row, T> = (row: Row, i: number) => T | null

export function boolColumn<Row>(rows: readonly Row[], valueOf: ValueOf<Row, boolean>): Buffer {
  return column(16, rows, valueOf, (value) => {
    const at = sized(1)
    scratch[at] = value ? 1 : 0
  })
}

export function byteaColumn<Row>(rows: readonly Row[], valueOf: ValueOf<Row, Uint8Array>): Buffer {
  return column(17, rows, valueOf, (value) => {
    const at = sized(value.length)
    scratch.set(value, at)
  })
}

export function int8Column<Row>(rows: readonly Row[], valueOf: ValueOf<Row, number>): Buffer {
  return column(20, rows, valueOf, (value) => {
    const at = sized(8)
    // Two's complement in halves: exact for safe integers of either sign.
    view.setInt32(at, Math.floor(value / 2 ** 32))
    view.setInt32(at + 4, value | 0)
  })
}

export function int4Column<Row>(rows: readonly Row[], valueOf: ValueOf<Row, number>): Buffer {
  return column(23, rows, valueOf, (value) => {
    const at = sized(4)
    view.setInt32(at, value)
  })
}

export function textColumn<Row>(rows: readonly Row[], valueOf: ValueOf<Row, string>): Buffer {
  return column(25, rows, valueOf, (value) => {
    const at = reserve(4 + value.length * 3)
    const length = writeText(value, at + 4)
    view.setInt32(at, length)
    used += 4 + length
  })
}

const headerBytes = 20
/** Larger ones, for a batch of large bodies, are not kept. */
const keptBytes = 1024 * 1024

let scratch: Buffer
/** Of the same bytes: numbers are written by it in a fraction of the time that the methods of a Buffer take. */
let view: DataView
let used = 0

function use(bytes: number): void {
  scratch = Buffer.allocUnsafeSlow(bytes)
  view = new DataView(scratch.buffer)
}
use(keptBytes)

function column<Row, T>(elementOid: number, rows: readonly Row[], valueOf: ValueOf<Row, T>, write: (value: T) => void): Buffer {
  used = headerBytes
  let hasNulls = 0
  for (let i = 0; i < rows.length; i++) {
    const value = valueOf(rows[i] as Row, i)
    if (value !== null) {
      write(value)
      continue
    }
    hasNulls = 1
    view.setInt32(reserve(4), -1)
    used += 4
  }
  view.setInt32(0, 1)
  view.setInt32(4, hasNulls)
  view.setInt32(8, elementOid)
  view.setInt32(12, rows.length)
  view.setInt32(16, 1)
  const written = Buffer.from(scratch.subarray(0, used))
  if (scratch.length > keptBytes) use(keptBytes)
  return written
}

/** Makes room for so many bytes. @returns where they go */
function reserve(bytes: number): number {
  if (used + bytes > scratch.length) {
    const former = scratch
    use(Math.max(former.length * 2, used + bytes))
    former.copy(scratch, 0, 0, used)
  }
  return used
}

/** Writes the size of an element. @returns where its bytes go */
function sized(bytes: number): number {
  const at = reserve(4 + bytes)
  view.setInt32(at, bytes)
  used += 4 + bytes
  return at + 4
}

/** As UTF-8. Short ASCII, as ids and types are, by hand: a call into the runtime costs more than its letters. @returns how many bytes */
function writeText(value: string, at: number): number {
  if (value.length > 64) return scratch.write(value, at)
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code > 0x7f) return scratch.write(value, at)
    scratch[at + i] = code
  }
  return value.length
}
