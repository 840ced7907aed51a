/** The logs that what stands in the database is tested over: an embedded one, and one on a server where there is one. */
import { openEmbeddedLog, openPostgresLog, type PostgresLog } from '@colloquy/postgres'
import type { PostgresServer } from './postgres-server.ts'

/** By name, for `describe.each`; each is a database of its own. */
export function bothLogs(server: PostgresServer | undefined, partitions: number): [string, () => Promise<PostgresLog>][] {
  const embedded = () => openEmbeddedLog({ memory: true, partitions })
  if (!server) return [['PGlite', embedded]]
  const onServer = async () => openPostgresLog({ url: await server.createDatabase(), migrate: true, partitions })
  return [
    ['PGlite', embedded],
    ['Postgres', onServer],
  ]
}
