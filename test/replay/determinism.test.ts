import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const program = fileURLToPath(new URL('../support/replay-histories.ts', import.meta.url))

async function replayedIn(env: Record<string, string>, seed: number): Promise<string[]> {
  const args = ['--conditions=@colloquy/source', program, String(seed), '1000']
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: '', ...env } })
  return stdout.trim().split(' ')
}

test('1,000 generated logs replay to the same states in another process, time zone and locale, without clock and chance', async () => {
  const seed = Math.trunc(Math.random() * 2 ** 31)
  const [hash, ...here] = await replayedIn({ TZ: 'UTC', LANG: 'C', LC_ALL: 'C' }, seed)
  const [otherHash, ...there] = await replayedIn({ TZ: 'Pacific/Kiritimati', LANG: 'de_DE.UTF-8', LC_ALL: 'de_DE.UTF-8' }, seed)
  expect(there).not.toEqual(here)
  expect({ seed, hash: otherHash }).toEqual({ seed, hash })
  expect((await replayedIn({}, seed + 1))[0]).not.toBe(hash)
})
