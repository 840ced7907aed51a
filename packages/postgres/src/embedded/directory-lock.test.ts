import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { lockDirectory } from './directory-lock.ts'

/** Holds one call of a file operation up, as a slow disk or scheduler would. */
const pause = vi.hoisted(() => ({ operation: '', countdown: 0, reached: () => {}, end: Promise.resolve() }))
vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>()
  const slowed = <Args extends unknown[]>(name: string, call: (...args: Args) => Promise<void>) => {
    return async (...args: Args): Promise<void> => {
      if (pause.operation === name && --pause.countdown === 0) {
        pause.reached()
        await pause.end
      }
      await call(...args)
    }
  }
  return { ...real, link: slowed('link', real.link), rm: slowed('rm', real.rm) }
})

/** The `nth` call of `operation` from now on waits for `goOn`. */
function pauseAt(operation: 'link' | 'rm', nth: number): { readonly reached: Promise<void>; readonly goOn: () => void } {
  const reached = Promise.withResolvers<void>()
  const end = Promise.withResolvers<void>()
  Object.assign(pause, { operation, countdown: nth, reached: reached.resolve, end: end.promise })
  return { reached: reached.promise, goOn: end.resolve }
}

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'colloquy-lock-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const locked = (pid: number) => ({ code: 'directory_locked', details: { directory, pid } })

test('one holds the lock; when it lets go, nothing is left and the next may', async () => {
  const lock = await lockDirectory(directory)
  await expect(lockDirectory(directory)).rejects.toMatchObject(locked(process.pid))
  await lock.release()
  await lock.release()
  expect(await readdir(directory)).toEqual([])
  await (await lockDirectory(directory)).release()
})

test('of many who come at once, one gets it', async () => {
  for (let round = 0; round < 20; round++) {
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory)))
    const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(locks).toHaveLength(1)
    await locks[0]?.release()
  }
})

test('what a dead process left is taken over, by one of many, and again after a second crash', async () => {
  for (let round = 0; round < 20; round++) {
    await leaveBehind({ pid: await deadPid() })
    const locks = await lockAtOnce()
    expect(locks).toHaveLength(1)
    await expect(lockDirectory(directory)).rejects.toMatchObject(locked(process.pid))
    await locks[0]?.release()
    expect(await readdir(directory)).toEqual([])
  }
  await leaveBehind({ pid: await deadPid() })
  await leaveBehind({ pid: await deadPid() })
  await leaveBehind({ pid: await deadPid() })
  expect(await lockAtOnce()).toHaveLength(1)
})

test('who holds a lock that was taken over keeps it from those who saw the dead one', async () => {
  for (let round = 0; round < 30; round++) {
    await leaveBehind({ pid: await deadPid() })
    let holders = 0
    const visit = async () => {
      const lock = await lockDirectory(directory).catch(() => undefined)
      if (!lock) return
      expect(++holders).toBe(1)
      await new Promise((resolve) => setImmediate(resolve))
      holders--
      await lock.release()
    }
    await Promise.all(Array.from({ length: 12 }, visit))
  }
})

test('who saw a dead holder and is slow gets nothing, when others took the lock over and let it go meanwhile', async () => {
  await leaveBehind({ pid: await deadPid() })
  const { reached, goOn } = pauseAt('link', 1)
  const slow = lockDirectory(directory)
  await reached
  await (await lockDirectory(directory)).release()
  const present = await lockDirectory(directory)
  goOn()
  await expect(slow).rejects.toMatchObject(locked(process.pid))
  await present.release()
  expect(await readdir(directory)).toEqual([])
})

test('who takes over slowly does not remove the lock of one who was faster', async () => {
  await leaveBehind({ pid: await deadPid() })
  const { reached, goOn } = pauseAt('rm', 1)
  const slow = lockDirectory(directory)
  await reached
  const fast = lockDirectory(directory)
  await fast.catch(() => undefined)
  goOn()
  const results = await Promise.allSettled([slow, fast])
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
})

test('who lets go slowly does not let two in', async () => {
  await leaveBehind({ pid: await deadPid() })
  const former = await lockDirectory(directory)
  const { reached, goOn } = pauseAt('rm', 2)
  const releasing = former.release()
  await reached
  const next = await lockDirectory(directory)
  goOn()
  await releasing
  await expect(lockDirectory(directory)).rejects.toMatchObject(locked(process.pid))
  await next.release()
})

test('a number that belongs to another process by now is not its former owner', async () => {
  await leaveBehind({ pid: process.pid, startedAt: 'another time' })
  expect(await lockAtOnce()).toHaveLength(1)
})

test('a live holder is never robbed', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  await once(child, 'spawn')
  await leaveBehind({ pid: child.pid ?? 0, startedAt: null })
  await expect(lockDirectory(directory)).rejects.toMatchObject(locked(child.pid ?? 0))
  child.kill()
  await once(child, 'exit')
  await (await lockDirectory(directory)).release()
})

test('a holder of another machine or container, who cannot be asked, is not robbed', async () => {
  await leaveBehind({ pid: await deadPid(), place: 'elsewhere' })
  const file = join(directory, 'lock')
  await expect(lockDirectory(directory)).rejects.toMatchObject({
    code: 'directory_locked',
    details: { place: 'elsewhere', file },
    message: expect.stringContaining(`If it runs no more, remove ${file}.`),
  })
  await rm(file)
  await (await lockDirectory(directory)).release()
})

test.each([
  ['nothing', ''],
  ['zeros', '\0\0\0'],
  ['half of it', '{"pid":1'],
  ['something else', 'null'],
])('a lock of which a power cut left %s is taken over, by one of many, and again', async (_, content) => {
  await writeFile(join(directory, 'lock'), content)
  const [lock, ...others] = await lockAtOnce()
  expect(others).toEqual([])
  await expect(lockDirectory(directory)).rejects.toMatchObject(locked(process.pid))
  await writeFile(join(directory, 'lock.unreadable'), content)
  const [again] = await lockAtOnce()
  await again?.release()
  expect(await readdir(directory)).toEqual([])
  await lock?.release()
})

test('drafts that killed processes left are removed, and those of others who come now are not', async () => {
  const [old, young] = ['lock.old.draft', 'lock.young.draft'].map((name) => join(directory, name)) as [string, string]
  for (const file of [old, young]) await writeFile(file, '')
  const longAgo = new Date(Date.now() - 3_600_000)
  await utimes(old, longAgo, longAgo)
  await (await lockDirectory(directory)).release()
  expect(await readdir(directory)).toEqual(['lock.young.draft'])
})

async function lockAtOnce(): Promise<{ release: () => Promise<void> }[]> {
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory)))
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}

/** A lock whose process ended without letting go: ours, with another process named in it. */
async function leaveBehind(change: { pid: number; startedAt?: string | null; place?: string }): Promise<void> {
  await lockDirectory(directory)
  const files = await readdir(directory)
  const holders = await Promise.all(
    files.map(async (file) => ({ file, holder: JSON.parse(await readFile(join(directory, file), 'utf8')) as { pid: number } })),
  )
  const own = holders.find(({ holder }) => holder.pid === process.pid)
  await writeFile(join(directory, own?.file ?? ''), JSON.stringify({ ...own?.holder, ...change }))
}

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  await once(child, 'exit')
  return child.pid ?? 0
}
