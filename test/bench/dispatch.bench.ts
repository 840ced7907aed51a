/** What a dispatch costs as a conversation grows, and what a replay costs next to reducing action by action. */
import {
  type ConversationState,
  conversationReducer,
  type Draft,
  messageAdded,
  reduceConversation,
  type StampedAction,
  startFold,
} from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { produce } from 'immer'
import { medianRatio, type Report, row } from './report.ts'

const sizes = [100, 1_000, 10_000, 100_000]
const rounds = 7
const dispatchesARound = 500
const replayed = 100_000

/** About 400 bytes of JSON, as a chat message has. */
const text = 'The tests failed on the first of the month because the fixture counted days in local time. '.repeat(4)

const action = (id: string) =>
  messageAdded({ message: { v: 1, id, role: 'user', parts: [{ type: 'text', text }] }, tokenCount: 90, tokenCounter: 'bench@1' })

export async function run(say: (text: string) => void): Promise<Report> {
  const dispatch = await measureDispatch(say)
  const replay = measureReplay(say)
  const growth = medianRatio(dispatch.get(100_000) ?? [], dispatch.get(100) ?? [])
  const speed = medianRatio(replay.produce, replay.replay)
  return {
    bench: 'dispatch',
    node: process.versions.node,
    rows: [
      ...sizes.map((n) => row('dispatch messageAdded, memory log', n, 'us an action', dispatch.get(n) ?? [])),
      row('replay, frozen once', replayed, 'ms', replay.replay),
      row('one produce an action over the vector', replayed, 'ms', replay.produce),
      row('reduceConversation, action by action', replayed, 'ms', replay.reduce),
      row('JSON.parse of the same payloads', replayed, 'ms', replay.parse),
    ],
    checks: [
      {
        promise: 'a dispatch at 100,000 messages costs what it costs at 100',
        measured: growth,
        limit: 'at most 2 times',
        holds: growth <= 2,
      },
      { promise: 'replay is faster than one produce an action', measured: speed, limit: 'at least 5 times', holds: speed >= 5 },
    ],
  }
}

async function measureDispatch(say: (text: string) => void): Promise<Map<number, number[]>> {
  const samples = new Map<number, number[]>(sizes.map((n) => [n, []]))
  await using log = openMemoryLog()
  await using engine = createEngine({ log })
  const conversations = new Map<number, Awaited<ReturnType<typeof engine.open>>>()
  for (const n of sizes) {
    say(`filling a conversation with ${n} messages`)
    const conversation = await engine.open(`grown-${n}`)
    for (let i = 0; i < n; i += 1_000) {
      await conversation.dispatch(Array.from({ length: Math.min(1_000, n - i) }, (_, j) => action(`m${i + j}`)))
    }
    conversations.set(n, conversation)
  }
  for (let round = 0; round < rounds; round++) {
    // Another order each round, so that no size always runs first or after the largest.
    for (const n of [...sizes.slice(round % sizes.length), ...sizes.slice(0, round % sizes.length)]) {
      const conversation = conversations.get(n)
      const actions = Array.from({ length: dispatchesARound }, (_, i) => action(`r${round}-${i}`))
      const start = performance.now()
      for (const one of actions) await conversation?.dispatch(one)
      samples.get(n)?.push(((performance.now() - start) * 1_000) / dispatchesARound)
    }
  }
  return samples
}

function measureReplay(say: (text: string) => void) {
  say(`replaying ${replayed} actions`)
  const bodies = Array.from({ length: replayed }, (_, i) => JSON.stringify(action(`m${i}`).payload))
  const samples = { replay: [] as number[], produce: [] as number[], reduce: [] as number[], parse: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    // Parsed anew, since a replay owns and freezes what it is given.
    const parsed = () =>
      bodies.map(
        (body, i): StampedAction => ({
          type: messageAdded.type,
          payload: JSON.parse(body),
          position: i + 1,
          occurredAt: i,
          actor: null,
        }),
      )
    const time = (into: number[], work: () => void) => {
      globalThis.gc?.()
      const start = performance.now()
      work()
      into.push(performance.now() - start)
    }
    const forReplay = parsed()
    time(samples.replay, () => {
      const fold = startFold(conversationReducer)
      for (const one of forReplay) fold.apply(one)
      fold.finish()
    })
    const forProduce = parsed()
    time(samples.produce, () => {
      let state: ConversationState = conversationReducer.initial()
      for (const one of forProduce) state = produce(state, (draft) => addMessage(draft as Draft<ConversationState>, one))
    })
    const forReduce = parsed()
    time(samples.reduce, () => {
      let state: ConversationState = conversationReducer.initial()
      for (const one of forReduce) state = reduceConversation(state, one)
    })
    time(samples.parse, () => {
      for (const body of bodies) JSON.parse(body)
    })
  }
  return samples
}

/** What the recipes do with a message, as one recipe over the whole state: how immer is used everywhere. */
function addMessage(draft: Draft<ConversationState>, { payload, position }: StampedAction): void {
  const { message, tokenCount } = payload as ReturnType<typeof messageAdded>['payload']
  draft.messages = draft.messages.append({ ...message, position, tokenCount })
  draft.context.usedTokens += tokenCount
  draft.budget.used.messageTokens += tokenCount
}
