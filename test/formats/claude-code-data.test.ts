/** Over real sessions, which are not part of the repository: without them every test here is skipped and says so. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type Action, type ImportedFile, type Media, type Message, usageRecorded } from '@colloquy/core'
import { importFile } from '@colloquy/formats'
import { afterAll, describe, expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { accountedFor, actionsOf, foldImported, recordsIn, refusalsOf } from './imported.ts'

const directory = new URL('../../../shared/data/transcripts/claude-code/', import.meta.url)
const files = existsSync(directory) ? readdirSync(directory).sort() : []
const table: Record<string, unknown>[] = []

/** What is known of the files by counting in them: records, output tokens counted once, calls, calls without result, sidechains. */
const expected: Record<string, readonly [number, number, number, number, number]> = {
  'agentcmd-session-askuserquestion.jsonl': [14, 16, 3, 1, 0],
  'agentcmd-session-five.jsonl': [31, 12, 5, 0, 0],
  'agentcmd-session-four.jsonl': [89, 228, 27, 0, 0],
  'agentcmd-session-two.jsonl': [41, 107, 10, 0, 0],
  'agentcmd-session.jsonl': [49, 833, 23, 3, 0],
  'entire-api-error.jsonl': [96, 50, 13, 0, 0],
  'entire-compaction.jsonl': [54, 2038, 10, 0, 0],
  'entire-glued-line.jsonl': [242, 1991, 55, 0, 0],
  'viewer-sidechain-short.jsonl': [53, 3629, 21, 0, 2],
  'viewer-sidechains-long.jsonl': [438, 51_933, 167, 0, 5],
}

const isMissing = files.length === 0

describe.skipIf(isMissing)(
  `real Claude Code sessions${isMissing ? ' (skipped: ../shared/data is not beside this checkout)' : ''}`,
  () => {
    afterAll(() => console.table(table))

    test('are all there', () => {
      expect(files).toEqual(Object.keys(expected))
    })

    test.each(files)('%s: every record is in an action or listed, and everything is as it was counted', (name) => {
      const file = importNamed(name)
      const folded = file.conversations.map(foldImported)
      const states = folded.map(({ state }) => state)
      const sum = (count: (state: (typeof states)[number]) => number) => states.reduce((total, state) => total + count(state), 0)
      const linked = states.filter(({ lineage }) => lineage.parent?.callId !== undefined).length

      expect(folded.map(({ unappliedCount }) => unappliedCount)).toEqual(states.map(() => 0))
      expect(accountedFor(file)).toBe(file.records)
      expect(file.remarks).toEqual([])
      expect([
        file.records,
        sum(({ usage }) => usage.output),
        sum(({ tools }) => tools.requested),
        sum(({ tools }) => tools.open.length),
        linked,
      ]).toEqual(expected[name])
      expect(linked).toBe(file.conversations.length - 1)

      table.push({
        file: name.replace('.jsonl', ''),
        records: file.records,
        conversations: states.length,
        actions: file.conversations.flatMap(actionsOf).length,
        messages: file.conversations.flatMap(actionsOf).filter(({ type }) => type === 'messageAdded').length,
        calls: sum(({ tools }) => tools.requested),
        failed: sum(({ tools }) => tools.failed),
        unanswered: sum(({ tools }) => tools.open.length),
        foreign: sum(({ lineage }) => lineage.foreignRecords),
        skipped: file.skipped.map(({ line, reason }) => `${line}: ${reason}`).join('; '),
        output: sum(({ usage }) => usage.output),
        compactions: sum(({ context }) => context.compactions),
      })
    })

    test.each(files)('%s: usage is the largest figure of each answer, and no other', (name) => {
      const byAnswer = new Map<string, number>()
      for (const record of recordsOf(name)) {
        const { id, model, usage } = (record.message ?? {}) as { id?: string; model?: string; usage?: { output_tokens: number } }
        if (id === undefined || usage === undefined || model === '<synthetic>') continue
        byAnswer.set(id, Math.max(byAnswer.get(id) ?? 0, usage.output_tokens))
      }
      const recorded = importNamed(name)
        .conversations.flatMap(actionsOf)
        .filter(usageRecorded.match)
        .map(({ payload }) => [payload.messageId, payload.usage.output])
      expect(Object.fromEntries(recorded)).toEqual(Object.fromEntries(byAnswer))
      expect(recorded).toHaveLength(byAnswer.size)
    })

    test.each(files)('%s: importing again gives the same commands', (name) => {
      expect(importNamed(name)).toEqual(importNamed(name))
    })

    test.each(files)('%s: every action passes its schema, and every guard as if it had been dispatched', (name) => {
      const { conversations } = importNamed(name)
      expect(conversations.map(refusalsOf)).toEqual(conversations.map(() => []))
    })

    test.each(files)('%s: the records can be put together again from the actions, to the last field', (name) => {
      const file = importNamed(name)
      const rebuilt = file.conversations.flatMap((conversation) =>
        actionsOf(conversation).flatMap((action) => rebuild(action, conversation.media)),
      )
      const skipped = new Set(file.skipped.map(({ line }) => line))
      const originals = recordsOf(name).filter(({ $line }) => !skipped.has($line))
      const inOrder = rebuilt.sort((a, b) => a.$line - b.$line)
      expect(inOrder).toHaveLength(originals.length)
      for (const [index, original] of originals.entries()) expect(inOrder[index]).toEqual(original)
    })
  },
)

