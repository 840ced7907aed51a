/**
 * What other systems test of trimming and compacting, given to our strategies, each case named by where it comes from and each edge by the
 * thing that went wrong somewhere. Where we decide otherwise, the case says so and why.
 *
 * Not here, and why:
 * - 1 to 4 (langchain `first`, `allowPartial`, `textSplitter`, `endOn`): what is oldest is not what a model needs, half a message is what nobody
 *   said, and the last message stays the last.
 * - 10, 11, 33 (triggers joined by AND and OR, fractions of an unknown limit, a compaction asked for by an event): there is one policy with one
 *   limit, which is always known; asking is calling. 13, 28, 41, 42 concern the running of a compaction, not its plan.
 * - 15 (clearing all but the last 3 results): `reduceContext` cuts by size instead, since the boundary of "the last 3" moves at every call and
 *   the prefix with it (edge 11); that nothing is cut twice and that an orphan goes first are cases here.
 * - 34 (where summaries stand, forgetting them) is the messages slice's, see `packages/core/src/conversation/compaction.test.ts`.
 * - Edge 3 (the first message), 16 and 34 to 36 (batches, loops), 25 (no valid cut) hold for everything that can be generated, see
 *   `strategies.test.ts`. Edge 9 (images, thinking, Chinese) and 40 (schemas and system prompt) are counted in `tokens.test.ts`.
 * - Edge 15 (JSON inflates the summariser's prompt): ours reads messages, not a prompt. Edge 20 (routine never cuts results): strategies name
 *   messages and cannot change one. Edge 39 (least progress): from 85 % to 60 % is progress by construction. Edge 44 (the system prompt alone is
 *   too long): `nothing_removable`.
 */
import type { Message, WorkingMessage } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { call, result, said, signed, working } from '../../../../test/support/conversations.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { analyze } from './analyze.ts'
import { extractiveSummariser } from './extractive-summariser.ts'
import { defaultPolicy, isNearLimit, planIfNeeded, startTokens, targetTokens } from './policy.ts'
import { reduceContext } from './reduce-context.ts'
import { chronological } from './strategies/chronological.ts'
import { slidingWindow } from './strategies/sliding-window.ts'
import { summarizing } from './strategies/summarizing.ts'
import { fitToBudget } from './strategies/token-budget.ts'
import type { CompactionInput, Strategy } from './strategy.ts'
import { structureOf } from './structure.ts'

const u = (id: string, text = id): Message => said(id, 'user', text)
const a = (id: string, text = id): Message => said(id, 'assistant', text)
const s = (id: string): Message => said(id, 'system', id)
const c = (id: string, ...callIds: string[]): Message =>
  said(
    id,
    'assistant',
    callIds.map((callId) => call(callId)),
  )
const r = (id: string, ...callIds: string[]): Message =>
  said(
    id,
    'tool',
    callIds.map((callId) => result(callId)),
  )

const counter = charactersCounter
const input = (
  messages: readonly WorkingMessage[],
  targetTokens: number,
  more: Partial<CompactionInput> = {},
): CompactionInput => ({
  messages,
  pinned: new Set(),
  openCalls: [],
  targetTokens,
  counter,
  ...more,
})

/** Ids of what stays; null for a refusal. */
function keptBy(strategy: Strategy, given: CompactionInput): readonly string[] | null {
  const plan = strategy.plan(given)
  if (!('covered' in plan)) return null
  const covered = new Set(plan.covered)
  return given.messages.flatMap(({ id }) => (covered.has(id) ? [] : [id]))
}

