/** Transcripts of agent programs that nobody wrote in good faith: 10,000 of them. */
import { importFile } from '@colloquy/formats'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { agentDocuments, agentLists } from './agent-samples.ts'
import { hostileTexts, mutate, problemsWith, strangeValue } from './hostile.ts'

const words = ['c1', 'a1', 'e3', 'm1', 't1', 'message', 'assistant', 'tool', 'compaction', 'error', 1, 3]

test.each(agentDocuments.map((document, index) => [index, document]))('sample %i is imported whole as it is', (_, document) => {
  const content = JSON.stringify(document)
  expect(problemsWith(content)).toEqual([])
  expect(importFile({ source: 'sample', content, sha256 }).conversations.length).toBeGreaterThan(0)
})

test('documents with fields changed or text broken are imported whole or refused with import_refused', () => {
  fc.assert(
    fc.property(hostileTexts(agentDocuments, ...words), (text) => {
      expect(problemsWith(text)).toEqual([])
    }),
    { numRuns: 6000 },
  )
})

test('lines in any order and number, with fields changed, cut or glued, are imported whole or refused', () => {
  const change = fc.tuple(fc.array(fc.nat(12), { minLength: 1, maxLength: 6 }), strangeValue(...words))
  const lines = fc.constantFrom(...agentLists).chain((list) =>
    fc.array(
      fc.tuple(fc.constantFrom(...list), fc.array(change, { maxLength: 2 }), fc.constantFrom('\n', '\n', '\n', '', '\n\n')),
      {
        minLength: 1,
        maxLength: 8,
      },
    ),
  )
  fc.assert(
    fc.property(lines, fc.option(fc.nat(200), { freq: 5 }), (records, cut) => {
      const text = records.map(([record, changes, end]) => {
        const copy: unknown = structuredClone(record)
        for (const [steps, value] of changes) mutate(copy, steps, structuredClone(value))
        return JSON.stringify(copy) + end
      })
      const content = text.join('')
      expect(problemsWith(cut === null ? content : content.slice(0, -cut || undefined))).toEqual([])
    }),
    { numRuns: 4000 },
  )
})
