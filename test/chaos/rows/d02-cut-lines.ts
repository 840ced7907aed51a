import { isColloquyError } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { type Attack, type Batch, startFrameProxy } from '../../support/frame-proxy.ts'
import { say } from '../../support/given.ts'
import { newDatabase } from '../database.ts'
import type { Fact } from '../fact.ts'
import { type Acknowledged, audit } from '../oracle.ts'
import { acknowledgement } from '../retry.ts'
import { defineRow, type Run, randomFrom } from '../row.ts'
import { sleep } from '../worker.ts'

const attacks = ['before', 'middle', 'after', 'late', 'silent'] as const satisfies Attack[]
const lanes = 10
/** How long a lane waits for an answer that never comes. */
const patienceMs = 400
/** Half of the lanes give up soon, and hear that the outcome is unknown; the others send again until it is known. */
const shortDeadlineMs = 800

export const cutLines = defineRow({
  id: 'D2',
  proves: 'a line that is cut around an append loses nothing, stores nothing twice, and never lies about what happened',
  scales: { quick: { cuts: 100 }, full: { cuts: 500 } },
  mutants: ['duplicate-check-off', 'loss-forgotten'],
  async run(run) {
    const url = await newDatabase(run)
    const acknowledged: Acknowledged[] = []
    const refused: string[] = []
    const facts: Fact[] = []
    for (const attack of attacks) {
      const { cuts, unknown } = await attackAppends(run, url, attack, acknowledged, refused)
      facts.push({ what: `cut ${attack}`, seen: cuts, atLeast: run.scale.cuts }, { what: 'unknown', seen: unknown })
    }
    await using log = await openPostgresLog({ url })
    const ofRefused = await Promise.all(refused.map(async (id) => (await log.command(keyOf(id), id)).length))
    return [
      ...facts,
      { what: 'told that they are not stored', seen: refused.length },
      { what: 'of these stored', seen: ofRefused.filter((stored) => stored > 0).length, is: 0 },
      ...(await audit(log, acknowledged)),
    ]
  },
})

const keyOf = (commandId: string) => ({ tenant: 'default', conversationId: commandId.split(' ', 2).join(' ') })

/** Appends on all lanes until `cuts` of them were attacked. */
async function attackAppends(
  run: Run<{ readonly cuts: number }>,
  url: string,
  attack: Attack,
  acknowledged: Acknowledged[],
  refused: string[],
): Promise<{ readonly cuts: number; readonly unknown: number }> {
  const random = randomFrom(run.seed + attacks.indexOf(attack as (typeof attacks)[number]))
  let cuts = 0
  let unknown = 0
  const isAppend = ({ statements }: Batch): boolean => statements.some((name) => name.startsWith('colloquy_append'))
  const proxy = await startFrameProxy(url, (batch) => {
    if (!isAppend(batch) || cuts >= run.scale.cuts || random() < 0.3) return undefined
    cuts += 1
    return attack
  })
  const given = new URL(proxy.url)
  if (attack === 'silent') given.searchParams.set('query_timeout', String(patienceMs))

  async function lane(number: number): Promise<void> {
    // A log of its own: lanes that shared one would share its appends.
    await using log = await openPostgresLog({ url: given.href, ...(number % 2 === 0 && { deadlineMs: shortDeadlineMs }) })
    await using engine = createEngine({ log })
    for (let i = 0; cuts < run.scale.cuts; i++) {
      const conversationId = `${attack} ${number}`
      const commandId = `${conversationId} ${i}`
      for (let isAnswered = false; !isAnswered; ) {
        try {
          const conversation = await engine.open(conversationId)
          const result = await conversation.dispatch(say(commandId), { commandId })
          acknowledged.push(acknowledgement(conversation, commandId, result))
          isAnswered = true
        } catch (error) {
          if (isColloquyError(error, 'append_outcome_unknown')) {
            unknown += 1
            // At times before what is late has arrived, at times after.
            await sleep(random() * 600)
          } else if (isRefusal(error)) {
            refused.push(commandId)
            isAnswered = true
          } else throw error
        }
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))
  // What is late may still be on its way.
  await sleep(500)
  await proxy.close()
  return { cuts, unknown }
}

/** What says that nothing was stored: nobody was reached, or the server itself ended the statement in time. */
function isRefusal(error: unknown): boolean {
  return (
    isColloquyError(error, 'database_unreachable') ||
    (isColloquyError(error, 'database_failed') && error.details.sqlState === '57014')
  )
}
