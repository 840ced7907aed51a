/** PGlite as a log needs it: what its own start does for everybody and takes time here is left out, or done when somebody needs it. */
import { readFile } from 'node:fs/promises'
import { PGlite, type PGliteOptions, types } from '@electric-sql/pglite'
import { int8Oid, safeInteger } from '../connections/int8.ts'

class Engine extends PGlite {
  /**
   * Asks the catalog for the array types of the database, which is the most expensive statement of a start (a fifth of it, PGlite 0.5.16,
   * measured 2026-11-27). Those that the log uses are known below; `pgliteDialect` asks for the others when a statement has one.
   */
  override async _initArrayTypes(options: { force?: boolean } = {}): Promise<void> {
    if (options.force === true) await super._initArrayTypes(options)
  }
}

const settings = [
  // Nothing gathers statistics here, and a planner without them would rather sort a whole feed than follow its index. Nor may a plan that
  // was made over small tables be kept while they grow.
  'enable_bitmapscan=off',
  'plan_cache_mode=force_custom_plan',
  // The engine touches them all at its start, as memory of this process: 128 MB of them take a seventh of the start (PGlite 0.5.16, measured
  // 2026-11-27), and appends are no faster. What they do not hold is read from the system's cache.
  'shared_buffers=32MB',
  // A file of the write-ahead log grows as it is written. To fill it with zeros first is for a disk that is synced.
  'wal_init_zero=off',
  // As if segments had the 16 MB for which Postgres chooses these.
  'min_wal_size=80MB',
  'max_wal_size=1GB',
]

/** The types of Node do not have it. */
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: { readonly compile: (bytes: Uint8Array) => Promise<object> }
}

let compiling: Promise<object> | undefined

/** Begins to compile the engine, which other threads do while this one copies a template. @returns when it has begun */
export async function beginCompiling(): Promise<void> {
  if (compiling) return
  const bytes = await readFile(new URL(import.meta.resolve('@electric-sql/pglite/pglite.wasm')))
  if (compiling) return
  compiling = WebAssembly.compile(bytes)
  // Who starts it is told. The next one tries again: it may have been for want of memory.
  compiling.catch(() => {
    compiling = undefined
  })
}

export async function startEngine(
  options: Pick<PGliteOptions, 'dataDir' | 'loadDataDir'> & { readonly settings: readonly string[] },
): Promise<PGlite> {
  await beginCompiling()
  const engine = new Engine({
    ...options,
    pgliteWasmModule: await compiling,
    parsers: { [int8Oid]: safeInteger, ...arrayParsers },
    serializers: arraySerializers,
    startParams: [...PGlite.defaultStartParams, ...[...settings, ...options.settings].flatMap((setting) => ['-c', setting])],
  })
  await engine.waitReady
  return engine
}

/** Of the elements and their arrays. Source: PostgreSQL's pg_type.dat. */
const arrays = [
  [types.BOOL, 1000],
  [types.BYTEA, 1001],
  [types.INT4, 1007],
  [types.TEXT, 1009],
  [types.INT8, 1016],
] as const

const elementParsers: Readonly<Record<number, types.Parser>> = { ...types.parsers, [int8Oid]: safeInteger }

const arrayParsers = Object.fromEntries(
  arrays.map(([element, array]) => [
    array,
    (text: string) => types.arrayParser(text, elementParsers[element] as types.Parser, array),
  ]),
)

const arraySerializers = Object.fromEntries(
  arrays.map(([element, array]) => [
    array,
    (values: unknown) => types.arraySerializer(values, types.serializers[element], array),
  ]),
)
