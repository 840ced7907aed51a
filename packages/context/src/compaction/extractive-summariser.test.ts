import type { Message } from '@colloquy/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyConversation, call, result, said } from '../../../../test/support/conversations.ts'
import { charactersCounter } from '../tokens/characters-counter.ts'
import { estimateCounter } from '../tokens/estimate-counter.ts'
import { extractiveSummariser } from './extractive-summariser.ts'

const summarise = async (messages: readonly Message[], maxTokens: number, instructions?: string): Promise<string> =>
  (
    await extractiveSummariser({ counter: charactersCounter }).summarise({
      messages,
      maxTokens,
      ...(instructions !== undefined && { instructions }),
    })
  ).text

test('keeps to its tokens by whatever counter, and says the same of the same messages', async () => {
  for (const counter of [charactersCounter, estimateCounter]) {
    const summariser = extractiveSummariser({ counter })
    await fc.assert(
      fc.asyncProperty(anyConversation, fc.nat(2_000), async (messages, maxTokens) => {
        const { text } = await summariser.summarise({ messages, maxTokens })
        expect(counter.count(text)).toBeLessThanOrEqual(maxTokens)
        expect(await summariser.summarise({ messages, maxTokens })).toEqual({ text })
      }),
      { numRuns: 60 },
    )
  }
})

test('takes any text: no words of anybody break it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('user', 'assistant'), fc.string({ unit: 'binary' }))), async (texts) => {
      const messages = texts.map(([role, text], n) => said(`m${n}`, role as 'user', text))
      const once = await summarise(messages, 500)
      expect(typeof (await summarise([said('s', 'user', once)], 500))).toBe('string')
    }),
  )
})

test('reads as a page: requests, what was said and done, files with their names', async () => {
  const messages = [
    said('u1', 'user', 'The cent that invoice 4711 loses must be found before Friday.'),
    said('c1', 'assistant', [call('x', { path: 'src/billing/total.ts' })]),
    said('r1', 'tool', [result('x', 'export const sumInvoice = (lines) => roundCents(lines.length * 1250)')]),
    said('a1', 'assistant', 'The sum in sumInvoice is rounded twice. The second rounding loses the cent of invoice 4711.'),
    said('c2', 'assistant', [call('y', { path: 'src/billing/total.ts', oldText: 'roundCents(lines' }, 'edit')]),
    said('r2', 'tool', [result('y', 'no such text in the file\nat edit', 'error')]),
    said('c3', 'assistant', [call('z', { command: 'npm test' }, 'bash')]),
    said('r3', 'tool', [result('z', 'passed')]),
  ]
  expect(await summarise(messages, 1_000)).toMatchInlineSnapshot(`
    "Summary of 8 earlier messages, extracted without a model; the messages themselves are in the log.
    Asked by the user:
    - The cent that invoice 4711 loses must be found before Friday.
    Said by the assistant:
    - The sum in sumInvoice is rounded twice.
    - The second rounding loses the cent of invoice 4711.
    Done:
    - edit src/billing/total.ts -> error: no such text in the file
    - bash npm test
    Files and names (behind a bar: only read so far):
    src/billing/total.ts (read, edit): oldText roundCents | lines.length 1250"
  `)
})

test('an index over an index keeps what was used and forgets what was only read', async () => {
  let summary = await summarise(
    [
      said('u', 'user', 'Look at parseInvoice in src/early/parse-invoice.ts.'),
      said('c', 'assistant', [call('x', { path: 'src/early/parse-invoice.ts' })]),
      said('r', 'tool', [result('x', Array.from({ length: 40 }, (_, n) => `readOnly${n}Name`).join(' '))]),
    ],
    500,
  )
  expect(summary).toContain('readOnly39Name')
  for (let round = 0; round < 5; round++) {
    const listing = Array.from({ length: 100 }, (_, n) => `listed${round}Name${n}`).join(' ')
    summary = await summarise(
      [
        said(`s${round}`, 'user', summary),
        said(`c${round}`, 'assistant', [call('x', { command: 'ls' }, 'bash')]),
        said(`r${round}`, 'tool', [result('x', listing)]),
      ],
      500,
    )
  }
  expect(summary).toContain('src/early/parse-invoice.ts (read)')
  expect(summary).toContain('parseInvoice')
  expect(summary).not.toContain('readOnly39Name')
  expect(summary).toMatch(/^Summary of 13 earlier messages/)
})

test('sentences that the instructions speak of come first', async () => {
  const messages = Array.from({ length: 40 }, (_, n) =>
    said(
      `a${n}`,
      'assistant',
      n === 7
        ? 'The harbour permit must be renewed in May.'
        : `The tests of module ${n} pass and the tests of module ${n + 1} run.`,
    ),
  )
  expect(await summarise(messages, 1_400)).not.toContain('harbour permit')
  expect(await summarise(messages, 1_400, 'Keep everything about the harbour.')).toContain('harbour permit')
})

test('of a result that was too long to stay, the beginning and the end are quoted, and its names outlive the quote', async () => {
  const lines = Array.from({ length: 400 }, (_, n) => `${n + 1}: const value${n}Name = load(${n})`)
  const first = await summarise(
    [
      said('u', 'user', 'Read it.'),
      said('c', 'assistant', [call('x', { path: 'src/long.ts' })]),
      said('r', 'tool', [result('x', lines.join('\n'))]),
    ],
    900,
  )
  for (const quoted of ['> 1: const value0Name', '> …', '> 400: const value399Name']) expect(first).toContain(quoted)
  const second = await summarise([said('s', 'user', first), said('u2', 'user', 'Go on.')], 900)
  expect(second).not.toContain('> 1:')
  expect(second).toContain('value399Name')
})

test('words that somebody adds to a summary that they quote are heard', async () => {
  const first = await summarise(
    [said('u', 'user', 'Read src/a.ts first.'), said('c', 'assistant', [call('x', { path: 'src/a.ts' })])],
    500,
  )
  const quoted = `${first}\nNow compare it with src/b.ts please.`
  const second = await summarise([said('q', 'user', quoted)], 500)
  expect(second).toContain('- Now compare it with src/b.ts please.')
  expect(second).toContain('- Read src/a.ts first.')
})
