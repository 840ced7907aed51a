import {
  type Action,
  assertConversationId,
  assertForkId,
  assertId,
  assertOwnStreamId,
  type Clock,
  ColloquyError,
  type ConversationKey,
  type ConversationState,
  combineSlices,
  conversationForked,
  conversationSlices,
  cursorOf,
  defaultTenant,
  type EventLog,
  type FeedCursor,
  forkIdOf,
  type Head,
  type Ids,
  type ImportedConversation,
  isColloquyError,
  isForkId,
  type Limits,
  type OpenedEnvelope,
  openEnvelope,
  type Random,
  type Reducer,
  type ReplayEnd,
  type Replayed,
  replay,
  resolverOf,
  type Sha256,
  type Slice,
  type StateOf,
  type StoredEnvelope,
} from '@colloquy/core'
import { filter, mergeMap, type Observable, type Subscription } from 'rxjs'
import { Conversation } from './conversation.ts'
import type { Effect, EffectApi } from './effects.ts'
import { type FeedBatch, type FeedEnvelope, type FeedOptions, Feeds } from './feed.ts'
import { type ErrorListener, GuardedObservable } from './guarded-observable.ts'
import { type ImportedResult, importConversations } from './import-conversation.ts'
import { load, loadAt } from './load.ts'
import type { Middleware } from './middleware.ts'
import { sha256 as nodeSha256, systemClock, systemRandom, uuidv7 } from './node-ports.ts'
import { Publisher } from './publish.ts'
import { readSince } from './read-since.ts'
import { guarded } from './report-error.ts'
import { assertSeen, type Seen } from './seen.ts'
import { count, inMicroseconds, limitsFrom, milliseconds } from './settings.ts'
import { Snapshots } from './snapshots.ts'
import { checked, NotSent, Writer } from './writer.ts'

/** The log, and what is to happen around each dispatch. Everything but the log has a default. */
export interface EngineOptions<Slices extends readonly Slice[]> {
  /** Where conversations are kept. Not closed by the engine. */
  readonly log: EventLog
  /** Your own slices, beside ours. */
  readonly slices?: Slices
  /** Outermost first. */
  readonly middleware?: readonly Middleware<EngineState<Slices>>[]
  readonly effects?: readonly Effect<EngineState<Slices>>[]
  /** Whose conversations these are. Default 'default'. */
  readonly tenant?: string
  readonly limits?: Partial<Limits>
  /** A conversation that is not used for so long leaves memory and comes back from the log; Infinity: never. Default 300,000. */
  readonly idleMs?: number
  /** A state hash is kept each time so many envelopes were appended to a conversation, with the state when that is worth its bytes. Default 100. */
  readonly snapshotEvery?: number
  /** Of so many loads from a snapshot one is compared, in the background, with a replay of the whole log. Default 100. */
  readonly verifySnapshotEvery?: number
  /** Told what subscribers and effects throw, what a reducer cannot apply, and that a snapshot failed. Default: a process warning. */
  readonly onError?: ErrorListener
  /** Microseconds since 1970. Default: the machine's. One that gives milliseconds is refused by each dispatch (`settings_invalid`). */
  readonly clock?: Clock
  /** Names forks and dispatches; must never repeat one. Default: UUIDv7. */
  readonly ids?: Ids
  /** Unpredictable bytes: the salts of the commitments. Default: Node's. */
  readonly random?: Random
  /** Default: Node's. Another one must give the same 32 bytes: what is stored was hashed with it. */
  readonly sha256?: Sha256
}

/** Our state and that of your slices, by slice name. */
export type EngineState<Slices extends readonly Slice[]> = ConversationState & StateOf<Slices>

