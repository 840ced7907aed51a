/** The ports of core on Node. */
import { createHash, hash, randomBytes, randomFillSync } from 'node:crypto'
import type { Clock, Ids, Random, Sha256, Timer } from '@colloquy/core'

export const sha256: Sha256 = (...parts) => {
  // One-shot hashing of one buffer is about twice as fast as a hash object for the few hundred bytes of an envelope.
  if (parts.length === 1 && parts[0]) return hash('sha256', parts[0], 'buffer')
  const digest = createHash('sha256')
  for (const part of parts) digest.update(part)
  return digest.digest()
}

export const systemClock: Clock = () => Date.now() * 1000

/** Keeps the process alive while it waits. */
export const systemTimer: Timer = (listener, ms) => {
  const timeout = setTimeout(listener, ms)
  return () => clearTimeout(timeout)
}

export const systemRandom: Random = (length) => randomBytes(length)

/** UUIDv7 (RFC 9562): 48 bits of milliseconds, then random. Orders by time roughly; nothing here relies on it. */
export const uuidv7: Ids = () => {
  const bytes = randomFillSync(new Uint8Array(16))
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, (BigInt(Date.now()) << 16n) | 0x7000n | BigInt(view.getUint16(6) & 0x0fff))
  view.setUint8(8, (view.getUint8(8) & 0x3f) | 0x80)
  const hex = Buffer.from(bytes).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
