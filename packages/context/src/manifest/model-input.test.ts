import {
  type ConversationState,
  compactionUndone,
  contextCompacted,
  type EventLog,
  type Message,
  messagePinned,
  messageRedacted,
  modelCalled,
  textMessage,
  toHex,
} from '@colloquy/core'
import { createEngine, openMemoryLog, sha256 } from '@colloquy/engine'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fixedClock, given, say } from '../../../../test/support/given.ts'
import { plainEncoder } from '../../../../test/support/plain-encoder.ts'
import { tampered } from '../../../../test/support/tampered-log.ts'
import { prefixShare } from './describe-request.ts'
import { modelCalls, modelInput } from './model-input.ts'
import type { ModelRequest, RequestEncoder } from './model-request.ts'
import { recordModelCall } from './record-model-call.ts'

const encoders = [plainEncoder]
const tools = [{ name: 'search', description: 'Looks things up', inputSchema: { type: 'object', properties: { z: {}, a: {} } } }]
const config = { model: 'small-1', maxTokens: 100 }
const counter = { id: 'chars', version: '1', count: (text: string) => Math.ceil(text.length / 4) }

const requestOf = (state: ConversationState, more: Partial<ModelRequest> = {}): ModelRequest => ({
  system: 'Be brief.',
  tools,
  config,
  messages: state.messages.slice(),
  ...more,
})

const words = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes)

/** The first `covered` messages of the working set, as one summary. */
function compacted(state: ConversationState, covered: number, summaryId: string) {
  const leaving = state.messages.slice(0, covered)
  const tokens = leaving.reduce((sum, { tokenCount }) => sum + tokenCount, 0)
  const standsAt = leaving[0]?.standsAt
  return contextCompacted({
    covered: {
      messageIds: leaving.map(({ id }) => id),
      ranges: leaving.map(({ position }): [number, number] => [position, position]),
      tokens,
    },
    redactedIds: leaving.filter(({ redacted }) => redacted).map(({ id }) => id),
    summary: { message: textMessage(summaryId, 'user', `summary of ${covered}`), tokenCount: 2 },
    ...(standsAt !== undefined && { standsAt }),
    strategy: 'test',
    trigger: 'manual',
    before: { messages: state.messages.length, tokens: state.context.usedTokens },
    after: { messages: state.messages.length - covered + 1, tokens: state.context.usedTokens - tokens + 2 },
  })
}

/** Undoes the compaction at `position`, whose summary is in the working set. */
function undone(position: number, payload: ReturnType<typeof contextCompacted>['payload'], redactions: [number, number][]) {
  return compactionUndone({ compactionPosition: position, restored: payload.covered, summaryTokens: 2, redactions })
}

