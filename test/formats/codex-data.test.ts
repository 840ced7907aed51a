/** Over real rollouts, which are not part of the repository: without them every test here is skipped and says so. */
import { expect, test } from 'vitest'
import { actionsOf, foldImported } from './imported.ts'
import { missingLeaves } from './missing-leaves.ts'
import { describeRealFiles } from './real-files.ts'

interface Counted {
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_output_tokens: number
}
interface Line {
  readonly type: string
  readonly payload: {
    readonly type?: string
    readonly role?: string
    readonly info?: { readonly total_token_usage: Counted } | null
    readonly base_instructions?: { readonly text: string }
  }
}

const ofKind = (lines: readonly Line[], type: string, inner: RegExp): Line[] =>
  lines.filter((line) => line.type === type && inner.test(line.payload.type ?? ''))

const totalOf = (lines: readonly Line[]): Counted | undefined =>
  lines.flatMap(({ payload }) => (payload.info ? [payload.info.total_token_usage] : [])).at(-1)

/** Answers: runs of what the model made, parted by what it was sent and by new counts. */
function answersIn(lines: readonly Line[]): number {
  let answers = 0
  let isOpen = false
  let counted = ''
  for (const { type, payload } of lines) {
    const isMade = type === 'response_item' && (payload.role === 'assistant' || /^reasoning$|_call$/.test(payload.type ?? ''))
    const total = payload.info ? JSON.stringify(payload.info.total_token_usage) : counted
    if (isMade && !isOpen) answers += 1
    if (isMade) isOpen = true
    else if (type === 'response_item' || total !== counted) isOpen = false
    counted = total
  }
  return answers
}

describeRealFiles(
  'codex',
  'codex',
  5,
  (value) => {
    const lines = value as Line[]
    const calls = ofKind(lines, 'response_item', /_call$/)
    const results = ofKind(lines, 'response_item', /_call_output$/)
    const sent = ofKind(lines, 'response_item', /^message$/).filter(({ payload }) => payload.role !== 'assistant')
    const searches = ofKind(lines, 'response_item', /^web_search_call$/)
    const total = totalOf(lines)
    return {
      records: lines.length,
      conversations: 1,
      // The base instructions in the header are one.
      messages: 1 + sent.length + results.length + answersIn(lines),
      calls: calls.length,
      unanswered: calls.length - results.length - searches.length,
      input: total?.input_tokens ?? 0,
      output: total?.output_tokens ?? 0,
    }
  },
  (_, read) => {
    test('tokens from the cache and of reasoning add up to the last total, and turns are those of the tasks', () => {
      const { imported, value } = read()
      const lines = value as Line[]
      const { usage, turn } = foldImported(imported.conversations[0]).state
      const total = totalOf(lines)
      expect([usage.cacheRead, usage.reasoning]).toEqual([total?.cached_input_tokens, total?.reasoning_output_tokens])
      expect(turn.started).toBe(ofKind(lines, 'event_msg', /^task_started$/).length)
      expect(turn.current === null).toBe(ofKind(lines, 'event_msg', /^task_complete$/).length === turn.started)
    })

    test('no record is foreign, and nothing that was said is missing', () => {
      const { imported, value } = read()
      expect(actionsOf(imported.conversations[0]).filter(({ type }) => type === 'foreignRecordKept')).toEqual([])
      const skipped = new Set(imported.skipped.map(({ line }) => line))
      expect(
        missingLeaves(
          (value as Line[]).filter((_, index) => !skipped.has(index + 1)),
          imported,
        ),
      ).toEqual([])
    })
  },
  (reason) => / again(?:, for the screen)?$|^no count, only how much/.test(reason),
)
