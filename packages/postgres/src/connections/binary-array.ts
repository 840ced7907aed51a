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
    const at = reserve(5)
    scratch.writeInt32BE(1, at)
    scratch[at + 4] = value ? 1 : 0
    used += 5
  })
}

export function byteaColumn<Row>(rows: readonly Row[], valueOf: ValueOf<Row, Uint8Array>): Buffer {
  return column(17, rows, valueOf, (value) => {
    const at = reserve(4 + value.length)
    scratch.writeInt32BE(value.length, at)
    scratch.set(value, at + 4)
    used += 4 + value.length
  })
}

export function int8Column<Row>(rows: readonly Row[], valueOf: ValueOf<Row, number>): Buffer {
  return column(20, rows, valueOf, (value) => {
    const at = reserve(12)
    scratch.writeInt32BE(8, at)
    // Two's complement in halves: exact for safe integers of either sign.
    scratch.writeInt32BE(Math.floor(value / 2 ** 32), at + 4)
    scratch.writeInt32BE(value | 0, at + 8)
    used += 12
  })
}

export function int4Column<Row>(rows: readonly Row[], valueOf: ValueOf<Row, number>): Buffer {
  return column(23, rows, valueOf, (value) => {
    const at = reserve(8)
    scratch.writeInt32BE(4, at)
    scratch.writeInt32BE(value, at + 4)
    used += 8
  })
}

export function textColumn<Row>(rows: readonly Row[], valueOf: ValueOf<Row, string>): Buffer {
  return column(25, rows, valueOf, (value) => {
    const at = reserve(4 + value.length * 3)
    const length = writeText(value, at + 4)
    scratch.writeInt32BE(length, at)
    used += 4 + length
  })
}

const headerBytes = 20
/** Larger ones, for a batch of large bodies, are not kept. */
const keptBytes = 1024 * 1024

let scratch = Buffer.allocUnsafeSlow(keptBytes)
let used = 0

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
    scratch.writeInt32BE(-1, reserve(4))
    used += 4
  }
  scratch.writeInt32BE(1, 0)
  scratch.writeInt32BE(hasNulls, 4)
  scratch.writeInt32BE(elementOid, 8)
  scratch.writeInt32BE(rows.length, 12)
  scratch.writeInt32BE(1, 16)
  const written = Buffer.from(scratch.subarray(0, used))
  if (scratch.length > keptBytes) scratch = Buffer.allocUnsafeSlow(keptBytes)
  return written
}

/** Makes room for so many bytes. @returns where they go */
function reserve(bytes: number): number {
  if (used + bytes > scratch.length) {
    const larger = Buffer.allocUnsafeSlow(Math.max(scratch.length * 2, used + bytes))
    scratch.copy(larger, 0, 0, used)
    scratch = larger
  }
  return used
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