describe('modelInput', () => {
  test('pinning a message changes nothing of what is sent', async () => {
    const { engine, conversation, dispatch } = await given([say('m1', 'Hello', 3)])
    const call = () => ({ request: requestOf(conversation.getState()), encoder: plainEncoder })
    const before = await recordModelCall(engine, conversation, { ...call(), callId: 'a' })
    await dispatch(messagePinned({ messageId: 'm1' }))
    const after = await recordModelCall(engine, conversation, { ...call(), callId: 'b' })
    expect(after.manifest.content).toEqual(before.manifest.content)
    expect(await modelInput(engine, 'c', 'b', { encoders })).toMatchObject({ verdict: 'proved' })
  })

  test('makes the exact bytes of a call again, and proves them', async () => {
    const { engine, conversation, dispatch } = await given([say('m1', 'Hello \ud800 ☂️', 3)])
    const first = await recordModelCall(engine, conversation, {
      request: requestOf(conversation.getState()),
      encoder: plainEncoder,
      callId: 'a',
    })
    await dispatch([say('m2', 'Hi.', 1, 'assistant'), say('m3', 'And?', 1)])
    const second = await recordModelCall(engine, conversation, {
      request: requestOf(conversation.getState()),
      encoder: plainEncoder,
      callId: 'b',
    })

    const seen = await modelInput(engine, 'c', 'a', { encoders })
    expect(seen).toMatchObject({ verdict: 'proved', problems: [], system: 'Be brief.', tools, config, redactedSince: [] })
    expect(seen.bytes).toEqual(first.bytes)
    expect(seen.manifest.request).toEqual({ hash: toHex(sha256(first.bytes)), bytes: first.bytes.length })
    expect(words(first.bytes)).toBe(JSON.stringify(first.body))
    // By position: the last call at or before it.
    expect((await modelInput(engine, 'c', 4, { encoders })).manifest.callId).toBe('a')
    expect((await modelInput(engine, 'c', 5, { encoders })).bytes).toEqual(second.bytes)
  })

  test('a compaction, its undoing, a redaction and a fork stand as they stood at each call', async () => {
    const { engine, conversation, dispatch } = await given(Array.from({ length: 6 }, (_, i) => say(`m${i}`, `word ${i}`, 2)))
    const sent = new Map<string, Uint8Array>()
    const call = async (callId: string, on = conversation) => {
      const request = requestOf(on.getState())
      sent.set(callId, (await recordModelCall(engine, on, { request, encoder: plainEncoder, callId })).bytes)
    }
    await call('whole')
    const compaction = compacted(conversation.getState(), 4, 's')
    const { position } = await dispatch(compaction)
    await call('compacted')
    const redaction = await dispatch(messageRedacted({ messageId: 'm5' }))
    await call('redacted')
    const fork = await engine.fork('c', redaction.position)
    await fork.dispatch(say('in the fork'))
    await call('fork', fork)
    await dispatch(undone(position, compaction.payload, []))
    await call('undone')

    for (const callId of ['whole', 'compacted', 'redacted', 'undone']) {
      const seen = await modelInput(engine, 'c', callId, { encoders })
      expect(seen.verdict, callId).toBe('proved')
      expect(seen.bytes, callId).toEqual(sent.get(callId))
    }
    expect(words(sent.get('compacted') ?? null)).toContain('summary of 4')
    const inFork = await modelInput(engine, fork.id, 'fork', { encoders })
    expect(inFork).toMatchObject({ verdict: 'proved', bytes: sent.get('fork') })
    // What the fork shares is proved in it too.
    expect((await modelInput(engine, fork.id, 'compacted', { encoders })).bytes).toEqual(sent.get('compacted'))
    // Redacted later: the bytes are still those, and what must not be shown further is named.
    const whole = await modelInput(engine, 'c', 'whole', { encoders })
    expect(whole.redactedSince).toEqual([{ messageId: 'm5', position: redaction.position }])
    expect((await modelInput(engine, 'c', 'redacted', { encoders })).redactedSince).toEqual([])
  })

  test('what a request has beside the working set is kept, also a message that was cut for it, and files', async () => {
    const { engine, conversation, log } = await given([say('m1', 'a long tool result', 5)])
    const key = { tenant: 'default', conversationId: 'c' }
    const file = { bytes: Uint8Array.of(1, 2, 3), mediaType: 'image/png', hash: toHex(sha256(Uint8Array.of(1, 2, 3))) }
    await log.putMedia(key, [file])
    const recalled = textMessage('recalled', 'system', 'You spoke of this before.')
    const cut = { ...(conversation.getState().messages.at(0) as Message), parts: [{ type: 'text' as const, text: 'a long' }] }
    const image: Message = {
      v: 1,
      id: 'i',
      role: 'user',
      parts: [{ type: 'media', kind: 'image', mediaType: 'image/png', source: { kind: 'hash', hash: file.hash, bytes: 3 } }],
    }
    const request = requestOf(conversation.getState(), { messages: [recalled, cut, image], system: null })
    const { bytes, manifest } = await recordModelCall(engine, conversation, { request, encoder: plainEncoder })
    expect(manifest.messages.slice()).toMatchObject([
      { position: null, kept: true },
      { position: 1, kept: true },
      { position: null, kept: true },
    ])
    const seen = await modelInput(engine, 'c', 2, { encoders })
    expect(seen).toMatchObject({ verdict: 'proved', system: null })
    expect(seen.bytes).toEqual(bytes)
    expect(words(seen.bytes)).toContain('"file":"AQID"')
    expect(seen.messages[1]).toEqual({ v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text: 'a long' }] })
  })

  test('a message that left the working set and is shown all the same is kept with the call', async () => {
    const { engine, conversation, dispatch } = await given([say('m1', 'gone soon'), say('m2')])
    const before = requestOf(conversation.getState())
    await recordModelCall(engine, conversation, { request: before, encoder: plainEncoder, callId: 'a' })
    await dispatch(compacted(conversation.getState(), 1, 's'))
    const { bytes, manifest } = await recordModelCall(engine, conversation, {
      request: before,
      encoder: plainEncoder,
      callId: 'b',
    })
    expect(manifest.messages.at(0)).toMatchObject({ kept: true })
    expect(await modelInput(engine, 'c', 'b', { encoders })).toMatchObject({ verdict: 'proved', bytes })
    // By a position behind it, when the working set is another one already.
    const { position } = await dispatch(compacted(conversation.getState(), 2, 's2'))
    expect(await modelInput(engine, 'c', position, { encoders })).toMatchObject({ verdict: 'proved', bytes })
  })

  test('another process that replays the log makes the same bytes', async () => {
    const { log, engine, conversation } = await given([say('m1'), say('m2')])
    const { bytes } = await recordModelCall(engine, conversation, {
      request: requestOf(conversation.getState()),
      encoder: plainEncoder,
    })
    await engine.close()
    await using other = createEngine({ log })
    expect((await modelInput(other, 'c', 3, { encoders })).bytes).toEqual(bytes)
  })

  test('no call of that name, none yet, or no such conversation is said', async () => {
    const { engine } = await given([say('m1')])
    await expect(modelInput(engine, 'c', 'a', { encoders })).rejects.toMatchObject({
      code: 'model_call_not_found',
      details: { call: 'a' },
    })
    await expect(modelInput(engine, 'c', 1, { encoders })).rejects.toMatchObject({
      code: 'model_call_not_found',
      details: { call: 1 },
    })
    await expect(modelInput(engine, 'nobody', 'a', { encoders })).rejects.toMatchObject({ code: 'conversation_not_found' })
    await expect(modelInput(engine, 'c', 9, { encoders })).rejects.toMatchObject({ code: 'position_not_found' })
  })
})

