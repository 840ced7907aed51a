import {
  type Action,
  type ConversationKey,
  type EventLog,
  equalBytes,
  isColloquyError,
  type OpenedEnvelope,
} from '@colloquy/core'
import { distinctUntilChanged, map, mergeMap, type Observable, observable, startWith } from 'rxjs'
import { type ErrorListener, GuardedObservable } from './guarded-observable.ts'
import type { Published, Publisher } from './publish.ts'
import type { Seen } from './seen.ts'
import { type DispatchOptions, type DispatchResult, NotSent, type Writer } from './writer.ts'

/** What a conversation needs of its engine. */
export interface ConversationPorts<State> {
  readonly publisher: Publisher<State>
  readonly onError: ErrorListener
  /** The action as it will be stored: checked, copied, frozen. */
  readonly check: (action: Action) => Action
  /** Does what a caller asked for; the engine is not closed before it has ended. @throws `engine_closed` */
  readonly admit: <Result>(work: () => Promise<Result>) => Promise<Result>
  /** The writer in memory, made from the log when it has left. */
  readonly writer: () => Promise<Writer<State>>
  /** The writer in memory, if it is there. */
  readonly resident: () => Writer<State> | undefined
  /** @throws `history_rewound` when the log does not hold this any more */
  readonly assertSeen: (seen: Seen) => Promise<void>
  readonly log: EventLog
}

/**
 * A conversation as a Redux store whose `dispatch` returns a promise; `from(conversation)` works in RxJS.
 * Any number of handles of one conversation share one state and one writer. The engine may drop the state of an idle
 * conversation; a handle brings it back by itself, and keeps the last state it saw for `getState`.
 */
export class Conversation<State> {
  readonly tenant: string
  readonly id: string
  /**
   * Every envelope of this conversation from now on, in order; the log has those before. What others append while the conversation is
   * not in memory comes when something brings it back.
   */
  readonly envelopes$: Observable<OpenedEnvelope>
  /** The present state, then each next one. */
  readonly state$: Observable<State>
  /** Set below, where RxJS looks for it. */
  declare readonly [Symbol.observable]: () => Observable<State>
  readonly #ports: ConversationPorts<State>
  /** The writer last seen; one that has left memory still has its state. */
  #writer: Writer<State>
  /** The last one whose history is the one that this handle gave out; undefined when that is known to be lost. */
  #trusted: Writer<State> | undefined
  #checking: Promise<void> | undefined

  constructor(key: ConversationKey, writer: Writer<State>, ports: ConversationPorts<State>) {
    this.tenant = key.tenant
    this.id = key.conversationId
    this.#ports = ports
    this.#writer = writer
    this.#trusted = writer
    const published = this.#published()
    this.envelopes$ = published.pipe(mergeMap(({ envelopes }) => envelopes))
    this.state$ = new GuardedObservable<State>(`conversation ${this.id}`, ports.onError, (subscriber) => {
      const subscription = published
        .pipe(
          map(({ state }) => state),
          startWith(this.getState()),
          distinctUntilChanged(),
        )
        .subscribe(subscriber)
      return () => subscription.unsubscribe()
    })
  }

  /** Where it is kept: for media, which are put there before the action that names them, and for what reads. */
  get log(): EventLog {
    return this.#ports.log
  }

  /** The same object for all handles that one engine gave out: what is kept for a conversation in memory is kept by it and the id. */
  get scope(): object {
    return this.#ports.publisher
  }

  /** The stored state: frozen, and the same object until it changes. */
  getState(): State {
    return this.#seen().state
  }

  /** Position of the last envelope that `getState` has; 0 before the first. */
  get position(): number {
    return this.#seen().head.position
  }

