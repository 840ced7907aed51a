import { expect, test } from 'vitest'
import { arrivals } from './arrivals.ts'

test('what arrives is had in order, the first before the last has come', async () => {
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const items = arrivals<number>(async (arrived) => {
    arrived(1)
    arrived(2)
    await ended
    arrived(3)
  })
  const found: number[] = []
  for await (const item of items) {
    found.push(item)
    if (item === 2) end()
  }
  expect(found).toEqual([1, 2, 3])
})

test('a failure comes behind what had arrived before it, and only to who reads so far', async () => {
  const failing = () =>
    arrivals<number>(async (arrived) => {
      arrived(1)
      throw new Error('broken off')
    })
  const found: number[] = []
  const readAll = async () => {
    for await (const item of failing()) found.push(item)
  }
  await expect(readAll()).rejects.toThrow('broken off')
  expect(found).toEqual([1])
  for await (const item of failing()) {
    expect(item).toBe(1)
    break
  }
})
