import type { SettingsLayer } from '@colloquy/context'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'
import { findSettings, namesIn, pathsOf, type SettingsSource, valueAt } from '../settings.ts'

export interface SettingsOptions {
  readonly budget?: number
  readonly strategy?: string
}

interface Setting {
  readonly id: string
  readonly value: unknown
  readonly source: SettingsSource
}

/** Shows the settings as a command would use them, and where each one comes from. */
export async function showSettings(context: Context, { budget, strategy }: SettingsOptions): Promise<ExitCode> {
  const { output } = context
  const flags = {
    ...(budget !== undefined && { contextBudget: budget }),
    // What is no strategy is refused by the schema, with its name.
    ...(strategy !== undefined && { strategy: namesIn(strategy) as NonNullable<SettingsLayer['strategy']> }),
  }
  const { settings, file, sources } = await findSettings(context, flags)
  const rows = pathsOf(settings).map(
    (id): Setting => ({ id, value: valueAt(settings, id), source: sources.get(id) ?? 'default' }),
  )
  await output.list(listing, [rows])
  output.say(file === null ? 'There is no configuration file here: colloquy.config.ts, .json, .yaml or .toml.' : `Read ${file}.`)
  return exitCodes.ok
}

const listing: Listing<Setting> = {
  columns: [
    { title: 'SETTING', value: ({ id }) => id },
    { title: 'FROM', value: ({ source }) => source, style: ({ source }) => (source === 'default' ? 'dim' : 'cyan') },
    { title: 'VALUE', value: ({ value }) => JSON.stringify(value), isRest: true },
  ],
  json: (setting) => setting,
}
