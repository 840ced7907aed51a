import { describe, expect, test } from 'vitest'
import { AppendQueue, type QueuedRequest, type QueueOptions, type QueueShape } from './append-queue.ts'

interface Request extends QueuedRequest<Request> {
  readonly id: string
}

const request = (
  id: string,
  facts: Partial<Pick<Request, 'conversation' | 'partition' | 'envelopes' | 'bytes'>> = {},
): Request => ({
  id,
  conversation: facts.conversation ?? id,
  partition: facts.partition ?? 0,
  envelopes: facts.envelopes ?? 1,
  bytes: facts.bytes ?? 10,
  next: undefined,
})

/** A queue whose batches are answered when the test says so. */
function held(options: QueueOptions & Partial<QueueShape> = {}) {
  const batches: string[][] = []
  const inFlight: (() => void)[] = []
  const queue = new AppendQueue<Request>({ batchAcrossPartitions: true, batchesInFlight: 1, ...options }, async (batch) => {
    batches.push(batch.map(({ id }) => id))
    await new Promise<void>((resolve) => inFlight.push(resolve))
  })
  const turn = async (): Promise<void> => {
    for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    queue,
    batches,
    add: (...requests: Request[]) => {
      for (const each of requests) queue.add(each)
    },
    turn,
    /** The batch that left first. */
    async answer() {
      inFlight.shift()?.()
      await turn()
    },
  }
}

describe('the queue of appends', () => {
  test('gathers what comes while a batch is in flight, and sends it together', async () => {
    const { batches, add, turn, answer } = held()
    add(request('a'))
    await turn()
    add(request('b'))
    await turn()
    add(request('c'), request('d'))
    expect(batches).toEqual([['a']])
    await answer()
    expect(batches).toEqual([['a'], ['b', 'c', 'd']])
  })

  test('has a conversation in one batch once, and its requests in the order in which they came', async () => {
    const { batches, add, turn, answer } = held()
    const same = { conversation: 'same' }
    add(request('first', same), request('second', same), request('other'), request('third', same))
    await turn()
    for (let i = 0; i < 3; i++) await answer()
    expect(batches).toEqual([['first', 'other'], ['second'], ['third']])
  })

  describe('with two batches in flight', () => {
    const many = (partition: number, from: number, count: number): Request[] =>
      Array.from({ length: count }, (_, i) => request(`${partition}-${from + i}`, { partition }))
    const sizes = (batches: readonly string[][]): string[] => batches.map((batch) => `${batch.length} from ${batch[0]}`)

    test('sends few requests as one, whatever their partitions', async () => {
      const { batches, add, turn, answer } = held({ batchesInFlight: 2 })
      add(...many(0, 0, 3), ...many(1, 0, 3))
      await turn()
      add(...many(2, 0, 20), ...many(3, 0, 20))
      await turn()
      expect(sizes(batches)).toEqual(['6 from 0-0'])
      await answer()
      expect(sizes(batches)).toEqual(['6 from 0-0', '40 from 2-0'])
    })

    test('sends those of other partitions meanwhile, once they are worth it, and none of the same', async () => {
      const { batches, add, turn, answer } = held({ batchesInFlight: 2 })
      add(...many(0, 0, 300))
      await turn()
      add(...many(0, 300, 200), ...many(1, 0, 40))
      await turn()
      expect(sizes(batches)).toEqual(['300 from 0-0'])
      add(...many(1, 40, 50))
      await turn()
      expect(sizes(batches)).toEqual(['300 from 0-0', '90 from 1-0'])
      await answer()
      expect(sizes(batches).slice(2)).toEqual(['200 from 0-300'])
    })

    test('is idle when all of them are answered', async () => {
      const { queue, add, turn, answer } = held({ batchesInFlight: 2 })
      let isIdle = false
      add(...many(0, 0, 300), ...many(1, 0, 300))
      await turn()
      void queue.idle().then(() => {
        isIdle = true
      })
      await answer()
      expect(isIdle).toBe(false)
      await answer()
      expect(isIdle).toBe(true)
    })
  })

  test('keeps partitions apart where a batch must not mix them, each in its turn', async () => {
    const { batches, add, turn, answer } = held({ batchAcrossPartitions: false })
    add(
      request('a', { partition: 3 }),
      request('b', { partition: 7 }),
      request('c', { partition: 3 }),
      request('d', { partition: 7 }),
    )
    await turn()
    for (let i = 0; i < 2; i++) await answer()
    expect(batches).toEqual([
      ['a', 'c'],
      ['b', 'd'],
    ])
  })

  test('sends at most 1,000 envelopes and 4 MiB at once, and what is larger alone', async () => {
    const mebibyte = 1024 * 1024
    const { batches, add, turn, answer } = held({ limitBytes: 100 * mebibyte })
    add(request('many', { envelopes: 999 }), request('one'), request('more', { envelopes: 2 }))
    add(request('large', { bytes: 3 * mebibyte }), request('larger', { bytes: 9 * mebibyte }), request('small'))
    await turn()
    for (let i = 0; i < 4; i++) await answer()
    expect(batches).toEqual([['many', 'one'], ['more', 'large'], ['larger'], ['small']])
  })

  test('refuses what is too much, with the numbers, when it is told to, and takes it again after an answer', async () => {
    const { batches, add, turn, answer } = held({ limitEnvelopes: 3, whenFull: 'refuse' })
    add(request('a', { envelopes: 2 }), request('b'))
    expect(() => add(request('c'))).toThrow(
      expect.objectContaining({
        code: 'append_queue_full',
        retryable: true,
        details: { waitingEnvelopes: 3, limitEnvelopes: 3, waitingBytes: 20, limitBytes: 64 * 1024 * 1024 },
      }),
    )
    await turn()
    await answer()
    add(request('d'))
    await turn()
    expect(batches).toEqual([['a', 'b'], ['d']])
  })

  test('counts bytes too', async () => {
    const { add } = held({ limitBytes: 100, whenFull: 'refuse' })
    add(request('a', { bytes: 90 }))
    expect(() => add(request('b', { bytes: 11 }))).toThrow(expect.objectContaining({ code: 'append_queue_full' }))
    add(request('c', { bytes: 10 }))
  })

  test('lets what is too much wait outside, in order, unless it is told to refuse', async () => {
    const { batches, add, turn, answer } = held({ limitEnvelopes: 2 })
    add(request('a'), request('b'), request('c', { envelopes: 5 }), request('d'))
    await turn()
    expect(batches).toEqual([['a', 'b']])
    for (let i = 0; i < 2; i++) await answer()
    expect(batches).toEqual([['a', 'b'], ['c'], ['d']])
  })

  test('is idle when all was answered', async () => {
    const { queue, add, turn, answer } = held()
    add(request('a'), request('b', { conversation: 'a' }))
    let isIdle = false
    const idle = queue.idle().then(() => {
      isIdle = true
    })
    await turn()
    await answer()
    expect(isIdle).toBe(false)
    await answer()
    await idle
    expect(isIdle).toBe(true)
  })
})