function importNamed(name: string): ImportedFile {
  return importFile({ source: name, content: readFileSync(new URL(name, directory)), sha256 })
}

type Read = Record<string, unknown> & { $line: number }

/** The records of a file, read without the importer: lines, and the one place where two objects are glued together. */
function recordsOf(name: string): Read[] {
  const lines = readFileSync(new URL(name, directory), 'utf8').split('\n')
  return lines.flatMap((line, index) =>
    line
      .split(/(?<=\})(?=\{"type":"file-history-snapshot")/)
      .filter((text) => text.trim() !== '')
      .map((text) => ({ ...JSON.parse(text), $line: index + 1 })),
  )
}

/** The reverse of the importer: words out of the parts, bytes out of the media, the rest out of `meta`. */
function rebuild(action: Action, media: readonly Media[]): Read[] {
  const records = recordsIn(action)
  if (action.type === 'foreignRecordKept')
    return records.map(({ line, record }) => ({ ...(withMedia(record, media) as object), $line: line }))
  const { message, summary } = action.payload as { message?: Message; summary?: { message: Message } }
  const parts = [...(message?.parts ?? summary?.message.parts ?? [])]
  return records.map(({ line, record }) => {
    const whole = withMedia(record, media) as Record<string, unknown> & { message?: { content?: unknown[] } }
    if (whole.message) {
      whole.message = whole.message.content
        ? { ...whole.message, content: whole.message.content.map((block) => withWords(block, parts.shift(), media)) }
        : { ...whole.message, content: wordsOf(parts.shift()) as unknown[] }
    }
    return { ...whole, $line: line }
  })
}

type Part = Message['parts'][number]

function wordsOf(part: Part | undefined): unknown {
  if (part?.type === 'compaction') return part.content
  return part?.type === 'text' ? part.text : undefined
}

function withWords(rest: unknown, part: Part | undefined, media: readonly Media[]): unknown {
  const block = rest as Record<string, unknown>
  switch (part?.type) {
    case 'text':
      return { ...block, text: part.text }
    case 'reasoning':
      return { ...block, thinking: part.text, signature: part.signature }
    case 'tool_call':
      expect(JSON.parse(part.args.raw)).toEqual(part.args.json)
      return { ...block, input: part.args.json }
    case 'media':
      return { ...block, source: { ...(block.source as object), data: base64Of(part, media) } }
    case 'tool_result': {
      const inner = block.content as unknown[] | undefined
      const content = inner ? inner.map((b, index) => withWords(b, part.content[index], media)) : wordsOf(part.content[0])
      return { ...block, content }
    }
    default:
      return part?.type === 'custom' ? part.payload : block
  }
}

function base64Of(part: Extract<Part, { type: 'media' }>, media: readonly Media[]): string | undefined {
  const { source } = part
  return source.kind === 'hash' ? encoded(source.hash, media) : undefined
}

const encoded = (hash: unknown, media: readonly Media[]): string =>
  Buffer.from(media.find((one) => one.hash === hash)?.bytes ?? []).toString('base64')

function withMedia(value: unknown, media: readonly Media[]): unknown {
  if (Array.isArray(value)) return value.map((item) => withMedia(item, media))
  if (typeof value !== 'object' || value === null) return value
  if ('$media' in value) return encoded(value.$media, media)
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withMedia(field, media)]))
}
