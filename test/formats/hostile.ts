/** Input that nobody wrote in good faith, and what is wrong with what an importer makes of it. */
import { type ImportedFile, isColloquyError } from '@colloquy/core'
import { type HeldInput, importFile } from '@colloquy/formats'
import fc from 'fast-check'
import { sha256 } from '../support/core-log.ts'
import { accountedFor, foldImported, refusalsOf, schemaRefusalsOf } from './imported.ts'

const lenient = { allowTruncated: true, keepBadLines: true }

/** Imports, and says what is wrong with the outcome; a refusal is right, another error is not caught. */
export function problemsWith(content: string | Uint8Array, importer: (input: HeldInput) => ImportedFile = importFile): string[] {
  let file: ImportedFile
  try {
    file = importer({ source: 'hostile', content, sha256, options: lenient })
  } catch (error) {
    if (isColloquyError(error, 'import_refused')) return []
    throw error
  }
  const problems: string[] = []
  // Guards look at the state before each action, which takes long: of most files the schemas and the fold must do. By the file alone,
  // so that one which fails fails again.
  const isThorough = content.length % 20 === 0
  for (const conversation of file.conversations) {
    const ids = new Set(conversation.commands.map(({ commandId }) => commandId))
    if (ids.size < conversation.commands.length) problems.push('two commands have one id')
    if (foldImported(conversation).unappliedCount > 0) problems.push('an action cannot be applied')
    problems.push(...(isThorough ? refusalsOf(conversation) : schemaRefusalsOf(conversation)))
  }
  const ids = new Set(file.conversations.map(({ conversationId }) => conversationId))
  if (ids.size < file.conversations.length) problems.push('two conversations have one id')
  if (accountedFor(file) !== file.records) problems.push(`${accountedFor(file)} of ${file.records} records are accounted for`)
  if ('polluted' in {}) problems.push('Object.prototype is polluted')
  return problems
}

/** Values that a field may hold but should not; `words` are those that mean something to the format. */
export const strangeValue = (...words: readonly unknown[]) =>
  fc.oneof(
    fc.constantFrom(
      null,
      '',
      0,
      -1,
      1e300,
      [],
      {},
      [[]],
      '\u0000',
      '\ud800',
      'x'.repeat(300),
      { $text: 'x' },
      { $message: '/x' },
      true,
    ),
    fc.constantFrom(...words, 'id', 'user', 'assistant'),
    fc.jsonValue({ maxDepth: 2 }),
  )

/** Puts `value` at the path that the numbers choose through what is there. */
export function mutate(record: unknown, steps: readonly number[], value: unknown): void {
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

/** Documents of a family with up to three fields changed, and their text cut or broken now and then. */
export function hostileTexts(documents: readonly unknown[], ...words: readonly unknown[]): fc.Arbitrary<string> {
  const change = fc.tuple(fc.array(fc.nat(30), { minLength: 1, maxLength: 7 }), strangeValue(...words))
  const broken = fc.tuple(
    fc.nat(2000),
    fc.nat(12),
    fc.constantFrom('', '"', '{', '}', ',', '1e999', '12345678901234567890', '"__proto__":{"polluted":1},'),
  )
  return fc
    .tuple(fc.constantFrom(...documents), fc.array(change, { maxLength: 3 }), fc.option(broken, { freq: 4 }))
    .map(([document, changes, edit]) => {
      const copy: unknown = structuredClone(document)
      for (const [steps, value] of changes) mutate(copy, steps, structuredClone(value))
      const text = JSON.stringify(copy)
      if (edit === null) return text
      const at = edit[0] % text.length
      return text.slice(0, at) + edit[2] + text.slice(at + edit[1])
    })
}
