/** Budgets across processes: callers that race, and processes that die between a reservation and its settlement. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { budget, ledgerIdOf, openTenantBudget, reservation, reserve } from '@colloquy/context'
import { type BudgetState, budgetSet, type EventLog } from '@colloquy/core'
import { createEngine, openMemoryLog, systemClock } from '@colloquy/engine'
import { openEmbeddedLog, openPostgresLog } from '@colloquy/postgres'
import { afterAll, describe, expect, test } from 'vitest'
import { startPostgres } from '../support/postgres-server.ts'

const limit = 100
/** Of what the processes reserve: longer than any of them takes, however busy the machine is. */
const expiresInMs = 600_000
const callers = 64
const scopes = ['conversation', 'tenant'] as const
type Scope = (typeof scopes)[number]

const server = await startPostgres()
const children = new Set<ChildProcess>()
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await server?.stop()
})

describe.each(scopes)('a %s budget of 100 calls', (scope) => {
  test.skipIf(!server)('lets 64 callers in 4 processes on Postgres pass exactly 100 times', async () => {
    const { log, url } = await onPostgres()
    await limitTo(log, scope, limit)
    const started = await Promise.all(Array.from({ length: 4 }, () => start({ url, scope, callers: callers / 4 })))
    // All at once, each with its connections open.
    for (const { child } of started) child.stdin?.write('go\n')
    const allowed = await Promise.all(started.map(({ said }) => said(/^allowed (\d+)$/)))
    expect(allowed.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(limit)

    const state = await stateOf(log, scope)
    expect(state.used.modelCalls).toBe(limit)
    expect(state.reservations).toEqual([])
    // Each caller ends with its refusal, and each is kept.
    expect(state.refusals).toBe(callers)
    await log.close()
  })

  test.each([
    ['memory', async () => openMemoryLog()],
    ['PGlite', () => openEmbeddedLog({ memory: true })],
  ] as const)('lets 64 callers in one process on %s pass exactly 100 times', async (_, open) => {
    await using log: EventLog = await open()
    await limitTo(log, scope, limit)
    // Engines and ledgers of their own, as four processes have them.
    const allowed = await Promise.all(Array.from({ length: 4 }, () => callFrom(log, scope)))
    expect(allowed.reduce((sum, count) => sum + count, 0)).toBe(limit)
    expect(await stateOf(log, scope)).toMatchObject({ used: { modelCalls: limit }, reservations: [], refusals: callers })
  })
})

test.skipIf(!server)(
  'a tenant ledger on Postgres needs no append for each of 6,400 calls of 64 callers, far from its limit',
  async () => {
    const { log } = await onPostgres()
    await limitTo(log, 'tenant', 1_000_000)
    const ledger = await openTenantBudget({ log })
    await Promise.all(
      Array.from({ length: callers }, async () => {
        for (let i = 0; i < 100; i++) {
          const held = await ledger.reserve({ modelCalls: 1 })
          await setTimeout(0)
          held.settle()
        }
      }),
    )
    await ledger.close()
    const { used, reservations } = await stateOf(log, 'tenant')
    expect({ calls: used.modelCalls, reservations }).toEqual({ calls: 6_400, reservations: [] })
    const head = await log.head({ tenant: 'default', conversationId: ledgerIdOf('tenant') })
    expect(head?.position).toBeLessThan(640)
    await log.close()
  },
)

describe.skipIf(!server)('a process that is killed between reservation and settlement', () => {
  test('leaves a reservation in the conversation, which counts as spent when it expires and can be settled by its id', async () => {
    const { log, url } = await onPostgres()
    await limitTo(log, 'conversation', 3)
    await killWhileCalling({ url, scope: 'conversation', hangsAfter: 2 })

    const { clock, pass } = movableClock()
    await using engine = createEngine({ log, clock, middleware: [budget({ clock })] })
    const conversation = await engine.open('shared')
    const { used, reservations } = conversation.getState().budget
    expect(used.modelCalls).toBe(1)
    expect(reservations).toMatchObject([{ amounts: { modelCalls: 1 } }])
    const left = reservations[0]?.reservationId ?? ''

    const held = await reserve(conversation, { modelCalls: 1 }, { clock, expiresInMs: 2 * expiresInMs })
    const refused = (numbers: object) => ({ code: 'budget_exceeded', details: { limit: 3, requested: 1, ...numbers } })
    await expect(reserve(conversation, { modelCalls: 1 })).rejects.toMatchObject(refused({ used: 1, reserved: 2 }))
    pass(expiresInMs)
    await expect(reserve(conversation, { modelCalls: 1 })).rejects.toMatchObject(refused({ used: 2, reserved: 1 }))
    await held.settle()
    // Whoever finds out that the call never left gives it back; and once only.
    await reservation(conversation, left)?.release('the provider never saw it')
    expect(reservation(conversation, left)).toBeUndefined()
    await (await reserve(conversation, { modelCalls: 1 })).settle()
    expect(conversation.getState().budget).toMatchObject({ used: { modelCalls: 3 }, reservations: [], refusals: 2 })
    await log.close()
  })

  test('leaves its chunk in the ledger of the tenant, which counts as spent when it expires and is given back by hand', async () => {
    const { log, url } = await onPostgres()
    await limitTo(log, 'tenant', 40)
    await killWhileCalling({ url, scope: 'tenant', hangsAfter: 20 })

    const { clock, pass } = movableClock()
    await using ledger = await openTenantBudget({ log, clock })
    const dead = (await ledger.refresh()).reservations
    const reserved = dead.reduce((sum, { amounts }) => sum + (amounts.modelCalls ?? 0), 0)
    const { used } = ledger.getState()
    // 20 calls were allowed: what is not settled is in its chunks, and they hold at most a part of the room more.
    expect(used.modelCalls + reserved).toBeGreaterThanOrEqual(20)
    let allowed = 0
    const refusal = await (async () => {
      for (;;) {
        try {
          ;(await ledger.reserve({ modelCalls: 1 })).settle()
          allowed += 1
        } catch (error) {
          return error
        }
      }
    })()
    expect(refusal).toMatchObject({ code: 'budget_exceeded', details: { scope: 'tenant', limit: 40 } })
    expect(used.modelCalls + reserved + allowed).toBe(40)

    pass(expiresInMs)
    await expect(ledger.reserve({ modelCalls: 1 })).rejects.toMatchObject({ details: { used: 40, reserved: 0 } })
    for (const { reservationId } of dead) await ledger.giveBack(reservationId, 'killed by a test')
    await expect(ledger.reserve({ modelCalls: 1 })).resolves.toBeDefined()
    await log.close()
  })
})

/** The system's, which can be made to skip some milliseconds. */
function movableClock() {
  let skipped = 0
  const clock = () => systemClock() + skipped
  const pass = (milliseconds: number) => {
    skipped += milliseconds * 1_000
  }
  return { clock, pass }
}

async function onPostgres() {
  const url = (await server?.createDatabase()) ?? ''
  return { url, log: await openPostgresLog({ url, migrate: true }) }
}

async function limitTo(log: EventLog, scope: Scope, calls: number): Promise<void> {
  if (scope === 'tenant') {
    await using ledger = await openTenantBudget({ log })
    await ledger.set({ modelCalls: calls })
    return
  }
  await using engine = createEngine({ log })
  const limits = { modelCalls: { soft: null, hard: calls } }
  await (await engine.open('shared')).dispatch(budgetSet({ scope: 'conversation', limits }))
}

/** From the whole log, after comparing it with what was kept on the way. */
async function stateOf(log: EventLog, scope: Scope): Promise<BudgetState> {
  await using engine = createEngine({ log })
  const { state } = await engine.replay(scope === 'tenant' ? ledgerIdOf('tenant') : 'shared')
  return state.budget
}

async function callFrom(log: EventLog, scope: Scope): Promise<number> {
  await using engine = createEngine({ log, middleware: [budget()] })
  const conversation = await engine.open('shared')
  const ledger = scope === 'tenant' ? await openTenantBudget({ log }) : undefined
  let allowed = 0
  await Promise.all(
    Array.from({ length: callers / 4 }, async () => {
      for (;;) {
        const held = await (ledger?.reserve({ modelCalls: 1 }) ?? reserve(conversation, { modelCalls: 1 })).catch(
          (error: { code?: unknown }) => {
            expect(error.code).toBe('budget_exceeded')
          },
        )
        if (held === undefined) return
        allowed += 1
        await setTimeout(0)
        await held.settle()
      }
    }),
  )
  await ledger?.close()
  return allowed
}

interface Job {
  readonly url: string
  readonly scope: Scope
  readonly callers?: number
  readonly hangsAfter?: number
}

async function killWhileCalling(job: Job): Promise<void> {
  const { child, said } = await start({ callers: 1, ...job })
  child.stdin?.write('go\n')
  await said(/^hanging$/)
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Resolves when the process is ready. `said` resolves with the first line that matches. */
async function start({ url, scope, callers = 16, hangsAfter }: Job) {
  const file = new URL('caller-process.ts', import.meta.url).pathname
  const job = JSON.stringify({ url, scope, callers, hangsAfter: hangsAfter ?? null, expiresInMs })
  const child = spawn(process.execPath, ['--conditions=@colloquy/source', '--disable-warning=COLLOQUY_DATABASE', file, job], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.add(child)
  const lines: string[] = []
  const heard = new Set<() => void>()
  const output = createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    for (const listener of heard) listener()
  })
  const said = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const found = lines.map((line) => pattern.exec(line)).find((match) => match !== null)
        if (found) resolve(found)
      }
      heard.add(look)
      output.once('close', () => reject(new Error(`it ended without saying ${pattern}`)))
      look()
    })
  await said(/^ready$/)
  return { child, said }
}
