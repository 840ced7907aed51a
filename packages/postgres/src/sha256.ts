import { createHash, hash } from 'node:crypto'
import type { Sha256 } from '@colloquy/core'
import { plainBytes } from './read/stored-envelope.ts'

export const sha256: Sha256 = (...parts) => {
  // One call for one buffer is several times as fast as a hash object.
  if (parts.length === 1 && parts[0]) return plainBytes(hash('sha256', parts[0], 'buffer'))
  const digest = createHash('sha256')
  for (const part of parts) digest.update(part)
  return plainBytes(digest.digest())
}
