import { createServer } from 'node:net'

/** Below where Linux (32768), macOS and Windows (49152) begin to give out ports by themselves. */
const first = 20_000
const count = 12_000

/**
 * A port of 127.0.0.1 for a server that is started, or started again, later. Not one that the system chose: those are also given to
 * whoever connects to somewhere meanwhile, and it takes seconds until a database listens.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = first + Math.floor(Math.random() * count)
    if (await isFree(port)) return port
  }
  throw new Error(`None of 100 ports from ${first} on is free.`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
