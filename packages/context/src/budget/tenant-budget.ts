/**
 * The budget of a tenant: a ledger that all of its conversations, in all processes, draw on.
 *
 * The ledger is a stream of its own in the tenant's log, `colloquy:budget:<scope>`: the actions and the slice of a conversation's budget
 * and nothing else. A process reserves a chunk there and gives it out by itself, so that a call far from the limit costs no append:
 *
 *     ledger   budgetReserved(chunk of 64)  . . . . . . . . . . . . . . . .  budgetSettled(spent 40, held 3)  . . .  budgetSettled
 *     process  |-> grant, grant, settle, grant, ... out of memory . . . . .  | too old: gives the free 21 back,      | the last
 *                                                                            | keeps what is under way               | of the 3
 *
 * A hard limit holds whatever happens: what is given out was reserved in the log before, by a guard that sees all of it. What a process
 * that died had reserved stays reserved, counts as spent from its expiry on, and is given back only by who proves it dead (`giveBack`).
 * Time decides only how long free units stay with a process that does not need them: chunks shrink as the limit comes near, down to
 * what is asked for, and one that is older than `chunkMs` is given back; so before somebody is refused for good, chunks of others are
 * waited for that long.
 */
import { hostname } from 'node:os'
import {
  type Action,
  type AmountKind,
  addAmounts,
  amountKinds,
  amountOf,
  type BudgetAmounts,
  type BudgetKind,
  type BudgetReservation,
  type BudgetShortage,
  type BudgetState,
  budgetError,
  budgetRefused,
  budgetReleased,
  budgetReserved,
  budgetSet,
  budgetSettled,
  budgetShortage,
  budgetSlice,
  budgetStanding,
  ColloquyError,
  defaultTenant,
  type EventLog,
  isColloquyError,
  isUnknown,
  openReservations,
  type StampedAction,
} from '@colloquy/core'
import {
  type Conversation,
  createLedgerEngine,
  type Engine,
  type ErrorListener,
  type Next,
  systemClock,
  uuidv7,
} from '@colloquy/engine'
import { type LimitOptions, limitsOf } from './limits.ts'

export interface TenantBudgetOptions {
  readonly log: EventLog
  /** Whose. Default 'default'. */
  readonly tenant?: string
  /** Which of the tenant's budgets. Default 'tenant'. */
  readonly scope?: string
  /** Who this process is, in the ledger. Default host, process id and a number. */
  readonly holder?: string
  /** Units that nobody here asked for are given back after so long. Default 200. */
  readonly chunkMs?: number
  /** Before somebody is refused, chunks of others are waited for so long. Default three times `chunkMs`, and 500. */
  readonly waitMs?: number
  /** Requests that one chunk is large enough for, at most. Default 1,000. */
  readonly chunkLimit?: number
  /** What is neither settled nor released counts as spent after so long. Default 600,000. */
  readonly expiresInMs?: number
  /** Told when the ledger cannot be written, of what is tried again. Default: nobody. */
  readonly onError?: ErrorListener
  /** Microseconds since 1970. Default the system's. */
  readonly clock?: () => number
}

export interface TenantBudget extends AsyncDisposable {
  readonly tenant: string
  readonly scope: string
  /** As this process last saw the ledger. What it gave out of its chunks is in there as reserved. */
  getState(): BudgetState
  /** Writes down what was settled here, gives back what is free, and reads what others did. */
  refresh(): Promise<BudgetState>
  /**
   * Sets limits, as hard ones where a number is given; null takes one away. What was reserved before a limit was lowered may still be
   * given out: for `chunkMs`, as long as a chunk lasts.
   */
  set(limits: { readonly [K in BudgetKind]?: LimitOptions[K] | null }): Promise<void>
  /**
   * Holds `amounts`. The same `key` holds once, until it is settled or released.
   * @throws `budget_exceeded` when all processes together have no more, `budget_unavailable` when that cannot be found out, `action_invalid`
   * for amounts that are none
   */
  reserve(amounts: BudgetAmounts, options?: { readonly key?: string }): Promise<TenantGrant>
  /** It happened, and took `actual`; kinds that it does not name count as held. A key that holds nothing here is ignored. @throws `action_invalid` */
  settle(key: string, actual?: BudgetAmounts): void
  /** It happened at once, as it was held; the same key holds nothing more, for some time: its chain may run again. */
  spend(key: string): void
  /** It did not happen. A key that holds nothing here is ignored. */
  release(key: string): void
  /** Counts what nobody reserved and has happened: an action as `usageRecorded`. Once for each key. */
  record(key: string, action: Action): void
  /** Gives back what a process reserved that is known to be dead. @throws `reservation_not_open` */
  giveBack(reservationId: string, reason: string): Promise<void>
  /** Gives back what is free and writes down what was settled. What is still held stays reserved until it expires. */
  close(): Promise<void>
}

