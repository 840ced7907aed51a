import { expect, test } from 'vitest'
import { findAnomalies, type Operation } from './list-history.ts'

const append = (appended: string, begun: number, ended: number): Operation => ({ list: 'l', appended, begun, ended })
const read = (text: string, begun: number, ended: number): Operation => ({ list: 'l', read: [...text], begun, ended })
const ends = (text: string) => new Map([['l', [...text]]])
const none = { lost: 0, duplicated: 0, reordered: 0, stale: 0 }

test('a history in which each read is a beginning of the end has no anomaly', () => {
  const history = [append('a', 0, 1), append('b', 1, 4), read('a', 2, 3), read('ab', 2, 5), read('ab', 6, 7)]
  expect(findAnomalies(history, ends('ab'))).toEqual(none)
})

test('an append that is in no list at the end is lost', () => {
  expect(findAnomalies([append('a', 0, 1), append('b', 1, 2)], ends('a'))).toEqual({ ...none, lost: 1 })
})

test('a value that is there twice is duplicated', () => {
  expect(findAnomalies([append('a', 0, 1), read('aa', 2, 3)], ends('aa'))).toEqual({ ...none, duplicated: 2 })
})

test('a read in another order is reordered', () => {
  expect(findAnomalies([append('a', 0, 1), append('b', 0, 1), read('ba', 2, 3)], ends('ab'))).toEqual({ ...none, reordered: 1 })
})

test('a read that misses what was acknowledged or seen before it began is stale', () => {
  expect(findAnomalies([append('a', 0, 1), read('', 2, 3)], ends('a'))).toEqual({ ...none, stale: 1 })
  expect(findAnomalies([append('a', 0, 9), read('a', 1, 2), read('', 3, 4)], ends('a'))).toEqual({ ...none, stale: 1 })
  expect(findAnomalies([append('a', 0, 9), read('', 1, 4), read('a', 1, 2)], ends('a'))).toEqual(none)
})
