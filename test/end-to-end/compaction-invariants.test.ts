/** Strategies over all real transcripts keep together what belongs together. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { charactersCounter } from '@colloquy/context'
import { messageAdded } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { expect, test } from 'vitest'
import { expectInvariants, strategiesUnderTest, tokensOf } from '../support/compaction-invariants.ts'
import { working } from '../support/conversations.ts'

const root = new URL('../../../shared/data/transcripts/', import.meta.url)
const files = existsSync(root)
  ? readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.jsonl?$/.test(entry.name))
      .map((entry) => `${entry.parentPath}/${entry.name}`)
  : []
const notice = files.length === 0 ? ' (skipped: ../shared/data is not beside this checkout)' : ''

test.skipIf(files.length === 0)(`real conversations keep them too, at every strategy and cut${notice}`, async () => {
  let checked = 0
  for (const file of files) {
    const { conversations } = importFile({ source: file, content: readFileSync(file), sha256 })
    for (const { commands } of conversations) {
      const actions = commands.flatMap(({ actions }) => actions)
      const all = actions.flatMap((action) => (messageAdded.match(action) ? [action.payload.message] : []))
      // The plain judge is quadratic; what is behind 200 messages is no different.
      const list = working(all.slice(0, 200))
      for (const strategy of strategiesUnderTest) {
        for (const ratio of [0.15, 0.5, 0.9]) {
          await expectInvariants(strategy, {
            messages: list,
            pinned: new Set(),
            openCalls: [],
            targetTokens: Math.floor(tokensOf(list) * ratio),
            counter: charactersCounter,
          })
          checked += 1
        }
      }
    }
  }
  expect(checked).toBeGreaterThan(1_000)
})
