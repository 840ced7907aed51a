import { Observable, type Observer, Subscriber, type Subscription } from 'rxjs'

/** Told what a subscriber or an effect threw. */
export type ErrorListener = (error: unknown, where: string) => void

/**
 * An Observable whose subscribers cannot harm anyone else: what they throw goes to a listener. RxJS would throw it again from a
 * timer, which ends a Node process. Observables made from it by operators are guarded too.
 */
export class GuardedObservable<T> extends Observable<T> {
  readonly #onError: ErrorListener
  readonly #where: string

  constructor(where: string, onError: ErrorListener, subscribe?: (subscriber: Subscriber<T>) => (() => void) | void) {
    super(subscribe)
    this.#where = where
    this.#onError = onError
  }

  // RxJS 7 builds every operator's result by `lift`; marked internal there, and stable for the whole of version 7.
  override lift<R>(operator?: unknown): Observable<R> {
    const lifted = new GuardedObservable<R>(this.#where, this.#onError)
    lifted.source = this
    lifted.operator = operator as never
    return lifted
  }

  override subscribe(
    observerOrNext?: Partial<Observer<T>> | ((value: T) => void) | null,
    error?: ((error: unknown) => void) | null,
    complete?: (() => void) | null,
  ): Subscription {
    // A Subscriber is an operator in between; only the end of the chain is a stranger's code.
    if (observerOrNext instanceof Subscriber) return super.subscribe(observerOrNext)
    // RxJS 7 still takes three functions.
    const observer: Partial<Observer<T>> =
      typeof observerOrNext === 'object' && observerOrNext !== null
        ? observerOrNext
        : { ...(observerOrNext && { next: observerOrNext }), ...(error && { error }), ...(complete && { complete }) }
    const guard =
      <A extends unknown[]>(call: ((...args: A) => void) | undefined) =>
      (...args: A): void => {
        try {
          call?.apply(observer, args)
        } catch (error) {
          this.#onError(error, this.#where)
        }
      }
    return super.subscribe({
      next: guard(observer.next),
      complete: guard(observer.complete),
      error: observer.error ? guard(observer.error) : (error: unknown) => this.#onError(error, this.#where),
    })
  }
}
