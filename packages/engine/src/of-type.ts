import type { AnyActionCreator, OpenedEnvelope, StampedActionOf } from '@colloquy/core'
import { filter, type Observable } from 'rxjs'

/**
 * redux-observable's operator: of a stream of envelopes those whose action one of the creators makes, and TypeScript knows which.
 * What an effect hears has just been made by them. What a feed brings may be of another schema version, in which it was stored.
 */
export function ofType<const Creators extends readonly AnyActionCreator[]>(...creators: Creators) {
  type Made = StampedActionOf<Creators[number]>
  return <E extends OpenedEnvelope>(envelope$: Observable<E>): Observable<E & { readonly action: Made }> =>
    envelope$.pipe(filter((e): e is E & { readonly action: Made } => creators.some((creator) => creator.match(e.action))))
}
