import {
  ColloquyError,
  combineSlices,
  compactionUndone,
  contextCompacted,
  conversationSlices,
  defineAction,
  defineSlice,
  type EventLog,
  forkHash,
  genesisHash,
  type Head,
  messageAdded,
  messageRedacted,
  type StoredEnvelope,
  stateHash,
  toHex,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { given, say } from '../../../test/support/given.ts'
import { openRewindableLog } from '../../../test/support/rewindable-log.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import { sha256 } from './node-ports.ts'
import { verifyChain, verifyReplay } from './verify.ts'

const key = { tenant: 'default', conversationId: 'c' }

/** A log in which somebody changed what is stored. */
const tampered = (log: EventLog, change: (envelope: StoredEnvelope) => StoredEnvelope | undefined): EventLog =>
  Object.assign(Object.create(log) as EventLog, {
    async *read(...args: Parameters<EventLog['read']>) {
      for await (const page of log.read(...args)) yield page.flatMap((envelope) => change(envelope) ?? [])
    },
  })

describe('verifyChain', () => {
  test('passes what was appended', async () => {
    const { log } = await given([say('m1'), say('m2')])
    expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true, positions: 2, erased: 0 })
  })

  const at2 = (change: (envelope: StoredEnvelope) => StoredEnvelope | undefined) => (envelope: StoredEnvelope) =>
    envelope.position === 2 ? change(envelope) : envelope
  const flipped = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => (i === 20 ? byte ^ 1 : byte))
  test.each<[string, (envelope: StoredEnvelope) => StoredEnvelope | undefined]>([
    ['a changed body', at2((e) => ({ ...e, body: flipped(e.body) }))],
    ['a changed type', at2((e) => ({ ...e, type: 'messageRedacted' }))],
    ['a changed time', at2((e) => ({ ...e, occurredAt: e.occurredAt + 1 }))],
    ['another actor', at2((e) => ({ ...e, actor: 'mallory' }))],
    ['a changed hash', at2((e) => ({ ...e, hash: flipped(e.hash) }))],
    ['a removed envelope', at2(() => undefined)],
    ['a cut tail', (e) => (e.position > 1 ? undefined : e)],
  ])('finds %s and names the position', async (_name, change) => {
    const { log } = await given([say('m1'), say('m2'), say('m3')])
    expect(await verifyChain(tampered(log, change), key, sha256)).toMatchObject({ ok: false, problem: { position: 2 } })
  })

  test('finds what a log refuses to read: a page with a hole', async () => {
    const { log } = await given(Array.from({ length: 5 }, (_, i) => say(`m${i}`)))
    const holed = Object.assign(Object.create(log) as EventLog, {
      async *read(...[of, { from = 1, to = 5 } = {}]: Parameters<EventLog['read']>) {
        if (from <= 4 && to >= 4) throw new ColloquyError('log_corrupt', { conversationId: 'c', position: 4, problem: 'missing' })
        yield* log.read(of, { from, to })
      },
    })
    expect(await verifyChain(holed, key, sha256)).toMatchObject({
      ok: false,
      positions: 3,
      problem: { position: 4, text: 'missing' },
    })
    expect(await verifyReplay(holed, key, createEngine({ log }).reducer, sha256)).toMatchObject({
      verdict: 'log_changed',
      positions: 3,
      chain: { problem: { position: 4 } },
    })
  })

  test('an erased body leaves the chain whole and is counted', async () => {
    const { log } = await given([say('m1'), say('m2')])
    const erased = tampered(log, (e) =>
      e.position === 1 ? { ...e, body: new TextEncoder().encode('{"payload":{}}'), salt: null } : e,
    )
    expect(await verifyChain(erased, key, sha256)).toMatchObject({ ok: true, erased: 1 })
  })

  test('an unknown conversation is an error, not a success', async () => {
    await expect(verifyChain(openMemoryLog(), key, sha256)).rejects.toMatchObject({ code: 'conversation_not_found' })
  })
})

