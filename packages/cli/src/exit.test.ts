import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { failureText } from './exit.ts'

function thrownBy(call: () => unknown): unknown {
  try {
    return call()
  } catch (error) {
    return error
  }
}

test('a failed call to the system says its code once', () => {
  const failure = thrownBy(() => readFileSync('/nowhere/at/all'))
  expect(failureText(failure, { json: false, debug: false })).toBe("ENOENT: no such file or directory, open '/nowhere/at/all'")
  expect(JSON.parse(failureText(failure, { json: true, debug: false }))).toEqual({
    code: 'ENOENT',
    message: "no such file or directory, open '/nowhere/at/all'",
  })
})
