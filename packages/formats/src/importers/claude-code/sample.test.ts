import { readFileSync } from 'node:fs'
import type { HeldConversation } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { actionsOf, foldImported, refusalsOf } from '../../../../../test/formats/imported.ts'
import { sha256 } from '../../../../../test/support/core-log.ts'
import { importFile } from '../import-file.ts'

const content = readFileSync(new URL('../../../../cli/samples/claude-code.jsonl', import.meta.url), 'utf8')
const importText = (text: string) => importFile({ source: 'claude-code.jsonl', content: text, sha256 })

function countsOf(conversation: HeldConversation | undefined): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { type } of actionsOf(conversation)) counts[type] = (counts[type] ?? 0) + 1
  return counts
}

describe('the bundled sample', () => {
  test('holds what the demo shows: parallel tools, a failure, retries, a sub-agent, a picture, an interruption, a compaction, a title', () => {
    const file = importText(content)
    const [session, sidechain] = file.conversations
    expect(file).toMatchObject({ format: 'claude-code', records: 53, skipped: [], remarks: [] })
    expect(countsOf(session)).toEqual({
      conversationStarted: 1,
      conversationTitled: 1,
      contextCompacted: 1,
      errorRecorded: 2,
      foreignRecordKept: 6,
      messageAdded: 23,
      metadataChanged: 1,
      participantJoined: 2,
      toolFailed: 2,
      toolRequested: 10,
      toolSucceeded: 8,
      turnEnded: 2,
      turnInterrupted: 1,
      turnStarted: 3,
      usageRecorded: 9,
    })
    expect(session?.media.map(({ mediaType, bytes }) => [mediaType, bytes.length])).toEqual([['image/png', 75]])
    expect(countsOf(sidechain)).toMatchObject({ messageAdded: 6, toolRequested: 2, toolSucceeded: 2, turnEnded: 1 })
  })

  test('folds into a state in which nothing is left open', () => {
    for (const conversation of importText(content).conversations) {
      const { state, unappliedCount } = foldImported(conversation)
      expect(unappliedCount).toBe(0)
      expect(state.tools.open).toEqual([])
      expect(state.turn.current).toBeNull()
    }
  })

  test('passes every schema and guard, as if it had been dispatched', () => {
    expect(importText(content).conversations.map(refusalsOf)).toEqual([[], []])
  })

  test('imported after each of its lines, gives what it gives at the end, but for what was being written at that moment', () => {
    const lines = content.trimEnd().split('\n')
    const all = importText(content).conversations
    for (let length = 2; length <= lines.length; length++) {
      const unfinished = unfinishedAt(lines, length)
      for (const [index, { commands }] of importText(lines.slice(0, length).join('\n')).conversations.entries()) {
        const end = commands.findIndex(({ commandId }) => commandId === unfinished)
        const finished = end < 0 ? commands : commands.slice(0, end)
        expect(all[index]?.commands.slice(0, finished.length)).toEqual(finished)
      }
    }
  })
})

/** The command of an answer or a compaction of which lines stand on both sides of the cut. */
function unfinishedAt(lines: readonly string[], length: number): string | undefined {
  const [before, after] = [lines[length - 1], lines[length]].map((line) => JSON.parse(line ?? '{}'))
  if (before.type === 'assistant' && after.message?.id === before.message.id) return `claude-code:message:${before.message.id}`
  return before.subtype === 'compact_boundary' ? `claude-code:${before.uuid}` : undefined
}
