/** Every real Claude Code session, dispatched action by action. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type ImportedFile, stateHash, toHex } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256, verifyReplay } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { describe, expect, test } from 'vitest'

const folder = new URL('../../../shared/data/transcripts/claude-code/', import.meta.url)
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.jsonl')) : []
const read = (name: string): ImportedFile => importFile({ source: name, content: readFileSync(new URL(name, folder)), sha256 })
const keyOf = (conversationId: string) => ({ tenant: 'default', conversationId })

describe.skipIf(names.length === 0)(`real sessions${names.length === 0 ? ' (skipped: ../shared/data is not here)' : ''}`, () => {
  test('there are ten', () => expect(names).toHaveLength(10))

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
