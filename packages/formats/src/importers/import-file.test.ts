import { expect, test } from 'vitest'
import { toFile, userLine } from '../../../../test/formats/session-records.ts'
import { sha256 } from '../../../../test/support/core-log.ts'
import { isClaudeCode } from './claude-code/claude-code.ts'
import { formats, importFile, openTranscript } from './import-file.ts'

test('a format is found by the content, whatever the file is called', () => {
  const content = toFile(userLine('Hello', { uuid: 'u1' }))
  expect(importFile({ source: 'chat.json', content, sha256 }).format).toBe('claude-code')
})

test('what is of no format is refused with the formats that are known', () => {
  expect(() => importFile({ source: 'a.jsonl', content: '{"messages":[]}', sha256 })).toThrow(
    expect.objectContaining({
      code: 'import_refused',
      message: expect.stringMatching(
        /a\.jsonl was not imported; line 1: nothing in the file is of a format that can be imported\. .*\(claude-code, .*\).*Nothing of it was stored/,
      ),
    }),
  )
})

const pretty = JSON.stringify({ sessionId: 's', messages: [{ type: 'user', content: 'Hello' }] }, null, 1)

test.each([
  ['cut', pretty.slice(0, -8), 6, 'the JSON that begins in line 1 does not end: the file was cut'],
  ['followed by something', `${pretty}\n\n}`, 11, 'something follows behind the end of the JSON that begins in line 1'],
  ['written wrong', pretty.replace('"user",', '"user"'), 6, 'the JSON that begins in line 1 is not whole JSON'],
])('a value over several lines that is %s is refused where it is damaged', (_, content, line, problem) => {
  expect(openTranscript({ source: 'a.json', content, sha256 })).toMatchObject({ format: undefined, problem })
  expect(() => importFile({ source: 'a.json', content, sha256 })).toThrow(
    expect.objectContaining({ details: { source: 'a.json', line, problem: expect.stringContaining(problem) } }),
  )
})

test.each([
  ['a document with a key twice', '{"title":"a","title":"b","mapping":{}}', 1, '$ holds the same key twice'],
  ['a document with __proto__ in it', '{\n "mapping": {"__proto__": {}}, "x": 1\n}', 1, '$.mapping holds the key __proto__'],
  ['a list', '[{"messages":[],"messages":[]}]', 1, '$[0] holds the same key twice'],
  ['a line', '{"a":1}\n{"messages":[],"messages":[]}', 2, '$.messages holds the same key twice'],
])('%s that is of no format for that is refused with the reason and its path', (_, content, line, reason) => {
  const problem = `${reason}, and nothing else in the file is of a format that can be imported`
  expect(openTranscript({ source: 'a.json', content, sha256 })).toMatchObject({ format: undefined, problem })
  expect(() => importFile({ source: 'a.json', content, sha256 })).toThrow(
    expect.objectContaining({ details: { source: 'a.json', line, problem: expect.stringContaining(problem) } }),
  )
})

test('garbage is refused with the line at which it begins', () => {
  expect(() => importFile({ source: 'a.jsonl', content: '\n\nLorem ipsum', sha256 })).toThrow(
    expect.objectContaining({
      details: expect.objectContaining({
        line: 3,
        problem: expect.stringMatching(/^this is not JSON, and nothing else in the file is of a format that can be imported/),
      }),
    }),
  )
})

test('every format has an id of its own', () => {
  expect(new Set(formats.map(({ id }) => id)).size).toBe(formats.length)
})

test.each([
  ['a session record', { type: 'user', uuid: 'u', sessionId: 's' }, true],
  ['a title', { type: 'summary', summary: 's', leafUuid: 'u' }, true],
  ['a snapshot', { type: 'file-history-snapshot', messageId: 'm', snapshot: {} }, true],
  ['a record of the SDK', { type: 'assistant', uuid: 'u', session_id: 's' }, false],
  ['a pi header', { type: 'session', id: 's', cwd: '/' }, false],
  ['a list', [{ type: 'user', uuid: 'u', sessionId: 's' }], false],
])('%s: a Claude Code session or not', (_, value, expected) => {
  expect(isClaudeCode([null, 1, value])).toBe(expected)
})
