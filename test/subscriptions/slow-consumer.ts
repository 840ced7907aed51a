/** A process with a consumer that is far slower than the appends, which says how its memory grew. */
import { setTimeout } from 'node:timers/promises'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'

const [url = '', consumer] = process.argv.slice(2)
const log = await openPostgresLog({ url })
const engine = createEngine({ log, tenant: 'tenant' })
let handled = 0
let atFirst: number | undefined

/** Once the first page is through: what a program and its page take anyway is not growth. */
function count(): void {
  handled += 1
  if (handled === 500) atFirst = memory()
}

/** Through the first pages quickly, and then so slowly that no writer is slower. */
const pauseMs = (): number => (handled <= 1_000 ? 1 : 5)

function memory(): number {
  globalThis.gc?.()
  return process.memoryUsage().rss
}

if (consumer === 'observable') {
  engine.feed$().subscribe(() => {
    count()
    const until = performance.now() + pauseMs()
    while (performance.now() < until);
  })
} else {
  void (async () => {
    for await (const { envelopes } of engine.feed()) {
      for (const _ of envelopes) {
        count()
        await setTimeout(pauseMs())
      }
    }
  })()
}

process.stdin.on('data', () => {
  process.stdout.write(`${JSON.stringify({ handled, grownBytes: atFirst === undefined ? 0 : memory() - atFirst })}\n`)
})
process.stdout.write('listening\n')