export interface TenantGrant {
  readonly key: string
  readonly amounts: BudgetAmounts
  settle(actual?: BudgetAmounts): void
  release(): void
}

/** Where the ledger of a scope lies. */
export const ledgerIdOf = (scope: string): string => `colloquy:budget:${scope}`

/** Keys of what was spent at once, and is known still. A rebase comes within seconds. */
const rememberedKeys = 10_000
const recordsAtOnce = 1_000
/** Between two looks at a ledger that has no room while others may give some back, in milliseconds. */
const lookMs = 25

type Amounts = { [K in AmountKind]?: number | undefined }
type LedgerState = { readonly budget: BudgetState }

/** Something that was reserved in the ledger and is given out here. */
interface Chunk {
  readonly id: string
  /** In the ledger. */
  held: BudgetAmounts
  /** Given out and not ended. */
  readonly granted: Amounts
  /** Settled, and not in the ledger yet. */
  spent: Amounts
  grants: number
  /** Gives out nothing more. */
  isClosed: boolean
  readonly sinceMs: number
  /** How often it was written down. */
  writes: number
  /** What is on its way to the ledger. It is said again, the same, until that is known to have it. */
  pending: { readonly action: Action; readonly commandId: string; readonly held: BudgetAmounts | undefined } | undefined
}

interface Grant {
  readonly key: string
  readonly amounts: BudgetAmounts
  readonly chunk: Chunk
  readonly expiresAt: number
}

interface Waiter {
  readonly key: string
  readonly amounts: BudgetAmounts
  readonly resolve: (grant: TenantGrant) => void
  readonly reject: (error: unknown) => void
  starvedSinceMs: number | undefined
}

/** Usage that nobody reserved, as one command. */
interface PendingRecords {
  readonly actions: readonly Action[]
  readonly commandId: string
}

/** A chunk that is being asked for, and what the chain made of it on the state it was judged on. */
interface Fill {
  readonly id: string
  readonly waiting: readonly Waiter[]
  accepted: readonly Waiter[]
  amounts: BudgetAmounts
  refused: ReadonlyMap<Waiter, Shortage>
}

type Shortage = Omit<BudgetShortage, 'scope'> & { readonly scope: 'tenant' }

/** Opens the ledger of a tenant's budget. The log stays the caller's. @throws `id_invalid` and what the log rejects with */
export async function openTenantBudget(options: TenantBudgetOptions): Promise<TenantBudget> {
  const { log, tenant = defaultTenant, scope = 'tenant' } = options
  let ledger: Ledger | undefined
  const engine = createLedgerEngine({
    log,
    tenant,
    slices: [budgetSlice] as const,
    middleware: [
      (api) => (next) => async (action) =>
        budgetReserved.match(action) && ledger !== undefined ? ledger.judge(action, api.getState().budget, next) : next(action),
    ],
    ...(options.clock !== undefined && { clock: options.clock }),
    ...(options.onError !== undefined && { onError: options.onError }),
  })
  try {
    ledger = new Ledger(engine, await engine.open(ledgerIdOf(scope)), { ...options, scope })
    return ledger
  } catch (error) {
    await engine.close()
    throw error
  }
}

