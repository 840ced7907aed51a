import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import { type OpenedEnvelope, openEnvelope, type StoredEnvelope } from '@colloquy/core'
import { exportJsonLine, exportMarkdown, exportTranscriptJson } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { printableJson, printableLines } from '../printable.ts'
import { headOf, openStore, type Store } from '../store.ts'

export const exportFormats = ['jsonl', 'json', 'markdown'] as const
export type ExportFormat = (typeof exportFormats)[number]

export interface ExportOptions {
  readonly format: ExportFormat
  /** A file; '-' is stdout. */
  readonly output?: string
}

/**
 * Writes a conversation out: `jsonl` is the log, one envelope a line, byte for byte; `json` and `markdown` are the transcript.
 * Only what goes to a terminal is made harmless: a file or a pipe gets what is stored.
 */
export async function exportConversation(context: Context, id: string, options: ExportOptions): Promise<ExitCode> {
  const { output } = context
  const { format, output: file = '-' } = options
  await using store = await openStore(context)
  const { position } = await headOf(store, id)
  const texts = exported(store, id, format)
  if (file === '-') {
    const harmless = format === 'markdown' ? printableLines : printableJson
    for await (const text of texts) await output.write(output.isTerminal ? harmless(text) : text)
  } else {
    await writeFile(file, texts)
    output.say(`Wrote ${position} positions of ${id} to ${file}.`)
  }
  output.next(['verify', id])
  return exitCodes.ok
}

async function* exported(store: Store, id: string, format: ExportFormat): AsyncIterable<string> {
  const pages = store.log.read(store.key(id))
  switch (format) {
    case 'jsonl':
      for await (const page of pages) yield page.map((envelope) => `${exportJsonLine(envelope)}\n`).join('')
      return
    case 'json':
      yield `${exportTranscriptJson(await opened(pages))}\n`
      return
    case 'markdown':
      yield exportMarkdown(await opened(pages))
      return
    default:
      format satisfies never
  }
}

async function opened(pages: AsyncIterable<readonly StoredEnvelope[]>): Promise<OpenedEnvelope[]> {
  const envelopes: OpenedEnvelope[] = []
  for await (const page of pages) envelopes.push(...page.map(openEnvelope))
  return envelopes
}

async function writeFile(file: string, texts: AsyncIterable<string>): Promise<void> {
  const stream = createWriteStream(file)
  await once(stream, 'open')
  for await (const text of texts) if (!stream.write(text)) await once(stream, 'drain')
  stream.end()
  await finished(stream)
}
