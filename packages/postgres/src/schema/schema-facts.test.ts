import { expect, test } from 'vitest'
import { openEmbeddedLog } from '../embedded/open-embedded.ts'
import { migrationsDirectory } from './migrate.ts'
import { readSchemaFacts } from './schema-facts.ts'

test('migrations/schema.txt says what the migrations make (vitest -u writes it anew)', async () => {
  await using log = await openEmbeddedLog({ memory: true })
  const facts = await readSchemaFacts(log.kysely)
  await expect(`${facts.join('\n')}\n`).toMatchFileSnapshot(new URL('schema.txt', migrationsDirectory).pathname)
})
