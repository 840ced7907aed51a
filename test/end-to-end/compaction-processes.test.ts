/** Processes that append to one conversation on a real Postgres, which each of them compacts; some are killed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { contextCompacted, stateHash, toHex } from '@colloquy/core'
import { createEngine, sha256, verifyChain, verifyReplay } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { afterAll, describe, expect, test } from 'vitest'
import { compactions } from '../support/compaction.ts'
import { storedIn } from '../support/given.ts'
import { startPostgres } from '../support/postgres-server.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

const worker = fileURLToPath(new URL('./compacting-process.ts', import.meta.url))

/** Runs a process that stores so many messages, or stores them until it is killed behind so many. @returns the ids of those that it said were stored */
async function append(url: string, name: string, count: number, end: 'ends' | 'is killed' = 'ends'): Promise<string[]> {
  const child = spawn(
    process.execPath,
    [
      '--conditions=@colloquy/source',
      '--disable-warning=COLLOQUY_DATABASE',
      worker,
      url,
      name,
      end === 'ends' ? String(count) : 'Infinity',
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += String(chunk)
    if (end === 'is killed' && said.split('\n').length > count) child.kill('SIGKILL')
  })
  const [code] = (await once(child, 'close')) as [number | null]
  expect(code).toBe(end === 'ends' ? 0 : null)
  return said.split('\n').slice(0, -1)
}

describe.skipIf(!server)('several processes on one conversation', () => {
  test('store each compaction once, whoever dies, and lose no message', async () => {
    const url = (await server?.createDatabase()) ?? ''
    await using log = await openPostgresLog({ url, migrate: true })
    const acknowledged = (
      await Promise.all([
        append(url, 'a', 60),
        append(url, 'b', 60),
        append(url, 'c', 15, 'is killed'),
        append(url, 'd', 30, 'is killed'),
      ])
    ).flat()
    const stored = await storedIn(log, 'c')
    const commands = stored.filter(({ commandIndex }) => commandIndex === 0).map(({ commandId }) => commandId)
    expect(new Set(commands).size).toBe(commands.length)
    expect(compactions(stored)).toBeGreaterThan(5)
    // Others' compactions are no failures of one's own.
    expect(stored.filter(({ type }) => type === 'compactionFailed')).toEqual([])

    await using engine = createEngine({ log })
    const { state } = await engine.replay('c')
    const added = stored.filter(({ type }) => type === 'messageAdded').length
    expect(added).toBeGreaterThanOrEqual(acknowledged.length)
    const covered = stored.flatMap(({ action }) => (contextCompacted.match(action) ? action.payload.covered.messageIds : []))
    // Each message is shown or covered, and covered once.
    expect(new Set(covered).size).toBe(covered.length)
    const seen = new Set([...covered, ...state.messages.slice().map((m) => m.id)])
    for (const id of acknowledged) expect(seen).toContain(id)
    expect(state.context.usedTokens).toBe(state.messages.slice().reduce((sum, m) => sum + m.tokenCount, 0))

    const key = { tenant: 'default', conversationId: 'c' }
    expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true })
    expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({ verdict: 'same' })
    const live = (await engine.open('c')).getState()
    expect(toHex(stateHash(live, sha256))).toBe(toHex(stateHash(state, sha256)))
  })
})
