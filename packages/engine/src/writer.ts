/**
 * The one writer of a conversation in this process: the way of an action from `dispatch` to the subscribers.
 *
 * Waiting dispatches share an append. Each goes through guard, middleware and reducer on top of the one before, against a state
 * that is not stored yet; then all are stamped and appended in one call, and only then does anybody see them. When another writer
 * came first, what was missed is applied and the whole attempt is made again.
 */
import {
  type Action,
  type AppendOutcome,
  assertId,
  ColloquyError,
  type ConversationKey,
  canonicalInput,
  checkAction,
  conversationArchived,
  type Envelope,
  type EventLog,
  encodeBody,
  type Head,
  isSameInput,
  type Limits,
  type OpenedEnvelope,
  openEnvelope,
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
  /** A middleware did not pass anything on: nothing was stored. */
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
  readonly waiting: Waiting<State>
  readonly taken: Taken<State>[]
  /** Why the dispatch is refused, whatever it left to be stored. */
  refusal?: { readonly error: unknown }
}

/** Where an attempt stands: on top of what is stored. */
interface Attempt<State> {
  readonly number: number
  readonly runs: Run<State>[]
  state: State
  position: number
  occurredAt: number
  archived: boolean
}

export class Writer<State> {
  readonly #key: ConversationKey
  readonly #ports: WriterPorts<State>
  readonly #chain: Next
  #state: State
  #head: Head
  #queue: Waiting<State>[] = []
  #tasks: (() => Promise<void>)[] = []
  #working: Promise<void> | undefined
  #damaged = false
  readonly #turns = new Turns()
  #attempt: Attempt<State> | undefined
  #run: Run<State> | undefined

  constructor(key: ConversationKey, loaded: { readonly state: State; readonly head: Head }, ports: WriterPorts<State>) {
    this.#key = key
    this.#ports = ports
    this.#state = loaded.state
    this.#head = loaded.head
    this.#chain = composeMiddleware(ports.middleware, this.#middlewareApi(), (action) => this.#takeIn(action))
  }

  get state(): State {
    return this.#state
  }

  get head(): Head {
    return this.#head
  }

  get isBusy(): boolean {
    return this.#working !== undefined
  }