/** Three envelopes, a state hash kept at the last; then somebody takes the last one, and moves the head back. */
async function givenACutTail() {
  const { log, engine, dispatch } = await given([say('m1'), say('m2')], { snapshotEvery: 3 })
  const { envelopes } = await dispatch(say('m3'))
  await engine.close()
  const last = envelopes[0] as StoredEnvelope
  const [second] = (await log.read(key, { from: 2, to: 2 })[Symbol.asyncIterator]().next()).value as StoredEnvelope[]
  const cut = Object.assign(
    tampered(log, (envelope) => (envelope.position > 2 ? undefined : envelope)),
    {
      head: async () => ({ ...(await log.head(key)), position: 2, hash: second?.hash }) as Head,
    },
  )
  return { log, cut, engine, seen: { position: last.position, hash: last.hash } }
}

describe('a tail that was cut with its head', () => {
  test('is witnessed by a state that was kept behind it', async () => {
    const { log, cut, engine } = await givenACutTail()
    expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true, positions: 3 })
    const problem = { position: 3, text: 'the log ends at position 2, and a state was kept at position 3' }
    expect(await verifyChain(cut, key, sha256)).toMatchObject({ ok: false, positions: 2, problem })
    expect(await verifyReplay(cut, key, engine.reducer, sha256)).toMatchObject({ verdict: 'log_changed', chain: { problem } })
  })

  test('is witnessed by a state that other slices kept', async () => {
    const { cut, engine } = await givenACutTail()
    const none = defineSlice({ name: 'none', version: 1, initial: () => ({}), actions: [], reduce: () => {} })
    const other = combineSlices([...conversationSlices, none])
    expect(other.stateKey).not.toBe(engine.reducer.stateKey)
    expect(await verifyReplay(cut, key, other, sha256)).toMatchObject({ verdict: 'log_changed', chain: { ok: false } })
  })

  test('is found by who holds an older head hash, and by nobody else once no state was kept', async () => {
    const { log, cut, seen } = await givenACutTail()
    const silent = Object.assign(cut, { stateHashes: async () => [] })
    expect(await verifyChain(silent, key, sha256)).toMatchObject({ ok: true, positions: 2 })
    expect(await verifyChain(silent, key, sha256, { seen })).toMatchObject({
      ok: false,
      positions: 2,
      problem: { position: 3, text: 'the log ends at position 2, and position 3 was seen' },
    })
    expect(await verifyChain(log, key, sha256, { seen })).toMatchObject({ ok: true, positions: 3, seen: 3 })
  })
})