describe('what is not as it was', () => {
  async function recorded() {
    const made = await given([say('m1', 'the first'), say('m2', 'the second')])
    await recordModelCall(made.engine, made.conversation, {
      request: requestOf(made.conversation.getState()),
      encoder: plainEncoder,
      callId: 'a',
    })
    return made
  }
  const look = async (log: EventLog) => {
    await using engine = createEngine({ log, clock: fixedClock() })
    return await modelInput(engine, 'c', 'a', { encoders })
  }
  /** Position 2 of the log with other bytes in it. */
  function withBody(log: EventLog, change: (text: string) => string, erased = false): EventLog {
    const edit = <Row extends { position: number; body: Uint8Array | string }>(row: Row): Row => {
      if (row.position !== 2) return row
      const isText = typeof row.body === 'string'
      const text = change(isText ? (row.body as string) : new TextDecoder().decode(row.body as Uint8Array))
      return { ...row, body: isText ? text : new TextEncoder().encode(text), ...(erased && { salt: null }) }
    }
    return tampered(log, (own) => ({
      async *read(key, range) {
        for await (const page of own.read(key, range)) yield page.map(edit)
      },
      async *actions(key, range) {
        for await (const page of own.actions(key, range)) yield page.map(edit)
      },
    }))
  }

  test('a body that was changed in the log is found, and its position named', async () => {
    const { log } = await recorded()
    const seen = await look(withBody(log, (text) => text.replace('the second', 'the 2nd...')))
    expect(seen).toMatchObject({ verdict: 'log_changed', bytes: null })
    expect(seen.problems).toContainEqual(expect.objectContaining({ what: 'log', position: 2, reason: 'changed' }))
    expect(seen.problems).toContainEqual(expect.objectContaining({ what: 'messages[1]', position: 2 }))
    expect(seen.messages.map((message) => message?.id ?? null)).toEqual(['m1', null])
  })

  test('a body that was erased is named, and the rest is still shown', async () => {
    const { log } = await recorded()
    const seen = await look(withBody(log, (text) => text.replace('the second', ''), true))
    expect(seen).toMatchObject({ verdict: 'erased', bytes: null, system: 'Be brief.' })
    expect(seen.problems).toEqual([{ what: 'messages[1]', position: 2, reason: 'erased', text: 'its content was erased' }])
    expect(seen.messages[0]).toMatchObject({ id: 'm1' })
  })

  test('a copy of what was erased is not shown either', async () => {
    const { engine, conversation, log } = await recorded()
    const cut = { ...(conversation.getState().messages.at(1) as Message), parts: [{ type: 'text' as const, text: 'the sec' }] }
    const request = requestOf(conversation.getState(), { messages: [cut] })
    await recordModelCall(engine, conversation, { request, encoder: plainEncoder, callId: 'b' })
    await using later = createEngine({ log: withBody(log, (text) => text.replace('the second', ''), true) })
    const seen = await modelInput(later, 'c', 'b', { encoders })
    expect(seen).toMatchObject({ verdict: 'erased', messages: [null], bytes: null })
  })

  test.each([
    ['changed', 'log_changed', (): Uint8Array | undefined => new TextEncoder().encode('"Be rude."')],
    ['missing', 'erased', (): Uint8Array | undefined => undefined],
  ] as const)('a system prompt that is %s', async (reason, verdict, bytesOf) => {
    const { log, conversation } = await recorded()
    const hash = conversation.getState().manifest.last?.system
    const changed = tampered(log, (own) => ({
      media: async (key, asked): ReturnType<EventLog['media']> => {
        const media = await own.media(key, asked)
        const bytes = asked === hash ? bytesOf() : media?.bytes
        return media && bytes && { ...media, bytes }
      },
    }))
    const seen = await look(changed)
    expect(seen).toMatchObject({ verdict, bytes: null, system: null })
    expect(seen.problems).toMatchObject([{ what: 'system', reason }])
  })

  test('an encoder may hand on messages as they are', async () => {
    const { engine, conversation } = await given([say('m1')])
    const encoder: RequestEncoder = {
      id: 'bare@1',
      encode: ({ messages }) => ({ messages, turns: messages.map(({ role, parts, meta }) => ({ role, parts, meta })) }),
    }
    const { body, bytes } = await recordModelCall(engine, conversation, { request: requestOf(conversation.getState()), encoder })
    expect(JSON.stringify(body)).toBe(new TextDecoder().decode(bytes))
    expect(await modelInput(engine, 'c', 2, { encoders: [encoder] })).toMatchObject({ verdict: 'proved', bytes })
  })

  test('an encoder that writes something else now is told from a log that was changed, and so is one that is not there', async () => {
    const { engine } = await recorded()
    const changed = { ...plainEncoder, encode: (request: ModelRequest) => ({ ...plainEncoder.encode(request), more: 1 }) }
    const seen = await modelInput(engine, 'c', 'a', { encoders: [changed] })
    expect(seen).toMatchObject({ verdict: 'code_changed', bytes: null, problems: [{ what: 'request', reason: 'differs' }] })
    const without = await modelInput(engine, 'c', 'a', { encoders: [] })
    expect(without).toMatchObject({ verdict: 'encoder_unknown', bytes: null, problems: [] })
    expect(without.messages).toHaveLength(2)
  })
})