describe('a budget in tokens, newest first', () => {
  // Every message counts 10.
  test.each<[string, readonly Message[], number, readonly string[] | null]>([
    [
      '5: last, 30, with the system message (langchain message_utils)',
      [s('sys'), u('u1'), a('a2'), u('u3'), a('a4')],
      30,
      ['sys', 'u3', 'a4'],
    ],
    [
      '6: last, 40, starting on a user (langchain message_utils)',
      [s('sys'), u('u1'), a('a2'), u('u3'), a('a4')],
      40,
      ['sys', 'u3', 'a4'],
    ],
    ['7: nothing to trim (langchain message_utils)', [s('sys'), u('u1'), a('a2')], 30, ['sys', 'u1', 'a2']],
    ['a system message over the budget is a refusal, not a hole (edge 8)', [s('sys'), u('u1'), a('a2')], 5, null],
    ['the last strategy leaves no orphan (edge 8)', [u('u1'), c('c1', 'x'), r('r1', 'x'), a('a2'), u('u3')], 30, ['u3']],
    [
      'a call lies within, its result too (edge 1)',
      [u('u1'), a('a1'), u('u2'), c('c1', 'x', 'y'), r('r1', 'x'), r('r2', 'y')],
      40,
      ['u2', 'c1', 'r1', 'r2'],
    ],
    ['huge newest pair: refused while nothing fits (edge 10)', [c('c1', 'x'), r('r1', 'x')], 10, null],
    [
      'a conversation of tools alone begins with a call (edge 24)',
      [c('c1', 'x'), r('r1', 'x'), c('c2', 'y'), r('r2', 'y')],
      20,
      ['c2', 'r2'],
    ],
  ])('case %s', (_, messages, maxTokens, kept) => {
    const list = working(messages, 10)
    const fitted = fitToBudget(list, { maxTokens })
    expect(fitted?.messages.map(({ id }) => id) ?? null).toEqual(kept)
    if (fitted) expect(fitted.removedMessageCount).toBe(messages.length - fitted.messages.length)
  })

  test('case 7: what fits comes back as the same list', () => {
    const list = working([u('u1'), a('a2')], 10)
    expect(fitToBudget(list, { maxTokens: 20 })?.messages).toBe(list)
  })
})

describe('a window of messages', () => {
  const tools = [u('u1'), c('c1', '1'), r('r1', '1'), c('c2', '2'), r('r2', '2'), c('c3', '3'), r('r3', '3'), a('end')]
  test.each<[string, readonly Message[], number, readonly string[] | null]>([
    ['16: 3 of 5 begin at a user (strands)', [u('u1'), a('a1'), u('u2'), a('a2'), u('u3')], 3, ['u2', 'a2', 'u3']],
    ['17: no orphan at the head (strands #7)', [u('u1'), c('c1', 'x'), r('r1', 'x'), a('a1'), u('u2')], 2, ['u2']],
    [
      '17: two pairs before it (strands #9)',
      [u('u1'), c('c1', 'x'), r('r1', 'x'), c('c2', 'y'), r('r2', 'y'), a('a1'), u('u2')],
      4,
      ['u2'],
    ],
    // Strands begins with the call; a provider wants the user first, so the request that it serves stays.
    ['18: much work on one request (strands)', tools, 4, ['u1', 'c3', 'r3', 'end']],
    ['23: window 0 clears (strands)', tools, 0, []],
    ['19: the whole conversation is within (strands)', tools, 8, null],
    ['19: nothing may leave (strands)', [s('s1'), s('s2'), s('s3')], 1, null],
    [
      '8: ten calls in one message stay with their ten results (langchain summarization)',
      [u('u1'), c('c', ...'0123456789'), ...Array.from('0123456789', (n) => r(`r${n}`, n)), u('u2')],
      12,
      ['u1', 'c', 'r0', 'r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8', 'r9', 'u2'].slice(-1),
    ],
    [
      '9: an orphan is never first (langchain summarization)',
      [u('u1'), r('o1', 'gone'), a('a1'), u('u2'), a('a2')],
      4,
      ['u2', 'a2'],
    ],
  ])('case %s', (_, messages, window, kept) => {
    expect(keptBy(slidingWindow({ messages: window }), input(working(messages, 10), 10_000))).toEqual(kept)
  })

  test('case 8: and in a window that holds them they all stay', () => {
    const messages = [a('a0'), u('u1'), c('c', ...'0123456789'), ...Array.from('0123456789', (n) => r(`r${n}`, n)), u('u2')]
    expect(keptBy(slidingWindow({ messages: 13 }), input(working(messages, 10), 10_000))).toEqual(
      messages.slice(1).map(({ id }) => id),
    )
  })
})

