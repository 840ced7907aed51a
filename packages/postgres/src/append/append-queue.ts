/**
 * Group commit in this process: while a batch is in flight the next one gathers, so that many appends share one round trip and one commit.
 *
 *     add -> (outside, while the queue is full) -> first of its conversation -> lot -> batch -> deliver -> settled
 *                                                  others of it wait behind
 *
 * A conversation is in one batch at most once, and in one batch at a time: its requests are sent in the order in which they came.
 * A lot is some of the partitions, and in one batch at a time, so that batches in flight together never wait for each other's locks. Few
 * requests go as one batch over all lots, since a commit costs the same for one and for many; where enough wait, the batch of one lot is
 * made while the server works on that of another. Nothing here costs more the more is waiting.
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
/**
 * Requests that are worth a commit of their own beside another one. With 48 and not 128, a third more appends at 128 and 256 in flight and
 * as many at 64, 512 and 1,000; with 16, a fifth fewer at 32, since a commit of its own costs as much as twenty appends (2026-11-27).
 */
const worthABatch = 48

export interface QueueShape {
  /** One batch may mix partitions; otherwise each partition is a lot. */
  readonly batchAcrossPartitions: boolean
  /** Batches in flight at once, and, where they may mix partitions, the number of lots. */
  readonly batchesInFlight: number
}

/**
 * The requests of one conversation. The map that holds it keeps no request itself: a map that has grown or shrunk leaves its former table
 * behind, which points to the table after it and so keeps everything in both until the next full collection. With requests in it, all that
 * an append had made grew old, and two fifths of the client's time went into collecting it (measured 2026-11-27).
 */
class Line<T> {
  last: T | undefined

  constructor(first: T) {
    this.last = first
  }
}

interface Lot<T> {
  readonly ready: Fifo<T>
  isInFlight: boolean
}

export class AppendQueue<T extends QueuedRequest<T>> {
  readonly #limits: Required<QueueOptions>
  readonly #shape: QueueShape
  readonly #deliver: (batch: readonly T[]) => Promise<void>
  /** The requests that may be sent, one for each conversation. */
  readonly #lots = new Map<number, Lot<T>>()
  /** Lots with something ready that are not in flight, each once. */
  readonly #turns = new Fifo<Lot<T>>()
  /** In those. */
  #ready = 0
  /** Of each conversation that has requests. */
  readonly #lines = new Map<string, Line<T>>()
  readonly #outside = new Fifo<T>()
  #waitingEnvelopes = 0
  #waitingBytes = 0
  #inFlight = 0
  #isSendDue = false
  #whenIdle: (() => void)[] = []

  /** `deliver` settles each request of a batch, and never rejects. */
  constructor(options: QueueOptions & QueueShape, deliver: (batch: readonly T[]) => Promise<void>) {
    this.#limits = {
      limitEnvelopes: options.limitEnvelopes ?? 20_000,
      limitBytes: options.limitBytes ?? 64 * 1024 * 1024,
      whenFull: options.whenFull ?? 'wait',
    }
    this.#shape = options
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
  idle(): Promise<void> {
    if (this.#lines.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenIdle.push(resolve))
  }

  /** One that is larger than the whole queue is taken when nothing else is there: it would never fit. */
  #hasRoomFor({ envelopes, bytes }: T): boolean {
    return (
      this.#lines.size === 0 ||
      (this.#waitingEnvelopes + envelopes <= this.#limits.limitEnvelopes && this.#waitingBytes + bytes <= this.#limits.limitBytes)
    )
  }

  #admit(request: T): void {
    this.#waitingEnvelopes += request.envelopes
    this.#waitingBytes += request.bytes
    const line = this.#lines.get(request.conversation)
    if (line?.last) {
      line.last.next = request
      line.last = request
      return
    }
    this.#lines.set(request.conversation, new Line(request))
    this.#makeReady(request)
  }

  #makeReady(request: T): void {
    const { batchAcrossPartitions, batchesInFlight } = this.#shape
    const number = batchAcrossPartitions ? request.partition % batchesInFlight : request.partition
    let lot = this.#lots.get(number)
    if (!lot) {
      lot = { ready: new Fifo(), isInFlight: false }
      this.#lots.set(number, lot)
    }
    lot.ready.push(request)
    if (lot.isInFlight) return
    this.#ready += 1
    if (lot.ready.length === 1) this.#turns.push(lot)
    this.#sendSoon()
  }

  /** After what else is due in this turn of the event loop: those who were answered together come back together. */
  #sendSoon(): void {
    if (this.#isSendDue || this.#inFlight >= this.#shape.batchesInFlight) return
    this.#isSendDue = true
    setImmediate(() => {
      this.#isSendDue = false
      for (let lots = this.#nextLots(); lots.length > 0; lots = this.#nextLots()) void this.#send(lots)
    })
  }

  /** Those that the next batch is taken from; none while it is better to wait for the one in flight. */
  #nextLots(): Lot<T>[] {
    const { batchAcrossPartitions, batchesInFlight } = this.#shape
    if (this.#inFlight >= batchesInFlight) return []
    const isAlone = this.#inFlight === 0
    if (batchAcrossPartitions && !isAlone && this.#ready < worthABatch) return []
    const isWhole = batchAcrossPartitions && isAlone && this.#ready < worthABatch * batchesInFlight
    const lots: Lot<T>[] = []
    for (let lot = this.#turns.shift(); lot; lot = isWhole ? this.#turns.shift() : undefined) lots.push(lot)
    return lots
  }

  async #send(lots: readonly Lot<T>[]): Promise<void> {
    const batch: T[] = []
    let envelopes = 0
    let bytes = 0
    for (const { ready } of lots) {
      this.#ready -= ready.length
      for (let first = ready.peek(); first; first = ready.peek()) {
        if (batch.length > 0 && (envelopes + first.envelopes > batchEnvelopes || bytes + first.bytes > batchBytes)) break
        envelopes += first.envelopes
        bytes += first.bytes
        ready.shift()
        batch.push(first)
      }
    }
    for (const lot of lots) lot.isInFlight = true
    this.#inFlight += 1
    await this.#deliver(batch)
    this.#inFlight -= 1
    for (const lot of lots) {
      lot.isInFlight = false
      this.#ready += lot.ready.length
      if (lot.ready.length > 0) this.#turns.push(lot)
    }
    for (const request of batch) this.#settle(request)
    if (this.#lines.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve()
    if (this.#turns.length > 0) this.#sendSoon()
  }

  #settle(request: T): void {
    const { next } = request
    this.#waitingEnvelopes -= request.envelopes
    this.#waitingBytes -= request.bytes
    if (next) this.#makeReady(next)
    else this.#leave(request)
    for (let first = this.#outside.peek(); first && this.#hasRoomFor(first); first = this.#outside.peek()) {
      this.#outside.shift()
      this.#admit(first)
    }
  }

  #leave({ conversation }: T): void {
    const line = this.#lines.get(conversation)
    if (line) line.last = undefined
    this.#lines.delete(conversation)
  }
}