/** Runs conversations of one tenant over a log. One per process and tenant is enough. */
export interface Engine<State> extends AsyncDisposable {
  readonly tenant: string
  readonly reducer: Reducer<State>
  /** Where its conversations are kept. */
  readonly log: EventLog
  /**
   * Every envelope that this engine stores or learns of; in order inside each conversation. What others append to a conversation that is
   * not in memory, and that nobody here listens to, it does not learn: `feed$` has all.
   */
  readonly envelopes$: Observable<OpenedEnvelope>
  /**
   * What the log has, then what it gets, whoever appends it: each envelope once, in order inside each conversation and partition. Ends
   * when the engine is closed. Reads on when `next` returns: who awaits something for each envelope takes `feed`, which waits.
   *
   * Errors: `cursor_invalid`, `history_rewound`, `feed_hole`, `log_closed`, `database_failed`, `log_corrupt`. While the database cannot
   * be reached it waits. A hole is seen without any filter only: with `tenant: null`, and neither types nor a conversation.
   */
  feed$(options?: FeedOptions): Observable<FeedEnvelope>
  /** The same as batches, each one read when the one before was dealt with: nothing waits in memory. @throws `engine_closed` and as `feed$` */
  feed(options?: FeedOptions): AsyncIterable<FeedBatch>
  /** What a reader of the feed has to reach to have read this envelope. */
  cursorOf(envelope: StoredEnvelope): FeedCursor
  /**
   * A conversation, new or from the log. `seen` is what you kept of it: a position that was acknowledged to you, with its hash.
   * @throws `history_rewound` when the log does not hold what was seen (open it without, and compare), `id_invalid`, `engine_closed`
   * and what the log rejects with
   */
  open(conversationId: string, options?: { readonly seen?: Seen }): Promise<Conversation<State>>
  /**
   * A new conversation that continues another one after a position. It shares the envelopes up to there, has an id of its own
   * (`<root id>~<uuid>`) and begins with `conversationForked`, which no middleware is asked about; neither sees what is appended to the other. Its commands are its own:
   * a command id that the parent applied may be applied again.
   * @throws `conversation_not_found`, `position_not_found`, `id_invalid`, `engine_closed` and what the log rejects with
   */
  fork(conversationId: string, position: number, options?: { readonly reason?: string }): Promise<Conversation<State>>
  /** Replays from the log, without guards, middleware or effects. @throws `conversation_not_found`, `position_not_found`, `log_corrupt` */
  replay(conversationId: string, end?: ReplayEnd): Promise<Replayed<State>>
  /**
   * Writes imported conversations, without guards, middleware or effects. All of them are checked before the first append; an import
   * that was cut short is finished by importing again, and importing again adds nothing else.
   * @throws what checking an action throws, `import_conflict`, and what the log rejects with
   */
  importConversation(conversations: ImportedConversation | readonly ImportedConversation[]): Promise<readonly ImportedResult[]>
  /** Finishes what was asked for, completes all streams, and refuses what comes later. A middleware that waits for this waits for ever. */
  close(): Promise<void>
}

/** A timer of Node that is set to more goes off at once. */
const longestTimerMs = 2 ** 31 - 1

interface Resident<State> {
  readonly writer: Promise<Writer<State>>
  loaded: Writer<State> | undefined
  lastUsed: number
  readonly effects: Subscription[]
}

/** @throws `slice_invalid`, `settings_invalid`, `id_invalid` */
export function createEngine<const Slices extends readonly Slice[] = readonly []>(
  options: EngineOptions<Slices>,
): Engine<EngineState<Slices>> {
  // The combined state has the keys of both lists; TypeScript cannot see that through the spread.
  const reducer = combineSlices([...conversationSlices, ...(options.slices ?? [])]) as unknown as Reducer<EngineState<Slices>>
  return engineOver(options, reducer, assertConversationId)
}

/** As of an engine of conversations, with no slices but your own and no effects. */
export type LedgerEngineOptions<Slices extends readonly Slice[]> = Omit<
  EngineOptions<readonly []>,
  'slices' | 'middleware' | 'effects'
> & {
  /** All that a stream is made of. */
  readonly slices: Slices
  readonly middleware?: readonly Middleware<StateOf<Slices>>[]
}

/**
 * An engine of Colloquy's own streams (`colloquy:<kind>:<name>`), such as the ledger of a tenant's budget. They lie in the same log
 * under the same rules and with slices of their own; lists of conversations leave them out, and no other engine opens them.
 * @throws `slice_invalid`, `id_invalid`
 */
