import type { OpenedEnvelope } from '@colloquy/core'
import { Observable, Subject, type Subscriber } from 'rxjs'
import { type ErrorListener, GuardedObservable } from './guarded-observable.ts'

/** One conversation after an append: what was stored, and the state it led to. */
export interface Published<State> {
  readonly envelopes: readonly OpenedEnvelope[]
  readonly state: State
  /** This process appended them; false: another one did, and this engine learned of it. */
  readonly own: boolean
}

/**
 * Tells subscribers what is stored. Subscribers of one conversation are found by its id, so an emission costs the same however
 * many conversations are listened to (filtering in each subscriber costs one call a subscriber).
 */
export class Publisher<State> {
  readonly #byConversation = new Map<string, Set<Subscriber<Published<State>>>>()
  readonly #all = new Subject<OpenedEnvelope>()
  readonly #onError: ErrorListener

  constructor(onError: ErrorListener) {
    this.#onError = onError
  }

  /** Every envelope that this engine learns of, conversations mixed, in order inside each. */
  envelopes(): Observable<OpenedEnvelope> {
    return new GuardedObservable('engine.envelopes$', this.#onError, (subscriber) => {
      const subscription = this.#all.subscribe(subscriber)
      return () => subscription.unsubscribe()
    })
  }

  /** What happens in one conversation from now on. */
  of(conversationId: string, where: string): Observable<Published<State>> {
    return new GuardedObservable(where, this.#onError, (subscriber) => {
      const listening = this.#byConversation.get(conversationId) ?? new Set()
      this.#byConversation.set(conversationId, listening.add(subscriber))
      return () => {
        listening.delete(subscriber)
        if (listening.size === 0) this.#byConversation.delete(conversationId)
      }
    })
  }

  publish(conversationId: string, published: Published<State>): void {
    // A copy: subscribers come and go while they are told.
    for (const subscriber of Array.from(this.#byConversation.get(conversationId) ?? [])) subscriber.next(published)
    if (this.#all.observed) for (const envelope of published.envelopes) this.#all.next(envelope)
  }

  close(): void {
    const subscribers = [...this.#byConversation.values()].flatMap((listening) => [...listening])
    for (const subscriber of subscribers) subscriber.complete()
    this.#all.complete()
  }
}