describe('recordModelCall', () => {
  test('stores what differs: as much for a long conversation as for a short one', async () => {
    const sizes = []
    for (const length of [20, 2_000]) {
      const { engine, conversation, dispatch, stored } = await given(Array.from({ length }, (_, i) => say(`m${i}`)))
      for (const callId of ['a', 'b', 'c']) {
        await recordModelCall(engine, conversation, {
          request: requestOf(conversation.getState()),
          encoder: plainEncoder,
          callId,
        })
        await dispatch(say(`${callId}1`, 'more', 1, 'assistant'))
      }
      // A compaction in the middle of it costs its summary.
      await dispatch(compacted(conversation.getState(), 10, 's'))
      await recordModelCall(engine, conversation, {
        request: requestOf(conversation.getState()),
        encoder: plainEncoder,
        callId: 'd',
      })
      const calls = (await stored()).filter(({ type }) => type === modelCalled.type)
      sizes.push(calls.slice(1).map(({ body }) => body.length))
      expect((calls.at(-1)?.action.payload as ReturnType<typeof modelCalled>['payload'] | undefined)?.messages).toEqual([
        { hash: expect.any(String), position: expect.any(Number) },
        { keepFrom: 10, keepCount: length - 10 + 2 },
        { hash: expect.any(String), position: expect.any(Number) },
      ])
    }
    // Numbers have more digits, and nothing else is longer.
    for (const [i, bytes] of (sizes[1] ?? []).entries()) expect(bytes - (sizes[0]?.[i] ?? 0)).toBeLessThan(40)
  })

  test('reports how much of the beginning is as it was in the call before', async () => {
    const { engine, conversation, dispatch, log } = await given([say('m1', 'x'.repeat(400), 100)])
    const call = async (callId: string, more: Partial<ModelRequest> = {}, model = { provider: 'p', id: 'small-1' }) => {
      const request = requestOf(conversation.getState(), more)
      return (await recordModelCall(engine, conversation, { request, encoder: plainEncoder, callId, counter, model })).manifest
    }
    const first = await call('a')
    expect(first.unchanged).toEqual({ messages: 0, bytes: 0, tokens: 0 })
    await dispatch(say('m2', 'y', 1, 'assistant'))
    const second = await call('b')
    expect(second.unchanged).toEqual({ messages: 1, bytes: first.content.bytes, tokens: first.content.tokens })
    expect(prefixShare(second)).toBeGreaterThan(0.8)
    // Warmer, and the same prompt: providers keep their cache.
    expect((await call('c', { config: { ...config, temperature: 1 } })).unchanged.messages).toBe(2)
    // Another system prompt: the tools before it stay.
    expect((await call('d', { system: 'Be long.' })).unchanged).toMatchObject({
      messages: 0,
      bytes: JSON.stringify(tools[0]).length,
    })
    expect((await call('e', {}, { provider: 'p', id: 'large-1' })).unchanged.bytes).toBe(0)
    const listed = []
    for await (const page of modelCalls(log, { tenant: 'default', conversationId: 'c' })) listed.push(...page)
    expect(listed.map(({ callId, unchanged }) => [callId, unchanged.messages])).toEqual([
      ['a', 0],
      ['b', 1],
      ['c', 2],
      ['d', 0],
      ['e', 0],
    ])
  })

  test('calls recorded at the same time stand one behind the other', async () => {
    const { engine, conversation, stored } = await given([say('m1')])
    const request = requestOf(conversation.getState())
    await Promise.all(
      ['a', 'b', 'c', 'd'].map((callId) => recordModelCall(engine, conversation, { request, encoder: plainEncoder, callId })),
    )
    const calls = (await stored()).filter(({ type }) => type === modelCalled.type)
    expect(calls).toHaveLength(4)
    for (const callId of ['a', 'b', 'c', 'd'])
      expect((await modelInput(engine, 'c', callId, { encoders })).verdict).toBe('proved')
    // Each but the first differs from the one before.
    expect(calls.slice(1).map(({ position, action }) => position - (action.payload as { base: number }).base)).toEqual([1, 1, 1])
  })

  test('repeated, the last call is recorded once; under its id another request is refused', async () => {
    const { engine, conversation, stored } = await given([say('m1')])
    const request = requestOf(conversation.getState())
    const once = await recordModelCall(engine, conversation, { request, encoder: plainEncoder, callId: 'a' })
    const again = await recordModelCall(engine, conversation, { request, encoder: plainEncoder, callId: 'a' })
    expect(again).toEqual(once)
    expect(await stored()).toHaveLength(2)
    const other = { ...request, system: 'Other' }
    await expect(
      recordModelCall(engine, conversation, { request: other, encoder: plainEncoder, callId: 'a' }),
    ).rejects.toMatchObject({
      code: 'command_id_reused',
      details: { commandId: 'a', position: 2 },
    })
  })

  test('a manifest that differs from another one than the last is refused, and names what it was made of', async () => {
    const { engine, conversation, dispatch, stored } = await given([say('m1'), say('m2')])
    await recordModelCall(engine, conversation, {
      request: requestOf(conversation.getState()),
      encoder: plainEncoder,
      callId: 'a',
    })
    await dispatch(say('m3'))
    await recordModelCall(engine, conversation, {
      request: requestOf(conversation.getState()),
      encoder: plainEncoder,
      callId: 'b',
    })
    const [first, second] = (await stored()).filter(({ type }) => type === modelCalled.type)
    expect(first?.action.derivedFrom).toEqual([[1, 2]])
    expect(second?.action.derivedFrom).toEqual([[3, 4]])
    const payload = second?.action.payload as ReturnType<typeof modelCalled>['payload']
    await expect(dispatch(modelCalled(payload))).rejects.toMatchObject({
      code: 'manifest_stale',
      details: { basePosition: 3, lastPosition: 5 },
    })
    const beyond = modelCalled({ ...payload, base: 5, messages: [{ keepFrom: 2, keepCount: 2 }] })
    await expect(dispatch(beyond)).rejects.toMatchObject({ code: 'action_invalid', details: { path: '$.payload.messages[0]' } })
  })
})

