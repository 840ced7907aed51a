/**
 * The part of Postgres' wire protocol that a prepared statement needs.
 * Source: PostgreSQL's documentation, "Frontend/Backend Protocol", "Message Formats".
 */

export interface Field {
  readonly name: string
  readonly type: number
}

/** The bytes of one or more messages, in pieces: a batch of bodies is copied once, when it leaves. */
export type Message = readonly Uint8Array[]

const byteaOid = 17

/** Prepares a statement by a name, and asks what it takes and gives. */
export function parseMessage(name: string, sql: string): Message {
  return [...message('P', text(name), text(sql), int16(0)), ...message('D', Buffer.from('S'), text(name))]
}

/** Runs a prepared statement. Bytes are sent in binary format, and asked for in it. */
export function bindMessage(name: string, values: readonly (string | Uint8Array | null)[], fields: readonly Field[]): Message {
  const formats = values.map((value) => int16(value instanceof Uint8Array ? 1 : 0))
  const encoded = values.flatMap((value) => {
    if (value === null) return [int32(-1)]
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    return [int32(bytes.length), bytes]
  })
  const resultFormats = fields.map(({ type }) => int16(type === byteaOid ? 1 : 0))
  return [
    ...message(
      'B',
      text(''),
      text(name),
      int16(values.length),
      ...formats,
      int16(values.length),
      ...encoded,
      int16(fields.length),
      ...resultFormats,
    ),
    ...message('E', text(''), int32(0)),
  ]
}

/**
 * Runs a prepared statement up to the sync, as one piece. Bytes are sent in binary format, all else as text; the answer is text.
 * Bind `B`, execute `E`, sync `S`.
 */
export function callMessage(
  name: string,
  values: readonly (string | number | boolean | Uint8Array | null | undefined)[],
): Buffer {
  // What is undefined, where no types were checked, is null, as the driver has it.
  const encoded = values.map((value = null) => (value === null || value instanceof Uint8Array ? value : String(value)))
  const sizes = encoded.map((value) => (typeof value === 'string' ? Buffer.byteLength(value) : (value?.length ?? 0)))
  const bindBytes = 12 + Buffer.byteLength(name) + 6 * values.length + sizes.reduce((sum, size) => sum + size, 0)
  const message = Buffer.allocUnsafe(1 + bindBytes + executeAndSync.length)
  let at = message.writeUInt8(0x42, 0)
  at = message.writeInt32BE(bindBytes, at)
  // The portal without a name, and the statement.
  at = message.writeUInt8(0, at)
  at += message.write(name, at)
  at = message.writeUInt8(0, at)
  at = message.writeInt16BE(values.length, at)
  for (const value of encoded) at = message.writeInt16BE(value instanceof Uint8Array ? 1 : 0, at)
  at = message.writeInt16BE(values.length, at)
  for (const [i, value] of encoded.entries()) {
    const size = sizes[i] as number
    at = message.writeInt32BE(value === null ? -1 : size, at)
    if (typeof value === 'string') message.write(value, at)
    else if (value !== null) message.set(value, at)
    at += size
  }
  at = message.writeInt16BE(0, at)
  message.set(executeAndSync, at)
  return message
}

export const closeMessage = (name: string): Message => message('C', Buffer.from('S'), text(name))

export const syncMessage = message('S')

const executeAndSync = Buffer.concat([...message('E', text(''), int32(0)), ...syncMessage])

export interface Answers {
  readonly parameterTypes: readonly number[]
  readonly fields: readonly Field[]
  readonly rows: readonly Record<string, unknown>[]
  /** Of a statement that changes rows. */
  readonly affectedRows: bigint | undefined
}

/**
 * Everything up to the end of the answers. Bytes of rows are copied, other values go through `parse`.
 * @throws the first error among them, with the fields that drivers give: `code`, `detail`, `constraint` and so on
 */
