import { createHash } from 'node:crypto'
import {
  type Action,
  contextCompacted,
  conversationStarted,
  errorRecorded,
  type Message,
  messageAdded,
  messageRedacted,
  openEnvelope,
  turnInterrupted,
} from '@colloquy/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { envelopesOf } from '../../../../test/support/core-log.ts'
import { exportHtml } from './export-html.ts'
import type { ExportOptions } from './exporters.ts'
import { htmlStyle, htmlStyleHash } from './html-style.ts'
import { escapeHtml } from './html-text.ts'

const say = (id: string, role: Message['role'], ...parts: Message['parts']) =>
  messageAdded({ message: { v: 1, id, role, parts }, tokenCount: 1 })
const text = (words: string) => ({ type: 'text' as const, text: words })
const page = (actions: readonly Action[], options?: ExportOptions) => exportHtml(envelopesOf(actions).map(openEnvelope), options)
const call = (callId: string) => ({
  type: 'tool_call' as const,
  callId,
  name: 'Bash',
  args: { raw: '{"command":"ls"}', json: { command: 'ls' }, valid: true },
  executor: { kind: 'client' as const },
})
const result = (callId: string, words: string) => ({
  type: 'tool_result' as const,
  callId,
  status: 'ok' as const,
  content: [text(words)],
})

describe('the page', () => {
  const html = page([
    conversationStarted({
      title: 'A & B <c>',
      source: { format: 'chatgpt', id: 's' },
      parent: { relation: 'fork', conversationId: 'p', messageId: 'u' },
    }),
    say('m1', 'user', text('What is here?')),
    say('m2', 'assistant', { type: 'reasoning', text: 'I look.', redacted: false }, call('c1'), call('c2')),
    say('m3', 'tool', result('c1', 'a file')),
    errorRecorded({ kind: 'api_error', problem: 'Overloaded', attempt: 2 }),
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
  ])

  test('says who said what, where it comes from, and what happened', () => {
    expect(html).toContain('<title>A &amp; B &lt;c&gt;</title>')
    expect(html).toContain('A fork of p, after message u')
    expect(html).toContain('<article class="user">')
    expect(html).toContain('Context compacted: 3 messages, 3 tokens before, 2 after.')
    expect(html).toContain('They looked.')
    expect(html).toContain('Error (api_error, attempt 2)')
    expect(html).toContain('Turn interrupted: enough')
  })

  test('folds a call with its result inside, and the message that was nothing but the result is not there twice', () => {
    expect(html.match(/<summary>Bash \(c1\): ok<\/summary>[^]*?<\/details>/)?.[0]).toContain('<pre dir="auto">a file</pre>')
    expect(html).toContain('<summary>Bash (c2): no result</summary>')
    expect(html.split('a file')).toHaveLength(2)
    expect(html).not.toContain('<article class="tool">')
  })

  test('loads nothing and runs nothing: its policy allows its own style and pictures inside it', () => {
    expect(htmlStyleHash).toBe(`sha256-${createHash('sha256').update(htmlStyle).digest('base64')}`)
    expect(html).toContain(
      `content="default-src 'none'; style-src '${htmlStyleHash}'; img-src data:; base-uri 'none'; form-action 'none'"`,
    )
    expect(html).toContain(`<style>${htmlStyle}</style>`)
    expect(html).not.toMatch(/<script|<link|<iframe|\son\w+=|https?:\/\//)
  })

  test('follows the reader in dark and light', () => {
    expect(html).toContain('prefers-color-scheme:dark')
  })
})

test('nothing that was said is taken for markup, wherever it stands', () => {
  const evil = `</style><script>alert(1)</script><img src=x onerror="alert('2')">&quot;`
  const everywhere = [
    conversationStarted({ title: evil, source: { format: evil, id: evil } }),
    messageAdded({
      message: {
        v: 1,
        id: evil,
        role: 'assistant',
        author: { name: evil },
        model: { provider: 'x', id: evil },
        parts: [
          text(evil),
          { type: 'text', text: 'x', citations: [{ kind: 'url', url: `javascript:${evil}`, title: evil }] },
          { type: 'reasoning', text: evil, redacted: false },
          { type: 'refusal', text: evil },
          { ...call('c'), name: evil, args: { raw: evil, valid: false } },
          { ...result('c', evil), content: [text(evil), { type: 'custom', kind: evil, payload: { [evil]: evil } }] },
          {
            type: 'media',
            kind: 'image',
            mediaType: `image/png"${evil}`,
            filename: evil,
            source: { kind: 'hash', hash: 'a'.repeat(64), bytes: 3 },
          },
          { type: 'media', kind: 'image', mediaType: 'image/*', source: { kind: 'url', url: `javascript:${evil}` } },
          { type: 'compaction', content: evil },
          { type: 'custom', kind: evil, payload: evil },
          { type: 'approval', approvalId: 'a', callId: 'c' },
          { type: 'citation_source', sourceId: evil },
          { type: 'tool_change', change: 'add', ref: evil },
          { type: 'control', kind: evil },
        ],
      },
      tokenCount: 1,
    }),
    errorRecorded({ kind: evil, problem: evil }),
    turnInterrupted({ turnId: 't', reason: evil }),
  ]
  const html = page(everywhere, { media: () => Uint8Array.of(1, 2, 3) })
  const tags = new Set(html.match(/<\/?[a-z]+\d?/gi))
  expect(tags).not.toContain('<script')
  expect(tags).not.toContain('<img')
  expect(html.match(/<\/style>/g)).toHaveLength(1)
  expect(html).not.toMatch(/(href|src)="(?!#p\d+"|data:)/)
  expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
})

test('no text at all leaves its place', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (words) => {
      const escaped = escapeHtml(words)
      expect(escaped).not.toMatch(/[<>"']/)
      expect(escaped.isWellFormed()).toBe(true)
      expect(escaped).not.toMatch(/&(?!(amp|lt|gt|quot|#39);)/)
    }),
  )
})

test('marks that turn the direction of text, and control characters, are shown', () => {
  expect(escapeHtml('a\u202eb\u0000c\nd\te')).toBe('a[U+202E]b[U+0000]c\nd\te')
})

test('a picture whose bytes are found is in the page; other kinds are named', () => {
  const media = (mediaType: string) =>
    say('m', 'user', {
      type: 'media',
      kind: 'image',
      mediaType,
      filename: 'cat',
      source: { kind: 'hash', hash: 'b'.repeat(64), bytes: 3 },
    })
  const found = { media: () => Uint8Array.of(1, 2, 3) }
  expect(page([media('image/png')], found)).toContain('<img alt="cat" src="data:image/png;base64,AQID">')
  expect(page([media('image/png')])).toContain(`(image cat, image/png, 3 bytes, sha256 ${'b'.repeat(64)})`)
  expect(page([media('image/svg+xml')], found)).not.toContain('<img')
})

test('what was redacted or erased is not in the page', () => {
  const [first, second, third] = envelopesOf([
    say('m1', 'user', text('my password')),
    say('m2', 'user', text('my address')),
    messageRedacted({ messageId: 'm1' }),
  ]).map(openEnvelope)
  if (!first || !second || !third) throw new Error('unreachable')
  const html = exportHtml([first, { ...second, salt: null }, third])
  expect(html).not.toMatch(/password|address/)
  expect(html).toContain('(redacted)')
  expect(html).toContain('messageAdded was erased')
})