describe('verifyChain with what was seen', () => {
  test('says up to where the log is as it was seen, and nothing of it without', async () => {
    const { log, stored } = await given([say('m1'), say('m2'), say('m3')])
    for (const { position, hash } of await stored()) {
      expect(await verifyChain(log, key, sha256, { seen: { position, hash } })).toMatchObject({ ok: true, seen: position })
    }
    expect(await verifyChain(log, key, sha256)).not.toHaveProperty('seen')
  })

  test('finds a history that was written anew, hashes and all', async () => {
    const { log, rewindTo } = openRewindableLog()
    const { stored } = await given([say('m1'), say('m2'), say('m3'), say('m4')], { log })
    const [, , third, fourth] = await stored()
    await rewindTo(2)
    await using other = createEngine({ log })
    await (await other.open('c')).dispatch([say('m3', 'not so'), say('m4')])
    expect(await verifyChain(log, key, sha256)).toMatchObject({ ok: true, positions: 4 })
    for (const seen of [third, fourth] as StoredEnvelope[]) {
      expect(await verifyChain(log, key, sha256, { seen })).toMatchObject({
        ok: false,
        problem: { position: seen.position, text: expect.stringContaining(`and ${toHex(seen.hash)} was seen`) },
      })
    }
  })

  test('takes what is broken first for the problem', async () => {
    const { log, stored } = await given([say('m1'), say('m2'), say('m3')])
    const seen = { position: 2, hash: new Uint8Array(32) }
    const changedAt = (at: number) => tampered(log, (e) => (e.position === at ? { ...e, actor: 'mallory' } : e))
    expect(await verifyChain(changedAt(1), key, sha256, { seen })).toMatchObject({ problem: { position: 1 } })
    expect(await verifyChain(changedAt(3), key, sha256, { seen })).toMatchObject({ problem: { position: 2 } })
    const [, second] = await stored()
    const held = await verifyChain(changedAt(3), key, sha256, { seen: { position: 2, hash: second?.hash as Uint8Array } })
    expect(held).toMatchObject({ ok: false, seen: 2, problem: { position: 3 } })
  })

  test('knows the beginning of a fork, and of a conversation', async () => {
    const { log, engine, stored } = await given([say('m1'), say('m2'), say('m3')])
    const forkKey = { ...key, conversationId: (await engine.fork('c', 2)).id }
    const shared = (await stored())[1] as StoredEnvelope
    const hash = forkHash(shared.hash, 2, forkKey, sha256)
    for (const seen of [{ position: 2, hash }, shared, { position: 0, hash: genesisHash(key, sha256) }]) {
      expect(await verifyChain(log, forkKey, sha256, { seen })).toMatchObject({ ok: true, seen: seen.position })
    }
    expect(await verifyChain(log, key, sha256, { seen: { position: 2, hash } })).toMatchObject({ ok: false })
  })
})

