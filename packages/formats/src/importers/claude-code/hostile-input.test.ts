import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mutate, problemsWith, strangeValue } from '../../../../../test/formats/hostile.ts'
import { importFile } from '../import-file.ts'
import { importClaudeCode } from './claude-code.ts'

const sample = readFileSync(new URL('../../../../cli/samples/claude-code.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
test('arbitrary bytes and texts are imported or refused with import_refused', () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.string({ maxLength: 200 }),
    fc.json().map((json) => `${json}\n${json}`),
  )
  fc.assert(
    fc.property(content, (bytes) => {
      expect(problemsWith(bytes, importFile)).toEqual([])
      expect(problemsWith(bytes, importClaudeCode)).toEqual([])
    }),
    { numRuns: 10_000 },
  )
})

const strange = strangeValue('<synthetic>', 'toolu_01SampleTask', 'system', 'tool_result', 'compact_boundary')

test('records with any field changed, in any order and number, are imported or refused with import_refused', () => {
  const change = fc.tuple(fc.array(fc.nat(20), { minLength: 1, maxLength: 6 }), strange)
  const record = fc.tuple(fc.constantFrom(...sample), fc.array(change, { maxLength: 2 }))
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), (records) => {
      const lines = records.map(([line, changes]) => {
        const copy: unknown = JSON.parse(line)
        for (const [steps, value] of changes) mutate(copy, steps, structuredClone(value))
        return JSON.stringify(copy)
      })
      expect(problemsWith(lines.join('\n'), importClaudeCode)).toEqual([])
    }),
    { numRuns: 5000 },
  )
})

test('a file that was cut, or lost or gained characters, is imported or refused with import_refused', () => {
  const edit = fc.tuple(
    fc.nat(3000),
    fc.nat(30),
    fc.constantFrom('', '"', '{', '}', '[', '\\', '\n', ',', '1e999', '"__proto__":{"polluted":1},'),
  )
  fc.assert(
    fc.property(fc.nat(sample.length - 4), fc.array(edit, { maxLength: 4 }), (from, edits) => {
      let text = sample.slice(from, from + 4).join('\n')
      for (const [at, length, inserted] of edits) text = text.slice(0, at) + inserted + text.slice(at + length)
      expect(problemsWith(text, importClaudeCode)).toEqual([])
    }),
    { numRuns: 5000 },
  )
})
