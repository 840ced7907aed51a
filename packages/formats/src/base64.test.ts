import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeBase64 } from './base64.ts'

test('base64 comes out as the bytes it was made of', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), (bytes) => {
      expect(decodeBase64(Buffer.from(bytes).toString('base64'))).toEqual(bytes)
    }),
  )
})

test.each([
  ['an empty text', ''],
  ['missing padding', 'QQ'],
  ['padding in the middle', 'QQ==QQ=='],
  ['leftover bits', 'QR=='],
  ['a line break', 'QUJD\nQUJD'],
  ['the alphabet of URLs', 'QU-_'],
  ['a letter beyond ASCII', 'QUJÄ'],
  ['nothing but padding', '===='],
])('%s is not canonical base64', (_, text) => {
  expect(decodeBase64(text)).toBeUndefined()
})
