import { ColloquyError } from '@colloquy/core'
import type { Roles } from '@colloquy/postgres'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { isThere, type Place, placeName, placeOf } from '../store.ts'

export interface MigrateOptions {
  readonly engine?: 'postgres' | 'citus'
  readonly partitions?: number
  /** `app=NAME,worker=NAME,auditor=NAME`, or true for our names. */
  readonly roles?: string | true
}

/**
 * Creates the tables or brings them to this version, spreads them over a cluster, and gives roles their rights. An embedded store has one
 * role, and brings itself to this version each time it is opened.
 */
export async function migrate({ options, io, output }: Context, given: MigrateOptions = {}): Promise<ExitCode> {
  const place = placeOf(options.db, io.env)
  const applied = await applyTo(place, given)
  if (output.json) await output.document({ id: placeName(place), applied })
  else for (const name of applied) await output.write(`${name}\n`)
  output.say(`${placeName(place)}: ${applied.length === 0 ? 'nothing to apply' : `${applied.length} applied`}.`)
  output.next(['doctor'])
  return exitCodes.ok
}

/** @returns the names of the migrations that were applied now */
async function applyTo(place: Place, { engine, partitions, roles }: MigrateOptions): Promise<readonly string[]> {
  const postgres = await import('@colloquy/postgres')
  if (place.kind === 'postgres') {
    const { applied } = await postgres.migrate({
      url: place.url,
      ...(engine && { engine }),
      ...(partitions !== undefined && { partitions }),
      ...(roles !== undefined && { roles: rolesOf(roles) }),
    })
    return applied
  }
  if (engine === 'citus' || partitions !== undefined || roles !== undefined)
    throw new ColloquyError('usage_invalid', { problem: 'An embedded store has one node, one partition and one role' })
  const wasThere = isThere(place)
  await using log = await postgres.openEmbeddedLog(place.kind === 'memory' ? { memory: true } : { directory: place.directory })
  const migrations = await log.kysely.selectFrom('colloquy_migration').select('name').orderBy('name').execute()
  return wasThere ? [] : migrations.map(({ name }) => name)
}

const ownRoles: Required<Roles> = { app: 'colloquy_app', worker: 'colloquy_worker', auditor: 'colloquy_auditor' }

/** @throws `usage_invalid` */
export function rolesOf(text: string | true): Roles {
  if (text === true) return ownRoles
  const pairs = text.split(',').map((part): [string, string] => {
    const [kind = '', name = ''] = part.split('=')
    if (!Object.hasOwn(ownRoles, kind) || name === '')
      throw new ColloquyError('usage_invalid', {
        problem: `--roles takes app=NAME,worker=NAME,auditor=NAME or less, not "${part}"`,
      })
    return [kind, name]
  })
  return Object.fromEntries(pairs)
}