  /** The log was not what this writer believed: it must be made anew from the log. */
  get isDamaged(): boolean {
    return this.#damaged
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  /** `actions` are checked already. @throws `id_invalid` */
  async dispatch(actions: readonly Action[], options: DispatchOptions<State>): Promise<DispatchResult<State>> {
    for (const kind of ['commandId', 'actor', 'cause'] as const) if (options[kind] !== undefined) assertId(kind, options[kind])
    const input = options.commandId === undefined ? undefined : canonicalInput(actions)
    return new Promise((resolve, reject) => {
      this.#queue.push({ actions, options, dispatchId: this.#ports.ids(), input, resolve, reject })
      this.#work()
    })
  }

  /** Takes in what other processes appended. */
  refresh(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#tasks.push(() => this.#catchUp().then(resolve, reject))
      this.#work()
    })
  }

  #work(): void {
    this.#working ??= this.#drain().finally(() => {
      this.#working = undefined
      // Between the end of the loop and here a dispatch may have come in and found the writer at work.
      if (this.#queue.length > 0 || this.#tasks.length > 0) this.#work()
    })
  }

  async #drain(): Promise<void> {
    // One turn of the microtask queue lets dispatches made in one go share the first append too.
    await Promise.resolve()
    while (this.#queue.length > 0 || this.#tasks.length > 0) {
      for (const task of this.#tasks.splice(0)) await task()
      // Before they are gathered: what comes meanwhile shares the append.
      const waiting = this.#queue.length > 0 ? this.#turns.giveWay() : undefined
      if (waiting) await waiting
      const batch = this.#nextBatch()
      if (batch.length === 0) continue
      try {
        // Without middleware nothing acts before the append, which finds known commands itself: the look beforehand would be a round trip.
        await this.#store(this.#ports.middleware.length === 0 ? batch : await this.#withoutKnownCommands(batch))
      } catch (error) {
        // The outcome in the log is not known here: believe nothing but the log from now on.
        this.#damaged = true
        for (const waiting of [...batch, ...this.#queue.splice(0)]) waiting.reject(error)
      }
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

  /** Answers commands that are stored already, before anything may refuse or act. */
  async #withoutKnownCommands(batch: readonly Waiting<State>[]): Promise<readonly Waiting<State>[]> {
    const found = await Promise.all(batch.map(({ options }) => this.#storedCommand(options.commandId)))
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
    if (refused.length === 0 || this.#ports.middleware.length > 0) return runs
    const fresh = new Set(await this.#withoutKnownCommands(refused.map(({ waiting }) => waiting)))
    return runs.filter((run) => !refused.includes(run) || fresh.has(run.waiting))
  }

  async #storedCommand(commandId: string | undefined): Promise<readonly StoredEnvelope[]> {
    return commandId === undefined ? [] : this.#ports.log.command(this.#key, commandId)
  }

  async #answerDuplicate(waiting: Waiting<State>, stored: readonly StoredEnvelope[]): Promise<void> {
    const first = stored[0] as StoredEnvelope
    const commandId = waiting.options.commandId as string
    if (!isSameInput(first, waiting.input ?? '', this.#ports.sha256)) {
      waiting.reject(new ColloquyError('command_id_reused', { commandId, position: first.position }))
      return
    }
    const last = stored.at(-1) as StoredEnvelope
    if (last.position > this.#head.position) await this.#catchUp()
    const envelopes = stored.map(openEnvelope)
    waiting.resolve({ state: this.#state, position: this.#head.position, envelopes, blocked: false, duplicate: true })
  }

  async #store(batch: readonly Waiting<State>[]): Promise<void> {
    // A caller may know more than this process: another one told it of a later position.
    if (batch.some(({ options }) => (options.expectedPosition ?? 0) > this.#head.position)) await this.#catchUp()
    let left = batch
    for (let number = 1; left.length > 0; number++) {
      if (number > attemptLimit) {
        const error = new ColloquyError('rebase_limit_reached', {
          conversationId: this.#key.conversationId,
          attempts: attemptLimit,
        })
        for (const waiting of left) waiting.reject(error)
        return
      }
      left = await this.#try(left, number)
    }
  }

  /** One attempt. @returns the dispatches that must be tried again */
  async #try(batch: readonly Waiting<State>[], number: number): Promise<readonly Waiting<State>[]> {
    const runs = await this.#withoutKnownRefusals(await this.#runChains(batch, number))
    const envelopes = this.#stampAll(runs)
    const archive = envelopes.some(({ type }) => type === archivingType)
    if (envelopes.length === 0) {
      for (const run of runs) this.#settle(run, [])
      return []
    }
    const request = { key: this.#key, expected: this.#head, envelopes, ...(archive && { archive }) }
    const outcome = (await this.#ports.log.append([request]))[0] as AppendOutcome
    switch (outcome.status) {
      case 'appended':
        this.#commit(runs, outcome.envelopes, archive)
        return []
      case 'conflict':
        this.#turns.lost()
        await this.#rebase(outcome.head, outcome.missed)
        return batch
      case 'duplicate':
        await this.#catchUp()
        return this.#withoutKnownCommands(batch)
      case 'archived':
        await this.#catchUp()
        return batch
      default:
        return outcome satisfies never
    }
  }

  async #runChains(batch: readonly Waiting<State>[], number: number): Promise<Run<State>[]> {
    const { position, occurredAt, archived } = this.#head
    const attempt: Attempt<State> = { number, runs: [], state: this.#state, position, occurredAt, archived }
    this.#attempt = attempt
    for (const waiting of batch) {
      const run: Run<State> = { waiting, taken: [] }
      attempt.runs.push(run)
      this.#run = run
      await this.#runChain(run)
    }
    this.#run = undefined
    this.#attempt = undefined
    return attempt.runs
  }

  async #runChain(run: Run<State>): Promise<void> {
    let done = 0
    try {
      this.#assertOpen(run.waiting.options.expectedPosition)
      run.waiting.options.guard?.(this.#attempt?.state ?? this.#state)
      for (const action of run.waiting.actions) {
        done = run.taken.length
        await this.#chain(action)
      }
    } catch (error) {
      run.refusal = { error }
      if (done > 0) await this.#withdraw(run, done)
    }
  }

  /** The actions of a dispatch stand or fall together; what the chain left while it refused the last one is kept. */
  async #withdraw(run: Run<State>, count: number): Promise<void> {
    const attempt = this.#attempt
    if (attempt === undefined) return
    const kept = run.taken.splice(0).slice(count)
    const before = attempt.runs.flatMap(({ taken }) => taken).at(-1)
    attempt.archived = false
    attempt.state = before?.stateAfter ?? this.#state
    attempt.position = before?.action.position ?? this.#head.position
    for (const { action } of kept) {
      const { type, payload, meta, derivedFrom } = action
      await this.#takeIn({ type, payload, ...(meta && { meta }), ...(derivedFrom && { derivedFrom }) }).catch(() => {
        // It stood on the withdrawn actions, so it falls with them.
      })
    }
  }

  #assertOpen(expectedPosition?: number): void {
    const { conversationId } = this.#key
    const { archived, position } = this.#attempt ?? this.#head
    if (archived) throw new ColloquyError('conversation_archived', { conversationId, position })
    if (expectedPosition !== undefined && expectedPosition !== position) {
      throw new ColloquyError('position_conflict', { conversationId, expectedPosition, actualPosition: position })
    }
  }

  /** The end of the chain: check, guard, reduce. */
  async #takeIn(given: Action): Promise<StampedAction> {
    const { reducer, limits, clock } = this.#ports
    const attempt = this.#attempt
    const run = this.#run
    if (attempt === undefined || run === undefined) {
      throw new ColloquyError('middleware_failed', { type: given.type, problem: 'next was called after the dispatch had ended' })
    }
    this.#assertOpen()
    const { action, schemaVersion } = checked(reducer, given, limits)
    const body = encodeBody(action, limits.envelopeBytes)
    const stamped = await resolveAction(
      reducer,
      {
        ...action,
        position: attempt.position + 1,
        // Clocks jump; the time of a conversation does not run backwards.
        occurredAt: Math.max(clock(), attempt.occurredAt),
        actor: run.waiting.options.actor ?? null,
      },
      (ranges) => this.#resolve(ranges),
    )
    reducer.guard(attempt.state, stamped)
    const stateAfter = reducer.reduce(attempt.state, stamped)
    run.taken.push({ action: stamped, schemaVersion, body, stateAfter })
    attempt.state = stateAfter
    attempt.position = stamped.position
    attempt.occurredAt = stamped.occurredAt
    attempt.archived = stamped.type === archivingType
    return stamped
  }

  /** Positions that this attempt took in are not in the log yet. */
  async #resolve(ranges: readonly (readonly [number, number])[]): Promise<readonly StampedAction[]> {
    const stored = resolverOf(this.#ports.log, this.#key, this.#ports.reducer)
    const underway = (this.#attempt?.runs ?? []).flatMap(({ taken }) => taken).map(({ action }) => action)
    const found: StampedAction[] = []
    for (const [from, to] of ranges) {
      if (from <= this.#head.position) found.push(...(await stored([[from, Math.min(to, this.#head.position)]])))
      found.push(...underway.filter(({ position }) => position >= from && position <= to))
    }
    return found
  }

  #stampAll(runs: readonly Run<State>[]): Envelope[] {
    const { random, sha256 } = this.#ports
    const envelopes: Envelope[] = []
    let previousHash = this.#head.hash
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
    this.#state = (taken.at(-1) as Taken<State>).stateAfter
    this.#head = { position: last.position, hash: last.hash, occurredAt: last.occurredAt, archived }
    this.#turns.won()
    this.#ports.onStored({ envelopes: opened, state: this.#state, own: true })
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
      state: last?.stateAfter ?? this.#state,
      position: last?.action.position ?? this.#head.position,
      envelopes,
      blocked: last === undefined,
      duplicate: false,
    })
  }

  /** Another writer came first: what it appended is applied; the caller runs the dispatches again. */
  async #rebase(head: Head, missed: readonly StoredEnvelope[]): Promise<void> {
    const [next] = missed
    if (next === undefined) throw this.#rewound(head.position)
    if (next.position !== this.#head.position + 1) {
      throw new ColloquyError('log_corrupt', {
        conversationId: this.#key.conversationId,
        position: this.#head.position + 1,
        problem: `position ${next.position} is stored, and nothing before it`,
      })
    }
    await this.#apply(missed, head)
    if (this.#head.position < head.position) await this.#catchUp()
  }

  async #catchUp(): Promise<void> {
    const held = this.#head
    const head = await this.#ports.log.head(this.#key)
    if (head === undefined && held.position === 0) return
    if (head === undefined || head.position < held.position) throw this.#rewound(head?.position ?? 0)
    if (head.position === held.position && !isEqual(head.hash, held.hash)) throw this.#rewound(head.position)
    if (head.position > held.position) {
      // The one held is read again: that it is still the same is what makes those behind it follow.
      for await (const page of this.#ports.log.read(this.#key, { from: Math.max(held.position, 1), to: head.position })) {
        const [first] = page
        const isHeld = first !== undefined && first.position === held.position
        // A fork without envelopes of its own stands on its parent's.
        const isOwn = first?.conversationId === this.#key.conversationId
        if (isHeld && isOwn && !isEqual(first.hash, held.hash)) throw this.#rewound(head.position)
        await this.#apply(isHeld ? page.slice(1) : page, head)
      }
    }
    this.#head = { ...this.#head, archived: head.archived }
  }

  async #apply(missed: readonly StoredEnvelope[], head: Head): Promise<void> {
    const { reducer, onStored, onUnapplied } = this.#ports
    const resolve = resolverOf(this.#ports.log, this.#key, reducer)
    for (const envelope of missed)
      this.#state = reducer.reduce(this.#state, await readAction(reducer, envelope, resolve), onUnapplied)
    const last = missed.at(-1)
    if (last === undefined) return
    const { position, hash, occurredAt } = last
    this.#head = { position, hash, occurredAt, archived: head.archived && position === head.position }
    onStored({ envelopes: missed.map(openEnvelope), state: this.#state, own: false })
  }

  #rewound(headPosition: number): ColloquyError {
    this.#damaged = true
    const { conversationId } = this.#key
    return new ColloquyError('history_rewound', { conversationId, heldPosition: this.#head.position, headPosition })
  }

  #middlewareApi(): MiddlewareApi<State> {
    const dispatchId = () => this.#run?.waiting.dispatchId ?? ''
    const attempt = () => this.#attempt?.number ?? 0
    return {
      conversationId: this.#key.conversationId,
      getState: () => this.#attempt?.state ?? this.#state,
      dispatch: (action) => this.#chain(action),
      get dispatchId() {
        return dispatchId()
      },
      get attempt() {
        return attempt()
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

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
