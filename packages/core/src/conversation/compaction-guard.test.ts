import { describe, expect, test } from 'vitest'
import { naming } from '../../../../test/support/core-arbitraries.ts'
import { type Given, given } from '../../../../test/support/core-log.ts'
import { contextCompacted } from './compaction.ts'
import { type Message, type Part, textMessage } from './message.ts'
import { messageAdded, messagePinned, messageRedacted, messageUnpinned } from './messages.ts'
import { type ToolResultPart, toolRequested, toolSucceeded } from './tools.ts'

const add = (id: string, role: Message['role'], ...parts: Part[]) =>
  messageAdded({ message: { v: 1, id, role, parts }, tokenCount: 10 })
const say = (id: string, role: Message['role'] = 'user') => messageAdded({ message: textMessage(id, role, id), tokenCount: 10 })

const call = (callId: string, batchId?: string): Part => ({
  type: 'tool_call',
  callId,
  name: 'search',
  args: { raw: '{}', json: {}, valid: true },
  executor: { kind: 'client' },
  ...(batchId !== undefined && { batchId }),
})
const result = (callId: string, callMessageId?: string): Part => ({
  type: 'tool_result',
  callId,
  ...(callMessageId !== undefined && { callMessageId }),
  status: 'ok',
  content: [],
})
const approval = (callId: string): Part => ({ type: 'approval', approvalId: `approval of ${callId}`, callId })

/** Lets the guards judge a compaction of `ids`, planned on `planned`, on what has become of it. */
function guard(ids: readonly string[], planned: Given, now = planned): void {
  const covered = planned.state.messages.slice().filter((m) => ids.includes(m.id))
  const redactedIds = covered.filter((m) => m.redacted).map((m) => m.id)
  now.guard(
    contextCompacted({
      covered: naming(covered),
      redactedIds,
      strategy: 'test',
      trigger: 'manual',
      before: { messages: 0, tokens: 0 },
      after: { messages: 0, tokens: 0 },
    }),
  )
}

const parts = (messageId: string, callId: string) =>
  expect.objectContaining({ code: 'compaction_parts_call', details: { messageId, callId } })
const stale = (missing: number, changed: number, covered: number) =>
  expect.objectContaining({ code: 'compaction_stale', details: { missing, changed, covered } })

describe('a compaction that parts a call is refused', () => {
  const answered = given(say('u1'), add('a1', 'assistant', call('c1')), add('t1', 'tool', result('c1')), say('a2', 'assistant'))
  // The same id again, as real transcripts have it.
  const twice = answered.when(add('a3', 'assistant', call('c1')), add('t3', 'tool', result('c1', 'a3')), say('u4'))
  const wide = given(
    say('u1'),
    add('a1', 'assistant', call('c1'), call('c2')),
    add('t1', 'tool', result('c1')),
    add('t2', 'tool', result('c2')),
    say('u2'),
  )
  const pending = given(say('u1'), add('a1', 'assistant', call('c1')))
  const open = pending.when(toolRequested({ messageId: 'a1', callId: 'c1', name: 'search' }), say('u2'))
  const answeredOnly = pending.when(
    toolRequested({ messageId: 'a1', callId: 'c1', name: 'search' }),
    toolSucceeded({ messageId: 'a1', callId: 'c1', result: result('c1') as ToolResultPart }),
    say('u2'),
  )
  const approved = given(
    add('a1', 'assistant', call('c1')),
    add('u1', 'user', approval('c1')),
    say('u2'),
    add('t1', 'tool', result('c1')),
  )
  const approving = given(add('a1', 'assistant', call('c1')), add('u1', 'user', approval('c1')), say('u2'))
  const denied = given(
    add('a1', 'assistant', call('c1')),
    add('u1', 'user', { type: 'approval', approvalId: 'x', callId: 'c1', decision: 'denied' }),
    say('u2'),
  )
  const nested = given(
    add('a1', 'assistant', call('c1')),
    add('a2', 'assistant', call('c1')),
    add('t1', 'tool', result('c1')),
    add('t2', 'tool', result('c1')),
    say('u1'),
  )
  const items = given(
    add('a1', 'assistant', call('c1', 'b')),
    add('t1', 'tool', result('c1')),
    add('a2', 'assistant', call('c2', 'b')),
    add('t2', 'tool', result('c2')),
    say('u1'),
  )

  test.each<[string, Given, readonly string[], ReturnType<typeof parts>]>([
    ['from its result', answered, ['u1', 'a1'], parts('a1', 'c1')],
    ['that stays while its result leaves', answered, ['t1', 'a2'], parts('a1', 'c1')],
    ['whose id is used again, from its own result', twice, ['a3', 'u4'], parts('a3', 'c1')],
    ['from one of two results', wide, ['a1', 't1'], parts('a1', 'c2')],
    ['that waits for its result, because nobody has spoken on', pending, ['u1', 'a1'], parts('a1', 'c1')],
    ['that is open, although somebody has spoken on', open, ['u1', 'a1', 'u2'], parts('a1', 'c1')],
    ['that has ended, and whose answer is in no message yet', answeredOnly, ['u1', 'a1', 'u2'], parts('a1', 'c1')],
    ['from its approval', approved, ['a1', 't1'], parts('a1', 'c1')],
    ['that was approved and waits for its result, although the user spoke on', approving, ['a1', 'u1'], parts('a1', 'c1')],
    ['whose id is open twice, from the result that comes second', nested, ['a1', 'a2', 't1'], parts('a1', 'c1')],
    ['from its batch', items, ['a1', 't1'], parts('a2', 'c2')],
  ])('%s', (_, past, ids, error) => {
    expect(() => guard(ids, past)).toThrow(error)
  })

  test.each<[string, Given, readonly string[]]>([
    ['call and result leave together', answered, ['u1', 'a1', 't1']],
    ['they stay together', answered, ['u1', 'a2']],
    ['the first of two calls with one id leaves with its result', twice, ['a1', 't1']],
    ['a whole batch leaves', items, ['a1', 't1', 'a2', 't2']],
    ['a call was given up: nobody answered it, and the user went on', pending.when(say('u2')), ['u1', 'a1']],
    ['a call was denied, and the user went on', denied, ['a1', 'u1']],
    ['a result has lost its call already', given(add('t1', 'tool', result('c1')), say('u1')), ['t1']],
  ])('and one where %s is not', (_, past, ids) => {
    expect(() => guard(ids, past)).not.toThrow()
  })

  test('but replayed as it is, when another program made it', () => {
    const covered = answered.state.messages.slice(0, 2)
    const action = contextCompacted({
      covered: naming(covered),
      strategy: 'theirs',
      trigger: 'imported',
      before: { messages: 4, tokens: 40 },
      after: { messages: 2, tokens: 20 },
    })
    expect(() => answered.guard(action)).toThrow(parts('a1', 'c1'))
    expect(
      answered
        .when(action)
        .state.messages.slice()
        .map((m) => m.id),
    ).toEqual(['t1', 'a2'])
  })
})

