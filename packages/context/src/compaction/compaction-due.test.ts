import {
  type ConversationState,
  compactionFailed,
  contextCompacted,
  conversationArchived,
  conversationStarted,
  type Message,
  messageAdded,
  turnEnded,
  turnStarted,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { talk } from '../../../../test/support/compaction.ts'
import { naming, undoOf } from '../../../../test/support/core-arbitraries.ts'
import { type Given, given } from '../../../../test/support/core-log.ts'
import { compactionDue, policyOf } from './compaction-due.ts'
import { type CompactionSettings, compactionSettings } from './compaction-settings.ts'
import { targetTokens } from './policy.ts'

/** A limit of 100, so that tokens are percent. */
const hundred = { maxContextTokens: 100 }
const isDue = ({ state }: { readonly state: ConversationState }, settings: Partial<CompactionSettings> = hundred) =>
  compactionDue(state, compactionSettings(settings)) !== null

const filled = (tokens: number): Given => given(...talk(1, 1, tokens))
const answer = (id: string, tokenCount: number, model?: Message['model']) =>
  messageAdded({ message: { v: 1, id, role: 'assistant', parts: [], ...(model && { model }) }, tokenCount })
const failed = compactionFailed({ strategy: 'test', trigger: 'auto', reason: 'summariser_failed' })

function compactFirst(past: Given, count: number, tokens: number): Given {
  const [summary] = talk(900 + past.log.length, 900 + past.log.length, tokens)
  return past.when(
    contextCompacted({
      covered: naming(past.state.messages.slice(0, count)),
      summary: summary?.payload as never,
      strategy: 'test',
      trigger: 'auto',
      before: { messages: 0, tokens: 0 },
      after: { messages: 0, tokens: 0 },
    }),
  )
}

describe('a compaction is due', () => {
  test('above 85 %, down to 60 %', () => {
    expect(isDue(filled(85))).toBe(false)
    expect(compactionDue(filled(86).state, compactionSettings(hundred))).toEqual({
      usedTokens: 86,
      limitTokens: 100,
      targetTokens: 60,
      settledPosition: 0,
    })
  })

  test('under instructions of more than half of that, down to the same share of what they leave', () => {
    const system = messageAdded({ message: { v: 1, id: 'system', role: 'system', parts: [] }, tokenCount: 40 })
    const { state } = given(system, ...talk(1, 1, 46))
    expect(compactionDue(state, compactionSettings(hundred))).toMatchObject({ usedTokens: 86, targetTokens: 40 + 31 })
  })

  test('by default above 42,500 of 50,000 tokens, down to 30,000', () => {
    const settings = compactionSettings()
    expect(compactionDue(filled(42_500).state, settings)).toBeNull()
    expect(compactionDue(filled(42_501).state, settings)).toMatchObject({ limitTokens: 50_000, targetTokens: 30_000 })
  })

  test.each([
    [50_000, 30_000],
    [16_000, 10_000],
    // Above 10,000 no tenth could be freed, so the floor holds no more.
    [13_000, 7_800],
    [8_000, 4_800],
  ])('never below 10,000, unless the window is smaller: of %i down to %i', (limit, target) => {
    expect(targetTokens(policyOf(given().state, compactionSettings({ maxContextTokens: limit })))).toBe(target)
  })

  test('by the limit of the model that answered last, and by the window that the conversation knows, when that is less', () => {
    const settings = { ...hundred, modelContextTokens: { large: 1_000, small: 50 } }
    const large = given(answer('a1', 90, { provider: 'p', id: 'large' }))
    expect(isDue(large, settings)).toBe(false)
    expect(isDue(large.when(answer('a2', 1, { provider: 'p', id: 'small' })), settings)).toBe(true)
    const started = given(conversationStarted({ contextLimitTokens: 60 }), ...talk(1, 1, 52))
    expect(isDue(started)).toBe(true)
  })

  test('in no conversation that was archived: it takes none', () => {
    expect(isDue(filled(90).when(conversationArchived({})))).toBe(false)
  })

  // S 11: a share of a limit that nobody told is no error when it is needed.
  test('at a share of the default limit, for a model that nobody told a limit of', () => {
    const unknown = given(answer('a1', 42_501, { provider: 'p', id: 'unheard of' }))
    expect(isDue(unknown, {})).toBe(true)
  })

  // OV 33: a request for a compaction is made, served, and made again; the model never sees it.
  test('again and again, with nothing in the working set that says so', () => {
    let past = filled(86)
    for (let n = 0; n < 3; n++) {
      expect(isDue(past)).toBe(true)
      past = compactFirst(past, past.state.messages.length, 60)
      expect(isDue(past)).toBe(false)
      expect(past.state.messages.length).toBe(1)
      past = past.when(...talk(10 + n, 10 + n, 26))
    }
  })

  // SP and SW: 0.65 no, 0.8 yes at 0.7.
  test.each([
    [65, false],
    [80, true],
  ])('with a start at 70 %%: at %i %% %s', (tokens, due) => {
    expect(isDue(filled(tokens), { ...hundred, summaryThreshold: 0.7, targetRatio: 0.5 })).toBe(due)
  })
})

describe('between compactions', () => {
  test('the working set stays as it is until 85 % is reached again: the prefix of the provider holds', () => {
    let past = given(...talk(1, 9, 10))
    let compacted = 0
    for (let n = 10; n < 60; n++) {
      if (isDue(past)) {
        past = compactFirst(past, 4, 10)
        compacted += 1
        expect(past.state.context.usedTokens).toBe(60)
      }
      past = past.when(...talk(n, n, 10))
    }
    // Each frees 30, and 30 come in before the next.
    expect(compacted).toBe(17)
  })

  test('one that freed too little is not followed at once, but when a tenth has come in (OpenHands#8630, #10873: condensation loops)', () => {
    const still = compactFirst(filled(95), 1, 90)
    expect(isDue(still)).toBe(false)
    expect(isDue(still.when(...talk(2, 2, 9)))).toBe(false)
    expect(isDue(still.when(...talk(2, 2, 10)))).toBe(true)
  })

  test('one that was undone does not come back at once', () => {
    const compacted = compactFirst(filled(90), 1, 10)
    const undone = compacted.when(undoOf(compacted.log[1] as never, compacted))
    expect(undone.state.context.usedTokens).toBe(90)
    expect(isDue(undone)).toBe(false)
    expect(isDue(undone.when(...talk(2, 2, 10)))).toBe(true)
  })

  test('one that failed is tried again after 2, 4, 8 ... messages, at most 64, by the state and no clock', () => {
    let past = filled(90)
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      past = past.when(failed)
      let messages = 0
      while (!isDue(past)) past = past.when(...talk(1_000 + ++messages, 1_000 + messages, 1))
      waits.push(messages)
    }
    expect(waits).toEqual([2, 4, 8, 16, 32, 64, 64, 64])
  })
})

