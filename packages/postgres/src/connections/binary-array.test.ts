import { PGlite } from '@electric-sql/pglite'
import { afterAll, expect, test } from 'vitest'
import { boolArray, byteaArray, int4Array, int8Array, textArray } from './binary-array.ts'

const pglite = await PGlite.create()
afterAll(() => pglite.close())

test('arrays arrive as they were sent, with nulls, empty, and with what text would have to escape', async () => {
  const texts = ['', 'NULL', null, '{"a",\\}', '日本 🦜', ' space ']
  const bytes = [Uint8Array.of(0, 255), null, new Uint8Array(), Buffer.from('pool').subarray(1)]
  const { rows } = await pglite.query<Record<string, unknown>>(
    `select $1::text[] as texts, $2::bytea[] as bytes, $3::int[] as ints, $4::bigint[] as bigints, $5::boolean[] as booleans,
       cardinality($6::text[]) as none`,
    [
      textArray(texts),
      byteaArray(bytes),
      int4Array([0, -1, null, 2 ** 31 - 1]),
      int8Array([0, -1, null, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]),
      boolArray([true, null, false]),
      textArray([]),
    ],
  )
  expect(rows[0]).toMatchObject({
    texts,
    ints: [0, -1, null, 2 ** 31 - 1],
    bigints: [0, -1, null, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
    booleans: [true, null, false],
    none: 0,
  })
  const found = rows[0]?.['bytes'] as (Uint8Array | null)[]
  expect(found.map((each) => each && [...each])).toEqual(bytes.map((each) => each && [...each]))
})
