/** Ledgers of several processes over a log that fails, before or after it has stored: what never happens, and what it comes to. */
import { type AppendRequest, ColloquyError, type EventLog, toHex } from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ledgerIdOf, openTenantBudget, type TenantBudget, type TenantGrant } from './tenant-budget.ts'

const limit = 40

/** One append after the other, of which some fail as `faults` says: '-' works, 'b' fails before it stores, 'a' after. */
function failingLog(inner: EventLog, faults: { next(): string }): EventLog {
  return Object.assign(Object.create(inner) as EventLog, {
    append: async (requests: readonly AppendRequest[]) => {
      const fault = faults.next()
      if (fault === 'b') throw new ColloquyError('database_unreachable', { target: 'here', problem: 'a test' })
      const outcomes = await inner.append(requests)
      if (fault === '-') return outcomes
      const last = requests[0]?.envelopes.at(-1)
      throw new ColloquyError('append_outcome_unknown', {
        conversationId: last?.conversationId ?? '',
        position: last?.position ?? 0,
        hash: toHex(last?.hash ?? new Uint8Array()),
      })
    },
  })
}

const step = fc.record({
  process: fc.nat({ max: 2 }),
  what: fc.constantFrom('reserve', 'reserve', 'reserve', 'settle', 'settle', 'release', 'write', 'giveUp'),
  calls: fc.integer({ min: 1, max: 5 }),
  spent: fc.nat({ max: 5 }),
})

test('property: what is under way and what happened never come to more than the limit, whatever fails, and add up in the end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 50 }),
      fc.array(fc.constantFrom('-', '-', '-', 'b', 'a', 'a'), { minLength: 1, maxLength: 40 }),
      async (steps, pattern) => {
        const inner = openMemoryLog()
        await using first = await openTenantBudget({ log: inner, chunkMs: 1 })
        await first.set({ modelCalls: limit })
        let at = -1
        // As long as the steps last; then the log works, as one does some day.
        let isOver = false
        const faults = { next: () => (isOver ? '-' : (pattern[++at % pattern.length] ?? '-')) }
        const log = failingLog(inner, faults)
        const ledgers: TenantBudget[] = []
        for (let i = 0; i < 3; i++) ledgers.push(await openTenantBudget({ log, chunkMs: 1, waitMs: 5, holder: `p${i}` }))
        const open: { readonly grant: TenantGrant; readonly calls: number; readonly process: number }[] = []
        let happened = 0

        const running = new Set<Promise<unknown>>()
        for (const { process, what, calls, spent } of steps) {
          const ledger = ledgers[process] as TenantBudget
          const index = open.findIndex((each) => each.process === process)
          if (what === 'reserve') {
            const asked = ledger.reserve({ modelCalls: calls }).then(
              (grant) => {
                open.push({ grant, calls, process })
                // At the moment somebody is told to go, all that go or went fit.
                expect(happened + open.reduce((sum, each) => sum + each.calls, 0)).toBeLessThanOrEqual(limit)
              },
              (error: { code?: unknown }) => expect(['budget_exceeded', 'budget_unavailable']).toContain(error.code),
            )
            running.add(asked)
            // Some wait for the answer, some do not.
            if (spent > 2) await asked
          } else if (what === 'write') await ledger.refresh().catch(() => {})
          else if (index >= 0) {
            const [ended] = open.splice(index, 1)
            if (what === 'release') ended?.grant.release()
            else {
              const took = what === 'settle' ? Math.min(spent, ended?.calls ?? 0) : (ended?.calls ?? 0)
              happened += took
              ended?.grant.settle({ modelCalls: took })
            }
          }
        }
        await Promise.all(running)
        isOver = true
        const held = open.reduce((sum, each) => sum + each.calls, 0)
        for (const ledger of ledgers) {
          // The first may learn that the writer was damaged.
          await ledger.refresh().catch(() => ledger.refresh())
        }
        const state = await first.refresh()
        const reserved = state.reservations.reduce((sum, { amounts }) => sum + (amounts.modelCalls ?? 0), 0)
        expect({ used: state.used.modelCalls, reserved }).toEqual({ used: happened, reserved: held })
        for (const { grant } of open) grant.release()
        await Promise.all(ledgers.map((ledger) => ledger.close()))

        // A replay of the whole stream, in an engine that has nothing to do with it, tells the same.
        await using engine = createEngine({ log: inner })
        const { state: replayed, unappliedCount } = await engine.replay(ledgerIdOf('tenant'))
        expect(unappliedCount).toBe(0)
        expect(replayed.budget.used.modelCalls).toBe(happened)
        expect(replayed.budget.reservations).toEqual([])
      },
    ),
    { numRuns: 1_000 },
  )
})
