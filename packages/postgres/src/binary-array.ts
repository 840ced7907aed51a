/**
 * Arrays in Postgres' binary format. Both drivers send a Buffer as it is; an array of theirs they would write as text, with bytes in
 * hex and escapes to undo on the other side.
 *
 *     int32 dimensions, int32 has nulls, int32 type of the elements, int32 length, int32 lower bound, then (int32 size, bytes) each
 *
 * Source: `array_recv` in PostgreSQL's arrayfuncs.c.
 */

type Nullable<T> = readonly (T | null)[]

export const boolArray = (values: Nullable<boolean>): Buffer =>
  encode(16, values, sizeOf(1), (buffer, value, at) => buffer.writeUInt8(value ? 1 : 0, at))

export const byteaArray = (values: Nullable<Uint8Array>): Buffer =>
  encode(
    17,
    values,
    (value) => value.length,
    (buffer, value, at) => buffer.set(value, at),
  )

export const int8Array = (values: Nullable<number>): Buffer =>
  encode(20, values, sizeOf(8), (buffer, value, at) => buffer.writeBigInt64BE(BigInt(value), at))

export const int4Array = (values: Nullable<number>): Buffer =>
  encode(23, values, sizeOf(4), (buffer, value, at) => buffer.writeInt32BE(value, at))

export const textArray = (values: Nullable<string>): Buffer =>
  encode(
    25,
    values,
    (value) => Buffer.byteLength(value),
    (buffer, value, at) => buffer.write(value, at),
  )

const sizeOf = (bytes: number) => (): number => bytes
const headerBytes = 20

function encode<T>(
  elementOid: number,
  values: Nullable<T>,
  byteLength: (value: T) => number,
  write: (buffer: Buffer, value: T, at: number) => void,
): Buffer {
  const lengths = values.map((value) => (value === null ? -1 : byteLength(value)))
  const total = lengths.reduce((sum, length) => sum + 4 + Math.max(length, 0), headerBytes)
  const buffer = Buffer.allocUnsafe(total)
  buffer.writeInt32BE(1, 0)
  buffer.writeInt32BE(lengths.includes(-1) ? 1 : 0, 4)
  buffer.writeInt32BE(elementOid, 8)
  buffer.writeInt32BE(values.length, 12)
  buffer.writeInt32BE(1, 16)
  let at = headerBytes
  for (const [i, value] of values.entries()) {
    const length = lengths[i] ?? -1
    buffer.writeInt32BE(length, at)
    at += 4
    if (value === null) continue
    write(buffer, value, at)
    at += length
  }
  return buffer
}
