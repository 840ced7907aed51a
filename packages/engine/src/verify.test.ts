import {
  ColloquyError,
  combineSlices,
  compactionUndone,
  contextCompacted,
  conversationSlices,
  defineSlice,
  type EventLog,
  messageAdded,
  messageRedacted,
  type StoredEnvelope,
  stateHash,
  toHex,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { given, say } from '../../../test/support/given.ts'
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

describe('verifyReplay', () => {
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