describe('while a turn runs', () => {
  const inTurn = given(turnStarted({ turnId: 't' }), ...talk(1, 1, 86))

  test('nothing is due by default; it is when the turn ends, or the limit is reached', () => {
    expect(isDue(inTurn)).toBe(false)
    expect(isDue(inTurn.when(turnEnded({ turnId: 't' })))).toBe(true)
    expect(isDue(inTurn.when(...talk(2, 2, 14)))).toBe(true)
  })

  test('it is with perTurn: true', () => {
    expect(isDue(inTurn, { ...hundred, perTurn: true })).toBe(true)
  })

  // SP: N works every N calls, the counter survives a restore: it is in the state.
  test('with perTurn: 3 after every third answer since the last compaction', () => {
    const due = (answers: number) => {
      const past = inTurn.when(...Array.from({ length: answers }, (_, i) => answer(`a${i}`, 1)))
      return isDue(past, { ...hundred, perTurn: 3 })
    }
    expect([0, 1, 2, 3, 4, 5, 6].filter(due)).toEqual([3, 6])
  })
})

describe('settings that cannot be are refused with the name of the field', () => {
  // SP: negative rejected, per_turn 0 rejected. SW base: threshold 0 or > 1 rejected, 1 ok.
  test.each<[Partial<CompactionSettings>, string]>([
    [{ maxContextTokens: 0 }, 'maxContextTokens'],
    [{ maxContextTokens: Number.NaN }, 'maxContextTokens'],
    [{ modelContextTokens: { claude: -1 } }, 'modelContextTokens.claude'],
    [{ leastTokens: -1 }, 'leastTokens'],
    [{ summaryThreshold: 0 }, 'summaryThreshold'],
    [{ summaryThreshold: 1.01 }, 'summaryThreshold'],
    [{ targetRatio: 0 }, 'targetRatio'],
    [{ targetRatio: 0.9 }, 'targetRatio'],
    [{ perTurn: 0 }, 'perTurn'],
    [{ perTurn: 1.5 }, 'perTurn'],
  ])('%o', (settings, field) => {
    expect(() => compactionSettings(settings)).toThrow(
      expect.objectContaining({ code: 'settings_invalid', details: expect.objectContaining({ field }) }),
    )
  })

  test('and a start at 1 is fine', () => {
    expect(compactionSettings({ summaryThreshold: 1 }).summaryThreshold).toBe(1)
  })
})