describe('structure', () => {
  const groupsOf = (messages: readonly Message[], more: Partial<CompactionInput> = {}): readonly (readonly number[])[] =>
    structureOf({ ...input(working(messages), 0), ...more }).groups.map(({ indexes }) => indexes)
  const loop = (id: string, callId: string): Message => said(id, 'assistant', [signed(), call(callId)])

  test.each<[string, readonly Message[], readonly (readonly number[])[]]>([
    [
      '35: part of a batch: the whole batch; other batches are their own (openhands view)',
      [c('c1', 'x', 'y'), r('r1', 'x'), r('r2', 'y'), c('c2', 'z'), r('r3', 'z')],
      [
        [0, 1, 2],
        [3, 4],
      ],
    ],
    [
      '36: a loop of signed reasoning is one (openhands view)',
      [u('u'), loop('c1', 'x'), r('r1', 'x'), c('c2', 'y'), r('r2', 'y'), a('end')],
      [[0], [1, 2, 3, 4], [5]],
    ],
    [
      '36: calls without reasoning are no loop (openhands view)',
      [u('u'), c('c1', 'x'), r('r1', 'x'), c('c2', 'y'), r('r2', 'y')],
      [[0], [1, 2], [3, 4]],
    ],
    [
      '36: a message ends a loop (openhands view)',
      [loop('c1', 'x'), r('r1', 'x'), u('u'), c('c2', 'y'), r('r2', 'y')],
      [[0, 1], [2], [3, 4]],
    ],
    [
      '38: cuts lie between pairs, batches and loops (openhands view)',
      [u('u1'), a('a1'), c('c1', 'x'), r('r1', 'x'), u('u2')],
      [[0], [1], [2, 3], [4]],
    ],
    [
      'repeated ids: a result answers the nearest open call',
      [c('c1', 'x'), r('r1', 'x'), c('c2', 'x'), r('r2', 'x')],
      [
        [0, 1],
        [2, 3],
      ],
    ],
    [
      'repeated ids: both open, answered from the inside out',
      [c('c1', 'x'), c('c2', 'x'), r('r2', 'x'), r('r1', 'x')],
      [
        [0, 3],
        [1, 2],
      ],
    ],
    [
      '37: a late second result goes with the first (openhands view)',
      [c('c1', 'x'), r('r1', 'x'), u('u'), r('late', 'x')],
      [[0, 1, 3], [2]],
    ],
    ['9: an orphan is alone (langchain summarization)', [r('o', 'gone'), u('u')], [[0], [1]]],
    [
      'a call far before its result: only 5 neighbours are searched elsewhere (edge 4)',
      [c('c1', 'x'), ...Array.from({ length: 9 }, (_, n) => u(`u${n}`)), r('r1', 'x')],
      [[0, 10], ...Array.from({ length: 9 }, (_, n) => [n + 1])],
    ],
  ])('case %s', (_, messages, groups) => expect(groupsOf(messages)).toEqual(groups))

  test('case 48: an answer to an approval goes with its request and the call; an open one stays (vercel/ai prune-messages, edges 16 and 43)', () => {
    const ask = said('ask', 'assistant', [call('x'), { type: 'approval', approvalId: 'p', callId: 'x' }])
    const yes = said('yes', 'user', [{ type: 'approval', approvalId: 'p', callId: 'x', decision: 'approved' }])
    const done = structureOf(input(working([u('u'), ask, yes, r('r', 'x'), u('u2')]), 0))
    expect(done.groups).toMatchObject([{ indexes: [0] }, { indexes: [1, 2, 3], stays: null }, { indexes: [4] }])
    const open = structureOf(input(working([u('u'), ask, u('u2')]), 0))
    expect(open.groups[1]).toMatchObject({ indexes: [1], stays: 'pending_approval' })
  })

  test('a result names its call where the source says it', () => {
    const named = said('r1', 'tool', [{ ...result('x'), callMessageId: 'c1' } as Message['parts'][number]])
    expect(groupsOf([c('c1', 'x'), c('c2', 'x'), named, r('r2', 'x')])).toEqual([
      [0, 2],
      [1, 3],
    ])
  })

  test('edge 48: calls that were just made stay, whether anyone told of them or not (mastra#24110)', () => {
    expect(structureOf(input(working([u('u'), c('c', 'x', 'y'), r('r', 'x')]), 0)).groups[1]).toMatchObject({
      indexes: [1, 2],
      stays: 'open_call',
    })
  })
})

