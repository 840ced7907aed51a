import type { Check } from '@colloquy/postgres'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing, Style } from '../output.ts'
import { cutTo } from '../printable.ts'
import { isThere, type Place, placeName, placeOf } from '../store.ts'

/** Looks whether a store can keep the promises. */
export async function doctor({ options, io, output }: Context): Promise<ExitCode> {
  const place = placeOf(options.db, io.env)
  const checks = await examine(place)
  await output.list(listing, [checks])
  const failed = checks.filter(({ status }) => status === 'fail').length
  const warned = checks.filter(({ status }) => status === 'warn').length
  output.say(`${placeName(place)}: ${checks.length} checks, ${failed} failed, ${warned} to know about.`)
  if (failed > 0) return exitCodes.failed
  output.next(['verify', '--all'])
  return exitCodes.ok
}

async function examine(place: Place): Promise<readonly Check[]> {
  if (!isThere(place)) {
    return [
      {
        name: 'store',
        status: 'fail',
        found: 'none',
        advice: `Import something into ${placeName(place)}, or name another store with --db.`,
      },
    ]
  }
  const postgres = await import('@colloquy/postgres')
  if (place.kind === 'postgres') return postgres.doctor({ url: place.url })
  await using log = await postgres.openEmbeddedLog(place.kind === 'memory' ? { memory: true } : { directory: place.directory })
  return await postgres.doctor(log)
}

const styles: Readonly<Record<Check['status'], Style>> = { ok: 'green', warn: 'yellow', fail: 'red' }

const listing: Listing<Check> = {
  columns: [
    { title: 'CHECK', value: ({ name }) => name },
    { title: 'STATUS', value: ({ status }) => status, style: ({ status }) => styles[status] },
    { title: 'FOUND', value: ({ found }) => found, shown: ({ found }) => cutTo(found, 40) },
    { title: 'ADVICE', value: ({ advice }) => advice ?? '' },
  ],
  json: ({ name, status, found, advice }) => ({ id: name, status, found, advice }),
}
