/**
 * What commands take from flags, the environment and a configuration file, in this order, over the defaults.
 *
 * The file is `colloquy.config.{ts,mts,cts,js,mjs,cjs,json,jsonc,json5,yaml,yml,toml}` in the directory where the command is called, or the
 * one that `--config` names. It is read by c12 with all of its other sources switched off: nothing is fetched, nothing extended, no
 * package.json, no rc file, no .env. A file that is code is run, as every such file is.
 */
import { readdirSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { defaultSettings, type Settings, type SettingsLayer, settings, settingsLayer } from '@colloquy/context'
import { ColloquyError } from '@colloquy/core'
import type { Context } from './context.ts'

/** Settings, and where each one comes from. */
export interface FoundSettings {
  readonly settings: Settings
  /** The file that was read. */
  readonly file: string | null
  /** By the path of a setting: which layer says it. */
  readonly sources: ReadonlyMap<string, SettingsSource>
}

/** From the strongest to the weakest. */
export type SettingsSource = 'flag' | 'environment' | 'file' | 'default'

/** A configuration of a megabyte is none. */
const limitBytes = 1_048_576

/** @throws `settings_invalid` with the field, and where it is from */
export async function findSettings(
  { io, options }: Pick<Context, 'io' | 'options'>,
  flags: SettingsLayer = {},
): Promise<FoundSettings> {
  const named = options.config ?? io.env['COLLOQUY_CONFIG']
  const file = named === undefined ? fileIn(io.cwd ?? process.cwd()) : resolve(io.cwd ?? process.cwd(), named)
  const layers = {
    flag: settingsLayer(flags, 'the command line'),
    environment: environmentLayer(io.env),
    file: file === undefined ? {} : settingsLayer(await readConfig(file), file),
  }
  const found = settings(layers.flag, layers.environment, layers.file)
  const sources = new Map<string, SettingsSource>()
  for (const path of pathsOf(found)) {
    const from = (['flag', 'environment', 'file'] as const).find((name) => valueAt(layers[name], path) !== undefined)
    sources.set(path, from ?? 'default')
  }
  return { settings: found, file: file ?? null, sources }
}

/** The path of each setting: of groups with fixed fields those, of tables the table. */
export function pathsOf(found: Settings): string[] {
  return Object.keys(defaultSettings).flatMap((key) =>
    key === 'thresholds' || key === 'recall' ? Object.keys(found[key]).map((inner) => `${key}.${inner}`) : [key],
  )
}

/** What stands at a dotted path; undefined where nothing does. */
export function valueAt(layer: object, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], layer)
}

// The environment

const variables: Readonly<Record<string, { readonly path: string; readonly kind: 'number' | 'names' | 'numberOrBoolean' }>> = {
  COLLOQUY_CONTEXT_BUDGET: { path: 'contextBudget', kind: 'number' },
  COLLOQUY_STRATEGY: { path: 'strategy', kind: 'names' },
  COLLOQUY_SUMMARY_THRESHOLD: { path: 'thresholds.summaryThreshold', kind: 'number' },
  COLLOQUY_TARGET_RATIO: { path: 'thresholds.targetRatio', kind: 'number' },
  COLLOQUY_LEAST_TOKENS: { path: 'thresholds.leastTokens', kind: 'number' },
  COLLOQUY_PER_TURN: { path: 'thresholds.perTurn', kind: 'numberOrBoolean' },
}

function environmentLayer(env: Context['io']['env']): SettingsLayer {
  const given: Record<string, unknown> = {}
  const thresholds: Record<string, unknown> = {}
  const used: string[] = []
  for (const [name, { path, kind }] of Object.entries(variables)) {
    const text = env[name]
    if (text === undefined || text === '') continue
    used.push(name)
    const [group, field] = path.split('.')
    if (field === undefined) given[group as string] = parsed(text, kind)
    else thresholds[field] = parsed(text, kind)
  }
  return settingsLayer(
    { ...given, ...(Object.keys(thresholds).length > 0 && { thresholds }) },
    `the environment: ${used.join(', ')}`,
  )
}

/** What is no number stays text, which is refused with the field. */
function parsed(text: string, kind: 'number' | 'names' | 'numberOrBoolean'): unknown {
  if (kind === 'names') return namesIn(text)
  if (kind === 'numberOrBoolean' && (text === 'true' || text === 'false')) return text === 'true'
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
}

/** `one` or `one,two`. */
export function namesIn(text: string): string | string[] {
  const names = text.split(',').map((name) => name.trim())
  return names.length === 1 ? (names[0] as string) : names
}

// The file

const filePattern = /^colloquy\.config\.(ts|mts|cts|js|mjs|cjs|json|jsonc|json5|yaml|yml|toml)$/

/** @throws `settings_invalid` when there are several, since nobody could say which one holds */
function fileIn(directory: string): string | undefined {
  let names: string[]
  try {
    names = readdirSync(directory).filter((name) => filePattern.test(name))
  } catch {
    // Where the directory cannot be read, there is no file for us.
    return undefined
  }
  if (names.length > 1) throw unusable(directory, `there are several: ${names.sort().join(', ')}; keep one of them`)
  return names[0] === undefined ? undefined : resolve(directory, names[0])
}

async function readConfig(file: string): Promise<unknown> {
  assertReadable(file)
  // Loaded here: most calls have no file, and it brings a compiler.
  const { loadConfig } = await import('c12')
  try {
    const { config, _configFile } = await loadConfig({
      name: 'colloquy',
      cwd: dirname(file),
      configFile: basename(file),
      configFileRequired: true,
      rcFile: false,
      globalRc: false,
      packageJson: false,
      dotenv: false,
      extend: false,
      giget: false,
      envName: false,
      // Every source but the one file is off, so nothing is merged, and what it holds is judged as it is.
      merger: (...sources: unknown[]) => (sources.find((source) => source !== undefined) ?? {}) as Record<string, unknown>,
      jitiOptions: { fsCache: false },
    })
    if (_configFile === undefined || resolve(_configFile) !== file) throw new Error('it cannot be found')
    return plain(config)
  } catch (error) {
    throw unusable(file, problemOf(error), error)
  }
}

/** @throws `settings_invalid` */
function assertReadable(file: string): void {
  if (!filePattern.test(`colloquy.config${file.slice(file.lastIndexOf('.'))}`))
    throw unusable(
      file,
      'its name ends in none of .ts, .mts, .cts, .js, .mjs, .cjs, .json, .jsonc, .json5, .yaml, .yml and .toml',
    )
  let found: ReturnType<typeof statSync>
  try {
    found = statSync(file)
  } catch (error) {
    throw unusable(file, problemOf(error), error)
  }
  if (!found.isFile()) throw unusable(file, 'it is no file')
  if (found.size > limitBytes) throw unusable(file, `it has ${found.size} bytes, more than ${limitBytes}`)
}

/** A module's namespace and prototypes that a loader adds are left behind; anything else stays for the schema to judge. */
function plain(config: unknown): unknown {
  return typeof config === 'object' && config !== null && !Array.isArray(config) ? { ...config } : config
}

function unusable(file: string, problem: string, cause?: unknown): ColloquyError<'settings_invalid'> {
  return new ColloquyError('settings_invalid', { field: `file ${file}`, problem }, cause === undefined ? {} : { cause })
}

/** The first line: what follows shows the source, or where Node was. */
function problemOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return (text.split('\n', 1)[0] ?? '').trim().replace(/\.$/, '') || 'it cannot be read'
}