  /**
   * Sends actions through middleware, guards and reducers into the log. Several actions are one command: all are stored or none, also
   * where a middleware blocks one of them. No actions: nothing is stored, and a command id is not kept.
   * Resolves when they are stored and subscribers were told.
   *
   * @throws `action_unknown`, `action_invalid`, `json_*`, `envelope_too_large`, `id_invalid`, `position_conflict`, `command_id_reused`,
   * `conversation_archived`, what a guard or a middleware throws, `middleware_failed`, `reducer_failed`, `rebase_limit_reached`, `history_rewound`,
   * `engine_closed`, and what the log rejects with (`append_outcome_unknown`: dispatch again with the same command id)
   */
  async dispatch(actions: Action | readonly Action[], options: DispatchOptions<State> = {}): Promise<DispatchResult<State>> {
    // Copied before the first wait: what the caller does to its objects afterwards is its own business.
    const checked = (Array.isArray(actions) ? (actions as readonly Action[]) : [actions as Action]).map(this.#ports.check)
    return this.#ports.admit(() => this.#told((writer) => writer.dispatch(checked, options)))
  }

  /** Takes in what other processes appended. @returns the state after it @throws `history_rewound` */
  async refresh(): Promise<State> {
    await this.#ports.admit(() => this.#told((writer) => writer.refresh()))
    return this.getState()
  }

  /** Redux's `subscribe`: called without arguments after each change of the state. @returns how to stop */
  subscribe(listener: () => void): () => void {
    let state = this.getState()
    const subscription = this.#published().subscribe((published) => {
      if (published.state === state) return
      state = published.state
      listener()
    })
    return () => subscription.unsubscribe()
  }

  /** What `selector` makes of the state: now, and whenever it becomes another value. */
  select<Value>(selector: (state: State) => Value): Observable<Value> {
    return this.state$.pipe(map(selector), distinctUntilChanged())
  }

  '@@observable'(): Observable<State> {
    return this.state$
  }

  /** Does `work` on the writer; what was lost of its history is told to each handle once. */
  async #told<Result>(work: (writer: Writer<State>) => Promise<Result>): Promise<Result> {
    for (;;) {
      const writer = await this.#current()
      try {
        return await work(writer)
      } catch (error) {
        if (error instanceof NotSent) continue
        if (isColloquyError(error, 'history_rewound') && this.#trusted === writer) this.#trusted = undefined
        throw error
      }
    }
  }

  /**
   * The writer in memory. One that was made anew from the log, after trouble or idleness, may know another history than this handle
   * gave out; that is told once, and the next call goes on with what the log has.
   */
  async #current(): Promise<Writer<State>> {
    for (;;) {
      const writer = await this.#ports.writer()
      this.#writer = writer
      // Without a look at the log where there is nothing to look for: who waits for one is overtaken by who comes after it.
      if (this.#trusted !== undefined && isSameHead(this.#trusted.head, writer.head)) this.#trusted = writer
      if (writer === this.#trusted) return writer
      // Shared: each of several dispatches made at once was made on the history that is looked for.
      // Forgotten here and not by itself: where nothing is to be looked for it ends before it is assigned.
      this.#checking ??= this.#check(writer).finally(() => {
        this.#checking = undefined
      })
      await this.#checking
    }
  }

  async #check(writer: Writer<State>): Promise<void> {
    const held = this.#trusted?.head
    try {
      if (held) await this.#ports.assertSeen(held)
      this.#trusted = writer
    } catch (error) {
      if (isColloquyError(error, 'history_rewound')) this.#trusted = writer
      throw error
    }
  }

  #published(): Observable<Published<State>> {
    return this.#ports.publisher.of(this.id, `conversation ${this.id}`, () => this.#seen().head)
  }

  #seen(): Writer<State> {
    this.#writer = this.#ports.resident() ?? this.#writer
    return this.#writer
  }
}

const isSameHead = (a: Seen, b: Seen): boolean => a.position === b.position && equalBytes(a.hash, b.hash)

// RxJS looks under `Symbol.observable` where a polyfill provides it, and under '@@observable' elsewhere; so do Redux's users.
if (observable !== '@@observable') {
  Object.defineProperty(Conversation.prototype, observable, { value: Conversation.prototype['@@observable'] })
}
