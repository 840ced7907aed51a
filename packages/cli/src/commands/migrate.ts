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
  const roles = given.roles === undefined ? undefined : rolesOf(given.roles)
  const { applied, createdRoles } = await applyTo(place, given, roles)
  if (output.json) await output.document({ id: placeName(place), applied, ...(roles && { roles, createdRoles }) })
  else for (const name of applied) await output.write(`${name}\n`)
  output.say(`${placeName(place)}: ${applied.length === 0 ? 'nothing to apply' : `${applied.length} applied`}.`)
  if (roles)
    output.say(
      `Rights were given: ${Object.entries(roles)
        .map(([kind, name]) => `${kind} to ${name}`)
        .join(', ')}.`,
    )
  if (createdRoles.length > 0)
    output.say(
      `${createdRoles.length} of these roles were missing and are made now, without a login: ${createdRoles.join(', ')}. ` +
        `Give each one (alter role "${createdRoles[0]}" login password '...'), or grant it to a role that logs in.`,
    )
  output.next(['doctor'])
  return exitCodes.ok
}

async function applyTo(
  place: Place,
  { engine, partitions }: MigrateOptions,
  roles: Roles | undefined,
): Promise<{ readonly applied: readonly string[]; readonly createdRoles: readonly string[] }> {
  const postgres = await import('@colloquy/postgres')
  if (place.kind === 'postgres')
    return postgres.migrate({
      url: place.url,
      ...(engine && { engine }),
      ...(partitions !== undefined && { partitions }),
      ...(roles && { roles }),
    })
  if (engine === 'citus' || partitions !== undefined || roles !== undefined)
    throw new ColloquyError('usage_invalid', { problem: 'An embedded store has one node, one partition and one role' })
  const wasThere = isThere(place)
  await using log = await postgres.openEmbeddedLog(place.kind === 'memory' ? { memory: true } : { directory: place.directory })
  const migrations = await log.kysely.selectFrom('colloquy_migration').select('name').orderBy('name').execute()
  return { applied: wasThere ? [] : migrations.map(({ name }) => name), createdRoles: [] }
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
