import { textMessage } from '@colloquy/core'
import { expect, test } from 'vitest'
import { result } from '../../../../test/support/conversations.ts'
import { errors, openQuestions } from './critical-context.ts'

const family = '👩‍👩‍👧'

test('an open question is cut between characters as people see them', () => {
  const [cut = ''] = openQuestions([textMessage('m', 'user', `Why ${family.repeat(40)}?`)])
  expect(cut).toBe(`Why ${family.repeat(24)}`)
})

test('so is the first line of an error', () => {
  const failed = result('c', `${'😀'.repeat(99)}x😀 failed`, 'error')
  const [cut = ''] = errors([{ v: 1, id: 'm', role: 'tool', parts: [failed] }])
  expect(cut).toBe(`${'😀'.repeat(99)}x`)
})