describe('a compaction is stale when what it covers', () => {
  const three = given(say('m1'), say('m2'), say('m3'))

  test.each<[string, Given, readonly string[], ReturnType<typeof stale>]>([
    ['was redacted', three.when(messageRedacted({ messageId: 'm2' })), ['m1', 'm2'], stale(0, 1, 2)],
    ['was pinned', three.when(messagePinned({ messageId: 'm1' })), ['m1', 'm2'], stale(0, 1, 2)],
  ])('%s since', (_, now, ids, error) => {
    expect(() => guard(ids, three, now)).toThrow(error)
  })

  test('is another message of the same id', () => {
    const other = given(say('x'), say('m1'), say('m2'))
    expect(() => guard(['m1'], three, other)).toThrow(stale(0, 1, 1))
  })

  test('and not when others were redacted, pinned or added', () => {
    const now = three.when(messageRedacted({ messageId: 'm3' }), messagePinned({ messageId: 'm3' }), say('m4'))
    expect(() => guard(['m1', 'm2'], three, now)).not.toThrow()
  })

  test('and not when it was redacted before, and says so', () => {
    const redacted = three.when(messageRedacted({ messageId: 'm1' }))
    expect(() => guard(['m1'], redacted)).not.toThrow()
    expect(() => guard(['m1'], three, redacted)).toThrow(stale(0, 1, 1))
  })
})

describe('a pin', () => {
  const two = given(say('m1'), say('m2'))
  const pinned = two.when(messagePinned({ messageId: 'm1' }))

  test('is on the message, stays through a redaction, and goes', () => {
    expect(pinned.state.messages.at(0)?.pinned).toBe(true)
    expect(pinned.when(messageRedacted({ messageId: 'm1' })).state.messages.at(0)).toMatchObject({ pinned: true, redacted: true })
    expect(pinned.when(messageUnpinned({ messageId: 'm1' })).state.messages.toJSON()).toEqual(two.state.messages.toJSON())
  })

  test('set twice, or taken where there is none, changes nothing', () => {
    expect(pinned.when(messagePinned({ messageId: 'm1' })).state.messages).toBe(pinned.state.messages)
    expect(two.when(messageUnpinned({ messageId: 'm1' })).state.messages).toBe(two.state.messages)
  })

  test.each([messagePinned, messageUnpinned])('of a message that is not there is refused', (action) => {
    expect(() => two.guard(action({ messageId: 'm9' }))).toThrow(expect.objectContaining({ code: 'message_not_found' }))
  })

  test('keeps a compaction away that would cover it', () => {
    expect(() => guard(['m1', 'm2'], pinned)).toThrow(stale(0, 1, 2))
    expect(() => guard(['m2'], pinned)).not.toThrow()
  })
})
