import type { OpenedEnvelope } from '@colloquy/core'
import { type Observable, Subject, type Subscriber } from 'rxjs'
import { type ErrorListener, GuardedObservable } from './guarded-observable.ts'
import type { Seen } from './seen.ts'

/** One conversation after an append: what was stored, and the state it led to. */
export interface Published<State> {
  readonly envelopes: readonly OpenedEnvelope[]
  readonly state: State
  /** This process appended them; false: another one did, or nobody knew that it was stored, and this engine learned of it. */
  readonly own: boolean
}

/** Who listens to one conversation. */
interface Audience<State> {
  readonly subscribers: Set<Subscriber<Published<State>>>
  /** The last envelope that it heard of. */
  told: Seen
}

/**
 * Tells subscribers what is stored. Subscribers of one conversation are found by its id, so an emission costs the same however
 * many conversations are listened to (filtering in each subscriber costs one call a subscriber).
 */
export class Publisher<State> {
  readonly #byConversation = new Map<string, Audience<State>>()
  readonly #all = new Subject<OpenedEnvelope>()
  readonly #onError: ErrorListener
  #closed = false

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

  /** What happens in one conversation from now on: behind `present`, which whoever subscribes knows already. */
  of(conversationId: string, where: string, present: () => Seen): Observable<Published<State>> {
    return new GuardedObservable(where, this.#onError, (subscriber) => {
      if (this.#closed) return subscriber.complete()
      const audience = this.#byConversation.get(conversationId) ?? { subscribers: new Set(), told: present() }
      this.#byConversation.set(conversationId, audience)
      audience.subscribers.add(subscriber)
      return () => {
        audience.subscribers.delete(subscriber)
        if (audience.subscribers.size === 0) this.#byConversation.delete(conversationId)
      }
    })
  }

  publish(conversationId: string, published: Published<State>): void {
    const audience = this.#byConversation.get(conversationId)
    const last = published.envelopes.at(-1)
    if (audience && last) audience.told = last
    // A copy: subscribers come and go while they are told.
    for (const subscriber of Array.from(audience?.subscribers ?? [])) subscriber.next(published)
    if (this.#all.observed) for (const envelope of published.envelopes) this.#all.next(envelope)
  }

  isHeard(conversationId: string): boolean {
    return this.#all.observed || this.#byConversation.has(conversationId)
  }

  /** The last envelope that those who listen to the conversation heard of; undefined when nobody does. */
  lastTold(conversationId: string): Seen | undefined {
    return this.#byConversation.get(conversationId)?.told
  }

  /** The conversation goes on from here, whatever its listeners have heard. */
  goOnFrom(conversationId: string, { position, hash }: Seen): void {
    const audience = this.#byConversation.get(conversationId)
    if (audience) audience.told = { position, hash }
  }

  /** Who subscribes from now on is told at once that nothing comes. */
  close(): void {
    this.#closed = true
    const subscribers = [...this.#byConversation.values()].flatMap((audience) => [...audience.subscribers])
    for (const subscriber of subscribers) subscriber.complete()
    this.#all.complete()
  }
}
