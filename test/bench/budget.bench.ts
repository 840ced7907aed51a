/** What budgets, and what else of context looks at every action, cost: on the way of an action, and a call out of a tenant's ledger. */
import { autoCompaction, budget, contextWindow, openTenantBudget, type TenantBudget } from '@colloquy/context'
import { budgetSet, type ConversationState, messageAdded } from '@colloquy/core'
import { createEngine, type Effect, type Middleware, openMemoryLog } from '@colloquy/engine'
import { openEmbeddedLog } from '@colloquy/postgres'
import { medianRatio, type Report, row } from './report.ts'

const rounds = 15
const dispatchesARound = 1_000
const callers = 64
const callsARound = 6_400

/** About 400 bytes of JSON, as a chat message has. */
const text = 'The tests failed on the first of the month because the fixture counted days in local time. '.repeat(4)
const action = (id: string) =>
  messageAdded({ message: { v: 1, id, role: 'user', parts: [{ type: 'text', text }] }, tokenCount: 90, tokenCounter: 'bench@1' })

const far = 1_000_000_000
const limits = {
  tokens: far,
  messageTokens: { soft: far - 1, hard: far },
  modelCalls: far,
  costMicros: far,
  wallMs: far,
  messages: far,
}

export async function run(say: (text: string) => void): Promise<Report> {
  const chain = await measureChain(say)
  const [memory, embedded] = [await measureLedger(say, 'memory'), await measureLedger(say, 'PGlite')]
  const cost = (variant: 'limits' | 'tenant' | 'chain') => chain[variant].map((us, round) => us - (chain.bare[round] ?? 0))
  const [limitsCost, tenantCost, chainCost] = (['limits', 'tenant', 'chain'] as const).map(
    (variant) => row('', 0, '', cost(variant)).median,
  ) as [number, number, number]
  const calls = rounds * callsARound
  return {
    bench: 'budget',
    node: process.versions.node,
    rows: [
      row('dispatch messageAdded, no middleware', dispatchesARound, 'us an action', chain.bare),
      row('with budget(), six limits a scope', dispatchesARound, 'us an action', chain.limits),
      row('with budget(), and a tenant ledger', dispatchesARound, 'us an action', chain.tenant),
      row('with both, and compaction when it is due', dispatchesARound, 'us an action', chain.chain),
      row('six limits: what they add', dispatchesARound, 'us an action', cost('limits')),
      row('and the tenant ledger: what both add', dispatchesARound, 'us an action', cost('tenant')),
      row('the whole chain: what it adds', dispatchesARound, 'us an action', cost('chain')),
      row(`reserve and settle, ${callers} callers, memory`, callsARound, 'us a call', memory.us),
      row(`reserve and settle, ${callers} callers, PGlite`, callsARound, 'us a call', embedded.us),
      row('envelopes in the ledger, PGlite', calls, 'per 1,000 calls', [(embedded.envelopes / calls) * 1_000]),
    ],
    checks: [
      {
        promise: 'six limits for turn and conversation, in us a dispatch',
        measured: limitsCost,
        limit: 'under 50',
        holds: limitsCost < 50,
      },
      { promise: 'with a tenant ledger, in us a dispatch', measured: tenantCost, limit: 'under 50', holds: tenantCost < 50 },
      { promise: 'the whole chain, in us a dispatch', measured: chainCost, limit: 'under 50', holds: chainCost < 50 },
      {
        promise: 'a dispatch with six limits next to one without',
        measured: medianRatio(chain.limits, chain.bare),
        limit: 'at most 2 times',
        holds: medianRatio(chain.limits, chain.bare) <= 2,
      },
      {
        promise: 'far from the limit a call needs no append: envelopes for 1,000 calls',
        measured: (embedded.envelopes / calls) * 1_000,
        limit: 'under 50',
        holds: (embedded.envelopes / calls) * 1_000 < 50,
      },
    ],
  }
}

async function measureChain(say: (text: string) => void) {
  say(`dispatching, ${rounds} rounds`)
  const samples = { bare: [] as number[], limits: [] as number[], tenant: [] as number[], chain: [] as number[] }
  const logs = { bare: openMemoryLog(), limits: openMemoryLog(), tenant: openMemoryLog(), chain: openMemoryLog() }
  await using tenant = await openTenantBudget({ log: logs.tenant })
  await using chainTenant = await openTenantBudget({ log: logs.chain })
  for (const each of [tenant, chainTenant]) await each.set(limits)
  const middleware: Readonly<Record<keyof typeof samples, readonly Middleware<ConversationState>[]>> = {
    bare: [],
    limits: [budget({ turn: limits })],
    tenant: [budget({ turn: limits, tenant })],
    chain: [budget({ turn: limits, tenant: chainTenant })],
  }
  // Looks at each append, and finds nothing to do.
  const compaction: Effect<ConversationState> = autoCompaction({ window: contextWindow({ settings: { maxContextTokens: far } }) })
  const names = ['bare', 'limits', 'tenant', 'chain'] as const
  const opened = new Map<string, Awaited<ReturnType<ReturnType<typeof createEngine>['open']>>>()
  for (const name of names) {
    const conversation = await createEngine({
      log: logs[name],
      middleware: middleware[name],
      effects: name === 'chain' ? [compaction] : [],
    }).open('c')
    const own = Object.fromEntries(
      Object.entries(limits).map(([kind, limit]) => [kind, typeof limit === 'number' ? { soft: null, hard: limit } : limit]),
    )
    await conversation.dispatch(budgetSet({ scope: 'conversation', limits: own }))
    opened.set(name, conversation)
  }
  for (let round = 0; round <= rounds; round++) {
    // Another order each round; the first one only warms up.
    for (const name of [...names.slice(round % 4), ...names.slice(0, round % 4)]) {
      const actions = Array.from({ length: dispatchesARound }, (_, i) => action(`r${round}-${i}`))
      const conversation = opened.get(name)
      const start = performance.now()
      for (const one of actions) await conversation?.dispatch(one)
      if (round > 0) samples[name].push(((performance.now() - start) * 1_000) / dispatchesARound)
    }
  }
  return samples
}

async function measureLedger(say: (text: string) => void, kind: 'memory' | 'PGlite') {
  say(`reserving and settling, ${kind}, ${rounds} rounds`)
  await using log = kind === 'memory' ? openMemoryLog() : await openEmbeddedLog({ memory: true })
  await using ledger = await openTenantBudget({ log })
  await ledger.set(limits)
  const us: number[] = []
  for (let round = 0; round < rounds; round++) {
    const start = performance.now()
    await Promise.all(Array.from({ length: callers }, () => call(ledger)))
    us.push(((performance.now() - start) * 1_000) / callsARound)
  }
  await ledger.refresh()
  const envelopes = (await log.feedHeads()).reduce((sum, head) => sum + head, 0)
  return { us, envelopes }
}

async function call(ledger: TenantBudget): Promise<void> {
  const amounts = { modelCalls: 1, inputTokens: 3_000, outputTokens: 500, costMicros: 9_000 }
  for (let i = 0; i < callsARound / callers; i++)
    (await ledger.reserve(amounts)).settle({ inputTokens: 2_800, outputTokens: 210 })
}
