import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { isThere, type Place, placeName, placeOf } from '../store.ts'

/** Creates the tables or brings them to this version. An embedded store does that by itself each time it is opened. */
export async function migrate({ options, io, output }: Context): Promise<ExitCode> {
  const place = placeOf(options.db, io.env)
  const applied = await applyTo(place)
  if (output.json) await output.document({ id: placeName(place), applied })
  else for (const name of applied) await output.write(`${name}\n`)
  output.say(`${placeName(place)}: ${applied.length === 0 ? 'nothing to apply' : `${applied.length} applied`}.`)
  output.next(['doctor'])
  return exitCodes.ok
}

/** @returns the names of the migrations that were applied now */
async function applyTo(place: Place): Promise<readonly string[]> {
  const postgres = await import('@colloquy/postgres')
  if (place.kind === 'postgres') return (await postgres.migrate({ url: place.url })).applied
  const wasThere = isThere(place)
  await using log = await postgres.openEmbeddedLog(place.kind === 'memory' ? { memory: true } : { directory: place.directory })
  const migrations = await log.kysely.selectFrom('colloquy_migration').select('name').orderBy('name').execute()
  return wasThere ? [] : migrations.map(({ name }) => name)
}
