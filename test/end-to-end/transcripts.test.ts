/** All real transcripts, all the way: imported, stored in a database, imported again, read back, replayed and verified. */
import { createEngine, sha256, verifyChain, verifyReplay } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { openEmbeddedLog } from '@colloquy/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accountedFor, actionsOf } from '../formats/imported.ts'
import { readReal, realFolders, realNames, rowOf } from '../formats/real-files.ts'

const paths = realFolders().flatMap((folder) => realNames(folder).map((name) => `${folder}/${name}`))
const notice = paths.length === 0 ? ' (skipped: ../shared/data is not beside this checkout)' : ''

describe.skipIf(paths.length === 0)(`real transcripts${notice}`, () => {
  let log: Awaited<ReturnType<typeof openEmbeddedLog>>
  const table: object[] = []
  beforeAll(async () => {
    log = await openEmbeddedLog({ memory: true })
  })
  afterAll(async () => {
    await log.close()
    console.table(table)
  })

  test('there are 76', () => expect(paths).toHaveLength(76))

  test.each(paths)('%s is stored whole and once, however often it is imported, and verifies', async (path) => {
    const file = importFile({ source: path, content: readReal(path) ?? '', sha256 })
    table.push(rowOf(path, file))
    expect(accountedFor(file)).toBe(file.records)
    for (const { line, reason } of file.skipped) expect([line > 0, reason.length > 0]).toEqual([true, true])

    // Two of them are one conversation, exported twice.
    await using engine = createEngine({ log, tenant: path })
    const first = await engine.importConversation(file.conversations)
    const again = await engine.importConversation(
      importFile({ source: 'another name', content: readReal(path) ?? '', sha256 }).conversations,
    )
    expect(again).toEqual(
      first.map((result, index) => ({ ...result, appended: 0, alreadyThere: file.conversations[index]?.commands.length })),
    )

    for (const [index, { conversationId, position }] of first.entries()) {
      const key = { tenant: path, conversationId }
      const actions = actionsOf(file.conversations[index])
      // A fork begins with what its parent has, and with where it left it.
      const before = position - actions.length
      if (!file.conversations[index]?.fork) expect(before).toBe(0)
      let at = -before
      for await (const page of log.read(key)) {
        for (const { type, body } of page) {
          if (at++ < 0) continue
          const { payload, meta, derivedFrom } = actions[at - 1] ?? { type: 'nothing' }
          expect([type, JSON.parse(new TextDecoder().decode(body))]).toEqual([
            actions[at - 1]?.type,
            JSON.parse(JSON.stringify({ payload, meta, derivedFrom })),
          ])
        }
      }
      for (const media of file.conversations[index]?.media ?? []) expect(await log.media(key, media.hash)).toEqual(media)
      expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true, positions: position })
      expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({ verdict: 'same', positions: position })
    }
  })
})
