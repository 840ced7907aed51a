import { ColloquyError, partitionHashName } from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { Database } from './database.ts'

/** Gives a new database its partitions, for ever. */
export async function createPartitions(kysely: Kysely<Database>, partitions: number): Promise<void> {
  await kysely
    .insertInto('partition')
    .values(Array.from({ length: partitions }, (_, partition) => ({ partition, partitions, partition_hash: partitionHashName })))
    .execute()
}

/**
 * How many partitions the database has.
 * @throws `partitions_differ` when that is not what was asked for; `database_failed` when rows are missing or another hash spread them
 */
export async function readPartitions(kysely: Kysely<Database>, asked?: number): Promise<number> {
  const rows = await kysely.selectFrom('partition').select(['partitions', 'partition_hash']).execute()
  const found = rows[0]?.partitions ?? 0
  const hash = rows[0]?.partition_hash
  if (found === 0 || rows.length !== found || rows.some((row) => row.partitions !== found || row.partition_hash !== hash)) {
    throw unusable(`it should have ${found} of them and has ${rows.length} rows, which must agree`)
  }
  if (hash !== partitionHashName) {
    throw unusable(`conversations were spread by the hash "${hash}", but this version knows only "${partitionHashName}"`)
  }
  if (asked !== undefined && asked !== found) throw new ColloquyError('partitions_differ', { found, asked })
  return found
}

function unusable(problem: string): ColloquyError {
  return new ColloquyError('database_failed', { operation: 'use its partitions', sqlState: null, problem })
}
