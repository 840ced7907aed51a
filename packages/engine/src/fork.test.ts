import { type ConversationState, compactionUndone, contextCompacted, messageAdded, textMessage } from '@colloquy/core'
import { Observable } from 'rxjs'
import { describe, expect, test } from 'vitest'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import type { Middleware } from './middleware.ts'
import { sha256 } from './node-ports.ts'
import { verifyChain, verifyReplay } from './verify.ts'

const say = (id: string) => messageAdded({ message: textMessage(id, 'user', id), tokenCount: 1 })
const ids = ({ messages }: ConversationState) => messages.slice().map(({ id }) => id)

async function conversationOf(...messageIds: string[]) {
  const log = openMemoryLog()
  const engine = createEngine({ log, snapshotEvery: 2 })
  const root = await engine.open('root')
  for (const id of messageIds) await root.dispatch(say(id))
  return { log, engine, root }
}

describe('a fork', () => {
  test('has the state that its parent had, and neither sees what is appended to the other', async () => {
    const { engine, root } = await conversationOf('m1', 'm2', 'm3')
    const fork = await engine.fork('root', 2, { reason: 'another answer' })
    await fork.dispatch(say('f1'))
    await root.dispatch(say('m4'))
    expect(ids(fork.getState())).toEqual(['m1', 'm2', 'f1'])
    expect(ids(root.getState())).toEqual(['m1', 'm2', 'm3', 'm4'])
    expect(fork.getState().lineage.parent).toEqual({ conversationId: 'root', relation: 'fork', position: 2 })
    expect(fork.id).toMatch(/^root~/)
    expect(fork.position).toBe(4)
  })

  test('says so in its log, after the envelopes of its parent', async () => {
    const { log, engine } = await conversationOf('m1', 'm2')
    const fork = await engine.fork('root', 1)
    const read = []
    for await (const page of log.read({ tenant: 'default', conversationId: fork.id })) read.push(...page)
    expect(read.map(({ conversationId, position, type }) => [conversationId, position, type])).toEqual([
      ['root', 1, 'messageAdded'],
      [fork.id, 2, 'conversationForked'],
    ])
  })

  test.each(['refuses', 'blocks'])('says so where a middleware %s what it does not know, too', async (how) => {
    const { log } = await conversationOf('m1', 'm2')
    const onlyMessages: Middleware = () => (next) => async (action) => {
      if (messageAdded.match(action)) return next(action)
      if (how === 'refuses') throw new Error('only messages')
    }
    await using engine = createEngine({ log, middleware: [onlyMessages] })
    const fork = await engine.fork('root', 1)
    expect(fork.getState().lineage.parent).toEqual({ conversationId: 'root', relation: 'fork', position: 1 })
  })

  test('comes back from the log in another engine, by its id', async () => {
    const { log, engine } = await conversationOf('m1', 'm2')
    const fork = await engine.fork('root', 1)
    await fork.dispatch(say('f1'))
    await engine.close()
    const again = await createEngine({ log }).open(fork.id)
    expect(ids(again.getState())).toEqual(['m1', 'f1'])
    await again.dispatch(say('f2'))
    expect(again.position).toBe(4)
  })

  test('of a fork reads on through both, also where the first had nothing of its own yet', async () => {
    const { log, engine } = await conversationOf('m1', 'm2', 'm3')
    const first = await engine.fork('root', 2)
    await first.dispatch(say('f1'))
    const second = await engine.fork(first.id, 4)
    await second.dispatch(say('s1'))
    const early = await engine.fork(first.id, 1)
    await early.dispatch(say('e1'))
    expect(ids(second.getState())).toEqual(['m1', 'm2', 'f1', 's1'])
    expect(ids(early.getState())).toEqual(['m1', 'e1'])
    for (const { id } of [first, second, early]) {
      const key = { tenant: 'default', conversationId: id }
      expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true })
      expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({ verdict: 'same' })
    }
  })

  test('of an archived conversation goes on', async () => {
    const { engine, root } = await conversationOf('m1')
    await root.dispatch({ type: 'conversationArchived', payload: {} })
    const fork = await engine.fork('root', 2)
    expect(fork.getState().lifecycle.archived).toBeNull()
    await fork.dispatch(say('f1'))
    expect(ids(fork.getState())).toEqual(['m1', 'f1'])
  })

  test('has commands of its own', async () => {
    const { engine, root } = await conversationOf()
    await root.dispatch(say('m1'), { commandId: 'turn-1' })
    const fork = await engine.fork('root', 1)
    expect(await fork.dispatch(say('f1'), { commandId: 'turn-1' })).toMatchObject({ duplicate: false, position: 3 })
    expect(await fork.dispatch(say('f1'), { commandId: 'turn-1' })).toMatchObject({ duplicate: true })
  })

  test('resolves what an action names in the parent', async () => {
    const { engine } = await conversationOf('m1', 'm2', 'm3')
    const fork = await engine.fork('root', 3)
    const named = { ranges: [[1, 2] as const], messageIds: ['m1', 'm2'], tokens: 2 }
    await fork.dispatch(
      contextCompacted({
        covered: named,
        summary: { message: textMessage('s', 'user', 'summary'), tokenCount: 1 },
        strategy: 'test',
        trigger: 'manual',
        before: { messages: 3, tokens: 3 },
        after: { messages: 2, tokens: 2 },
      }),
    )
    expect(ids(fork.getState())).toEqual(['s', 'm3'])
    await fork.dispatch(compactionUndone({ compactionPosition: 5, restored: named, summaryTokens: 1, redactions: [] }))
    expect(ids(fork.getState())).toEqual(['m1', 'm2', 'm3'])
  })

  test.each([0, 4, 1.5])('at position %d, which is not there, is refused', async (position) => {
    const { engine } = await conversationOf('m1', 'm2', 'm3')
    await expect(engine.fork('root', position)).rejects.toMatchObject({ code: 'position_not_found' })
  })

  test('of nothing is refused, and a fork id that nobody made cannot be opened', async () => {
    const { engine } = await conversationOf('m1')
    await expect(engine.fork('nobody', 1)).rejects.toMatchObject({ code: 'conversation_not_found' })
    await expect(engine.open('root~made-up')).rejects.toMatchObject({ code: 'conversation_not_found' })
  })

  test('that is not there leaves nothing running behind', async () => {
    const { log } = await conversationOf('m1')
    let running = 0
    const listening = () =>
      new Observable<never>(() => {
        running += 1
        return () => void (running -= 1)
      })
    const engine = createEngine({ log, effects: [listening] })
    await expect(engine.open('root~made-up')).rejects.toMatchObject({ code: 'conversation_not_found' })
    expect(running).toBe(0)
    await engine.close()
  })

  test('of a conversation whose id leaves no room for its own is refused', async () => {
    const { engine } = await conversationOf()
    const long = 'x'.repeat(190)
    await (await engine.open(long)).dispatch(say('m1'))
    await expect(engine.fork(long, 1)).rejects.toMatchObject({ code: 'id_invalid' })
  })
})

test('a chain that goes on in another conversation than its ancestry says is found', async () => {
  const { log, engine, root } = await conversationOf('m1', 'm2')
  const fork = await engine.fork('root', 1)
  const moved = Object.assign(Object.create(log), { ancestry: async () => [{ conversationId: 'root', position: 2 }] })
  expect(await verifyChain(moved, { tenant: 'default', conversationId: fork.id }, sha256)).toMatchObject({ ok: false })
  expect(root.position).toBe(2)
})