export function createLedgerEngine<const Slices extends readonly Slice[]>(
  options: LedgerEngineOptions<Slices>,
): Engine<StateOf<Slices>> {
  return engineOver<StateOf<Slices>>(options, combineSlices(options.slices), assertOwnStreamId)
}

function engineOver<State>(
  options: Omit<EngineOptions<readonly []>, 'slices' | 'middleware' | 'effects'> & {
    readonly middleware?: readonly Middleware<State>[]
    readonly effects?: readonly Effect<State>[]
  },
  reducer: Reducer<State>,
  assertRootId: (conversationId: unknown) => void,
): Engine<State> {
  const { log, tenant = defaultTenant, middleware = [], effects = [] } = options
  const { ids = uuidv7, random = systemRandom, sha256 = nodeSha256 } = options
  const clock = options.clock ? inMicroseconds(options.clock) : systemClock
  const idleMs = milliseconds('idleMs', options.idleMs ?? 300_000)
  const onError = guarded(options.onError)
  const limits = limitsFrom(options.limits)
  assertId('tenant', tenant)

  const publisher = new Publisher<State>(onError)
  const feeds = new Feeds(log, tenant, { sha256, onError })
  const snapshots = new Snapshots<State>({
    log,
    reducer,
    sha256,
    every: count('snapshotEvery', options.snapshotEvery ?? 100),
    verifyEvery: count('verifySnapshotEvery', options.verifySnapshotEvery ?? 100),
    onError,
  })
  const residents = new Map<string, Resident<State>>()
  let closed = false
  let closing: Promise<void> | undefined

  /** Calls that came before the engine was closed, and whom to tell when the last one has ended. */
  let admitted = 0
  let onLastEnd: (() => void) | undefined

  /** @throws `engine_closed` */
  async function admit<Result>(conversationId: string, work: () => Promise<Result>): Promise<Result> {
    if (closed) throw new ColloquyError('engine_closed', { conversationId })
    admitted += 1
    try {
      return await work()
    } finally {
      admitted -= 1
      if (admitted === 0) onLastEnd?.()
    }
  }

  function conversation(conversationId: string, writer: Writer<State>): Conversation<State> {
    return new Conversation<State>(keyOf(conversationId), writer, {
      publisher,
      onError,
      admit: (work) => admit(conversationId, work),
      check: (action) => checked(reducer, action, limits).action,
      writer: () => resident(conversationId),
      resident: () => residents.get(conversationId)?.loaded,
      assertSeen: (seen) => assertSeen(log, keyOf(conversationId), seen, sha256),
      log,
    })
  }

  const keyOf = (conversationId: string): ConversationKey => ({ tenant, conversationId })

  function resident(conversationId: string): Promise<Writer<State>> {
    const found = residents.get(conversationId)
    if (found !== undefined && !found.loaded?.isDamaged) {
      found.lastUsed = performance.now()
      // Least recently used first, so that the sweep stops at the first one that is young.
      residents.delete(conversationId)
      residents.set(conversationId, found)
      return found.writer
    }
    if (found !== undefined) leave(conversationId, found)
    return settle(conversationId, found?.loaded)
  }

  /** As a handle does it that has given out no history yet. */
  async function onWriter<Result>(conversationId: string, work: (writer: Writer<State>) => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await work(await resident(conversationId))
      } catch (error) {
        if (!(error instanceof NotSent)) throw error
      }
    }
  }

  /** @param before the writer whose place the new one takes: what it has under way is stored, and told, before anything is loaded */
  function settle(conversationId: string, before?: Writer<State>): Promise<Writer<State>> {
    const key = keyOf(conversationId)
    async function begin(): Promise<Writer<State>> {
      await before?.settled()
      const loaded = await load(log, key, { reducer, sha256, snapshots })
      await tellMissed(key, publisher.lastTold(conversationId) ?? before?.head, loaded)
      const plan = snapshots.plan(loaded.readBytes)
      const made = new Writer<State>(key, loaded, {
        log,
        reducer,
        middleware,
        clock,
        ids,
        random,
        sha256,
        limits,
        onStored: ({ envelopes, state, own }) => {
          publisher.publish(conversationId, { envelopes, state, own })
          if (own) snapshots.follow(plan, key, state, envelopes)
        },
        onUnapplied: (unapplied) => onError(unapplied, `replay of ${conversationId}`),
      })
      entry.loaded = made
      for (const unapplied of loaded.unapplied) onError(unapplied, `replay of ${conversationId}`)
      // Whoever holds the wrong state keeps it until then: what it appends is checked by position all the same.
      if (loaded.snapshot) snapshots.verifySome(key, loaded.snapshot, () => made.distrust())
      if (residents.get(conversationId) === entry) entry.effects.push(...startEffects(conversationId, made))
      return made
    }
    const entry: Resident<State> = { writer: begin(), loaded: undefined, lastUsed: performance.now(), effects: [] }
    residents.set(conversationId, entry)
    // A conversation that could not be loaded is tried again by the next caller.
    entry.writer.catch(() => leave(conversationId, entry))
    return entry.writer
  }

  /**
   * Tells those who listen what was stored since they heard of this conversation: by others while it was not in memory, or by a writer
   * that did not learn it. All of it comes with the state that it led to, since those in between are not known.
   */
  async function tellMissed(key: ConversationKey, told: Seen | undefined, { state, head }: { state: State; head: Head }) {
    const { conversationId } = key
    if (told === undefined || !publisher.isHeard(conversationId)) return
    try {
      if (told.position < head.position) {
        for await (const missed of readSince(log, key, told, head.position))
          publisher.publish(conversationId, { envelopes: missed.map(openEnvelope), state, own: false })
      }
    } catch (error) {
      // Each handle is told that by itself.
      if (!isColloquyError(error, 'history_rewound')) throw error
    }
    publisher.goOnFrom(conversationId, head)
  }

  function leave(conversationId: string, entry: Resident<State>): void {
    if (residents.get(conversationId) === entry) residents.delete(conversationId)
    for (const effect of entry.effects.splice(0)) {
      try {
        effect.unsubscribe()
      } catch (error) {
        onError(error, `the end of an effect of ${conversationId}`)
      }
    }
  }

  function startEffects(conversationId: string, writer: Writer<State>): Subscription[] {
    const appended$ = publisher
      .of(conversationId, 'effects', () => writer.head)
      .pipe(
        filter(({ own }) => own),
        mergeMap(({ envelopes }) => envelopes),
      )
    return effects.map((effect, index) => {
      const name = effect.name || String(index)
      const where = `effect ${name} of ${conversationId}`
      const report = (error: unknown) => onError(error, where)
      const cause = `effect:${name}`
      // A handle from now on: what an effect decided on a history that is lost meanwhile must not be stored in another one.
      const handle = conversation(conversationId, writer)
      const dispatch: EffectApi<State>['dispatch'] = (actions, options) => handle.dispatch(actions, { ...options, cause })
      const answers = new GuardedObservable<Action>(where, onError, (subscriber) => {
        const api = { conversationId, getState: () => writer.state, dispatch, reportError: report }
        const subscription = effect(appended$, api).subscribe(subscriber)
        return () => subscription.unsubscribe()
      })
      return answers.subscribe((action) => void dispatch(action).catch(report))
    })
  }

  const sweep = setInterval(
    () => {
      const now = performance.now()
      for (const [conversationId, entry] of residents) {
        if (now - entry.lastUsed < idleMs) break
        if (entry.loaded !== undefined && !entry.loaded.isBusy) leave(conversationId, entry)
      }
    },
    Math.min(Math.max(10, idleMs / 4), longestTimerMs),
  )
  sweep.unref()

  async function finish(): Promise<void> {
    closed = true
    clearInterval(sweep)
    if (admitted > 0) {
      await new Promise<void>((resolve) => {
        onLastEnd = resolve
      })
    }
    for (const entry of residents.values()) {
      const writer = await entry.writer.catch(() => undefined)
      await writer?.settled()
    }
    for (const [conversationId, entry] of residents) leave(conversationId, entry)
    await snapshots.settled()
    publisher.close()
    feeds.close()
  }

  async function open(conversationId: string, seen: Seen | undefined): Promise<Conversation<State>> {
    if (typeof conversationId !== 'string' || !isForkId(conversationId)) assertRootId(conversationId)
    else {
      assertForkId(conversationId)
      // A fork is made by `fork` only: it has a parent, which an empty conversation of that name had not.
      if ((await resident(conversationId)).head.position === 0) {
        const entry = residents.get(conversationId)
        if (entry) leave(conversationId, entry)
        throw new ColloquyError('conversation_not_found', { conversationId })
      }
    }
    if (seen !== undefined) await assertSeen(log, keyOf(conversationId), seen, sha256)
    return onWriter(conversationId, async (writer) => {
      if (seen !== undefined && seen.position > writer.head.position) await writer.refresh()
      return conversation(conversationId, writer)
    })
  }

  async function fork(conversationId: string, position: number, reason: string | undefined): Promise<Conversation<State>> {
    // No log need know what no position is.
    if (!Number.isSafeInteger(position)) {
      const head = await log.head(keyOf(conversationId))
      if (head === undefined) throw new ColloquyError('conversation_not_found', { conversationId })
      throw new ColloquyError('position_not_found', { conversationId, position, headPosition: head.position })
    }
    const forkId = forkIdOf(conversationId, ids())
    const key = keyOf(forkId)
    const outcome = await log.fork({ key, parent: { conversationId, position } })
    switch (outcome.status) {
      case 'forked': {
        // A snapshot of its own, so that loads of the fork need none of its parent's.
        if (outcome.created) {
          const loaded = await loadAt(log, keyOf(conversationId), { reducer, snapshots, position })
          await snapshots.fork(key, loaded, position)
        }
        const forked = conversationForked({ parentId: conversationId, position, ...(reason !== undefined && { reason }) })
        // The fork is there: a middleware could only keep it from saying so.
        await onWriter(forkId, (writer) => writer.dispatch([checked(reducer, forked, limits).action], {}, true))
        return conversation(forkId, await resident(forkId))
      }
      case 'parent_not_found':
        throw new ColloquyError('conversation_not_found', { conversationId })
      case 'position_not_found':
        throw new ColloquyError('position_not_found', { conversationId, position, headPosition: outcome.headPosition })
      case 'taken':
        throw new ColloquyError('id_invalid', { kind: 'fork id', problem: `${forkId} is another conversation's` })
      default:
        return outcome satisfies never
    }
  }

  const engine: Engine<State> = {
    tenant,
    reducer,
    log,
    envelopes$: publisher.envelopes(),
    feed$: (options = {}) => feeds.envelopes(options),
    feed: (options = {}) => feeds.batches(options),
    cursorOf: (envelope) => cursorOf(envelope, log, sha256),

    open: (conversationId, { seen } = {}) => admit(conversationId, () => open(conversationId, seen)),

    fork: (conversationId, position, { reason } = {}) => admit(conversationId, () => fork(conversationId, position, reason)),

    async replay(conversationId, end = {}) {
      const key = keyOf(conversationId)
      const head = await log.head(key)
      if (head === undefined) throw new ColloquyError('conversation_not_found', { conversationId })
      if (
        end.position !== undefined &&
        !(Number.isSafeInteger(end.position) && end.position >= 1 && end.position <= head.position)
      ) {
        throw new ColloquyError('position_not_found', { conversationId, position: end.position, headPosition: head.position })
      }
      return replay(reducer, log.actions(key, { from: 1, to: end.position ?? head.position }), {
        resolve: resolverOf(log, key, reducer),
        end,
      })
    },

    importConversation: (conversations) =>
      admit('(import)', async () => {
        const list = Array.isArray(conversations)
          ? (conversations as readonly ImportedConversation[])
          : [conversations as ImportedConversation]
        const results = await importConversations(list, { log, tenant, reducer, snapshots, clock, random, sha256, limits })
        for (const { conversationId } of results) {
          if (residents.has(conversationId)) await onWriter(conversationId, (writer) => writer.refresh())
        }
        return results
      }),

    close() {
      closing ??= finish()
      return closing
    },

    [Symbol.asyncDispose]: () => engine.close(),
  }
  return engine
}
