import { exporters, formats } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'

interface Format {
  readonly id: string
  readonly direction: 'import' | 'export'
  /** Endings of files, without the dot. */
  readonly files: readonly string[]
  readonly name: string
  /** Files of any length can be imported. */
  readonly streams?: boolean
}

/** Lists what can be imported and what can be written. */
export async function listFormats({ output }: Context): Promise<ExitCode> {
  await output.list(listing, [all])
  return exitCodes.ok
}

const all: readonly Format[] = [
  ...formats.map(
    ({ id, describe, files, streams }): Format => ({ id, direction: 'import', files, name: describe, streams: streams === true }),
  ),
  { id: 'jsonl', direction: 'export', files: ['jsonl'], name: 'the log itself, an envelope a line, byte for byte' },
  ...exporters.map(({ id, describe, extension }): Format => ({ id, direction: 'export', files: [extension], name: describe })),
]

const listing: Listing<Format> = {
  columns: [
    { title: 'ID', value: ({ id }) => id, style: () => 'cyan' },
    { title: 'DIRECTION', value: ({ direction }) => direction },
    { title: 'FILES', value: ({ files }) => files.map((ending) => `.${ending}`).join(' ') },
    { title: 'WHAT', value: ({ name }) => name, isRest: true },
  ],
  json: (format) => format,
}
