import {
  type Action,
  contextCompacted,
  conversationCleared,
  conversationForked,
  conversationStarted,
  conversationTitled,
  envelopeProblem,
  errorRecorded,
  genesisHash,
  type Message,
  messageAdded,
  messageRedacted,
  type OpenedEnvelope,
  openEnvelope,
  type StoredEnvelope,
  turnInterrupted,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { envelopesOf, sha256, testKey } from '../../../../test/support/core-log.ts'
import { exportHtml } from './export-html.ts'
import { exportJsonLine } from './export-json-line.ts'
import { exportMarkdown } from './export-markdown.ts'
import { exportTranscriptJson } from './export-transcript-json.ts'

const opened = (...actions: readonly Action[]): OpenedEnvelope[] => envelopesOf(actions).map(openEnvelope)
const say = (id: string, role: Message['role'], ...parts: Message['parts']) =>
  messageAdded({ message: { v: 1, id, role, parts }, tokenCount: 1 })
const text = (words: string) => ({ type: 'text' as const, text: words })

test('a fork says which conversation it continues after which position, and a conversation that was cleared says why', () => {
  const fork = opened(
    conversationStarted({
      source: { format: 'chatgpt', id: 's1' },
      parent: { relation: 'sidechain', conversationId: 'elsewhere' },
    }),
    say('m1', 'user', text('Hello')),
    conversationForked({ parentId: 'p', position: 2, messageId: 'm1' }),
    say('m2', 'assistant', text('Hi')),
    conversationCleared({ reason: 'enough\nof it' }),
  )
  expect(exportMarkdown(fork)).toContain('**Context cleared**: enough of it · ')
  expect(exportMarkdown(fork)).toContain('\n- A fork of `p`, after position 2\n')
  expect(exportHtml(fork)).toContain('A fork of p, after position 2')
  expect(JSON.parse(exportTranscriptJson(fork))).toMatchObject({
    source: { format: 'chatgpt', id: 's1' },
    parent: { relation: 'fork', conversationId: 'p', position: 2, messageId: 'm1' },
  })
})

describe('exportMarkdown', () => {
  test('tells who said what, with calls, results, errors and compactions', () => {
    const call = { raw: '{"command":"ls"}', json: { command: 'ls' }, valid: true }
    const markdown = exportMarkdown(
      opened(
        conversationStarted({ source: { format: 'claude-code', id: 's1' } }),
        say('m1', 'user', text('What is here?')),
        say(
          'm2',
          'assistant',
          { type: 'reasoning', text: 'I should look.\n</details>', redacted: false },
          { type: 'tool_call', callId: 'c1', name: 'Bash', args: call, executor: { kind: 'client' } },
        ),
        say('m3', 'tool', { type: 'tool_result', callId: 'c1', status: 'ok', content: [text('```\na fence\n```\n')] }),
        errorRecorded({ kind: 'api_error', problem: 'Overloaded', attempt: 1, retryInMs: 534.7 }),
        contextCompacted({
          covered: { messageIds: ['m1', 'm2', 'm3'], ranges: [[2, 4]], tokens: 3 },
          summary: {
            message: { v: 1, id: 's', role: 'user', parts: [{ type: 'compaction', content: 'They looked.' }] },
            tokenCount: 2,
          },
          strategy: 'test',
          trigger: 'auto',
          before: { messages: 3, tokens: 3 },
          after: { messages: 1, tokens: 2 },
        }),
        turnInterrupted({ turnId: 't', reason: 'enough' }),
        conversationTitled({ title: 'Looking around' }),
      ),
    )
    expect(markdown).toBe(`# Looking around

- Conversation \`c1\`
- Imported from claude-code session \`s1\`
- Positions 1 to 8, 2026-01-01T00:00:01.000Z to 2026-01-01T00:00:08.000Z

## User · 2026-01-01T00:00:02.000Z · #2

What is here?

## Assistant · 2026-01-01T00:00:03.000Z · #3

<details>
<summary>Reasoning</summary>

> I should look.
> &lt;/details>

</details>

**Call** \`Bash\` (\`c1\`)

\`\`\`json
{
  "command": "ls"
}
\`\`\`

## Tool · 2026-01-01T00:00:04.000Z · #4

**Result** of \`Bash\` (\`c1\`): ok

\`\`\`\`
\`\`\`
a fence
\`\`\`
\`\`\`\`

> **Error** (api_error, attempt 1, again in 535 ms) · 2026-01-01T00:00:05.000Z · #5
> Overloaded

---

**Context compacted** · 2026-01-01T00:00:06.000Z · #6: 3 messages, 3 tokens before, 2 after. The messages above are still in the log.

<details>
<summary>Summary</summary>

> They looked.

</details>

---

> **Turn interrupted**: enough · 2026-01-01T00:00:07.000Z · #7
`)
  })

  test('shows neither what was redacted nor what was erased', () => {
    const [first, second, ...rest] = opened(
      say('m1', 'user', text('my password')),
      say('m2', 'user', text('my address')),
      messageRedacted({ messageId: 'm1' }),
    )
    if (first === undefined || second === undefined) throw new Error('unreachable')
    const markdown = exportMarkdown([first, { ...second, salt: null }, ...rest])
    expect(markdown).not.toMatch(/password|address/)
    expect(markdown).toContain('*(redacted)*')
    expect(markdown).toContain('*(messageAdded at #2: erased)*')
  })

  test('of no envelopes is a title only', () => {
    expect(exportMarkdown([])).toBe('# \n\n- Conversation ``\n')
  })
})

test('exportTranscriptJson gives the words with positions and times, and hides the same', () => {
  const transcript: unknown = JSON.parse(
    exportTranscriptJson(
      opened(
        conversationStarted({ title: 'T' }),
        say('m1', 'user', text('Hello \u0000')),
        say('m2', 'user', text('secret')),
        messageRedacted({ messageId: 'm2' }),
      ),
    ),
  )
  expect(transcript).toEqual({
    format: 'colloquy-transcript@1',
    ...testKey,
    title: 'T',
    positions: [1, 4],
    startedAt: '2026-01-01T00:00:01.000Z',
    endedAt: '2026-01-01T00:00:04.000Z',
    entries: [
      {
        kind: 'message',
        position: 2,
        at: '2026-01-01T00:00:02.000Z',
        message: { v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text: 'Hello \u0000' }] },
      },
      {
        kind: 'message',
        position: 3,
        at: '2026-01-01T00:00:03.000Z',
        message: { v: 1, id: 'm2', role: 'user', parts: [] },
        hidden: 'redacted',
      },
    ],
  })
})

