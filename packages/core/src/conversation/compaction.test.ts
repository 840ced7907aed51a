import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { naming, undoOf } from '../../../../test/support/core-arbitraries.ts'
import { type Given, given, timeAt } from '../../../../test/support/core-log.ts'
import { compactionUndone, contextCompacted } from './compaction.ts'
import { conversationCleared } from './lifecycle.ts'
import { messageAdded, messageRedacted } from './messages.ts'

const say = (id: string, tokenCount = 10) =>
  messageAdded({ message: { v: 1, id, role: 'user', parts: [{ type: 'text', text: `words of ${id}` }] }, tokenCount })

/** `ids` of the working set become one summary called `summaryId`, or nothing. */
function compact(past: Given, ids: readonly string[], summaryId?: string): Given {
  const covered = past.state.messages.slice().filter((m) => ids.includes(m.id))
  const tokens = past.state.context.usedTokens
  const summary = summaryId === undefined ? undefined : { ...say(summaryId, 4).payload }
  const standsAt = covered[0]?.standsAt
  return past.when(
    contextCompacted({
      covered: naming(covered),
      ...(standsAt !== undefined && { standsAt }),
      ...(summary && { summary: { message: summary.message, tokenCount: summary.tokenCount } }),
      strategy: 'test',
      trigger: 'manual',
      before: { messages: past.state.messages.length, tokens },
      after: { messages: past.state.messages.length - covered.length + (summary ? 1 : 0), tokens },
    }),
  )
}

/** Undoes the compaction at `position`. */
function undo(past: Given, position: number): Given {
  const compaction = past.log.find((action) => action.position === position)
  if (compaction === undefined || !contextCompacted.match(compaction)) throw new Error(`no compaction at ${position}`)
  return past.when(undoOf(compaction, past))
}

const idsOf = ({ state }: Given): string[] => state.messages.slice().map((m) => m.id)
const five = given(...['m1', 'm2', 'm3', 'm4', 'm5'].map((id) => say(id)))

describe('a compaction', () => {
  test('given messages, when some are covered, the summary stands where the first of them stood and says so', () => {
    const after = compact(five, ['m2', 'm3'], 's1')
    expect(idsOf(after)).toEqual(['m1', 's1', 'm4', 'm5'])
    expect(after.state.messages.at(1)).toEqual({
      v: 1,
      id: 's1',
      role: 'user',
      parts: [{ type: 'text', text: 'words of s1' }],
      position: 6,
      tokenCount: 4,
      standsAt: 2,
    })
  })

  test('given messages, when some are covered, the context says what it weighs now and what happened last', () => {
    const { context } = compact(five, ['m2', 'm3'], 's1').state
    expect(context).toEqual({
      usedTokens: 34,
      limitTokens: null,
      compactions: 1,
      lastCompaction: {
        position: 6,
        occurredAt: timeAt(6),
        strategy: 'test',
        coveredMessages: 2,
        tokensBefore: 50,
        tokensAfter: 50,
      },
      unseenCompactions: [],
      failure: null,
      settled: { position: 6, tokens: 34, answersSince: 0 },
    })
  })

  test('without a summary leaves nothing where the messages were', () => {
    const after = compact(five, ['m1', 'm3'])
    expect(idsOf(after)).toEqual(['m2', 'm4', 'm5'])
    expect(after.state.context.usedTokens).toBe(30)
  })

  test('of a summary and messages stands where the first one stands', () => {
    const twice = compact(compact(five, ['m1', 'm2'], 's1'), ['s1', 'm3'], 's2')
    expect(idsOf(twice)).toEqual(['s2', 'm4', 'm5'])
    expect(twice.state.messages.at(0)).toMatchObject({ id: 's2', standsAt: 1, position: 7 })
  })

  test('of messages that left is refused at dispatch, and on replay covers those that are there', () => {
    const action = contextCompacted({
      covered: { messageIds: ['m1', 'm8', 'm9'], ranges: [[1, 1]], tokens: 10 },
      strategy: 'test',
      trigger: 'auto',
      before: { messages: 5, tokens: 50 },
      after: { messages: 4, tokens: 40 },
    })
    expect(() => five.guard(action)).toThrow(
      expect.objectContaining({ code: 'compaction_stale', details: { missing: 2, changed: 0, covered: 3 } }),
    )
    expect(idsOf(five.when(action))).toEqual(['m2', 'm3', 'm4', 'm5'])
  })

  test('of messages that are there is not refused', () => {
    const after = compact(five, ['m1', 'm2'], 's1')
    const action = after.log.at(-1)
    expect(() => action && five.guard({ type: action.type, payload: action.payload })).not.toThrow()
  })
})

