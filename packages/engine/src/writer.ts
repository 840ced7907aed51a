/**
 * The one writer of a conversation in this process: the way of an action from `dispatch` to the subscribers.
 *
 * Waiting dispatches share an append. Each goes through guard, middleware and reducer on top of the one before, against a state
 * that is not stored yet; then all are stamped and appended in one call, and only then does anybody see them. When another writer
 * came first, what was missed is applied and the whole attempt is made again.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Action,
  type AppendOutcome,
  actionsIn,
  assertId,
  ColloquyError,
  type ConversationKey,
  canonicalInput,
  checkAction,
  conversationArchived,
  type Envelope,
  type EventLog,
  encodeBody,
  equalBytes,
  type Head,
  isColloquyError,
  isSameInput,
  type Limits,
  type OpenedEnvelope,
  openEnvelope,
  type PositionRange,
  type Random,
  type Reducer,
  readAction,
  resolveAction,
  resolverOf,
  type Sha256,
  type StampedAction,
  type StoredEnvelope,
  stamp,
  type Unapplied,
} from '@colloquy/core'
import { composeMiddleware, type Middleware, type MiddlewareApi, type Next } from './middleware.ts'
import { readSince } from './read-since.ts'
import { Turns } from './turns.ts'

/** Who dispatches, why, and under which condition. */
export interface DispatchOptions<State = unknown> {
  /** The caller's idempotency key: applied at most once per conversation, for ever. */
  readonly commandId?: string
  /** Refuse unless the conversation is at this position. */
  readonly expectedPosition?: number
  /** Asked about the very state that the actions would be stored on, again after each rebase; what it throws refuses the dispatch. */
  readonly guard?: (state: State) => void
  readonly actor?: string
  readonly cause?: string
}

/** What a dispatch came to. */
export interface DispatchResult<State> {
  /** The state right after the dispatched actions; of a duplicate, the present one. */
  readonly state: State
  /** Where `state` stands. */
  readonly position: number
  /** What was stored: of a duplicate, the first time. */
  readonly envelopes: readonly OpenedEnvelope[]
  /** A middleware did not pass anything on for one of the actions: nothing was stored. */
  readonly blocked: boolean
  /** The command was stored before; this is its first result, and nothing was stored now. */
  readonly duplicate: boolean
}

/** What the writer of a conversation works with. */
export interface WriterPorts<State> {
  readonly log: EventLog
  readonly reducer: Reducer<State>
  readonly middleware: readonly Middleware<State>[]
  readonly clock: () => number
  readonly ids: () => string
  readonly random: Random
  readonly sha256: Sha256
  readonly limits: Limits
  /** Envelopes are in the log; `own`: this process appended them. */
  readonly onStored: (stored: { envelopes: readonly OpenedEnvelope[]; state: State; own: boolean }) => void
  readonly onUnapplied: (unapplied: Unapplied) => void
}

/** Dispatches that share one append at most. */
const batchLimit = 256
/** Attempts before a dispatch gives up to other writers; they give way long before that (`Turns`). */
const attemptLimit = 4_096

/** After this action the log takes no more. */
const archivingType = conversationArchived.type

interface Waiting<State> {
  readonly actions: readonly Action[]
  readonly options: DispatchOptions<State>
  readonly dispatchId: string
  /** No middleware is asked. */
  readonly isPlain: boolean
  /** Canonical text of the actions as dispatched; only with a command id. */
  readonly input: string | undefined
  resolve(result: DispatchResult<State>): void
  reject(error: unknown): void
}

/** An action on its way: guarded and reduced, not yet stored. */
interface Taken<State> {
  readonly action: StampedAction
  readonly schemaVersion: number
  readonly body: Uint8Array
  readonly stateAfter: State
}

/** One dispatch in one attempt. */
interface Run<State> {
  readonly writer: Writer<State>
  readonly attempt: Attempt<State>
  readonly waiting: Waiting<State>
  readonly taken: Taken<State>[]
  /** Why the dispatch is refused, whatever it left to be stored. */
  refusal?: { readonly error: unknown }
  /** Its chain has come back: who calls `next` now comes too late. */
  ended: boolean
}

/** What is stored, as far as it is known here. State and head are of one position, so they change together. */
interface Stored<State> {
  readonly state: State
  readonly head: Head
}

/** Where an attempt stands: on top of what is stored. */
interface Attempt<State> {
  readonly number: number
  readonly base: Stored<State>
  readonly runs: Run<State>[]
  state: State
  position: number
  occurredAt: number
  archived: boolean
  /** An action waits for what it names in the log. Until it is in, nobody else is given its position. */
  takingIn: Promise<void> | undefined
}

