/** A process may die anywhere around a compaction: who comes after it stands where an undisturbed one would. */
import {
  type Action,
  type ConversationState,
  compactionUndone,
  contextCompacted,
  message,
  messageAdded,
  stateHash,
  toHex,
} from '@colloquy/core'
import { createEngine, openMemoryLog, sha256 } from '@colloquy/engine'
import { expect, test } from 'vitest'
import { naming } from '../support/core-arbitraries.ts'
import { fixedClock, say } from '../support/given.ts'

/** What is dispatched, by the state at that moment. */
type Script = readonly ((state: ConversationState) => Action)[]

const spoken = (id: string, role: 'assistant' | 'tool', part: object): Action =>
  messageAdded({ message: message.parse({ v: 1, id, role, parts: [part] }), tokenCount: 5 })

const call = (id: string) =>
  spoken(id, 'assistant', {
    type: 'tool_call',
    callId: id,
    name: 'search',
    args: { raw: '{}', json: {}, valid: true },
    executor: { kind: 'client' },
  })
const answer = (id: string) =>
  spoken(`${id}-answer`, 'tool', { type: 'tool_result', callId: id, callMessageId: id, status: 'ok', content: [] })

/** The messages that stand first, of which no call is parted from its answer. */
const compactFirst = (count: number) => (state: ConversationState) =>
  contextCompacted({
    covered: naming(state.messages.slice(0, count)),
    summary: { message: say(`summary-of-${count}`).payload.message, tokenCount: 1 },
    strategy: 'oldest',
    trigger: 'manual',
    before: { messages: state.messages.length, tokens: 0 },
    after: { messages: state.messages.length - count + 1, tokens: 0 },
  })

let lastCompaction: { readonly position: number; readonly action: ReturnType<typeof contextCompacted> } | undefined
const script: Script = [
  () => say('m1'),
  () => say('m2'),
  () => say('m3'),
  // Long, so that the state after the compaction is small beside the log, and is worth keeping.
  () => say('m4', 'x'.repeat(50_000)),
  () => call('c1'),
  () => answer('c1'),
  compactFirst(6),
  () => call('c2'),
  () => answer('c2'),
  () => say('m5'),
  compactFirst(4),
  () => {
    const { position, action } = lastCompaction as NonNullable<typeof lastCompaction>
    return compactionUndone({
      compactionPosition: position,
      restored: action.payload.covered,
      summaryTokens: 1,
      redactions: [],
    })
  },
  () => say('m6'),
]

/** Calls without their answer, and answers without their call, among the messages that the model would see. */
function parted(state: ConversationState): string[] {
  const parts = state.messages.slice().flatMap((m) => m.parts)
  const calls = new Set(parts.flatMap((part) => (part.type === 'tool_call' ? part.callId : [])))
  const answers = new Set(parts.flatMap((part) => (part.type === 'tool_result' ? part.callId : [])))
  return [...[...calls].filter((id) => !answers.has(id)), ...[...answers].filter((id) => !calls.has(id))]
}

/** Plays the script; after `crashAt` actions the process is gone, and another one goes on. @returns the state hash after each action */
async function play(crashAt: number, snapshotEvery: number): Promise<string[]> {
  const log = openMemoryLog()
  const clock = fixedClock()
  const start = () => createEngine({ log, clock, snapshotEvery })
  let engine = start()
  const hashes: string[] = []
  lastCompaction = undefined
  for (const [done, next] of script.entries()) {
    if (done === crashAt) engine = start()
    const conversation = await engine.open('c')
    const action = next(conversation.getState())
    const { state, position } = await conversation.dispatch(action)
    if (contextCompacted.match(action)) lastCompaction = { position, action }
    const isBetween = ['c1', 'c2'].some(
      (id) => action.type === 'messageAdded' && JSON.stringify(action.payload).includes(`"id":"${id}"`),
    )
    if (!isBetween) expect(parted(state), `after ${position}`).toEqual([])
    hashes.push(toHex(stateHash(state, sha256)))
  }
  if (snapshotEvery < script.length) {
    const kept = await log.snapshot({ tenant: 'default', conversationId: 'c' }, { stateKey: engine.reducer.stateKey })
    expect(kept?.body, 'a state that the next process begins with').toBeDefined()
  }
  const replayed = await engine.replay('c')
  expect(toHex(stateHash(replayed.state, sha256))).toBe(hashes.at(-1))
  return hashes
}

test('a crash before or after any action around a compaction changes no state, and parts no call from its answer', async () => {
  const undisturbed = await play(-1, 1_000)
  expect(new Set(undisturbed).size).toBe(script.length)
  for (const snapshotEvery of [1, 3, 1_000]) {
    for (let crashAt = 1; crashAt <= script.length; crashAt++) {
      expect(await play(crashAt, snapshotEvery), `crash after ${crashAt}, a snapshot every ${snapshotEvery}`).toEqual(undisturbed)
    }
  }
})
