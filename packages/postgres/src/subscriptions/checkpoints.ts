/**
 * The rows of a subscription, one for each partition: how far it has come there, and which member of it reads. All times are the
 * database's. Whoever writes here names the epoch of its lease; a write that finds another one changes nothing.
 *
 * A row is locked while a transactional handler works on it. What only looks after leases passes such rows by: a holder at work needs no
 * renewal, since nobody can take what it has locked.
 */
import { ColloquyError, type FeedFilter } from '@colloquy/core'
import { type Kysely, sql } from 'kysely'
import { safeInteger } from '../connections/int8.ts'
import type { Database } from '../schema/database.ts'

/** The right to read a partition for a subscription, until somebody takes it over. */
export interface Lease {
  readonly name: string
  readonly partition: number
  readonly epoch: number
}

export interface Checkpoint {
  readonly partition: number
  readonly feedPosition: number
  /** Microseconds since 1970; another one than before: the name was forgotten, and begun anew. */
  readonly begunAt: number
  readonly epoch: number
  readonly leasedBy: string | null
  /** How long nobody else can take it; 0 or less: nobody has it, or its holder was not heard of in time. */
  readonly leaseLeftMs: number
  /** Why it stands still; null: it does not. */
  readonly problem: string | null
}

const now = sql<number>`(extract(epoch from clock_timestamp()) * 1000000)::bigint`
const inMs = (ms: number) => sql<number>`${now} + ${sql.lit(Math.round(ms * 1_000))}`

/**
 * Makes the rows that are not there yet, at these positions. Epochs begin at the time, so that leases of a name that was forgotten are
 * none of the name begun anew. @throws `settings_invalid` when they were made with another filter
 */
export async function createCheckpoints(
  kysely: Kysely<Database>,
  name: string,
  { positions, filter }: { readonly positions: readonly number[]; readonly filter: FeedFilter },
): Promise<void> {
  const asked = filterText(filter)
  await kysely
    .insertInto('subscription')
    .values(positions.map((feed_position, partition) => ({ partition, name, feed_position, filter: asked, epoch: now })))
    .onConflict((conflict) => conflict.columns(['partition', 'name']).doNothing())
    .execute()
  const begun = await kysely
    .selectFrom('subscription')
    .select('filter')
    .where('partition', '=', 0)
    .where('name', '=', name)
    .executeTakeFirst()
  if (begun === undefined || begun.filter === asked) return
  const problem = `subscription "${name}" was begun with ${begun.filter}, and what its checkpoints have passed is not looked at again: take a new name for ${asked}`
  throw new ColloquyError('settings_invalid', { field: 'filter', problem })
}

/** The same for filters that ask for the same. */
function filterText({ tenant, conversationId, types }: FeedFilter): string {
  return JSON.stringify({ tenant, conversationId, types: types && [...new Set(types)].toSorted() })
}

/** All rows, by partition; read at slightly different times where partitions lie on different machines. */
export async function readCheckpoints(kysely: Kysely<Database>, name: string): Promise<Checkpoint[]> {
  const rows = await kysely
    .selectFrom('subscription')
    .select(['partition', 'feed_position', 'begun_at', 'epoch', 'leased_by', 'problem'])
    .select(sql<number>`coalesce((leased_until - ${now}) / 1000.0, 0)::float8`.as('lease_left_ms'))
    .where('name', '=', name)
    .orderBy('partition')
    .execute()
  return rows.map((row) => ({
    partition: row.partition,
    feedPosition: safeInteger(row.feed_position),
    begunAt: safeInteger(row.begun_at),
    epoch: safeInteger(row.epoch),
    leasedBy: row.leased_by,
    leaseLeftMs: row.lease_left_ms,
    problem: row.problem,
  }))
}

/** Where a lease's partition stands; undefined when somebody took it over. */
export async function readPosition(kysely: Kysely<Database>, { partition, name, epoch }: Lease): Promise<number | undefined> {
  const row = await kysely
    .selectFrom('subscription')
    .select('feed_position')
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('epoch', '=', epoch)
    .executeTakeFirst()
  return row && safeInteger(row.feed_position)
}

/** Takes a partition that is free. @returns undefined when somebody else was faster */
export async function takeLease(
  kysely: Kysely<Database>,
  { name, partition }: { readonly name: string; readonly partition: number },
  { member, leaseMs }: { readonly member: string; readonly leaseMs: number },
): Promise<{ readonly lease: Lease; readonly feedPosition: number } | undefined> {
  const row = await kysely
    .updateTable('subscription')
    .set({ leased_by: member, leased_until: inMs(leaseMs), epoch: sql<number>`epoch + 1`, problem: null })
    .where('partition', '=', partition)
    .where('name', '=', (eb) =>
      eb
        .selectFrom('subscription as free')
        .select('free.name')
        .where('free.partition', '=', partition)
        .where('free.name', '=', name)
        .where(sql<boolean>`(free.leased_until is null or free.leased_until < ${now})`)
        .forUpdate()
        .skipLocked(),
    )
    .returning(['feed_position', 'epoch'])
    .executeTakeFirst()
  return row && { lease: { name, partition, epoch: safeInteger(row.epoch) }, feedPosition: safeInteger(row.feed_position) }
}

