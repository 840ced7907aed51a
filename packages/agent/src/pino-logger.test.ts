import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { LogFields } from './logger.ts'
import { pinoLogger } from './pino-logger.ts'

function captured() {
  const lines: string[] = []
  return { lines, destination: { write: (line: string) => void lines.push(line) } }
}

test('each level is pino’s, and what is below the level is not written', () => {
  const { lines, destination } = captured()
  const logger = pinoLogger({ destination })
  logger.debug('debugged', { attempt: 1 })
  logger.info('informed', { attempt: 2 })
  logger.warn('warned', { code: 'tier_failed' })
  logger.error('failed', { status: null })
  expect(lines.map((line) => JSON.parse(line) as Record<string, unknown>)).toMatchObject([
    { level: 30, attempt: 2, msg: 'informed' },
    { level: 40, code: 'tier_failed', msg: 'warned' },
    { level: 50, status: null, msg: 'failed' },
  ])
})

test('your own pino keeps its bindings', () => {
  const { lines, destination } = captured()
  pinoLogger({ pino: pino({ level: 'debug', base: { service: 'chat' } }, destination) }).debug('m')
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 20, service: 'chat', msg: 'm' })
})

test('an object that got among the fields is left out: it could be a message, or an error that quotes one', () => {
  const { lines, destination } = captured()
  const fields = { message: { text: 'secret' }, error: new Error('secret'), list: ['secret'], id: 'm1' } as unknown as LogFields
  pinoLogger({ destination }).error('m', fields)
  expect(lines.join()).toContain('"id":"m1"')
  expect(lines.join()).not.toContain('secret')
})

test('the text of an error is written only where that was asked for', () => {
  const { lines, destination } = captured()
  for (const withProblems of [undefined, true]) {
    pinoLogger({ destination, ...(withProblems && { withProblems }) }).warn('m', {
      kind: 'rejected',
      problem: 'cannot take "secret"',
    })
  }
  expect(lines.map((line) => line.includes('secret'))).toEqual([false, true])
})
