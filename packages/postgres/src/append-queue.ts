/**
 * Group commit in this process: while one batch is in flight the next one gathers, so that many appends share one round trip and one commit.
 *
 *     add -> (outside, while the queue is full) -> first of its conversation -> batch -> deliver -> settled
 *                                                  others of it wait behind
 *
 * A conversation is in one batch at most once, and in one batch at a time: its requests are sent in the order in which they came.
 * Nothing here costs more the more is waiting.
 */
import { ColloquyError } from '@colloquy/core'
import { Fifo } from './fifo.ts'

export interface QueueOptions {
  /** Envelopes that may wait for their answer at once (default 20,000). */
  readonly limitEnvelopes?: number
  /** Bytes of bodies that may (default 64 MiB). */
  readonly limitBytes?: number
  /**
   * What happens to an append beyond that. `wait` (default): its promise takes longer, which bounds memory only where callers await it.
   * `refuse`: it rejects with `append_queue_full`.
   */
  readonly whenFull?: 'wait' | 'refuse'
}

/** What the queue must know of a request; what else is in it is `deliver`'s. */
export interface QueuedRequest<T> {
  /** What may not be in a batch twice. */
  readonly conversation: string
  readonly partition: number
  readonly envelopes: number
  readonly bytes: number
  /** The next one of the same conversation: the queue's own. */
  next: T | undefined
}

/** One message to the server stays at a few MiB, whatever waits. */
const batchEnvelopes = 1_000
const batchBytes = 4 * 1024 * 1024

export class AppendQueue<T extends QueuedRequest<T>> {
  readonly #limits: Required<QueueOptions>
  readonly #acrossPartitions: boolean
  readonly #deliver: (batch: readonly T[]) => Promise<void>
  /** The requests that may be sent, one for each conversation: together, or by partition where a batch must not mix them. */
  readonly #ready = new Map<number, Fifo<T>>()
  /** Partitions with something ready, each once. */
  readonly #turns = new Fifo<number>()
  /** The last request of each conversation that has any. */
  readonly #last = new Map<string, T>()
  readonly #outside = new Fifo<T>()
  #waitingEnvelopes = 0
  #waitingBytes = 0
  #isSending = false
  #sending: Promise<void> = Promise.resolve()

  /** `deliver` settles each request of a batch, and never rejects. */
  constructor(
    options: QueueOptions & { readonly batchAcrossPartitions: boolean },
    deliver: (batch: readonly T[]) => Promise<void>,
  ) {
    this.#limits = {
      limitEnvelopes: options.limitEnvelopes ?? 20_000,
      limitBytes: options.limitBytes ?? 64 * 1024 * 1024,
      whenFull: options.whenFull ?? 'wait',
    }
    this.#acrossPartitions = options.batchAcrossPartitions
    this.#deliver = deliver
  }

  /** @throws `append_queue_full` */
  add(request: T): void {
    if (this.#hasRoomFor(request) && this.#outside.length === 0) {
      this.#admit(request)
      return
    }
    if (this.#limits.whenFull === 'refuse') {
      throw new ColloquyError('append_queue_full', {
        waitingEnvelopes: this.#waitingEnvelopes,
        limitEnvelopes: this.#limits.limitEnvelopes,
        waitingBytes: this.#waitingBytes,
        limitBytes: this.#limits.limitBytes,
      })
    }
    this.#outside.push(request)
  }

  /** Resolves when nothing is waiting or under way. */
  async idle(): Promise<void> {
    while (this.#isSending) {
      await new Promise((resolve) => setImmediate(resolve))
      await this.#sending
    }
  }

  /** One that is larger than the whole queue is taken when nothing else is there: it would never fit. */
  #hasRoomFor({ envelopes, bytes }: T): boolean {
    return (
      this.#last.size === 0 ||
      (this.#waitingEnvelopes + envelopes <= this.#limits.limitEnvelopes && this.#waitingBytes + bytes <= this.#limits.limitBytes)
    )
  }

  #admit(request: T): void {
    const last = this.#last.get(request.conversation)
    this.#last.set(request.conversation, request)
    this.#waitingEnvelopes += request.envelopes
    this.#waitingBytes += request.bytes
    if (last) last.next = request
    else this.#makeReady(request)
  }

  #makeReady(request: T): void {
    const lot = this.#acrossPartitions ? 0 : request.partition
    let ready = this.#ready.get(lot)
    if (!ready) {
      ready = new Fifo()
      this.#ready.set(lot, ready)
    }
    if (ready.length === 0) this.#turns.push(lot)
    ready.push(request)
    if (this.#isSending) return
    this.#isSending = true
    // After what else is due in this turn of the event loop: those who were answered together come back together.
    setImmediate(() => {
      this.#sending = this.#sendAll()
    })
  }

  async #sendAll(): Promise<void> {
    for (let batch = this.#nextBatch(); batch.length > 0; batch = this.#nextBatch()) {
      await this.#deliver(batch)
      for (const request of batch) this.#settle(request)
      // Whoever waited for these answers may have more; they are heard before the next batch leaves.
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#isSending = false
  }

  #nextBatch(): T[] {
    const batch: T[] = []
    const lot = this.#turns.shift()
    const ready = lot === undefined ? undefined : this.#ready.get(lot)
    if (lot === undefined || !ready) return batch
    let envelopes = 0
    let bytes = 0
    for (let first = ready.peek(); first; first = ready.peek()) {
      envelopes += first.envelopes
      bytes += first.bytes
      if (batch.length > 0 && (envelopes > batchEnvelopes || bytes > batchBytes)) break
      ready.shift()
      batch.push(first)
    }
    if (ready.length > 0) this.#turns.push(lot)
    return batch
  }

  #settle(request: T): void {
    const { next } = request
    this.#waitingEnvelopes -= request.envelopes
    this.#waitingBytes -= request.bytes
    if (next) this.#makeReady(next)
    else this.#last.delete(request.conversation)
    for (let first = this.#outside.peek(); first && this.#hasRoomFor(first); first = this.#outside.peek()) {
      this.#outside.shift()
      this.#admit(first)
    }
  }
}
