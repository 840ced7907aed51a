/**
 * A process of callers, for the tests of budgets. Says `ready`, begins when it is written to, calls with so many callers until each is
 * refused, and says how many calls were allowed. With `hangsAfter` it stops between the reservation and the settlement of that call,
 * says `hanging`, and waits to be killed.
 */
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { budget, openTenantBudget, reserve } from '@colloquy/context'
import { isColloquyError } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'

const { url, scope, callers, hangsAfter, expiresInMs } = JSON.parse(process.argv[2] ?? '{}') as {
  url: string
  scope: 'conversation' | 'tenant'
  callers: number
  hangsAfter: number | null
  expiresInMs: number
}

const log = await openPostgresLog({ url })
const engine = createEngine({ log, middleware: [budget()] })
const conversation = await engine.open('shared')
const ledger = scope === 'tenant' ? await openTenantBudget({ log, expiresInMs }) : undefined
const amounts = { modelCalls: 1 }
const hold = () => ledger?.reserve(amounts) ?? reserve(conversation, amounts, { expiresInMs })

let allowed = 0
async function callUntilRefused(): Promise<void> {
  for (;;) {
    try {
      const held = await hold()
      allowed += 1
      if (allowed === hangsAfter) {
        process.stdout.write('hanging\n')
        await setTimeout(600_000)
      }
      // The call.
      await setTimeout(Math.random() * 5)
      await held.settle()
    } catch (error) {
      if (isColloquyError(error, 'budget_exceeded')) return
      throw error
    }
  }
}

process.stdout.write('ready\n')
await once(process.stdin, 'data')
await Promise.all(Array.from({ length: callers }, callUntilRefused))
await ledger?.close()
await engine.close()
await log.close()
process.stdout.write(`allowed ${allowed}\n`)
process.stdin.destroy()
