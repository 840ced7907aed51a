import { expect, test } from 'vitest'
import { segmentsOf, sharedPosition } from './fork.ts'

test('a conversation that is no fork is read from itself', () => {
  expect(segmentsOf('a', [])).toEqual([{ conversationId: 'a', from: 1, to: Infinity }])
})

test('a fork of a fork is read from the root, the fork and itself, each up to where the next one left it', () => {
  const ancestry = [
    { conversationId: 'a', position: 3 },
    { conversationId: 'a~1', position: 5 },
  ]
  expect(segmentsOf('a~2', ancestry)).toEqual([
    { conversationId: 'a', from: 1, to: 3 },
    { conversationId: 'a~1', from: 4, to: 5 },
    { conversationId: 'a~2', from: 6, to: Infinity },
  ])
})

test.each([3, 2])('a parent that was left at %i, where it had nothing of its own yet, contributes nothing', (position) => {
  const ancestry = [
    { conversationId: 'a', position: 3 },
    { conversationId: 'a~1', position },
  ]
  expect(segmentsOf('a~2', ancestry)).toEqual([
    { conversationId: 'a', from: 1, to: position },
    { conversationId: 'a~2', from: position + 1, to: Infinity },
  ])
})

test('two branches share what lies before the first place where one of them parts', () => {
  const of = (id: string, ...points: [string, number][]) =>
    segmentsOf(
      id,
      points.map(([conversationId, position]) => ({ conversationId, position })),
    )
  const root = of('a')
  const early = of('a~1', ['a', 3])
  const late = of('a~2', ['a', 5])
  const later = of('a~3', ['a', 5], ['a~2', 8])
  expect(sharedPosition(root, early)).toBe(3)
  expect(sharedPosition(early, late)).toBe(3)
  expect(sharedPosition(later, late)).toBe(8)
  expect(sharedPosition(later, root)).toBe(5)
  expect(sharedPosition(root, root)).toBe(Infinity)
  expect(sharedPosition(root, of('b'))).toBe(0)
})
