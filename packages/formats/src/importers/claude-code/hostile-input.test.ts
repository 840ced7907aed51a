import { readFileSync } from 'node:fs'
import { type ImportedFile, isColloquyError } from '@colloquy/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { accountedFor, foldImported, refusalsOf } from '../../../../../test/formats/imported.ts'
import { sha256 } from '../../../../../test/support/core-log.ts'
import { importFile } from '../import-file.ts'
import { importClaudeCode } from './claude-code.ts'

const sample = readFileSync(new URL('../../../../cli/samples/claude-code.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
const lenient = { allowTruncated: true, keepBadLines: true }

/** Imports, and says what is wrong with the outcome; a refusal is right, another error is not caught. */
function problemsWith(content: string | Uint8Array, importer: typeof importFile): string[] {
  let file: ImportedFile
  try {
    file = importer({ source: 'hostile', content, sha256, options: lenient })
  } catch (error) {
    if (isColloquyError(error, 'import_refused')) return []
    throw error
  }
  const problems: string[] = []
  for (const conversation of file.conversations) {
    const ids = new Set(conversation.commands.map(({ commandId }) => commandId))
    if (ids.size < conversation.commands.length) problems.push('two commands have one id')
    if (foldImported(conversation).unappliedCount > 0) problems.push('an action cannot be applied')
    problems.push(...refusalsOf(conversation))
  }
  if (accountedFor(file) !== file.records) problems.push(`${accountedFor(file)} of ${file.records} records are accounted for`)
  if ('polluted' in {}) problems.push('Object.prototype is polluted')
  return problems
}

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

const strange = fc.oneof(
  fc.constantFrom(null, '', 0, -1, 1e300, [], {}, [[]], '\u0000', '\ud800', 'x'.repeat(300), '<synthetic>', { $text: 'x' }),
  fc.constantFrom('toolu_01SampleTask', 'user', 'assistant', 'system', 'tool_result', 'compact_boundary', true),
  fc.jsonValue({ maxDepth: 3 }),
)

/** Puts `value` at the path that the numbers choose through what is there. */
function mutate(record: unknown, steps: readonly number[], value: unknown): void {
  let at = record as Record<string, unknown>
  for (const [depth, step] of steps.entries()) {
    const keys = Object.keys(at)
    const key = keys[step % Math.max(1, keys.length)]
    if (key === undefined) return
    const inner = at[key]
    if (depth === steps.length - 1 || typeof inner !== 'object' || inner === null) {
      at[key] = value
      return
    }
    at = inner as Record<string, unknown>
  }
}

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