export function readAnswers(
  answers: Uint8Array,
  rowFields: readonly Field[] = [],
  parse: (text: string, type: number) => unknown = (value) => value,
): Answers {
  const bytes = Buffer.from(answers.buffer, answers.byteOffset, answers.byteLength)
  let parameterTypes: number[] = []
  let fields: Field[] = []
  let affectedRows: bigint | undefined
  const rows: Record<string, unknown>[] = []
  let failure: Error | undefined
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes.readUInt8(at)
    const body = at + 5
    at += 1 + bytes.readInt32BE(at + 1)
    switch (kind) {
      case 0x44: // D, a row
        rows.push(readRow(bytes, body, rowFields, parse))
        break
      case 0x43: // C, a command is complete
        affectedRows = affectedIn(bytes.toString('latin1', body, at - 1))
        break
      case 0x45: // E, an error
        failure ??= readError(bytes, body)
        break
      case 0x54: // T, the fields of rows
        fields = readFields(bytes, body)
        break
      case 0x74: // t, the types of parameters
        parameterTypes = Array.from({ length: bytes.readInt16BE(body) }, (_, i) => bytes.readInt32BE(body + 2 + i * 4))
        break
    }
  }
  if (failure) throw failure
  return { parameterTypes, fields, rows, affectedRows }
}

function readRow(
  bytes: Buffer,
  body: number,
  fields: readonly Field[],
  parse: (text: string, type: number) => unknown,
): Record<string, unknown> {
  const row: Record<string, unknown> = {}
  let at = body + 2
  for (const { name, type } of fields) {
    const length = bytes.readInt32BE(at)
    at += 4
    if (length === -1) {
      row[name] = null
      continue
    }
    const end = at + length
    row[name] = type === byteaOid ? new Uint8Array(bytes.subarray(at, end)) : parse(bytes.toString('utf8', at, end), type)
    at = end
  }
  return row
}

function readFields(bytes: Buffer, body: number): Field[] {
  let at = body + 2
  return Array.from({ length: bytes.readInt16BE(body) }, () => {
    const end = bytes.indexOf(0, at)
    const name = bytes.toString('utf8', at, end)
    const type = bytes.readInt32BE(end + 7)
    at = end + 19
    return { name, type }
  })
}

/** `INSERT 0 3`, `UPDATE 3`: the last word. A `SELECT 3` changes nothing. */
function affectedIn(tag: string): bigint | undefined {
  const [command, ...words] = tag.split(' ')
  const count = words.at(-1)
  return command === 'SELECT' || count === undefined || !/^\d+$/.test(count) ? undefined : BigInt(count)
}

const errorFields: Readonly<Record<string, string>> = {
  V: 'severity',
  C: 'code',
  D: 'detail',
  H: 'hint',
  P: 'position',
  W: 'where',
  s: 'schema',
  t: 'table',
  c: 'column',
  n: 'constraint',
  R: 'routine',
}

function readError(bytes: Buffer, body: number): Error {
  const details: Record<string, string> = {}
  let problem = ''
  for (let at = body; bytes[at] !== 0; ) {
    const end = bytes.indexOf(0, at + 1)
    const kind = String.fromCharCode(bytes[at] ?? 0)
    const value = bytes.toString('utf8', at + 1, end)
    if (kind === 'M') problem = value
    const name = errorFields[kind]
    if (name !== undefined) details[name] = value
    at = end + 1
  }
  return Object.assign(new Error(problem), details)
}

function message(kind: string, ...parts: readonly Uint8Array[]): Message {
  const length = parts.reduce((sum, part) => sum + part.length, 4)
  return [Buffer.from(kind), int32(length), ...parts]
}

function int16(value: number): Buffer {
  const buffer = Buffer.allocUnsafe(2)
  buffer.writeUInt16BE(value)
  return buffer
}

function int32(value: number): Buffer {
  const buffer = Buffer.allocUnsafe(4)
  buffer.writeInt32BE(value)
  return buffer
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}