describe('exportJsonLine', () => {
  const fromHex = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'))

  /** What a reader of the lines does, with nothing but the lines. */
  const readBack = (line: string): StoredEnvelope => {
    const { format, salt, commit, hash, inputHash, body, ...rest } = JSON.parse(line)
    expect(format).toBe('colloquy-envelope@1')
    return {
      ...rest,
      salt: salt === null ? null : fromHex(salt),
      commit: fromHex(commit),
      hash: fromHex(hash),
      inputHash: inputHash === null ? null : fromHex(inputHash),
      body: new TextEncoder().encode(body),
    }
  }

  const problemsOf = (envelopes: readonly StoredEnvelope[]): (string | undefined)[] => {
    let previousHash = genesisHash(testKey, sha256)
    return envelopes.map((envelope, index) => {
      const problem = envelopeProblem(envelope, { position: index + 1, previousHash }, sha256)
      previousHash = envelope.hash
      return problem
    })
  }

  const envelopes = envelopesOf([say('m1', 'user', text('Hello \u0000 \ud800 \u2028 ü')), say('m2', 'assistant', text('Hi'))])

  test('is one line, and gives back the envelope as it was', () => {
    for (const envelope of envelopes) {
      const line = exportJsonLine(envelope)
      expect(line).not.toContain('\n')
      expect(readBack(line)).toEqual(envelope)
    }
  })

  test('lets the chain be verified offline, and shows a change', () => {
    const lines = envelopes.map(exportJsonLine)
    expect(problemsOf(lines.map(readBack))).toEqual([undefined, undefined])
    const changed = lines.map((line) => line.replace('Hi', 'Ho'))
    expect(problemsOf(changed.map(readBack))).toEqual([undefined, 'the body is not the one that was committed to'])
  })

  test('of an erased envelope has no salt', () => {
    const [first] = envelopes
    if (first === undefined) throw new Error('unreachable')
    expect(readBack(exportJsonLine({ ...first, salt: null, inputHash: null }))).toMatchObject({ salt: null, inputHash: null })
  })
})
