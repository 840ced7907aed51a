import { isColloquyError } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { startFrameProxy } from '../../support/frame-proxy.ts'
import { say } from '../../support/given.ts'
import { newDatabase, withClient } from '../database.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import { acknowledgement } from '../retry.ts'
import { defineRow } from '../row.ts'

export const commitThatRollsBack = defineRow({
  id: 'D9',
  proves: 'a COMMIT that answers ROLLBACK is never taken for an append',
  scales: { quick: { appends: 50 }, full: { appends: 500 } },
  mutants: ['rollback-tag-ignored'],
  async run(run) {
    const url = await newDatabase(run)
    // Sessions that do not begin at read committed make the log open a transaction of its own around each append.
    await withClient(url, async (client) => {
      await client.query(`alter database ${new URL(url).pathname.slice(1)} set default_transaction_isolation = 'repeatable read'`)
    })
    let aborted = 0
    let isArmed = false
    const proxy = await startFrameProxy(url, ({ texts }) => {
      if (!isArmed || !texts.some((text) => text.toLowerCase() === 'commit')) return undefined
      isArmed = false
      aborted += 1
      return 'aborted'
    })
    run.defer(proxy.close)
    await using log = await openPostgresLog({ url: proxy.url })
    await using engine = createEngine({ log })
    const acknowledged: Acknowledged[] = []
    let refused = 0
    for (let i = 0; i < run.scale.appends; i++) {
      const conversation = await engine.open(`c${i % 5}`)
      const commandId = `command ${i}`
      isArmed = true
      const result = await conversation.dispatch(say(commandId), { commandId }).catch((error: unknown) => {
        if (!isColloquyError(error)) throw error
        return undefined
      })
      if (result) acknowledged.push(acknowledgement(conversation, commandId, result))
      else refused += 1
    }
    isArmed = false
    return [
      { what: 'appends', seen: acknowledged.length + refused, is: run.scale.appends },
      { what: 'commits that rolled back', seen: aborted, is: run.scale.appends },
      { what: 'refused with a code', seen: refused },
      ...(await audit(log, acknowledged)),
    ]
  },
})
