import { type ConversationKey, type Media, partitionOf } from '@colloquy/core'
import type { LogConnection } from '../connections/connection.ts'
import { sha256 } from '../sha256.ts'
import { plainBytes } from './stored-envelope.ts'

/** See `EventLog.putMedia`. One statement for each, so that no message to the server holds more than one of them. */
export async function putMedia(log: LogConnection, key: ConversationKey, media: readonly Media[]): Promise<void> {
  const partition = partitionOf(key, log.partitions, sha256)
  for (const { hash, mediaType, bytes } of media) {
    await log.asTenant(key.tenant, (kysely) =>
      kysely
        .insertInto('media')
        .values({ partition, tenant: key.tenant, hash, media_type: mediaType, bytes })
        .onConflict((conflict) => conflict.doNothing())
        .execute(),
    )
  }
}

/** See `EventLog.media`. */
export async function readMedia(log: LogConnection, key: ConversationKey, hash: string): Promise<Media | undefined> {
  const row = await log.asTenant(key.tenant, (kysely) =>
    kysely
      .selectFrom('media')
      .select(['media_type', 'bytes'])
      .where('partition', '=', partitionOf(key, log.partitions, sha256))
      .where('tenant', '=', key.tenant)
      .where('hash', '=', hash)
      .executeTakeFirst(),
  )
  return row && { hash, mediaType: row.media_type, bytes: plainBytes(row.bytes) }
}