describe('undoing a compaction', () => {
  test.each<[string, readonly string[], string | undefined]>([
    ['at the beginning', ['m1', 'm2'], 's1'],
    ['in the middle', ['m2', 'm3', 'm4'], 's1'],
    ['at the end', ['m4', 'm5'], 's1'],
    ['of everything', ['m1', 'm2', 'm3', 'm4', 'm5'], 's1'],
    ['with gaps', ['m1', 'm3', 'm5'], 's1'],
    ['without a summary', ['m2', 'm4'], undefined],
    ['of everything, without a summary', ['m1', 'm2', 'm3', 'm4', 'm5'], undefined],
  ])('%s brings back every message in its place', (_, ids, summaryId) => {
    const undone = undo(compact(five, ids, summaryId), 6)
    expect(undone.state.messages.toJSON()).toEqual(five.state.messages.toJSON())
    const settled = { position: 7, tokens: 50, answersSince: 0 }
    expect(undone.state.context).toEqual({ ...five.state.context, compactions: 1, settled })
  })

  test('keeps what came since, behind', () => {
    const later = compact(five, ['m1', 'm2'], 's1').when(say('m6'), messageRedacted({ messageId: 'm3' }))
    const undone = undo(later, 6)
    expect(idsOf(undone)).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6'])
    expect(undone.state.messages.at(2)?.redacted).toBe(true)
    expect(undone.state.context.usedTokens).toBe(60)
  })

  test('leaves redacted what was redacted before', () => {
    const redacted = five.when(messageRedacted({ messageId: 'm2' }))
    const undone = undo(compact(redacted, ['m1', 'm2'], 's1'), 7)
    expect(undone.state.messages.toJSON()).toEqual(redacted.state.messages.toJSON())
    expect(JSON.stringify(undone.state.messages)).not.toContain('words of m2')
  })

  test('of a compaction of a compaction goes back one step, then the other', () => {
    const once = compact(five, ['m1', 'm2'], 's1')
    const twice = compact(once, ['s1', 'm3'], 's2')
    const back = undo(twice, 7)
    expect(back.state.messages.toJSON()).toEqual(once.state.messages.toJSON())
    expect(undo(back, 6).state.messages.toJSON()).toEqual(five.state.messages.toJSON())
  })

  test('without a summary, behind a summary that is younger than the messages, finds the place', () => {
    const once = compact(five, ['m1', 'm2'], 's1')
    const twice = compact(once, ['m3'])
    expect(idsOf(twice)).toEqual(['s1', 'm4', 'm5'])
    expect(undo(twice, 7).state.messages.toJSON()).toEqual(once.state.messages.toJSON())
  })

  test('around a summary that stays finds the places', () => {
    const once = compact(five, ['m3', 'm4'], 's1')
    const twice = compact(once, ['m2', 'm5'], 's2')
    expect(idsOf(twice)).toEqual(['m1', 's2', 's1'])
    expect(undo(twice, 7).state.messages.toJSON()).toEqual(once.state.messages.toJSON())
  })

  test('of several without a summary goes back one by one, and each is undone once', () => {
    const twice = compact(compact(five, ['m1']), ['m2'])
    expect(twice.state.context.unseenCompactions).toEqual([6, 7])
    expect(() => twice.guard(undoOf(twice.log[6] as never, twice))).not.toThrow()
    const back = undo(twice, 7)
    expect(() => back.guard(undoOf(back.log[5] as never, back))).not.toThrow()
    const begin = undo(back, 6)
    expect(idsOf(begin)).toEqual(idsOf(five))
    expect(() => begin.guard(undoOf(begin.log[5] as never, begin))).toThrow(
      expect.objectContaining({ code: 'compaction_not_found' }),
    )
  })

  test('in any order of compactions leads back to where it began', () => {
    const cover = fc.record({ picks: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), summed: fc.boolean() })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(cover, { maxLength: 5 }), (count, covers) => {
        const begin = given(...Array.from({ length: count }, (_, index) => say(`m${index}`)))
        const stack = [begin]
        let past = begin
        for (const [index, { picks, summed }] of covers.entries()) {
          const ids = idsOf(past).filter((_, place) => picks[place])
          if (ids.length === 0) continue
          past = compact(past, ids, summed ? `s${index}` : undefined)
          stack.push(past)
        }
        for (let depth = stack.length - 1; depth > 0; depth--) {
          past = undo(past, (stack[depth] as Given).log.length)
          expect(past.state.messages.toJSON()).toEqual((stack[depth - 1] as Given).state.messages.toJSON())
          expect(past.state.context.usedTokens).toBe((stack[depth - 1] as Given).state.context.usedTokens)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('brings back only what it names, whatever else lies in its ranges', () => {
    const undone = compact(five, ['m1', 'm2'], 's1').when(
      compactionUndone({
        compactionPosition: 6,
        restored: { messageIds: ['m1'], ranges: [[1, 6]], tokens: 10 },
        summaryTokens: 4,
        redactions: [],
      }),
    )
    expect(idsOf(undone)).toEqual(['m1', 'm3', 'm4', 'm5'])
  })

  test('that is done already is refused at dispatch, and on replay brings nothing twice', () => {
    for (const summaryId of ['s1', undefined]) {
      const compacted = compact(five, ['m1', 'm2'], summaryId)
      const undone = undo(compacted, 6)
      const again = undoOf(compacted.log[5] as never, undone)
      expect(() => compacted.guard(again)).not.toThrow()
      expect(() => undone.guard(again)).toThrow(
        expect.objectContaining({ code: 'compaction_not_found', details: { position: 6 } }),
      )
      expect(idsOf(undone.when(again))).toEqual(idsOf(five))
    }
  })

  test.each([1, 7, 99])(
    'of position %i, where no compaction was made, is refused at dispatch, and on replay removes nothing',
    (position) => {
      const after = compact(five, ['m2', 'm3'], 's1').when(say('m6'))
      const action = compactionUndone({
        compactionPosition: position,
        restored: { messageIds: ['m2'], ranges: [[99, 99]], tokens: 0 },
        summaryTokens: 0,
        redactions: [],
      })
      expect(() => after.guard(action)).toThrow(expect.objectContaining({ code: 'compaction_not_found', details: { position } }))
      expect(idsOf(after.when(action))).toEqual(idsOf(after))
    },
  )

  test('after the conversation was cleared is refused at dispatch', () => {
    for (const summaryId of ['s1', undefined]) {
      const compacted = compact(five, ['m1', 'm2'], summaryId)
      const cleared = compacted.when(conversationCleared({}))
      expect(cleared.state.context).toMatchObject({ usedTokens: 0, lastCompaction: null, compactions: 1 })
      expect(() => cleared.guard(undoOf(compacted.log[5] as never, cleared))).toThrow(
        expect.objectContaining({ code: 'compaction_not_found' }),
      )
    }
  })
})