class Ledger implements TenantBudget {
  readonly tenant: string
  readonly scope: string
  readonly #engine: Engine<LedgerState>
  readonly #stream: Conversation<LedgerState>
  readonly #holder: string
  readonly #chunkMs: number
  readonly #waitMs: number
  readonly #chunkLimit: number
  readonly #expiresInMs: number
  readonly #clock: () => number
  readonly #onError: ErrorListener | undefined
  readonly #chunks = new Set<Chunk>()
  readonly #grants = new Map<string, Grant>()
  /** Oldest first. */
  readonly #spentKeys = new Set<string>()
  /** Chunks of which nobody knows whether the ledger has them. */
  readonly #doubtful = new Set<string>()
  #records: Action[] = []
  /** On their way, and said again until the ledger is known to have them. */
  #pendingRecords: PendingRecords | undefined
  /** Chunks of others that were waited for in vain. */
  readonly #givenUp = new Set<string>()
  #waiting: Waiter[] = []
  #fill: Fill | undefined
  #filling: Promise<void> | undefined
  #writing: Promise<void> | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Requests that the next chunk is made for, beside those that wait. */
  #spare = 1
  #closed = false

  constructor(
    engine: Engine<LedgerState>,
    stream: Conversation<LedgerState>,
    options: TenantBudgetOptions & { readonly scope: string },
  ) {
    this.tenant = engine.tenant
    this.scope = options.scope
    this.#engine = engine
    this.#stream = stream
    this.#holder = options.holder ?? `${hostname()}/${process.pid}/${uuidv7().slice(-8)}`.slice(0, 200)
    this.#chunkMs = options.chunkMs ?? 200
    // A chunk is older than `chunkMs` when its holder looks at it for the second time, and then has to write.
    this.#waitMs = options.waitMs ?? 3 * this.#chunkMs + 500
    this.#chunkLimit = options.chunkLimit ?? 1_000
    this.#expiresInMs = options.expiresInMs ?? 600_000
    this.#clock = options.clock ?? systemClock
    this.#onError = options.onError
  }

  getState(): BudgetState {
    return this.#stream.getState().budget
  }

