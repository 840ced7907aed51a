/**
 * Cases from LangChain (S), Strands (SP, SS, SU), OpenHands (OC, OV), the OpenAI SDK (OS), LangGraph (LD) and Cloudflare (CFS), here and
 * in the files beside. What cannot happen here: triggers combined by AND and OR (there is one, by tokens); a failed replacement that
 * must be rolled back, and windowed reads that delete the rest (a compaction is one append, and deletes nothing); cursors by time.
 */
import {
  type ConversationState,
  contextCompacted,
  conversationCleared,
  messagePinned,
  messageRedacted,
  stateHash,
  toHex,
  type Usage,
} from '@colloquy/core'
import { type Middleware, sha256 } from '@colloquy/engine'
import { describe, expect, test } from 'vitest'
import {
  countingSummariser,
  forgetting,
  oldest,
  openCall,
  spoken,
  talk,
  toolCall,
  toolResult,
  waitingSummariser,
} from '../../../../test/support/compaction.ts'
import { given } from '../../../../test/support/given.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { type CompactOptions, compact } from './compact.ts'
import { summariserInput } from './summariser-input.ts'

const options = { strategy: oldest, counter: charactersCounter, targetTokens: 60, summariser: countingSummariser() }
const asking = (changed: Partial<CompactOptions>): CompactOptions => ({ ...options, ...changed })
const idsOf = (state: ConversationState) => state.messages.slice().map((m) => m.id)
const hashOf = (state: ConversationState) => toHex(stateHash({ messages: state.messages }, sha256))

const spent: Usage = {
  input: 100,
  output: 7,
  cacheRead: 0,
  cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
  reasoning: 0,
  costMicros: 42,
}

