/**
 * The feed for programs: all that the log has and gets, whoever appended it, with a cursor behind each envelope.
 *
 * Nothing waits in memory behind a slow consumer but the page that it is at: the log keeps the rest. RxJS cannot ask its source to
 * wait, so the Observable reads on when `next` returns; operators that queue (`concatMap`, `mergeMap`, `buffer`) then queue without
 * bound. Who does something asynchronous with each envelope iterates over the pages instead, which waits for the loop's body.
 */
import { setImmediate } from 'node:timers/promises'
import {
  ColloquyError,
  type EventLog,
  type FeedCursor,
  type FollowedFeed,
  followFeed,
  type OpenedEnvelope,
  openEnvelope,
  partitionOf,
  type Sha256,
} from '@colloquy/core'
import type { Observable } from 'rxjs'
import { type ErrorListener, GuardedObservable } from './guarded-observable.ts'
import { systemTimer } from './node-ports.ts'

/** Which envelopes, and from where. */
export interface FeedOptions {
  /** Behind which cursor to begin; 'end': with what comes from now on. Default: the beginning. */
  readonly from?: FeedCursor
  /** Whose conversations; null: everybody's. Default: the engine's own tenant, which is a filter: it passes over holes. */
  readonly tenant?: string | null
  readonly types?: readonly string[]
  readonly conversation?: string
}

/** An envelope out of the feed. */
export interface FeedEnvelope extends OpenedEnvelope {
  /** Where to go on behind this envelope. */
  readonly cursor: FeedCursor
}

/** Envelopes of one partition, in order. */
export interface FeedBatch {
  /** None when nothing matched up to the cursor. */
  readonly envelopes: readonly FeedEnvelope[]
  readonly cursor: FeedCursor
}

/** All feeds of an engine. */
export class Feeds {
  readonly #log: EventLog
  readonly #tenant: string
  readonly #sha256: Sha256
  readonly #onError: ErrorListener
  readonly #open = new Set<FollowedFeed>()
  #closed = false

  constructor(log: EventLog, tenant: string, ports: { readonly sha256: Sha256; readonly onError: ErrorListener }) {
    this.#log = log
    this.#tenant = tenant
    this.#sha256 = ports.sha256
    this.#onError = ports.onError
  }

  /** Iterated once. */
  batches(options: FeedOptions): AsyncIterableIterator<FeedBatch> {
    let followed: FollowedFeed | undefined
    const follow = (): FollowedFeed => {
      followed = this.#follow(options)
      return followed
    }
    const leave = (): void => {
      if (followed) this.#leave(followed)
    }
    async function* batches(): AsyncGenerator<FeedBatch> {
      try {
        yield* batchesOf(follow())
      } finally {
        leave()
      }
    }
    const iterator = batches()
    return {
      [Symbol.asyncIterator]() {
        return this
      },
      next: () => iterator.next(),
      // A generator that waits for an envelope would take note of its end behind that.
      return() {
        leave()
        return iterator.return(undefined)
      },
      throw(error) {
        leave()
        return iterator.throw(error)
      },
    }
  }

  envelopes(options: FeedOptions): Observable<FeedEnvelope> {
    return new GuardedObservable<FeedEnvelope>('engine.feed$', this.#onError, (subscriber) => {
      if (this.#closed) return subscriber.complete()
      const followed = this.#follow(options)
      const tell = async (): Promise<void> => {
        for await (const { envelopes } of batchesOf(followed)) {
          for (const envelope of envelopes) {
            if (subscriber.closed) return
            subscriber.next(envelope)
          }
        }
      }
      tell()
        .then(
          () => subscriber.complete(),
          (error: unknown) => subscriber.error(error),
        )
        .finally(() => this.#leave(followed))
      return () => followed.stop()
    })
  }

  close(): void {
    this.#closed = true
    for (const followed of this.#open) followed.stop()
  }

  #follow({ from, tenant = this.#tenant, types, conversation }: FeedOptions): FollowedFeed {
    if (this.#closed) throw new ColloquyError('engine_closed', { conversationId: conversation ?? '(feed)' })
    const followed = followFeed(this.#log, {
      from,
      ...(tenant !== null && { tenant }),
      ...(types && { types }),
      ...(conversation !== undefined && { conversationId: conversation }),
      // A conversation lies in one partition: what the others get is not even looked at.
      ...(conversation !== undefined &&
        tenant !== null && {
          partition: partitionOf({ tenant, conversationId: conversation }, this.#log.partitions, this.#sha256),
        }),
      timer: systemTimer,
      onTrouble: (error) => this.#onError(error, 'engine.feed$ (it goes on with the next sweep)'),
    })
    this.#open.add(followed)
    return followed
  }

  #leave(followed: FollowedFeed): void {
    followed.stop()
    this.#open.delete(followed)
  }
}

async function* batchesOf(followed: FollowedFeed): AsyncGenerator<FeedBatch> {
  for await (const { envelopes, cursor, cursorAt } of followed) {
    const opened = envelopes.map(
      (envelope): FeedEnvelope =>
        // A getter: a cursor is as long as there are partitions, and few are looked at.
        Object.freeze({
          ...openEnvelope(envelope),
          get cursor() {
            return cursorAt(envelope)
          },
        }),
    )
    yield { envelopes: opened, cursor }
    // A log inside the process answers without leaving the turn of the event loop; catching up would let nothing else have one.
    await setImmediate()
  }
}