/**
 * The dispatch that a middleware works for. A chain is made once for all dispatches, so `next` and the API have to find out on whose
 * behalf they are called, however late; what a middleware waits for, and what it starts, is still of its dispatch.
 */
const runs = new AsyncLocalStorage<unknown>()

/** Nothing of this call was sent, and its writer sends nothing any more: whoever gets it asks the next writer. Never seen outside. */
export class NotSent extends Error {}

export class Writer<State> {
  readonly #key: ConversationKey
  readonly #ports: WriterPorts<State>
  readonly #chain: Next
  #stored: Stored<State>
  #queue: Waiting<State>[] = []
  #refreshes: { resolve(): void; reject(error: unknown): void }[] = []
  #working: Promise<void> | undefined
  #damaged = false
  readonly #turns = new Turns()
  /** Command ids of what other processes appended since the present dispatches were looked for in the log. */
  #missedCommands = new Set<string>()

  constructor(key: ConversationKey, loaded: { readonly state: State; readonly head: Head }, ports: WriterPorts<State>) {
    this.#key = key
    this.#ports = ports
    this.#stored = { state: loaded.state, head: loaded.head }
    this.#chain = composeMiddleware(ports.middleware, this.#middlewareApi(), async (action) =>
      this.#takeIn(this.#presentRun(action.type), action),
    )
  }

  get state(): State {
    return this.#stored.state
  }

  get head(): Head {
    return this.#stored.head
  }

  get isBusy(): boolean {
    return this.#working !== undefined
  }

  /** What this writer believes is not to be believed: the conversation must be made anew from the log, when this one has settled. */
  get isDamaged(): boolean {
    return this.#damaged
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  /** `actions` are checked already; plain ones go past the middleware. @throws `id_invalid`, `middleware_failed`, `NotSent` */
  async dispatch(
    actions: readonly Action[],
    options: DispatchOptions<State>,
    isPlain = !this.#hasMiddleware,
  ): Promise<DispatchResult<State>> {
    for (const kind of ['commandId', 'actor', 'cause'] as const) if (options[kind] !== undefined) assertId(kind, options[kind])
    this.#assertUsable(actions[0]?.type)
    const input = options.commandId === undefined ? undefined : canonicalInput(actions)
    return new Promise((resolve, reject) => {
      this.#queue.push({ actions, options, dispatchId: this.#ports.ids(), isPlain, input, resolve, reject })
      this.#work()
    })
  }

  /** Takes in what other processes appended. @throws `middleware_failed`, `NotSent` */
  async refresh(): Promise<void> {
    this.#assertUsable()
    return new Promise((resolve, reject) => {
      this.#refreshes.push({ resolve, reject })
      this.#work()
    })
  }

  /** What this writer holds is not what the log leads to: what is under way is finished, and nothing is begun any more. */
  distrust(error?: unknown): void {
    this.#damaged = true
    // Who waits was not sent, and is asked to go to the next writer; unless it was dispatched on a history that is lost.
    const answer = isColloquyError(error, 'history_rewound') ? error : new NotSent()
    for (const waiting of [...this.#queue.splice(0), ...this.#refreshes.splice(0)]) waiting.reject(answer)
  }

  #assertUsable(type = '(refresh)'): void {
    const run = this.#runOfCaller()
    if (run !== undefined && !run.ended) {
      const problem = `it asked conversation ${this.#key.conversationId} for something that waits for the end of its own dispatch; call api.dispatch, or let an effect do it`
      throw new ColloquyError('middleware_failed', { type, problem })
    }
    if (this.#damaged) throw new NotSent()
  }

  #work(): void {
    // Not on behalf of the caller, which may be a middleware of another conversation.
    this.#working ??= runs
      .run(undefined, () => this.#drain())
      .finally(() => {
        this.#working = undefined
        // Between the end of the loop and here a dispatch may have come in and found the writer at work.
        if (this.#queue.length > 0 || this.#refreshes.length > 0) this.#work()
      })
  }

  async #drain(): Promise<void> {
    // One turn of the microtask queue lets dispatches made in one go share the first append too.
    await Promise.resolve()
    while (this.#queue.length > 0 || this.#refreshes.length > 0) {
      if (this.#refreshes.length > 0) await this.#answerRefreshes()
      // Before they are gathered: what comes meanwhile shares the append.
      const waiting = this.#queue.length > 0 ? this.#turns.giveWay() : undefined
      if (waiting) await waiting
      const batch = this.#nextBatch()
      if (batch.length === 0) continue
      try {
        await this.#store(batch)
      } catch (error) {
        // The outcome in the log is not known here: believe nothing but the log from now on.
        for (const waiting of batch) waiting.reject(error)
        this.distrust(error)
      }
    }
  }

  async #answerRefreshes(): Promise<void> {
    const refreshes = this.#refreshes.splice(0)
    try {
      await this.#catchUp()
      for (const refresh of refreshes) refresh.resolve()
    } catch (error) {
      for (const refresh of refreshes) refresh.reject(error)
      if (isColloquyError(error, 'history_rewound')) this.distrust(error)
    }
  }

  /** The next dispatches, each command id at most once: the second must find what the first left. */
  #nextBatch(): Waiting<State>[] {
    const commandIds = new Set<string>()
    let size = 0
    for (const { options } of this.#queue) {
      if (size === batchLimit || (options.commandId !== undefined && commandIds.has(options.commandId))) break
      if (options.commandId !== undefined) commandIds.add(options.commandId)
      size += 1
    }
    return this.#queue.splice(0, size)
  }

  /** Answers commands that are stored already, before anything may refuse or act; with `among` only those are looked for. */
  async #withoutKnownCommands(batch: readonly Waiting<State>[], among?: ReadonlySet<string>): Promise<readonly Waiting<State>[]> {
    const found = await Promise.all(
      batch.map(async ({ options: { commandId } }) =>
        commandId === undefined || among?.has(commandId) === false ? [] : this.#ports.log.command(this.#key, commandId),
      ),
    )
    const fresh: Waiting<State>[] = []
    for (const [index, waiting] of batch.entries()) {
      const envelopes = found[index] ?? []
      if (envelopes.length === 0) fresh.push(waiting)
      else await this.#answerDuplicate(waiting, envelopes)
    }
    return fresh
  }

  /** A retry of what is stored gets its first result, even where the state that it led to would refuse it now. */
  async #withoutKnownRefusals(runs: readonly Run<State>[]): Promise<readonly Run<State>[]> {
    const refused = runs.filter(({ refusal, waiting }) => refusal !== undefined && waiting.options.commandId !== undefined)
    // With middleware they were looked for before the chain.
    if (refused.length === 0 || this.#hasMiddleware) return runs
    const fresh = new Set(await this.#withoutKnownCommands(refused.map(({ waiting }) => waiting)))
    return runs.filter((run) => !refused.includes(run) || fresh.has(run.waiting))
  }

  async #answerDuplicate(waiting: Waiting<State>, stored: readonly StoredEnvelope[]): Promise<void> {
    const first = stored[0] as StoredEnvelope
    const commandId = waiting.options.commandId as string
    if (!isSameInput(first, waiting.input ?? '', this.#ports.sha256)) {
      waiting.reject(new ColloquyError('command_id_reused', { commandId, position: first.position }))
      return
    }
    const last = stored.at(-1) as StoredEnvelope
    if (last.position > this.head.position) await this.#catchUp()
    const envelopes = stored.map(openEnvelope)
    waiting.resolve({ state: this.state, position: this.head.position, envelopes, blocked: false, duplicate: true })
  }

  get #hasMiddleware(): boolean {
    return this.#ports.middleware.length > 0
  }

  async #store(batch: readonly Waiting<State>[]): Promise<void> {
    this.#missedCommands.clear()
    // Without middleware nothing acts before the append, which finds known commands itself: the look beforehand would be a round trip.
    let left = this.#hasMiddleware ? await this.#withoutKnownCommands(batch) : batch
    // A caller may know more than this process: another one told it of a later position.
    if (left.some(({ options }) => (options.expectedPosition ?? 0) > this.head.position)) await this.#catchUp()
    for (let number = 1; left.length > 0; number++) {
      if (number > attemptLimit) {
        const error = new ColloquyError('rebase_limit_reached', {
          conversationId: this.#key.conversationId,
          attempts: attemptLimit,
        })
        for (const waiting of left) waiting.reject(error)
        return
      }
      left = await this.#try(await this.#withoutMissedCommands(left), number)
    }
  }

  /** What another process stored since is answered before a middleware acts on it. */
  async #withoutMissedCommands(batch: readonly Waiting<State>[]): Promise<readonly Waiting<State>[]> {
    if (!this.#hasMiddleware || this.#missedCommands.size === 0) return batch
    const missed = new Set(this.#missedCommands)
    this.#missedCommands.clear()
    return this.#withoutKnownCommands(batch, missed)
  }

  /** One attempt. @returns the dispatches that must be tried again */
  async #try(batch: readonly Waiting<State>[], number: number): Promise<readonly Waiting<State>[]> {
    const attempt = await this.#runChains(batch, number)
    const { base } = attempt
    const runs = await this.#withoutKnownRefusals(attempt.runs)
    const waitings = runs.map(({ waiting }) => waiting)
    // To answer a retry, what others appended was taken in: this attempt does not stand on it.
    if (this.#stored !== base) return waitings
    const envelopes = this.#stampAll(base.head, runs)
    if (envelopes.length === 0) {
      // What is refused was judged by what this process knows, which an append would compare with the log. A later attempt stands on
      // what the log had after the dispatch was made.
      if (number === 1 && runs.some(({ refusal }) => refusal !== undefined)) await this.#catchUp()
      if (this.#stored !== base) return waitings
      for (const run of runs) this.#settle(run, [])
      return []
    }
    const archive = envelopes.some(({ type }) => type === archivingType)
    const request = { key: this.#key, expected: base.head, envelopes, ...(archive && { archive }) }
    const outcome = (await this.#ports.log.append([request]))[0] as AppendOutcome
    switch (outcome.status) {
      case 'appended':
        this.#commit(runs, outcome.envelopes, archive)
        return []
      case 'conflict':
        this.#turns.lost()
        await this.#rebase(outcome.head, outcome.missed)
        return waitings
      case 'duplicate':
        await this.#catchUp()
        return this.#withoutKnownCommands(waitings)
      case 'archived':
        await this.#catchUp()
        return waitings
      default:
        return outcome satisfies never
    }
  }

  async #runChains(batch: readonly Waiting<State>[], number: number): Promise<Attempt<State>> {
    const base = this.#stored
    const { position, occurredAt, archived } = base.head
    const attempt: Attempt<State> = {
      number,
      base,
      runs: [],
      state: base.state,
      position,
      occurredAt,
      archived,
      takingIn: undefined,
    }
    for (const waiting of batch) {
      const run: Run<State> = { writer: this, attempt, waiting, taken: [], ended: false }
      attempt.runs.push(run)
      await this.#runChain(run)
    }
    return attempt
  }

  async #runChain(run: Run<State>): Promise<void> {
    const { attempt, waiting } = run
    let done = 0
    let isBlocked = false
    try {
      this.#assertOpen(attempt, waiting.options.expectedPosition)
      waiting.options.guard?.(attempt.state)
      for (const action of waiting.actions) {
        done = run.taken.length
        const sent = waiting.isPlain ? this.#takeIn(run, action) : runs.run(run, () => this.#chain(action))
        // Most are in already, and a turn of the microtask queue for each would be felt.
        if (sent instanceof Promise) await sent
        // Nobody may have waited for what is on its way in.
        while (attempt.takingIn) await attempt.takingIn
        isBlocked = run.taken.length === done
        if (isBlocked) break
      }
    } catch (error) {
      run.refusal = { error }
      while (attempt.takingIn) await attempt.takingIn
    }
    run.ended = true
    if ((run.refusal || isBlocked) && done > 0) await this.#withdraw(run, done)
  }

  /** The actions of a dispatch stand or fall together; what the chain left while it refused the last one is kept. Of one that was blocked nothing is. */
  async #withdraw(run: Run<State>, count: number): Promise<void> {
    const { attempt } = run
    const kept = run.taken.splice(0).slice(count)
    const before = attempt.runs.flatMap(({ taken }) => taken).at(-1)
    attempt.archived = false
    attempt.state = before?.stateAfter ?? attempt.base.state
    attempt.position = before?.action.position ?? attempt.base.head.position
    for (const { action } of kept) {
      const { type, payload, meta, derivedFrom } = action
      try {
        await this.#add(run, { type, payload, ...(meta && { meta }), ...(derivedFrom && { derivedFrom }) })
      } catch {
        // It stood on the withdrawn actions, so it falls with them.
      }
    }
  }

  #assertOpen({ archived, position }: Attempt<State>, expectedPosition?: number): void {
    const { conversationId } = this.#key
    if (archived) throw new ColloquyError('conversation_archived', { conversationId, position })
    if (expectedPosition !== undefined && expectedPosition !== position) {
      throw new ColloquyError('position_conflict', { conversationId, expectedPosition, actualPosition: position })
    }
  }

  /** The end of the chain. One at a time, however a middleware calls it. */
  #takeIn(run: Run<State>, given: Action): StampedAction | Promise<StampedAction> {
    const { attempt } = run
    if (run.ended) {
      throw new ColloquyError('middleware_failed', { type: given.type, problem: 'next was called after the dispatch had ended' })
    }
    if (attempt.takingIn) return attempt.takingIn.then(() => this.#takeIn(run, given))
    const added = this.#add(run, given)
    if (added instanceof Promise) {
      const settled = () => {
        attempt.takingIn = undefined
      }
      attempt.takingIn = added.then(settled, settled)
    }
    return added
  }

  /** Checks, guards and reduces. At once, but for an action that names others: those are read first. */
  #add(run: Run<State>, given: Action): StampedAction | Promise<StampedAction> {
    const { reducer, limits, clock } = this.#ports
    const { attempt } = run
    this.#assertOpen(attempt)
    const { action, schemaVersion } = checked(reducer, given, limits)
    const body = encodeBody(action, limits.envelopeBytes)
    const stamped: StampedAction = {
      ...action,
      position: attempt.position + 1,
      // Clocks jump; the time of a conversation does not run backwards.
      occurredAt: Math.max(clock(), attempt.occurredAt),
      actor: run.waiting.options.actor ?? null,
    }
    const fold = (full: StampedAction): StampedAction => {
      reducer.guard(attempt.state, full)
      const stateAfter = reducer.reduce(attempt.state, full)
      run.taken.push({ action: full, schemaVersion, body, stateAfter })
      attempt.state = stateAfter
      attempt.position = full.position
      attempt.occurredAt = full.occurredAt
      attempt.archived = full.type === archivingType
      return full
    }
    if (reducer.definition(action.type)?.resolve === undefined) return fold(stamped)
    return resolveAction(reducer, stamped, (ranges) => this.#resolve(attempt, ranges)).then(fold)
  }

  /** Positions that this attempt took in are not in the log yet. */
  async #resolve({ base, runs }: Attempt<State>, ranges: readonly PositionRange[]): Promise<readonly StampedAction[]> {
    const end = base.head.position
    const inLog = ranges.filter(([from]) => from <= end).map(([from, to]): PositionRange => [from, Math.min(to, end)])
    const stored = await resolverOf(this.#ports.log, this.#key, this.#ports.reducer)(inLog)
    const underway = runs.flatMap(({ taken }) => taken.map(({ action }) => action))
    const at = new Map([...stored, ...underway].map((action) => [action.position, action]))
    return actionsIn(ranges, at)
  }

  #stampAll(head: Head, runs: readonly Run<State>[]): Envelope[] {
    const { random, sha256 } = this.#ports
    const envelopes: Envelope[] = []
    let previousHash = head.hash
    for (const { waiting, taken, refusal } of runs) {
      // What a refused dispatch left is not the result of its command: a retry must be judged again.
      const commandId = refusal ? null : (waiting.options.commandId ?? null)
      for (const [index, { action, schemaVersion, body }] of taken.entries()) {
        const { type, position, occurredAt, actor } = action
        const envelope = stamp(
          {
            ...this.#key,
            position,
            type,
            schemaVersion,
            occurredAt,
            commandId,
            commandIndex: commandId === null ? null : index,
            actor,
            cause: waiting.options.cause ?? null,
            keyId: null,
          },
          body,
          { previousHash, salt: random(16), input: commandId !== null && index === 0 ? waiting.input : undefined },
          sha256,
        )
        previousHash = envelope.hash
        envelopes.push(envelope)
      }
    }
    return envelopes
  }

  #commit(runs: readonly Run<State>[], stored: readonly StoredEnvelope[], archived: boolean): void {
    const taken = runs.flatMap((run) => run.taken)
    const opened = stored.map((envelope, index) =>
      Object.freeze({ ...envelope, action: Object.freeze((taken[index] as Taken<State>).action) }),
    )
    const last = opened.at(-1) as OpenedEnvelope
    const { position, hash, occurredAt } = last
    this.#stored = { state: (taken.at(-1) as Taken<State>).stateAfter, head: { position, hash, occurredAt, archived } }
    this.#turns.won()
    this.#ports.onStored({ envelopes: opened, state: this.state, own: true })
    let from = 0
    for (const run of runs) {
      this.#settle(run, opened.slice(from, from + run.taken.length))
      from += run.taken.length
    }
  }

  #settle({ waiting, taken, refusal }: Run<State>, envelopes: readonly OpenedEnvelope[]): void {
    if (refusal) {
      waiting.reject(refusal.error)
      return
    }
    const last = taken.at(-1)
    waiting.resolve({
      state: last?.stateAfter ?? this.state,
      position: last?.action.position ?? this.head.position,
      envelopes,
      blocked: last === undefined && waiting.actions.length > 0,
      duplicate: false,
    })
  }

  /** Another writer came first: what it appended is applied; the caller runs the dispatches again. */
  async #rebase(head: Head, missed: readonly StoredEnvelope[]): Promise<void> {
    const [next] = missed
    if (next === undefined) throw this.#rewound(head.position)
    if (next.position !== this.head.position + 1) {
      throw new ColloquyError('log_corrupt', {
        conversationId: this.#key.conversationId,
        position: this.head.position + 1,
        problem: `position ${next.position} is stored, and nothing before it`,
      })
    }
    await this.#apply(missed, head)
    if (this.head.position < head.position) await this.#catchUp()
  }

  async #catchUp(): Promise<void> {
    const held = this.head
    const head = await this.#ports.log.head(this.#key)
    if (head === undefined && held.position === 0) return
    if (head === undefined || head.position < held.position) throw this.#rewound(head?.position ?? 0)
    if (head.position === held.position && !equalBytes(head.hash, held.hash)) throw this.#rewound(head.position)
    if (head.position > held.position) {
      for await (const missed of readSince(this.#ports.log, this.#key, held, head.position)) await this.#apply(missed, head)
    }
    if (this.head.archived !== head.archived) this.#stored = { ...this.#stored, head: { ...this.head, archived: head.archived } }
  }

  async #apply(missed: readonly StoredEnvelope[], head: Head): Promise<void> {
    const { reducer, onStored, onUnapplied } = this.#ports
    const resolve = resolverOf(this.#ports.log, this.#key, reducer)
    // Kept aside: reading what an action names may fail, and what was applied up to there would be applied again.
    let { state } = this.#stored
    for (const envelope of missed) state = reducer.reduce(state, await readAction(reducer, envelope, resolve), onUnapplied)
    const last = missed.at(-1)
    if (last === undefined) return
    const { position, hash, occurredAt } = last
    this.#stored = { state, head: { position, hash, occurredAt, archived: head.archived && position === head.position } }
    for (const { commandId } of missed) if (commandId !== null && this.#hasMiddleware) this.#missedCommands.add(commandId)
    onStored({ envelopes: missed.map(openEnvelope), state, own: false })
  }

  #rewound(headPosition: number): ColloquyError {
    const { conversationId } = this.#key
    return new ColloquyError('history_rewound', { conversationId, heldPosition: this.head.position, headPosition })
  }

  /** The dispatch of this conversation for which a middleware calls, if one does; it may have ended. */
  #runOfCaller(): Run<State> | undefined {
    const run = runs.getStore() as Run<State> | undefined
    return run?.writer === this ? run : undefined
  }

  /** @throws `middleware_failed` */
  #presentRun(type: string): Run<State> {
    const run = this.#runOfCaller()
    if (run === undefined || run.ended) {
      throw new ColloquyError('middleware_failed', { type, problem: 'next was called after the dispatch had ended' })
    }
    return run
  }

  #middlewareApi(): MiddlewareApi<State> {
    const run = () => this.#runOfCaller()
    return {
      conversationId: this.#key.conversationId,
      getState: () => {
        const present = run()
        return present === undefined || present.ended ? this.state : present.attempt.state
      },
      dispatch: async (action) => {
        this.#presentRun(action.type)
        return this.#chain(action)
      },
      get dispatchId() {
        return run()?.waiting.dispatchId ?? ''
      },
      get attempt() {
        return run()?.attempt.number ?? 0
      },
    }
  }
}

/** @throws `action_unknown` and what `checkAction` throws */
export function checked(
  reducer: Reducer,
  given: Action,
  limits: Limits,
): { readonly action: Action; readonly schemaVersion: number } {
  // Callers without types hand in anything.
  const type = (given as Partial<Action> | null | undefined)?.type
  if (typeof type !== 'string') {
    throw new ColloquyError('action_invalid', {
      type: String(type),
      path: '$.type',
      problem: 'an action is an object with a type',
    })
  }
  const definition = reducer.definition(type)
  if (definition === undefined) throw new ColloquyError('action_unknown', { type, known: reducer.actionCount })
  return { action: checkAction(definition, given, limits), schemaVersion: definition.schemaVersion }
}