describe('compacting', () => {
  test('stores what was covered, read, kept and paid, and what it weighs before and after', async () => {
    const { conversation, stored } = await given(talk(1, 10))
    const answer = async () => ({ text: 'They talked.', usage: spent, model: { provider: 'anthropic', id: 'small' } })
    const result = await compact(conversation, asking({ summariser: countingSummariser({ answer }), instructions: 'keep names' }))
    expect(result).toMatchObject({
      status: 'compacted',
      position: 11,
      strategy: 'oldest',
      coveredIds: ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'],
      before: { messages: 10, tokens: 100 },
      after: { messages: 5, tokens: 47 },
      preserved: ['kept'],
      summaryText: 'They talked.',
    })
    const [compaction, usage] = (await stored()).slice(10)
    expect(compaction).toMatchObject({
      type: 'contextCompacted',
      action: {
        derivedFrom: [[1, 6]],
        payload: {
          covered: { messageIds: ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'], ranges: [[1, 6]], tokens: 60 },
          summary: { tokenCount: 7, message: { role: 'user', parts: [{ type: 'compaction', content: 'They talked.' }] } },
          strategy: 'oldest',
          trigger: 'manual',
          preserved: ['kept'],
          summarised: { by: 'counting@1', maxTokens: 20, instructions: 'keep names', usage: spent },
        },
      },
    })
    expect(usage).toMatchObject({ type: 'usageRecorded', action: { payload: { usage: spent } } })
    expect(conversation.getState().usage).toMatchObject({ calls: 1, costMicros: 42 })
    expect(conversation.getState().context.usedTokens).toBe(47)
  })

  test('shows, out of the log, exactly what the summariser read, also after it was undone and redacted', async () => {
    const { conversation, engine } = await given([...talk(1, 10), messageRedacted({ messageId: 'm2' })])
    const summariser = countingSummariser()
    await compact(conversation, asking({ summariser, instructions: 'keep names' }))
    await conversation.dispatch(messageRedacted({ messageId: 'm9' }))
    const input = await summariserInput(engine, 'c', 12)
    expect(input).toEqual({ by: 'counting@1', request: summariser.requests[0], isExact: true, text: '6 messages' })
    expect(JSON.stringify(input)).not.toContain('words of m2')
    await expect(summariserInput(engine, 'c', 5)).rejects.toMatchObject({ code: 'compaction_not_found' })
    await expect(summariserInput(engine, 'c', 99)).rejects.toMatchObject({ code: 'position_not_found' })
  })

  test('shows nothing for a compaction that another program made', async () => {
    const { conversation, engine } = await given(talk(1, 2))
    const size = { messages: 0, tokens: 0 }
    const covered = { messageIds: ['m1'], ranges: [[1, 1] as const], tokens: 10 }
    await conversation.dispatch(contextCompacted({ covered, strategy: 'theirs', trigger: 'imported', before: size, after: size }))
    expect(await summariserInput(engine, 'c', 3)).toBeNull()
  })

  test('hands a summariser all that leaves, although the strategy kept some of it from it (edge 6: facts dropped before)', async () => {
    const { conversation } = await given(talk(1, 10))
    const summariser = countingSummariser()
    const forgetful = {
      ...oldest,
      plan: (input: Parameters<typeof oldest.plan>[0]) => {
        const plan = oldest.plan(input)
        return 'reason' in plan || !plan.summary
          ? plan
          : { ...plan, summary: { ...plan.summary, messages: plan.summary.messages.slice(-1) } }
      },
    }
    await compact(conversation, asking({ strategy: forgetful, summariser }))
    expect(summariser.requests[0]?.messages.map((m) => m.id)).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6'])
  })

  test('without a summary asks nobody', async () => {
    const { conversation } = await given(talk(1, 10))
    const summariser = countingSummariser()
    const result = await compact(conversation, asking({ strategy: forgetting, summariser }))
    expect(result).toMatchObject({ status: 'compacted', after: { tokens: 40 }, summaryText: null })
    expect(summariser.requests).toEqual([])
  })

  test('as a dry run asks nobody and stores nothing', async () => {
    const { conversation, stored } = await given(talk(1, 10))
    const summariser = countingSummariser()
    const result = await compact(conversation, asking({ summariser, dryRun: true }))
    expect(result).toMatchObject({
      status: 'planned',
      coveredIds: ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'],
      before: { tokens: 100 },
      after: { messages: 5, tokens: 60 },
    })
    expect(summariser.requests).toEqual([])
    expect(await stored()).toHaveLength(10)
  })

  test('keeps what is pinned, open or a block of the provider, byte for byte', async () => {
    const block = { type: 'compaction' as const, opaque: 'b64', raw: { type: 'compaction', encrypted_content: 'b64' } }
    const { conversation } = await given([
      ...talk(1, 2),
      spoken('block', 'assistant', [block]),
      ...talk(3, 8),
      ...openCall('a', 'c1'),
      ...talk(9, 9),
      messagePinned({ messageId: 'm2' }),
    ])
    await compact(conversation, asking({ targetTokens: 30 }))
    const kept = conversation.getState().messages.slice()
    expect(kept.map((m) => m.id)).toEqual([expect.stringMatching(/^summary:/), 'm2', 'block', 'a', 'm9'])
    expect(kept[2]?.parts).toEqual([block])
  })

  // SU and SS, edge 28: nothing of the summariser's leaks into the conversation.
  test.each(['after success', 'after an exception'])('%s leaves everything beside the working set as it was', async (when) => {
    const { conversation } = await given(talk(1, 10))
    const { context: _c, messages: _m, ...before } = conversation.getState()
    const answer = when === 'after success' ? undefined : () => Promise.reject(new Error('overloaded'))
    await compact(conversation, asking({ summariser: countingSummariser(answer && { answer }) })).catch(() => {})
    const { context: _c2, messages: _m2, ...after } = conversation.getState()
    expect(after).toEqual(before)
  })

  // OC: the summary of an earlier compaction is in the new prompt.
  test('over an earlier summary hands it to the summariser', async () => {
    const { conversation } = await given(talk(1, 10))
    const summariser = countingSummariser()
    await compact(conversation, asking({ summariser }))
    await conversation.dispatch(talk(11, 16))
    await compact(conversation, asking({ summariser }))
    expect(summariser.requests[1]?.messages[0]?.parts).toMatchObject([{ type: 'compaction', content: '6 messages' }])
    expect(conversation.getState().messages.at(0)).toMatchObject({ standsAt: 1 })
  })
})

describe('a compaction that comes to nothing', () => {
  // S 12: an empty conversation makes no model call.
  test('an empty conversation asks nobody', async () => {
    const { conversation, stored } = await given()
    const summariser = countingSummariser()
    expect(await compact(conversation, asking({ summariser }))).toEqual({ status: 'unchanged', reason: 'within_target' })
    expect(summariser.requests).toEqual([])
    expect(await stored()).toEqual([])
  })

  const failures: readonly [string, Partial<CompactOptions>, string][] = [
    [
      'the summariser rejects (langchain#38867: its error became the memory)',
      { summariser: countingSummariser({ answer: () => Promise.reject(new Error('overloaded')) }) },
      'summariser_failed',
    ],
    [
      'the summariser throws',
      {
        summariser: {
          id: 'throwing',
          version: '1',
          summarise() {
            throw new Error('at once')
          },
        },
      },
      'summariser_failed',
    ],
    ['the summariser never answers', { summariser: waitingSummariser().summariser, timeoutMs: 20 }, 'summariser_failed'],
    [
      'the summary is empty (openclaw#120663: 77 of 164 were)',
      { summariser: countingSummariser({ answer: async () => ({ text: ' \n', usage: spent }) }) },
      'summary_empty',
    ],
    [
      'the summary is longer than it may be',
      { summariser: countingSummariser({ answer: async () => ({ text: 'x'.repeat(81), usage: spent }) }) },
      'summary_too_long',
    ],
    ['less is freed than has to be (OC: minimum .8)', { minProgressRatio: 0.8 }, 'no_progress'],
    [
      'nothing may leave, and something has to (SP 19)',
      { trigger: 'overflow', strategy: { name: 'none', plan: () => ({ reason: 'nothing_removable' }) } },
      'nothing_removable',
    ],
    [
      'the strategy parts a call',
      { strategy: { name: 'parting', plan: () => ({ covered: ['a'], summary: null, preserved: [] }) } },
      'refused',
    ],
  ]
  const past = [
    ...talk(1, 8),
    spoken('a', 'assistant', [toolCall('c1')]),
    spoken('t', 'tool', [toolResult('c1')]),
    ...talk(11, 12),
  ]

  test.each(failures)('because %s leaves the history as it was, says so, and is on record', async (_, changed, reason) => {
    const { conversation, stored, engine } = await given(past)
    const before = hashOf(conversation.getState())
    await expect(compact(conversation, asking(changed))).rejects.toMatchObject({ code: 'compaction_failed', details: { reason } })
    expect(hashOf(conversation.getState())).toBe(before)
    const [failure, ...rest] = (await stored()).slice(past.length)
    expect(failure).toMatchObject({ type: 'compactionFailed', action: { payload: { reason } } })
    const wasPaid = JSON.stringify(failure).includes('costMicros')
    expect(rest.map(({ type }) => type)).toEqual(wasPaid ? ['usageRecorded'] : [])
    expect(conversation.getState().usage.costMicros).toBe(wasPaid ? 42 : 0)
    expect(toHex(stateHash((await engine.replay('c')).state, sha256))).toBe(toHex(stateHash(conversation.getState(), sha256)))
  })

  test('by hand, because there is nothing to do, is no failure', async () => {
    const { conversation, stored } = await given(talk(1, 2))
    expect(await compact(conversation, asking({ targetTokens: 10 }))).toEqual({ status: 'unchanged', reason: 'too_few_messages' })
    expect(await stored()).toHaveLength(2)
  })

  // OS 41: when restoring fails too, both errors are told.
  test('and cannot be recorded either, tells of both', async () => {
    const { conversation } = await given(talk(1, 10))
    const broken: CompactOptions = asking({
      summariser: countingSummariser({ answer: () => Promise.reject(new Error('first')) }),
    })
    const dispatch = () => Promise.reject(new Error('second'))
    const error = await compact({ getState: () => conversation.getState(), dispatch }, broken).catch((e: unknown) => e)
    expect(error).toMatchObject({
      code: 'compaction_failed',
      cause: { errors: [expect.objectContaining({ message: 'first' }), expect.objectContaining({ message: 'second' })] },
    })
  })

  test('called off leaves no trace', async () => {
    const { conversation, stored } = await given(talk(1, 10))
    const waiting = waitingSummariser()
    const stop = new AbortController()
    const result = compact(conversation, asking({ summariser: waiting.summariser, signal: stop.signal }))
    await waiting.whenCalled
    stop.abort(new Error('enough'))
    await expect(result).rejects.toThrow('enough')
    expect(await stored()).toHaveLength(10)
  })
})

describe('while the summariser works, the conversation goes on', () => {
  async function during(...actions: Parameters<Awaited<ReturnType<typeof given>>['dispatch']>[0][]) {
    const past = await given(talk(1, 10))
    const waiting = waitingSummariser()
    const result = compact(past.conversation, asking({ summariser: waiting.summariser })).catch((error: unknown) => error)
    await waiting.whenCalled
    // Nobody waits for the summariser: these are stored before it answers.
    for (const action of actions) await past.dispatch(action)
    waiting.answer('They talked.')
    return { ...past, result: await result }
  }

  // OS 42 and openai-agents-python#4679: a write during the compaction survives.
  test('a message that arrives is kept, behind the summary', async () => {
    const { conversation, result } = await during(talk(11, 12))
    expect(result).toMatchObject({ status: 'compacted', position: 13 })
    expect(idsOf(conversation.getState())).toEqual([expect.stringMatching(/^summary:/), 'm7', 'm8', 'm9', 'm10', 'm11', 'm12'])
    expect(conversation.getState().context.usedTokens).toBe(67)
  })

  // OS 42: a clear during the compaction stays cleared.
  test.each<[string, Parameters<typeof during>, string[]]>([
    ['the conversation is cleared', [conversationCleared({})], []],
    ['something covered is redacted', [messageRedacted({ messageId: 'm3' })], talk(1, 10).map((_, i) => `m${i + 1}`)],
    ['something covered is pinned', [messagePinned({ messageId: 'm3' })], talk(1, 10).map((_, i) => `m${i + 1}`)],
  ])('when %s, the compaction is dropped', async (_, actions, ids) => {
    const { conversation, result, stored } = await during(...actions)
    expect(result).toMatchObject({ code: 'compaction_failed', details: { reason: 'stale' }, cause: { code: 'compaction_stale' } })
    expect(idsOf(conversation.getState())).toEqual(ids)
    expect((await stored()).at(-1)).toMatchObject({ type: 'compactionFailed', action: { payload: { reason: 'stale' } } })
  })

  test('when something that stays is redacted, the compaction stands', async () => {
    const { conversation, result } = await during(messageRedacted({ messageId: 'm9' }))
    expect(result).toMatchObject({ status: 'compacted' })
    expect(conversation.getState().messages.find((m) => m.id === 'm9')?.redacted).toBe(true)
  })
})

// OS 43: a retried transaction of the same id is a no-op; and what it cost is told all the same.
test.each(['the same words', 'other words'])(
  'a command that is stored already is superseded, by %s; what was paid for it is counted',
  async (words) => {
    const first = await given(talk(1, 10))
    const second = await given([], { log: first.log })
    const paid = (text: string) => countingSummariser({ answer: async () => ({ text, usage: spent }) })
    const once = asking({ commandId: 'once', summariser: paid('They talked.') })
    await compact(first.conversation, once)
    const again = asking({ commandId: 'once', summariser: paid(words === 'the same words' ? 'They talked.' : 'There was talk.') })
    expect(await compact(second.conversation, again)).toEqual({ status: 'superseded' })
    expect((await first.stored()).slice(10).map(({ type }) => type)).toEqual([
      'contextCompacted',
      'usageRecorded',
      'usageRecorded',
    ])
    expect(second.conversation.getState().context.compactions).toBe(1)
    expect(second.conversation.getState().usage.calls).toBe(2)
  },
)

// ADK (edge 32): events with the time at which a summary ends vanish. Here messages are named, and times are not asked.
test('messages of one and the same time are told apart', async () => {
  const { conversation } = await given(talk(1, 10), { clock: () => 1_767_225_600_000_000 })
  await compact(conversation, options)
  await conversation.dispatch(talk(11, 12))
  expect(idsOf(conversation.getState()).slice(1)).toEqual(['m7', 'm8', 'm9', 'm10', 'm11', 'm12'])
})

// LangChain (edge 14): the tokens of the summary model leak into the stream of the user.
test('subscribers hear of the compaction, and nothing of how it was written', async () => {
  const { conversation } = await given(talk(1, 10))
  const heard: string[] = []
  conversation.envelopes$.subscribe(({ type }) => heard.push(type))
  await compact(conversation, options)
  expect(heard).toEqual(['contextCompacted'])
})

test('token counts that are no numbers count as nothing (CFS 47)', async () => {
  const { conversation } = await given(talk(1, 10))
  const counter = { id: 'nan', version: '1', count: () => Number.NaN }
  const result = await compact(conversation, asking({ counter }))
  expect(result).toMatchObject({ status: 'compacted', after: { tokens: 44 } })
})

test('the working set of 10,000 messages is compacted in one go, and of more where the limits allow it', async () => {
  const { conversation } = await given(talk(1, 9_999))
  const result = await compact(conversation, asking({ targetTokens: 1_000 }))
  expect(result).toMatchObject({ status: 'compacted', coveredIds: { length: 9_901 } })

  const limits = { keys: 20_000 }
  const long = talk(1, 9_000)
  const wide = await given(long, { limits })
  await wide.dispatch(talk(9_001, 12_000))
  const more = await compact(wide.conversation, asking({ targetTokens: 1_000 }))
  expect(more).toMatchObject({ status: 'compacted', coveredIds: { length: 11_902 } })

  const narrow = await given(long)
  await narrow.dispatch(talk(9_001, 12_000))
  await expect(compact(narrow.conversation, asking({ targetTokens: 1_000 }))).rejects.toMatchObject({
    code: 'compaction_failed',
    details: { reason: 'refused' },
    cause: { code: 'json_too_wide' },
  })
})

test('a middleware that does not let a compaction through is a refusal', async () => {
  const blocking: Middleware = () => (next) => async (action) => (contextCompacted.match(action) ? undefined : next(action))
  const answer = async () => ({ text: 'They talked.', usage: spent })
  const { conversation, stored } = await given(talk(1, 10), { middleware: [blocking] })
  for (const summariser of [countingSummariser(), countingSummariser({ answer })]) {
    await expect(compact(conversation, asking({ summariser }))).rejects.toMatchObject({
      code: 'compaction_failed',
      details: { reason: 'refused' },
    })
  }
  expect((await stored()).slice(10).map(({ type }) => type)).toEqual(['compactionFailed', 'compactionFailed', 'usageRecorded'])
})