describe('verifyReplay', () => {
  test('of what no state was kept of says that there was nothing to compare', async () => {
    const { log, engine } = await given([say('m1')])
    expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({
      verdict: 'nothing_kept',
      positions: 1,
      compared: 0,
      keptUnderOtherKeys: 0,
      unappliedCount: 0,
      chain: { ok: true },
    })
  })

  test('of actions that it does not know proves nothing, although the chain holds', async () => {
    const noted = defineAction('noted', z.strictObject({ text: z.string() }))
    const notes = defineSlice({
      name: 'notes',
      version: 1,
      initial: () => ({ texts: [] as string[] }),
      actions: [noted],
      reduce: (draft, action) => void draft.texts.push(action.payload.text),
    })
    const log = openMemoryLog()
    const engine = createEngine({ log, slices: [notes], snapshotEvery: 2 })
    await (await engine.open('c')).dispatch([say('m1'), noted({ text: 'a' })])
    await (await engine.open('c')).dispatch([noted({ text: 'b' }), noted({ text: 'c' })])
    await engine.close()
    expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({
      verdict: 'same',
      compared: 2,
      unappliedCount: 0,
    })
    const without = createEngine({ log }).reducer
    const unproved = {
      verdict: 'unproved',
      positions: 4,
      compared: 0,
      keptUnderOtherKeys: 2,
      unappliedCount: 3,
      firstUnapplied: { position: 2, type: 'noted', slice: null },
      chain: { ok: true },
    }
    expect(await verifyReplay(log, key, without, sha256)).toMatchObject(unproved)
    // A state that leaves them out is reached again, and is not that of the conversation.
    const { state } = await createEngine({ log }).replay('c')
    const kept = { position: 4, stateKey: without.stateKey, stateHash: stateHash(state, sha256), body: null }
    await log.saveSnapshot(key, kept)
    expect(await verifyReplay(log, key, without, sha256)).toMatchObject({ ...unproved, compared: 1 })
  })

  test('with slices of other versions has nothing that it can compare', async () => {
    const { log, engine, dispatch } = await given([], { snapshotEvery: 1 })
    await dispatch(say('m1'))
    await engine.close()
    const [first, ...rest] = conversationSlices
    const newer = combineSlices([{ ...first, version: first.version + 1 }, ...rest])
    expect(await verifyReplay(log, key, newer, sha256)).toMatchObject({
      verdict: 'unproved',
      compared: 0,
      keptUnderOtherKeys: 1,
      unappliedCount: 0,
    })
  })

  test('reaches the hash of every position that live dispatch had', async () => {
    const log = openMemoryLog()
    await using engine = createEngine({ log, snapshotEvery: 10 })
    const conversation = await engine.open('c')
    const live: string[] = []
    const dispatch = async (action: Parameters<typeof conversation.dispatch>[0]) => {
      const { state } = await conversation.dispatch(action)
      live.push(toHex(stateHash(state, sha256)))
    }
    for (let i = 1; i <= 30; i++) await dispatch(say(`m${i}`, `text ${i}`, i))
    const summary = {
      message: { v: 1 as const, id: 's1', role: 'user' as const, parts: [{ type: 'compaction' as const, content: 'short' }] },
      tokenCount: 2,
    }
    const messageIds = Array.from({ length: 10 }, (_, i) => `m${i + 1}`)
    await dispatch(
      contextCompacted({
        covered: { messageIds, ranges: [[1, 10]], tokens: 55 },
        summary,
        strategy: 'test',
        trigger: 'manual',
        before: { messages: 30, tokens: 465 },
        after: { messages: 21, tokens: 412 },
      }),
    )
    await dispatch(messageRedacted({ messageId: 'm20' }))
    await dispatch(
      compactionUndone({
        compactionPosition: 31,
        restored: { messageIds, ranges: [[1, 10]], tokens: 55 },
        summaryTokens: 2,
        redactions: [],
      }),
    )
    await engine.close()

    const replayed: string[] = []
    const verdict = await verifyReplay(log, key, engine.reducer, sha256, (_, hash) => replayed.push(toHex(hash)))
    expect(replayed).toEqual(live)
    expect(verdict).toMatchObject({ verdict: 'same', positions: 33, compared: 3 })
    expect(verdict.stateHash).toBe(live.at(-1))
    const { state } = await createEngine({ log }).replay('c')
    expect(toHex(stateHash(state, sha256))).toBe(live.at(-1))
    expect(
      state.messages
        .map((m) => m)
        .toJSON()
        .map((m) => m.id),
    ).toEqual(Array.from({ length: 30 }, (_, i) => `m${i + 1}`))
  })

  test('tells a changed reducer from a changed log, and names the first position', async () => {
    const counter = (step: number) =>
      defineSlice({
        name: 'counter',
        version: 1,
        initial: () => ({ n: 0 }),
        actions: [messageAdded],
        reduce: (draft) => void (draft.n += step),
      })
    const log = openMemoryLog()
    const engine = createEngine({ log, slices: [counter(1)], snapshotEvery: 2 })
    const conversation = await engine.open('c')
    for (let i = 1; i <= 6; i++) await conversation.dispatch(say(`m${i}`))
    await engine.close()
    expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({ verdict: 'same', compared: 3 })
    const changed = combineSlices([...conversationSlices, counter(2)])
    expect(await verifyReplay(log, key, changed, sha256)).toMatchObject({ verdict: 'code_changed', difference: { position: 2 } })
    const edited = tampered(log, (e) =>
      e.position === 5 ? { ...e, body: new TextEncoder().encode(JSON.stringify({ payload: say('x').payload })) } : e,
    )
    expect(await verifyReplay(edited, key, engine.reducer, sha256)).toMatchObject({
      verdict: 'log_changed',
      chain: { problem: { position: 5 } },
      difference: { position: 6 },
    })
    // Both: the log is not what was appended, so nothing can be said of the code; the first state that differs is named all the same.
    expect(await verifyReplay(edited, key, changed, sha256)).toMatchObject({
      verdict: 'log_changed',
      chain: { problem: { position: 5 } },
      difference: { position: 2 },
    })
  })
})
