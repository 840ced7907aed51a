/** `kill -9` at each moment of a compaction, on a real directory: afterwards the state is right, and it happens once. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { autoCompaction, charactersCounter, contextWindow } from '@colloquy/context'
import { stateHash, toHex } from '@colloquy/core'
import { createEngine, sha256, verifyChain } from '@colloquy/engine'
import { openEmbeddedLog } from '@colloquy/postgres'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { compactions, countingSummariser, oldest, talk } from '../support/compaction.ts'
import { storedIn } from '../support/given.ts'

const worker = fileURLToPath(new URL('./compaction-kill-worker.ts', import.meta.url))
const window = contextWindow({ counter: charactersCounter, strategy: oldest, settings: { maxContextTokens: 100 } })

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'colloquy-kill-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** Runs a worker up to a moment, and kills it there. */
async function killAt(moment: string): Promise<void> {
  const child: ChildProcess = spawn(process.execPath, ['--conditions=@colloquy/source', worker, directory, moment], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(child, 'exit')
  let said = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    said += String(chunk)
    if (said.includes('there')) child.kill('SIGKILL')
  })
  expect(await exit).toEqual([null, 'SIGKILL'])
}

test.each([
  ['between message and compaction', 0],
  ['while the summariser is asked', 0],
  ['between summary and commit', 0],
  ['between commit and answer', 1],
])('killed %s, the next process finds %i compactions and one is made in all', async (moment, stored) => {
  await killAt(moment)
  await using log = await openEmbeddedLog({ directory })
  const before = await storedIn(log, 'c')
  expect(before.filter(({ type }) => type === 'messageAdded')).toHaveLength(9)
  expect(compactions(before)).toBe(stored)

  const summariser = countingSummariser()
  for (let restart = 1; restart <= 2; restart++) {
    await using engine = createEngine({ log, effects: [autoCompaction({ window, summariser })] })
    const conversation = await engine.open('c')
    await vi.waitFor(() => expect(conversation.getState().context.compactions).toBe(1))
    const { messages, context } = conversation.getState()
    expect(messages.slice(1).map((m) => m.id)).toEqual(['m6', 'm7', 'm8', 'm9'])
    expect(context.usedTokens).toBe(messages.slice().reduce((sum, m) => sum + m.tokenCount, 0))
    const { state } = await engine.replay('c')
    expect(toHex(stateHash(state, sha256))).toBe(toHex(stateHash(conversation.getState(), sha256)))
  }
  expect(summariser.requests).toHaveLength(1 - stored)
  expect(compactions(await storedIn(log, 'c'))).toBe(1)
  expect(await verifyChain(log, { tenant: 'default', conversationId: 'c' }, sha256)).toMatchObject({ ok: true })
  await using engine = createEngine({ log })
  await (await engine.open('c')).dispatch(talk(10, 10))
  expect(await storedIn(log, 'c')).toHaveLength(11)
})
