/** Recorded streams of providers, which are not part of the repository. */
import { existsSync, readdirSync } from 'node:fs'
import type { StreamFormat } from '@colloquy/formats'

export const root = new URL('../../../shared/data/streams/', import.meta.url)
export const isMissing = !existsSync(root)

const directories: Readonly<Record<string, StreamFormat>> = {
  anthropic: 'anthropic',
  'openai-chat': 'openai-chat',
  'openai-compatible': 'openai-chat',
  'openai-responses': 'openai-responses',
  gemini: 'gemini',
}

/** By name; none where they are missing. */
export const files = isMissing
  ? []
  : Object.entries(directories).flatMap(([directory, format]) =>
      readdirSync(new URL(`${directory}/`, root))
        .sort()
        .map((name) => ({ path: `${directory}/${name}`, format })),
    )
