/** Every real Claude Code session, all the way: imported, stored in a database, imported again, replayed and verified. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type ImportedFile, stateHash, toHex } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256, verifyChain, verifyReplay } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { openEmbeddedLog } from '@colloquy/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const folder = new URL('../../../shared/data/transcripts/claude-code/', import.meta.url)
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.jsonl')) : []
const read = (name: string): ImportedFile => importFile({ source: name, content: readFileSync(new URL(name, folder)), sha256 })
const keyOf = (conversationId: string) => ({ tenant: 'default', conversationId })

describe.skipIf(names.length === 0)(`real sessions${names.length === 0 ? ' (skipped: ../shared/data is not here)' : ''}`, () => {
  let log: Awaited<ReturnType<typeof openEmbeddedLog>>
  beforeAll(async () => {
    log = await openEmbeddedLog({ memory: true })
  })
  afterAll(() => log.close())

  test('there are ten', () => expect(names).toHaveLength(10))

  test.each(names)('%s is stored once, however often it is imported, and verifies', async (name) => {
    await using engine = createEngine({ log })
    const { conversations } = read(name)
    const first = await engine.importConversation(conversations)
    const second = await engine.importConversation(conversations)
    expect(first.map((r) => r.appended)).toEqual(conversations.map((c) => c.commands.flatMap(({ actions }) => actions).length))
    expect(second.map((r) => r.appended)).toEqual(conversations.map(() => 0))
    for (const { conversationId, position } of first) {
      expect(await verifyChain(log, keyOf(conversationId), sha256)).toMatchObject({ ok: true, positions: position })
      const verdict = await verifyReplay(log, keyOf(conversationId), engine.reducer, sha256)
      expect(verdict).toMatchObject({ verdict: 'same', positions: position })
      expect(verdict.compared).toBeGreaterThan(0)
    }
  })

  test.each(names)('%s, dispatched live, has at every position the state hash that replay reaches', async (name) => {
    const live = openMemoryLog()
    await using engine = createEngine({ log: live })
    for (const { conversationId, commands } of read(name).conversations) {
      const conversation = await engine.open(conversationId)
      const hashes: string[] = []
      for (const action of commands.flatMap(({ actions }) => actions)) {
        const { state } = await conversation.dispatch(action)
        hashes.push(toHex(stateHash(state, sha256)))
      }
      const replayed: string[] = []
      await verifyReplay(live, keyOf(conversationId), engine.reducer, sha256, (_, hash) => replayed.push(toHex(hash)))
      expect(replayed).toEqual(hashes)
    }
  })
})
