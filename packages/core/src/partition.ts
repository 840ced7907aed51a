import { ByteWriter } from './byte-writer.ts'
import { type ConversationKey, rootIdOf } from './ids.ts'
import type { Sha256 } from './ports/sha256.ts'
import { toUtf8 } from './utf8.ts'

/** Stored beside the number of partitions, so that a later hash cannot be mistaken for this one. */
export const partitionHashName = 'sha256-48'

const domain = toUtf8('colloquy/partition/v1\0')
/** Hashing does not wait, so one is enough. */
const writer = new ByteWriter()

/**
 * The partition of a conversation, 0 to `partitions` - 1: the first 48 bits of SHA-256(domain, tenant, root id), big-endian, modulo
 * `partitions`; tenant and id as u32 length and UTF-8. A fork lies where its root lies. Fixed for ever: rows are found by it.
 */
export function partitionOf(key: ConversationKey, partitions: number, sha256: Sha256): number {
  if (partitions === 1) return 0
  const digest = sha256(writer.begin().raw(domain).text(key.tenant).text(rootIdOf(key.conversationId)).written())
  let value = 0
  for (const byte of digest.subarray(0, 6)) value = value * 256 + byte
  return value % partitions
}