describe('summaries', () => {
  const talk = (count: number, characters = 400): readonly Message[] =>
    Array.from({ length: count }, (_, n) =>
      said(`m${n}`, n % 2 === 0 ? 'user' : 'assistant', `${n} `.padEnd(characters, 'word ')),
    )

  test('case 26: no orphan behind a summary (strands summarizing)', () => {
    const messages = [u('u1', 'x'.repeat(2_000)), a('a1', 'y'.repeat(2_000)), c('c1', 'x'), r('r1', 'x'), a('a2'), ...talk(8)]
    const kept = keptBy(summarizing({ keepLast: 10 }), input(working(messages), 1_200)) as readonly string[]
    expect(kept).not.toContain('u1')
    expect(kept.includes('r1')).toBe(kept.includes('c1'))
  })

  test('case 26: results alone are covered whole or not at all (strands summarizing)', () => {
    const messages = Array.from({ length: 6 }, (_, n) => said(`o${n}`, 'tool', [result('gone', 'z'.repeat(800))]))
    const kept = keptBy(chronological(), input(working(messages), 500))
    expect(kept?.length).toBeLessThan(6)
  })

  test('case 25: too few messages are a no-op (strands summarizing)', () => {
    expect(summarizing({ keepLast: 3 }).plan(input(working(talk(3)), 10))).toEqual({ reason: 'too_few_messages' })
    expect(chronological().plan(input(working(talk(1)), 10))).toEqual({ reason: 'too_few_messages' })
  })

  test('case 27: compacted twice, an earlier summary is one message among those that leave, and is not counted twice (strands, edge 26)', async () => {
    const summariser = extractiveSummariser({ counter })
    const first = await summariser.summarise({ messages: talk(8), maxTokens: 400 })
    expect(first.text).toMatch(/^Summary of 8 earlier messages/)
    const second = await summariser.summarise({ messages: [said('summary', 'user', first.text), ...talk(5)], maxTokens: 400 })
    expect(second.text).toMatch(/^Summary of 13 earlier messages/)
  })

  test('case 32: what an earlier summary says is in the new one (openhands condenser)', async () => {
    const summariser = extractiveSummariser({ counter })
    const early = [
      u('u1', 'Why does roundCents in packages/billing/src/total.ts lose a cent?'),
      said('c1', 'assistant', [call('x', { path: 'packages/billing/src/total.ts' })]),
      said('r1', 'tool', [result('x', 'export function sumInvoice(lines) { return roundCents(lines) }')]),
    ]
    const first = await summariser.summarise({ messages: early, maxTokens: 400 })
    expect(first.text).toContain('- Why does roundCents in packages/billing/src/total.ts lose a cent?')
    expect(first.text).toContain('packages/billing/src/total.ts (read)')
    const second = await summariser.summarise({ messages: [said('summary', 'user', first.text), ...talk(6)], maxTokens: 400 })
    for (const kept of ['- Why does roundCents', 'packages/billing/src/total.ts (read)', 'sumInvoice'])
      expect(second.text).toContain(kept)
  })

  test('case 29 and 30: the strictest wish decides, and less than nothing is no compaction (openhands condenser)', () => {
    const list = working(talk(40))
    const target = 1_500
    const kept = keptBy(chronological(), input(list, target)) as readonly string[]
    expect(kept.length).toBeLessThan(15)
    expect(kept.at(-1)).toBe('m39')
    // Two short messages may leave: a summary of them would be as long as they are.
    const pinned = new Set(list.slice(1, -1).map(({ id }) => id))
    expect(chronological().plan(input(list, 3_900, { pinned }))).toEqual({ reason: 'nothing_removable' })
  })

  test('case 31: what cannot be made to fit is refused, and the view stays as it is (openhands condenser)', () => {
    const list = working(talk(4))
    expect(chronological().plan(input(list, 100, { pinned: new Set(['m0', 'm1']) }))).toEqual({ reason: 'nothing_removable' })
  })

  test('case 12: an empty conversation asks nobody (langchain summarization)', () => {
    expect(planIfNeeded({ messages: [], pinned: new Set(), openCalls: [], counter }, chronological())).toBeNull()
    expect(chronological().plan(input([], 0))).toEqual({ reason: 'within_target' })
  })

  test('case 14: `$&`, braces and `$$` in what was said come back as they were (edge 7)', async () => {
    const words = "Replace $& with $$ and {messages} with $' in the template"
    const { text } = await extractiveSummariser({ counter }).summarise({ messages: [u('u', words)], maxTokens: 200 })
    expect(text).toContain(`- ${words}`)
  })

  test('edge 6: the summariser is shown everything that leaves, not the last 4,000 tokens of it', () => {
    const messages = talk(100, 2_000)
    const plan = chronological().plan(input(working(messages), 8_000))
    expect('covered' in plan && plan.summary?.messages.length === plan.covered.length && plan.covered.length > 60).toBe(true)
  })

  test('edge 12: the system prompt is not summarised', () => {
    const list = working([s('sys'), ...talk(20)])
    expect(keptBy(chronological(), input(list, 800))?.[0]).toBe('sys')
  })
})

