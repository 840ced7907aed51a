/**
 * A pool of a test's own. `end()` resolves before the last connections have said goodbye: a server that stops meanwhile ends them with an
 * error, which would end the whole run where nobody listens.
 */
import pg from 'pg'

export function openTestPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(config)
  pool.on('error', () => {})
  pool.on('connect', (client) => void client.on('error', () => {}))
  return pool
}
