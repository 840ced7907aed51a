import { randomUUID } from 'node:crypto'
import { migrate } from '@colloquy/postgres'
import pg from 'pg'

/** Migrates an empty database with three roles of its own, which can log in. @returns the url for each of them */
export async function createRoles(
  url: string,
  { partitions }: { readonly partitions: number },
): Promise<Record<'app' | 'worker' | 'auditor', string>> {
  // Roles belong to the server and not to the database, so each test has its own.
  const suffix = randomUUID().slice(0, 8)
  const roles = { app: `app_${suffix}`, worker: `worker_${suffix}`, auditor: `auditor_${suffix}` }
  const admin = new pg.Client(url)
  await admin.connect()
  for (const role of Object.values(roles)) await admin.query(`create role ${role} login password 'test'`)
  await admin.end()
  await migrate({ url, partitions, roles })
  const as = (role: string): string => Object.assign(new URL(url), { username: role, password: 'test' }).href
  return { app: as(roles.app), worker: as(roles.worker), auditor: as(roles.auditor) }
}