  async refresh(): Promise<BudgetState> {
    // A second time for what came to be settled while an older write was said again.
    await this.#write({ isForced: true })
    if ([...this.#chunks].some((chunk) => chunk.isClosed && chunk.pending === undefined)) await this.#write({ isForced: true })
    return (await this.#stream.refresh()).budget
  }

  async set(limits: { readonly [K in BudgetKind]?: LimitOptions[K] | null }): Promise<void> {
    const given = Object.entries(limits)
    const none = Object.fromEntries(given.filter(([, limit]) => limit === null))
    const some = limitsOf(Object.fromEntries(given.filter(([, limit]) => limit !== null)) as LimitOptions)
    await this.#stream.dispatch(budgetSet({ scope: 'conversation', limits: { ...some, ...none } }))
  }

  async reserve(amounts: BudgetAmounts, { key = uuidv7() }: { readonly key?: string } = {}): Promise<TenantGrant> {
    if (this.#closed) throw new ColloquyError('engine_closed', { conversationId: this.#stream.id })
    checkAmounts(budgetReserved.type, amounts)
    // A chain that runs again asks for what it has.
    const known = this.#grants.has(key) || this.#spentKeys.has(key)
    if (known || this.#give(key, amounts)) return this.#grantOf(key, amounts)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, amounts, resolve, reject, starvedSinceMs: undefined })
      this.#work()
    })
  }

  settle(key: string, actual: BudgetAmounts = {}): void {
    checkAmounts(budgetSettled.type, actual)
    this.#end(key, (grant) => ({ ...grant.amounts, ...actual }))
  }

  spend(key: string): void {
    if (this.#grants.has(key)) this.#remember(key)
    this.settle(key)
  }

  release(key: string): void {
    this.#end(key, () => ({}))
  }

  record(key: string, action: Action): void {
    if (this.#spentKeys.has(key)) return
    this.#remember(key)
    this.#records.push(action)
    this.#schedule()
  }

  async giveBack(reservationId: string, reason: string): Promise<void> {
    await this.#stream.dispatch(budgetReleased({ reservationId, reason }))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    while (this.#filling !== undefined) await this.#filling
    clearTimeout(this.#timer)
    try {
      await this.#writeAll()
    } finally {
      await this.#engine.close()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Runs in the chain of the ledger's writer, on the state that the reservation will be applied to, and again after a conflict. */
  async judge(action: Action, state: BudgetState, next: Next): Promise<StampedAction | void> {
    const fill = this.#fill
    if (!budgetReserved.match(action) || fill === undefined || action.payload.reservationId !== fill.id) return next(action)
    const isChunk = this.#plan(fill, state)
    // Nothing fits: nothing is stored, and the waiting are told by who asked.
    if (fill.accepted.length === 0) return undefined
    const payload = { ...action.payload, amounts: fill.amounts, ...(isChunk && { purpose: 'chunk' as const }) }
    return next({ ...action, payload })
  }

  #work(): void {
    this.#filling ??= this.#fillAll().finally(() => {
      this.#filling = undefined
      // Between the end of the loop and here somebody may have come to wait.
      if (this.#waiting.length > 0) this.#work()
    })
  }

  /** Out of a chunk, if one has enough of everything. */
  #give(key: string, amounts: BudgetAmounts): boolean {
    const limits = this.getState().limits.conversation
    // What a call leaves out cannot be judged here: the ledger refuses it.
    for (const kind in limits) if (isUnknown(amounts, kind as BudgetKind)) return false
    for (const chunk of this.#chunks) {
      if (chunk.isClosed || !covers(chunk, amounts)) continue
      this.#giveOf(chunk, key, amounts)
      return true
    }
    return false
  }

  #giveOf(chunk: Chunk, key: string, amounts: BudgetAmounts): void {
    addAmounts(chunk.granted, amounts)
    chunk.grants += 1
    this.#grants.set(key, { key, amounts, chunk, expiresAt: this.#clock() + this.#expiresInMs * 1_000 })
  }

  #grantOf(key: string, amounts: BudgetAmounts): TenantGrant {
    return { key, amounts, settle: (actual) => this.settle(key, actual), release: () => this.release(key) }
  }

  #end(key: string, spentOf: (grant: Grant) => BudgetAmounts): void {
    const grant = this.#grants.get(key)
    if (grant === undefined) return
    const { chunk, amounts } = grant
    this.#grants.delete(key)
    chunk.grants -= 1
    for (const kind of amountKinds) {
      const amount = amounts[kind]
      if (amount !== undefined) chunk.granted[kind] = (chunk.granted[kind] ?? 0) - amount
    }
    addAmounts(chunk.spent, spentOf(grant))
    this.#schedule()
  }

  #remember(key: string): void {
    this.#spentKeys.add(key)
    if (this.#spentKeys.size <= rememberedKeys) return
    for (const oldest of this.#spentKeys) {
      this.#spentKeys.delete(oldest)
      return
    }
  }

  async #fillAll(): Promise<void> {
    // One turn of the microtask queue: requests made in one go share a chunk.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting.splice(0).filter((waiter) => !this.#serve(waiter))
      if (waiting.length === 0) continue
      try {
        await this.#fillOnce(waiting)
      } catch (error) {
        // Who cannot be judged is refused. What was given out of the chunk meanwhile is held.
        const failure = new ColloquyError(
          'budget_unavailable',
          { scope: 'tenant', problem: error instanceof Error ? error.message : String(error) },
          { cause: error },
        )
        for (const waiter of waiting) if (!this.#grants.has(waiter.key)) waiter.reject(failure)
      }
    }
  }

  #serve({ key, amounts, resolve }: Waiter): boolean {
    if (!this.#grants.has(key) && !this.#spentKeys.has(key) && !this.#give(key, amounts)) return false
    resolve(this.#grantOf(key, amounts))
    return true
  }

  async #fillOnce(waiting: readonly Waiter[]): Promise<void> {
    const fill: Fill = { id: uuidv7(), waiting, accepted: [], amounts: {}, refused: new Map() }
    const expiresAt = this.#clock() + this.#expiresInMs * 1_000
    const reserved = { reservationId: fill.id, amounts: {}, expiresAt, holder: this.#holder }
    this.#fill = fill
    // In one go, so that they share an append: what was spent goes with the next chunk.
    const written = this.#write({ isForced: false }).catch(this.#report)
    try {
      await this.#stream.dispatch(budgetReserved(reserved))
    } catch (error) {
      this.#doubtful.add(fill.id)
      this.#schedule()
      throw error
    } finally {
      this.#fill = undefined
    }
    await written
    if (fill.accepted.length > 0) {
      const chunk: Chunk = {
        id: fill.id,
        held: fill.amounts,
        granted: {},
        spent: {},
        grants: 0,
        isClosed: false,
        sinceMs: performance.now(),
        writes: 0,
        pending: undefined,
      }
      this.#chunks.add(chunk)
      for (const { key, amounts, resolve } of fill.accepted) {
        if (!this.#grants.has(key)) this.#giveOf(chunk, key, amounts)
        resolve(this.#grantOf(key, amounts))
      }
      this.#spare = Math.min(this.#spare * 2, this.#chunkLimit)
      if (this.#givenUp.size > openReservations) this.#givenUp.clear()
      this.#schedule()
    }
    if (fill.refused.size > 0) await this.#starve(fill)
  }

  /** What of the waiting fits, and how much more than that may be taken. @returns whether it is more */
  #plan(fill: Fill, state: BudgetState): boolean {
    const now = this.#clock()
    const taken: Amounts = {}
    const accepted: Waiter[] = []
    const refused = new Map<Waiter, Shortage>()
    for (const waiter of fill.waiting) {
      const { amounts } = waiter
      const together: Amounts = { ...taken }
      addAmounts(together, amounts)
      const alone = budgetShortage(state, amounts, { now, isWork: true })
      const shortage = alone ?? budgetShortage(state, together, { now, isWork: true })
      if (shortage === undefined) {
        addAmounts(taken, amounts)
        accepted.push(waiter)
      } else {
        const { kind } = shortage
        const requested = shortage.requested === null ? null : (amountOf(amounts, kind) ?? 0)
        const reserved = shortage.reserved + (alone === undefined ? (amountOf(taken, kind) ?? 0) : 0)
        refused.set(waiter, { ...shortage, scope: 'tenant', requested, reserved })
      }
    }
    fill.accepted = accepted
    fill.refused = refused
    const extra = refused.size > 0 ? 0 : this.#spareOf(state, taken, accepted.length, now)
    if (extra > 0) {
      for (const kind of amountKinds) {
        const each = Math.ceil((taken[kind] ?? 0) / accepted.length)
        if (each > 0) addAmounts(taken, { [kind]: each * extra })
      }
    }
    fill.amounts = taken
    return extra > 0
  }

  /** Requests like these that a chunk is made larger by: an eighth of the room at most, so that others find some, down to none. */
  #spareOf(state: BudgetState, taken: BudgetAmounts, requests: number, now: number): number {
    if (requests === 0) return 0
    let spare = this.#spare
    const limits = state.limits.conversation
    for (const each in limits) {
      const kind = each as BudgetKind
      const hard = limits[kind]?.hard ?? null
      const asked = amountOf(taken, kind) ?? 0
      if (hard === null || asked === 0) continue
      const { used, reserved } = budgetStanding(state, 'conversation', kind, now)
      // `tokens` are rounded up kind by kind.
      const unit = Math.ceil(asked / requests) + (kind === 'tokens' ? 5 : 0)
      spare = Math.min(spare, Math.floor((hard - used - reserved - asked) / unit / 8))
    }
    return Math.max(0, spare)
  }

  /** The ledger has no room for them. They wait while somebody may still give some back, and are refused then. */
  async #starve({ refused }: Fill): Promise<void> {
    const before = this.getState()
    // What lies free here, in a chunk of another shape, is given back first.
    await this.#write({ isForced: true })
    const { budget: after } = await this.#stream.refresh()
    // Refusals of others change nothing here.
    const hasChanged = after.reservations !== before.reservations || after.used !== before.used || after.limits !== before.limits
    const nowMs = performance.now()
    const awaited = after.reservations.filter((open) => this.#isAwaited(open))
    const mayComeBack = awaited.length > 0
    const final: [Waiter, Shortage][] = []
    for (const [waiter, shortage] of refused) {
      const sinceMs = waiter.starvedSinceMs ?? nowMs
      waiter.starvedSinceMs = sinceMs
      const isHopeless = !hasChanged && (!mayComeBack || nowMs - sinceMs > this.#waitMs)
      // Whoever holds them does not answer: nobody waits for these again.
      if (isHopeless) for (const { reservationId } of awaited) this.#givenUp.add(reservationId)
      // What nobody said an amount of cannot come to fit.
      if (isHopeless || shortage.requested === null) final.push([waiter, shortage])
      else this.#waiting.push(waiter)
    }
    if (final.length > 0) {
      const refusals = final.map(([, shortage]) => budgetRefused({ actionType: budgetReserved.type, ...shortage }))
      await this.#stream.dispatch(refusals).catch(this.#report)
      for (const [waiter, shortage] of final) waiter.reject(budgetError(shortage))
    }
    if (!hasChanged && this.#waiting.length > 0) await new Promise((resolve) => setTimeout(resolve, lookMs))
  }

  /** Somebody else's chunk, of which some may be free. */
  #isAwaited({ reservationId, purpose, holder, expiresAt }: BudgetReservation): boolean {
    if (purpose !== 'chunk' || holder === this.#holder || expiresAt <= this.#clock()) return false
    return !this.#givenUp.has(reservationId)
  }

  /** What could not be written is tried again. */
  readonly #report = (error: unknown): void => this.#onError?.(error, `budget ${this.scope} of ${this.tenant}`)

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#write({ isForced: false })
        .catch(this.#report)
        .finally(() => {
          if (this.#hasWork()) this.#schedule()
        })
    }, this.#chunkMs)
    this.#timer.unref()
  }

  /** Writes down what was spent, and gives back what is free of chunks that are old, or of all. One after the other. */
  async #write({ isForced }: { readonly isForced: boolean }): Promise<void> {
    while (this.#writing !== undefined) await this.#writing.catch(() => {})
    this.#writing = this.#writeNow(isForced)
    try {
      await this.#writing
    } finally {
      this.#writing = undefined
    }
  }

  async #writeNow(isForced: boolean): Promise<void> {
    const now = this.#clock()
    // Held by dispatches that were never stored, or by callers that forgot them.
    for (const { key, expiresAt } of this.#grants.values()) {
      // Those that were given out first expire first.
      if (expiresAt > now) break
      this.settle(key)
    }
    const nowMs = performance.now()
    for (const chunk of this.#chunks) {
      const isUsedUp = amountKinds.some((kind) => (chunk.held[kind] ?? 0) > 0 && freeOf(chunk, kind) <= 0)
      if (!chunk.isClosed && (isForced || isUsedUp || nowMs - chunk.sinceMs >= this.#chunkMs)) {
        chunk.isClosed = true
        if (!isUsedUp) this.#spare = Math.max(1, Math.floor(this.#spare / 2))
      }
      this.#prepare(chunk)
    }
    this.#pendingRecords ??= this.#nextRecords()
    const sent: Promise<void>[] = [...this.#chunks]
      .filter(({ pending }) => pending !== undefined)
      .map((chunk) => this.#send(chunk))
    if (this.#pendingRecords !== undefined) sent.push(this.#sendRecords(this.#pendingRecords))
    if (this.#doubtful.size > 0) sent.push(this.#resolveDoubts())
    const failed = (await Promise.allSettled(sent)).find((each) => each.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  /** What the ledger should be told about a chunk that gives out nothing more. */
  #prepare(chunk: Chunk): void {
    if (!chunk.isClosed || chunk.pending !== undefined) return
    const isLast = chunk.grants === 0
    const hasSpent = amountKinds.some((kind) => (chunk.spent[kind] ?? 0) > 0)
    const held = isLast ? undefined : copyOf(chunk.granted)
    const isSmaller = held !== undefined && amountKinds.some((kind) => (held[kind] ?? 0) < (chunk.held[kind] ?? 0))
    if (!isLast && !hasSpent && !isSmaller) return
    // Without `held`, what is not named counts as it was reserved: all is named.
    const zeros = isLast ? Object.fromEntries(Object.keys(chunk.held).map((kind) => [kind, 0])) : {}
    const amounts = { ...zeros, ...chunk.spent }
    const action = budgetSettled({ reservationId: chunk.id, amounts, ...(held !== undefined && { held }) })
    chunk.spent = {}
    chunk.writes += 1
    chunk.pending = { action, commandId: `settle:${chunk.id}:${chunk.writes}`, held }
  }

  async #send(chunk: Chunk): Promise<void> {
    const { action, commandId, held } = chunk.pending as NonNullable<Chunk['pending']>
    try {
      await this.#stream.dispatch(action, { commandId })
    } catch (error) {
      // Somebody gave it back, taking this process for dead: there is nothing to settle any more.
      if (!isColloquyError(error, 'reservation_not_open')) throw error
      this.#chunks.delete(chunk)
      throw error
    }
    chunk.pending = undefined
    if (held === undefined) this.#chunks.delete(chunk)
    else chunk.held = held
  }

  #nextRecords(): PendingRecords | undefined {
    if (this.#records.length === 0) return undefined
    return { actions: this.#records.splice(0, recordsAtOnce), commandId: `record:${uuidv7()}` }
  }

  async #sendRecords({ actions, commandId }: PendingRecords): Promise<void> {
    await this.#stream.dispatch(actions, { commandId })
    this.#pendingRecords = undefined
  }

  /** Until the ledger knows everything but what is still held. */
  async #writeAll(): Promise<void> {
    do {
      await this.#write({ isForced: true })
      for (const chunk of this.#chunks) if (chunk.isClosed) this.#prepare(chunk)
    } while (
      this.#records.length > 0 ||
      this.#pendingRecords !== undefined ||
      [...this.#chunks].some(({ pending }) => pending !== undefined)
    )
  }

  #hasWork(): boolean {
    return this.#chunks.size + this.#records.length + this.#doubtful.size > 0 || this.#pendingRecords !== undefined
  }

  /** Gives back chunks whose answer was lost and that are there after all. */
  async #resolveDoubts(): Promise<void> {
    // Those that there are now: of one that comes to be doubted meanwhile the state here may not tell yet.
    const doubtful = [...this.#doubtful]
    const { budget } = await this.#stream.refresh()
    for (const id of doubtful) {
      if (budget.reservations.some(({ reservationId }) => reservationId === id)) {
        await this.#stream.dispatch(budgetReleased({ reservationId: id, reason: 'its holder did not learn that it had it' }))
      }
      this.#doubtful.delete(id)
    }
  }
}

const freeOf = ({ held, granted, spent }: Chunk, kind: AmountKind): number =>
  (held[kind] ?? 0) - (granted[kind] ?? 0) - (spent[kind] ?? 0)

function covers(chunk: Chunk, amounts: BudgetAmounts): boolean {
  for (const kind of amountKinds) {
    const amount = amounts[kind]
    if (amount !== undefined && amount > 0 && freeOf(chunk, kind) < amount) return false
  }
  return true
}

function copyOf(amounts: Amounts): BudgetAmounts {
  return Object.fromEntries(amountKinds.filter((kind) => (amounts[kind] ?? 0) > 0).map((kind) => [kind, amounts[kind]]))
}

/** One that is no amount would be given out for ever: nothing is less than it. */
function checkAmounts(type: string, amounts: BudgetAmounts): void {
  for (const kind of amountKinds) {
    const amount = amounts[kind]
    if (amount === undefined || (Number.isSafeInteger(amount) && amount >= 0)) continue
    const problem = `expected a whole number from 0 on, received ${amount}`
    throw new ColloquyError('action_invalid', { type, path: `$.payload.amounts.${kind}`, problem })
  }
}
