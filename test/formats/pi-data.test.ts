/** Over real sessions, which are not part of the repository: without them every test here is skipped and says so. */
import { expect, test } from 'vitest'
import { foldImported } from './imported.ts'
import { missingLeaves } from './missing-leaves.ts'
import { describeRealFiles } from './real-files.ts'

interface Used {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheWrite: number
  readonly cost: { readonly total: number }
}
interface Entry {
  readonly type: string
  readonly firstKeptEntryIndex?: number
  readonly message?: { readonly role: string; readonly content?: readonly { readonly type: string }[]; readonly usage?: Used }
}

const messagesIn = (entries: readonly Entry[]) => entries.flatMap(({ message }) => (message ? [message] : []))
const sumOf = (entries: readonly Entry[], pick: (used: Used) => number): number =>
  messagesIn(entries).reduce((all, { usage }) => all + (usage ? pick(usage) : 0), 0)

describeRealFiles(
  'pi',
  'pi',
  2,
  (value) => {
    const entries = value as Entry[]
    const messages = messagesIn(entries)
    const calls = messages.flatMap(({ content }) => content ?? []).filter(({ type }) => type === 'toolCall').length
    return {
      records: entries.length,
      conversations: 1,
      messages: messages.length,
      calls,
      unanswered: calls - messages.filter(({ role }) => role === 'toolResult').length,
      input: sumOf(entries, (used) => used.input + used.cacheRead + used.cacheWrite),
      output: sumOf(entries, (used) => used.output),
    }
  },
  (_, read) => {
    test('costs add up', () => {
      const { imported, value } = read()
      const { usage } = foldImported(imported.conversations[0]).state
      expect(usage.costMicros / 1_000_000).toBeCloseTo(
        sumOf(value as Entry[], (used) => used.cost.total),
        3,
      )
    })

    test('the model is shown what stands from the first kept entry on, after the summary', () => {
      const { imported, value } = read()
      const entries = value as Entry[]
      const compaction = entries.findLast(({ type }) => type === 'compaction')
      const shown = entries.filter(({ type }, index) => type === 'message' && index >= (compaction?.firstKeptEntryIndex ?? 0))
      const { messages } = foldImported(imported.conversations[0]).state
      expect(messages.length).toBe(shown.length + (compaction ? 1 : 0))
      expect(messages.at(0)?.parts[0]?.type).toBe(compaction ? 'compaction' : 'text')
    })

    test('nothing that was said is missing', () => {
      const { imported, value } = read()
      expect(imported.remarks).toEqual([])
      expect(missingLeaves(value, imported)).toEqual([])
    })
  },
)