type Step = 'say' | 'call' | 'compact' | 'undo' | 'redact' | 'fork' | 'odd call'

test('property: every call of any conversation is made again byte for byte, whatever happened before and after it', async () => {
  const step = fc.tuple(
    fc.constantFrom<Step>('say', 'say', 'call', 'call', 'compact', 'undo', 'redact', 'fork', 'odd call'),
    fc.nat({ max: 9 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 30 }), async (steps) => {
      const log = openMemoryLog()
      await using engine = createEngine({ log, clock: fixedClock(), snapshotEvery: 3 })
      let conversation = await engine.open('c')
      const sent: { id: string; callId: string; bytes: Uint8Array }[] = []
      const compactions: { position: number; payload: ReturnType<typeof contextCompacted>['payload'] }[] = []
      const redactions: [number, number][] = []
      for (const [index, [kind, n]] of steps.entries()) {
        const state = conversation.getState()
        const length = state.messages.length
        const target = state.messages.at(n % Math.max(1, length))
        if (kind === 'say' || conversation.position === 0) await conversation.dispatch(say(`m${index}`, `words ${n}`, 1))
        else if (kind === 'call' || kind === 'odd call') {
          const extra = textMessage(`extra${n}`, 'system', `recalled ${n}`)
          const messages = kind === 'call' ? state.messages.slice() : [extra, ...state.messages.slice(n).toReversed()]
          const request = requestOf(state, { messages, ...(n % 3 === 0 && { system: null, tools: [] }) })
          const callId = `call${index}`
          const { bytes } = await recordModelCall(engine, conversation, { request, encoder: plainEncoder, callId })
          sent.push({ id: conversation.id, callId, bytes })
        } else if (kind === 'compact' && length > 0) {
          const action = compacted(state, 1 + (n % length), `s${index}`)
          const { position } = await conversation.dispatch(action)
          compactions.push({ position, payload: action.payload })
        } else if (kind === 'undo') {
          const last = compactions.findLast(({ position }) =>
            state.messages.find((m) => m.position === position && m.standsAt !== undefined),
          )
          if (last) await conversation.dispatch(undone(last.position, last.payload, redactions))
        } else if (kind === 'redact' && target) {
          const { position } = await conversation.dispatch(messageRedacted({ messageId: target.id }))
          redactions.push([position, position])
        } else if (kind === 'fork') conversation = await engine.fork(conversation.id, conversation.position)
      }
      for (const { id, callId, bytes } of sent) {
        const seen = await modelInput(engine, id, callId, { encoders })
        expect(seen.problems).toEqual([])
        expect(seen.verdict).toBe('proved')
        expect(seen.bytes).toEqual(bytes)
      }
    }),
    { numRuns: 60 },
  )
})