describe('reducing what does not fit', () => {
  const pair = (id: string, text: string): readonly Message[] => [c(`c${id}`, id), said(`r${id}`, 'tool', [result(id, text)])]
  const textOf = (message: Message | undefined): string => {
    const [part] = message?.parts ?? []
    const [first] = part?.type === 'tool_result' ? part.content : []
    return first?.type === 'text' ? first.text : ''
  }

  test('case 20: 900 characters keep 200 at either end, with a marker, and the status (strands)', () => {
    const text = 'h'.repeat(450) + 't'.repeat(450)
    const reduced = reduceContext(pair('x', text), { limitTokens: 10, counter })
    expect(textOf(reduced.messages[1])).toBe(`${'h'.repeat(200)}\n[500 characters cut from the middle]\n${'t'.repeat(200)}`)
    expect(reduced.messages[1]?.parts[0]).toMatchObject({ type: 'tool_result', callId: 'x', status: 'ok' })
    expect(reduced.isWithinLimit).toBe(false)
  })

  test.each([100, 400, 450])('case 21: %i characters are left alone (strands)', (length) => {
    const messages = pair('x', 'y'.repeat(length))
    expect(reduceContext(messages, { limitTokens: 1, counter })).toMatchObject({ messages, cut: [] })
  })

  test('case 21: a second pass changes nothing (strands)', () => {
    const once = reduceContext([...pair('x', 'y'.repeat(5_000)), ...pair('z', 'w'.repeat(900))], { limitTokens: 1, counter })
    const twice = reduceContext(once.messages, { limitTokens: 1, counter })
    expect([once.cut.length, twice.cut, twice.messages]).toEqual([2, [], once.messages])
  })

  test('edge 22: of a result of 5 KB and one of 500 KB the large one is cut, and no more than it takes (harness-sdk#4341)', () => {
    const messages = [...pair('small', 's'.repeat(5_000)), ...pair('large', 'l'.repeat(500_000))]
    const reduced = reduceContext(messages, { limitTokens: 2_000, counter })
    expect(reduced.cut).toMatchObject([{ messageId: 'rlarge', callId: 'large' }])
    expect([reduced.messages[1], reduced.isWithinLimit]).toEqual([messages[1], true])
  })

  test('edge 23: no cut goes through what a reader sees as one character', () => {
    const family = '👨‍👩‍👧‍👦'
    for (let before = 180; before <= 200; before++) {
      const text = `${'a'.repeat(before)}${family.repeat(100)}${'z'.repeat(before)}`
      const cut = textOf(reduceContext(pair('x', text), { limitTokens: 1, counter }).messages[1])
      const [head = '', tail = ''] = cut.split(/\n\[\d+ characters cut from the middle\]\n/)
      expect(head.replaceAll(family, '').replaceAll('a', '')).toBe('')
      expect(tail.replaceAll(family, '').replaceAll('z', '')).toBe('')
    }
  })

  test('case 22: media and data are replaced whole; a url has no size (strands)', () => {
    const content = [
      { type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'hash', hash: 'a'.repeat(64), bytes: 12_345 } },
      {
        type: 'media',
        kind: 'document',
        mediaType: 'application/pdf',
        source: { kind: 'url', url: 'https://example.org/a.pdf' },
      },
      { type: 'custom', kind: 'any.json', payload: { list: 'x'.repeat(900) } },
    ] as const
    const message = said('r', 'tool', [{ type: 'tool_result', callId: 'x', status: 'ok', content: [...content] }])
    const [reduced] = reduceContext([message], { limitTokens: 1, counter }).messages
    const texts = reduced?.parts.flatMap((part) =>
      part.type === 'tool_result' ? part.content.map((inner) => (inner.type === 'text' ? inner.text : inner)) : [],
    )
    expect(texts).toEqual([
      '[image: image/png, 12345 bytes]',
      '[document: application/pdf]',
      '[any.json: 911 characters of JSON]',
    ])
  })

  test('a pinned result is not cut, and the input stays as it was', () => {
    const messages = working(pair('x', 'y'.repeat(900)))
    expect(reduceContext(messages, { limitTokens: 1, counter, pinned: new Set(['rx']) }).cut).toEqual([])
    reduceContext(messages, { limitTokens: 1, counter })
    expect(textOf(messages[1])).toHaveLength(900)
  })
})