/** Keeps a lease for another `leaseMs`. @returns false when it was taken over, or is locked by its holder at work */
export async function renewLease(kysely: Kysely<Database>, { partition, name, epoch }: Lease, leaseMs: number): Promise<boolean> {
  const result = await kysely
    .updateTable('subscription')
    .set({ leased_until: inMs(leaseMs) })
    .where('partition', '=', partition)
    .where('name', '=', (eb) =>
      eb
        .selectFrom('subscription as held')
        .select('held.name')
        .where('held.partition', '=', partition)
        .where('held.name', '=', name)
        .where('held.epoch', '=', epoch)
        .forUpdate()
        .skipLocked(),
    )
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Gives a partition back, so that nobody has to wait for the lease to end. */
export async function releaseLease(kysely: Kysely<Database>, { partition, name, epoch }: Lease): Promise<void> {
  await kysely
    .updateTable('subscription')
    .set({ leased_by: null, leased_until: null })
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('epoch', '=', epoch)
    .execute()
}

/**
 * A process that hangs would keep what its transaction has locked for ever, so one in which nothing happens for as long as a lease is ended
 * by the database. Selected with what is locked.
 */
export const endWhenIdle = (leaseMs: number) =>
  sql`set_config('idle_in_transaction_session_timeout', ${String(leaseMs)}, true)`.as('timeout')

/** Locks the row until the end of the transaction. @returns false when the lease was taken over, or the position is another one */
export async function lockCheckpoint(
  transaction: Kysely<Database>,
  { partition, name, epoch }: Lease,
  { feedPosition, leaseMs }: { readonly feedPosition: number; readonly leaseMs: number },
): Promise<boolean> {
  const row = await transaction
    .selectFrom('subscription')
    .select(endWhenIdle(leaseMs))
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('epoch', '=', epoch)
    .where('feed_position', '=', feedPosition)
    .forUpdate()
    .executeTakeFirst()
  return row !== undefined
}

/** Moves a checkpoint, and keeps the lease. @returns false when the lease was taken over, or the position was another one */
export async function moveCheckpoint(
  kysely: Kysely<Database>,
  { partition, name, epoch }: Lease,
  { from, to, leaseMs }: { readonly from: number; readonly to: number; readonly leaseMs: number },
): Promise<boolean> {
  const result = await kysely
    .updateTable('subscription')
    .set({ feed_position: to, leased_until: inMs(leaseMs), problem: null })
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('epoch', '=', epoch)
    .where('feed_position', '=', from)
    .executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Says for everybody why a partition stands still. */
export async function noteProblem(kysely: Kysely<Database>, { partition, name, epoch }: Lease, problem: string): Promise<void> {
  await kysely
    .updateTable('subscription')
    .set({ problem })
    .where('partition', '=', partition)
    .where('name', '=', name)
    .where('epoch', '=', epoch)
    .execute()
}

/** Says that a member is there, for `leaseMs`. @returns all members that are, by name */
export async function attend(kysely: Kysely<Database>, name: string, member: string, leaseMs: number): Promise<string[]> {
  await kysely
    .insertInto('subscriber')
    .values({ partition: 0, name, member, alive_until: inMs(leaseMs) })
    .onConflict((conflict) => conflict.columns(['partition', 'name', 'member']).doUpdateSet({ alive_until: inMs(leaseMs) }))
    .execute()
  await kysely
    .deleteFrom('subscriber')
    .where('partition', '=', 0)
    .where('name', '=', name)
    .where('alive_until', '<', now)
    .execute()
  const rows = await kysely
    .selectFrom('subscriber')
    .select('member')
    .where('partition', '=', 0)
    .where('name', '=', name)
    .orderBy('member')
    .execute()
  return rows.map(({ member }) => member)
}

export async function leave(kysely: Kysely<Database>, name: string, member: string): Promise<void> {
  await kysely.deleteFrom('subscriber').where('partition', '=', 0).where('name', '=', name).where('member', '=', member).execute()
}

/** Forgets a subscription and all that it stands for. */
export async function deleteSubscription(kysely: Kysely<Database>, name: string): Promise<void> {
  for (const table of ['subscription', 'subscriber', 'dead_letter'] as const) {
    await kysely.deleteFrom(table).where('name', '=', name).execute()
  }
}
