import { expect, test } from 'vitest'
import { circuits } from './circuit.ts'
import { fallBack } from './fall-back.ts'
import { recover } from './recover.ts'

const failing = (status: number) => Object.assign(new Error(`status ${status}`), { status })

/** Models that answer, or fail with a status each time. */
async function ask(statuses: Readonly<Record<string, number | null>>, signal?: AbortSignal) {
  const asked: string[] = []
  const falls: string[] = []
  const answer = await fallBack(
    Object.keys(statuses) as [string, ...string[]],
    async (model) => {
      asked.push(model)
      const status = statuses[model]
      if (typeof status === 'number') throw failing(status)
      return model
    },
    {
      onFallBack: ({ from, to, failure }) => void falls.push(`${from} ${failure.kind} ${to}`),
      ...(signal && { signal }),
    },
  ).catch((error: Error) => error.message)
  return { answer, asked, falls }
}

test('the first model that can be had answers, and each fall is reported', async () => {
  expect(await ask({ a: 529, b: 401, c: null, d: null })).toEqual({
    answer: 'c',
    asked: ['a', 'b', 'c'],
    falls: ['a overloaded b', 'b authentication c'],
  })
})

test('what the last one throws is thrown', async () => {
  expect(await ask({ a: 529, b: 500 })).toMatchObject({ answer: 'status 500', asked: ['a', 'b'] })
})

test('a request that is refused for what it is goes to no other model', async () => {
  expect(await ask({ a: 400, b: null })).toMatchObject({ answer: 'status 400', asked: ['a'] })
})

test('nobody is asked after an abort', async () => {
  expect(await ask({ a: 529, b: null }, AbortSignal.abort())).toMatchObject({ answer: 'status 529', asked: ['a'] })
})

test('each model has its tries, and one whose circuit is open is passed over', async () => {
  const open = circuits({ failures: 3 })
  const tries: string[] = []
  const answer = async () =>
    fallBack(['a', 'b'], async (model) =>
      recover(
        async () => {
          tries.push(model)
          if (model === 'a') throw failing(503)
          return model
        },
        { circuit: open.of(model, 'stream'), sleep: async () => {} },
      ),
    )
  expect(await answer()).toBe('b')
  expect(await answer()).toBe('b')
  expect(tries).toEqual(['a', 'a', 'a', 'b', 'b'])
})