describe('the policy', () => {
  const policy = { ...defaultPolicy, maxContextTokens: 1_000, leastTokens: 0 }

  test('case 24: at 0.85 no, above it yes (strands proactive)', () => {
    expect([isNearLimit(850, policy), isNearLimit(851, policy)]).toEqual([false, true])
    expect([startTokens(policy), targetTokens(policy)]).toEqual([850, 600])
  })

  test('the defaults: 50,000 tokens, from 42,500 down to 30,000, and never below 10,000', () => {
    expect([startTokens(defaultPolicy), targetTokens(defaultPolicy)]).toEqual([42_500, 30_000])
    const small = { ...defaultPolicy, maxContextTokens: 12_000 }
    expect([startTokens(small), targetTokens(small)]).toEqual([10_200, 10_000])
    const tiny = { ...defaultPolicy, maxContextTokens: 4_000 }
    expect([startTokens(tiny), targetTokens(tiny)]).toEqual([4_000, 4_000])
  })

  test('edge 11: the prefix is the same from one compaction to the next', async () => {
    const summariser = extractiveSummariser({ counter })
    let list: readonly WorkingMessage[] = []
    let [compactions, changes] = [0, 0]
    for (let n = 0; n < 200; n++) {
      const before = list
      const [added] = working([said(`m${n}`, n % 2 === 0 ? 'user' : 'assistant', `${n} `.padEnd(120, 'word '))]) as [
        WorkingMessage,
      ]
      list = [...list, { ...added, position: n + 1 }]
      const plan = planIfNeeded({ messages: list, pinned: new Set(), openCalls: [], counter }, chronological(), policy)
      if (plan !== null && 'covered' in plan && plan.summary) {
        compactions += 1
        const { text } = await summariser.summarise(plan.summary)
        const [summary] = working([said(`s${n}`, 'user', text)]) as [WorkingMessage]
        const kept = list.filter(({ id }) => !plan.covered.includes(id))
        list = [{ ...summary, position: n + 1, standsAt: 1 }, ...kept]
      }
      if (before.some((message, index) => list[index]?.id !== message.id)) changes += 1
    }
    expect(compactions).toBeGreaterThan(5)
    expect([changes, compactions < 50]).toEqual([compactions, true])
  })
})

describe('the analysis', () => {
  test('counts requests, matches results, and names what is unanswered', () => {
    const found = analyze([u('u1', 'Which files changed?'), c('c1', 'x', 'y'), r('r1', 'x'), r('o', 'gone')])
    expect(found).toMatchObject({
      messages: 4,
      byRole: { user: 1, assistant: 1, tool: 2 },
      toolRequests: 2,
      matchedResults: 1,
      unansweredCalls: [{ messageId: 'c1', callId: 'y', name: 'read' }],
      orphanResults: ['o'],
      openQuestions: ['Which files changed?'],
      strategy: 'chronological',
    })
  })

  test('more than 10 tool requests: preserve-tool-context', () => {
    const requests = (count: number): readonly Message[] =>
      Array.from({ length: count }, (_, n) => [c(`c${n}`, `x${n}`), r(`r${n}`, `x${n}`)]).flat()
    expect(analyze(requests(10)).strategy).toBe('chronological')
    expect(analyze(requests(11))).toMatchObject({ strategy: 'preserve-tool-context', because: '11 tool requests, more than 10' })
  })

  test('more than 5 changes of topic: topic-based; the threads are where they were', () => {
    const subjects = [
      'sailing boats need wind harbour anchor',
      'bread flour yeast oven baking dough',
      'telescope stars galaxy orbit planet',
      'invoice tax ledger audit payment',
      'guitar chord melody rhythm song',
      'tomato garden soil seeds watering',
      'chess opening bishop gambit castle',
    ]
    const messages = subjects.flatMap((words, topic) =>
      Array.from({ length: 4 }, (_, n) => [
        u(`u${topic}-${n}`, `tell me about ${words} ${n}`),
        a(`a${topic}-${n}`, `here is what ${words} means`),
      ]).flat(),
    )
    const found = analyze(messages)
    expect(found.threads.map(({ firstMessageId }) => firstMessageId)).toEqual(subjects.map((_, topic) => `u${topic}-0`))
    expect(found).toMatchObject({ topicChanges: 6, strategy: 'topic-based' })
    expect(analyze(messages.slice(0, 8)).topicChanges).toBe(0)
  })

  test('decisions and errors are critical', () => {
    const approval = said('yes', 'user', [
      { type: 'approval', approvalId: 'p', callId: 'x', decision: 'denied', reason: 'too dear' },
    ])
    const found = analyze([c('c1', 'x'), approval, said('r1', 'tool', [result('x', 'EACCES: no entry\nat line 1', 'error')])])
    expect(found.critical).toMatchObject({ decisions: ['denied: x (too dear)'], errors: ['EACCES: no entry'] })
  })
})
