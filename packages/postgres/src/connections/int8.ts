import { ColloquyError } from '@colloquy/core'

/**
 * A bigint column as a number. Drivers differ (pg gives strings, PGlite numbers and bigints, and an application may have set parsers of
 * its own), so every bigint that is read goes through here.
 * @throws `database_failed` beyond 2^53 - 1, where a number would be a neighbour of the value
 */
export function safeInteger(value: string | number | bigint): number {
  const number = Number(value)
  if (Number.isSafeInteger(number)) return number
  throw new ColloquyError('database_failed', {
    operation: 'give an integer that JavaScript can hold',
    sqlState: null,
    problem: `${value} is not an integer up to 2^53 - 1`,
  })
}

/** Postgres' type number of bigint. */
export const int8Oid = 20
