import { randomBytes } from 'node:crypto'
import { ColloquyError, type CursorLog, partitionHashName } from '@colloquy/core'
import type { Kysely } from 'kysely'
import type { Database } from './database.ts'

/** All of them are made by one statement, which takes 65,535 values; a server is at its best with tens or hundreds. */
const mostPartitions = 10_000

/** @throws `settings_invalid` */
export function assertPartitions(partitions: number): void {
  if (Number.isInteger(partitions) && partitions >= 1 && partitions <= mostPartitions) return
  const problem = `it is ${partitions}, and a database has 1 to ${mostPartitions} of them`
  throw new ColloquyError('settings_invalid', { field: 'partitions', problem })
}

/** Gives a new database its partitions, for ever. */
export async function createPartitions(kysely: Kysely<Database>, partitions: number): Promise<void> {
  const shared = { partitions, partition_hash: partitionHashName, log_id: newLogId() }
  await kysely
    .insertInto('partition')
    .values(Array.from({ length: partitions }, (_, partition) => ({ partition, ...shared })))
    .execute()
}

const newLogId = (): string => randomBytes(4).toString('hex')

/** A template is no log: each one that is made of it gets an id of its own. */
export async function forgetLogId(kysely: Kysely<Database>): Promise<void> {
  await kysely.updateTable('partition').set({ log_id: '' }).execute()
}

/** As `readPartitions`; a log that was made of a template just now gets its id. For who has the database to itself. */
export async function readOwnPartitions(kysely: Kysely<Database>, asked?: number): Promise<CursorLog> {
  const found = await readPartitions(kysely, asked)
  if (found.id !== '') return found
  const id = newLogId()
  await kysely.updateTable('partition').set({ log_id: id }).execute()
  return { ...found, id }
}

/**
 * How many partitions the database has, and which log it is.
 * @throws `partitions_differ` when that is not what was asked for; `database_failed` when rows are missing or another hash spread them
 */
export async function readPartitions(kysely: Kysely<Database>, asked?: number): Promise<CursorLog> {
  const rows = await kysely.selectFrom('partition').select(['partitions', 'partition_hash', 'log_id']).execute()
  const { partitions: found = 0, partition_hash: hash, log_id: id = '' } = rows[0] ?? {}
  const isSame = (row: (typeof rows)[number]) => row.partitions === found && row.partition_hash === hash && row.log_id === id
  if (found === 0 || rows.length !== found || !rows.every(isSame)) {
    throw unusable(`it should have ${found} of them and has ${rows.length} rows, which must agree`)
  }
  if (hash !== partitionHashName) {
    throw unusable(`conversations were spread by the hash "${hash}", but this version knows only "${partitionHashName}"`)
  }
  if (asked !== undefined && asked !== found) throw new ColloquyError('partitions_differ', { found, asked })
  return { id, partitions: found }
}

function unusable(problem: string): ColloquyError {
  return new ColloquyError('database_failed', { operation: 'use its partitions', sqlState: null, problem })
}
