import { type ConversationKey, type Head, isForkId, partitionOf, type Snapshot } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import type { LogConnection } from '../connections/connection.ts'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'
import { sha256 } from '../sha256.ts'
import { ancestorsAsJson, keepAncestors } from './ancestry.ts'
import { conversationOf, headColumns, toHead } from './conversation-row.ts'
import { plainBytes } from './stored-envelope.ts'

function snapshotsOf(kysely: Kysely<Database>, log: LogConnection, key: ConversationKey, stateKey?: string) {
  return kysely
    .selectFrom('snapshot')
    .where('partition', '=', partitionOf(key, log.partitions, sha256))
    .where('conversation_no', '=', conversationOf(kysely, log, key).select('conversation_no'))
    .$if(stateKey !== undefined, (qb) => qb.where('state_key', '=', stateKey as string))
}

/** See `EventLog.snapshot`. */
export async function readSnapshot(
  log: LogConnection,
  key: ConversationKey,
  { stateKey, atOrBefore }: { readonly stateKey: string; readonly atOrBefore?: number },
): Promise<Snapshot | undefined> {
  const row = await log.asTenant(key.tenant, (kysely) =>
    snapshotsOf(kysely, log, key, stateKey)
      .select(['position', 'state_hash', 'body'])
      .where('body', 'is not', null)
      .where('position', '<=', atOrBefore ?? Number.MAX_SAFE_INTEGER)
      .orderBy('position', 'desc')
      .limit(1)
      .executeTakeFirst(),
  )
  return (
    row && {
      position: safeInteger(row.position),
      stateKey,
      stateHash: plainBytes(row.state_hash),
      body: row.body && plainBytes(row.body),
    }
  )
}

/** See `EventLog.stateHashes`. */
export async function readStateHashes(
  log: LogConnection,
  key: ConversationKey,
  stateKey?: string,
): Promise<Omit<Snapshot, 'body'>[]> {
  const rows = await log.asTenant(key.tenant, (kysely) =>
    snapshotsOf(kysely, log, key, stateKey)
      .select(['position', 'state_key', 'state_hash'])
      .orderBy('position')
      .orderBy('state_key')
      .execute(),
  )
  return rows.map((row) => ({
    position: safeInteger(row.position),
    stateKey: row.state_key,
    stateHash: plainBytes(row.state_hash),
  }))
}

/**
 * See `EventLog.saveSnapshot`. A hash that is stored stays: it is the witness of what the state was. Two statements without a transaction,
 * since a crash between them only leaves a body too many.
 */
export async function saveSnapshot(log: LogConnection, key: ConversationKey, snapshot: Snapshot): Promise<void> {
  const { position, stateKey, stateHash, body } = snapshot
  await log.asTenant(key.tenant, (kysely) =>
    kysely
      .insertInto('snapshot')
      .columns(['partition', 'conversation_no', 'tenant', 'state_key', 'position', 'state_hash', 'body'])
      .expression(
        conversationOf(kysely, log, key).select((eb) => [
          'partition',
          'conversation_no',
          'tenant',
          eb.cast<string>(eb.val(stateKey), 'text').as('state_key'),
          eb.cast<number>(eb.val(position), 'bigint').as('position'),
          eb.cast<Uint8Array>(eb.val(stateHash), 'bytea').as('state_hash'),
          eb.cast<Uint8Array | null>(eb.val(body), 'bytea').as('body'),
        ]),
      )
      .onConflict((conflict) =>
        conflict
          .columns(['partition', 'conversation_no', 'state_key', 'position'])
          .doUpdateSet((eb) => ({ body: eb.ref('excluded.body') }))
          .whereRef('snapshot.state_hash', '=', 'excluded.state_hash')
          .where('excluded.body', 'is not', null),
      )
      .execute(),
  )
  if (body === null) return
  await log.asTenant(key.tenant, (kysely) =>
    kysely
      .updateTable('snapshot')
      .set({ body: null })
      .where('partition', '=', partitionOf(key, log.partitions, sha256))
      .where('conversation_no', '=', conversationOf(kysely, log, key).select('conversation_no'))
      .where('state_key', '=', stateKey)
      .where('body', 'is not', null)
      .where(
        'position',
        '<',
        snapshotsOf(kysely, log, key, stateKey).where('body', 'is not', null).select(sql<number>`max(position)`.as('position')),
      )
      .execute(),
  )
}

/** See `EventLog.dropSnapshot`. */
export async function dropSnapshot(
  log: LogConnection,
  key: ConversationKey,
  { position, stateKey }: Pick<Snapshot, 'position' | 'stateKey'>,
): Promise<void> {
  await log.asTenant(key.tenant, (kysely) =>
    kysely
      .updateTable('snapshot')
      .set({ body: null })
      .where('partition', '=', partitionOf(key, log.partitions, sha256))
      .where('conversation_no', '=', conversationOf(kysely, log, key).select('conversation_no'))
      .where('state_key', '=', stateKey)
      .where('position', '=', position)
      .execute(),
  )
}

/** See `EventLog.latest`: the head, and the youngest snapshot beside it where there is one. */
export async function readLatest(
  log: LogConnection,
  key: ConversationKey,
  stateKey: string,
): Promise<{ readonly head: Head; readonly snapshot: Snapshot | undefined } | undefined> {
  const row = await log.asTenant(key.tenant, (kysely) =>
    conversationOf(kysely, log, key)
      .select(headColumns)
      .leftJoinLateral(
        (eb) =>
          eb
            .selectFrom('snapshot')
            .select(['position', 'state_hash', 'body'])
            .whereRef('snapshot.partition', '=', 'conversation.partition')
            .whereRef('snapshot.conversation_no', '=', 'conversation.conversation_no')
            .where('state_key', '=', stateKey)
            .where('body', 'is not', null)
            .orderBy('position', 'desc')
            .limit(1)
            .as('youngest'),
        (join) => join.onTrue(),
      )
      .select(['youngest.position', 'youngest.state_hash', 'youngest.body'])
      // With where its envelopes lie, so that a load of a fork takes no third query.
      .$if(isForkId(key.conversationId), (qb) => qb.select(ancestorsAsJson(log, key).as('ancestors')))
      .executeTakeFirst(),
  )
  if (!row) return undefined
  if (row.ancestors !== undefined) keepAncestors(log, key, row.ancestors)
  const { position, state_hash, body } = row
  const snapshot =
    position === null || state_hash === null || body === null
      ? undefined
      : { position: safeInteger(position), stateKey, stateHash: plainBytes(state_hash), body: plainBytes(body) }
  return { head: toHead(row), snapshot }
}
