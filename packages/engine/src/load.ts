import {
  type ConversationKey,
  decodeState,
  type EventLog,
  genesisHash,
  type Head,
  type Reducer,
  type Replayed,
  replay,
  resolverOf,
  type Sha256,
  type Snapshot,
} from '@colloquy/core'

/** A conversation as far as the log has it. */
export interface Loaded<State> {
  readonly state: State
  readonly head: Head
}

/** The youngest usable snapshot, and the envelopes since. A conversation that does not exist is empty, at position 0. */
export async function load<State>(
  log: EventLog,
  key: ConversationKey,
  reducer: Reducer<State>,
  sha256: Sha256,
): Promise<Loaded<State>> {
  const latest = await log.latest(key, reducer.stateKey)
  if (latest === undefined) return { state: freshState(reducer), head: emptyHead(key, sha256) }
  const { head, snapshot } = latest
  // One that was taken of envelopes which a fail-over lost tells of a future that did not come.
  const usable = snapshot && snapshot.position <= head.position ? snapshot : undefined
  const { state } = await replayFrom(log, key, reducer, usable, head.position)
  return { state, head }
}

/** The state at a position, from the youngest snapshot at or before it. */
export async function loadAt<State>(
  log: EventLog,
  key: ConversationKey,
  reducer: Reducer<State>,
  position: number,
): Promise<State> {
  const snapshot = await log.snapshot(key, { stateKey: reducer.stateKey, atOrBefore: position })
  return (await replayFrom(log, key, reducer, snapshot, position)).state
}

function replayFrom<State>(
  log: EventLog,
  key: ConversationKey,
  reducer: Reducer<State>,
  snapshot: Snapshot | undefined,
  to: number,
): Promise<Replayed<State>> {
  const resolve = resolverOf(log, key, reducer)
  if (!snapshot?.body) return replay(reducer, log.actions(key, { from: 1, to }), { resolve })
  const from = { state: decodeState(snapshot.body) as State, position: snapshot.position, occurredAt: 0 }
  return replay(reducer, log.actions(key, { from: snapshot.position + 1, to }), { resolve, from })
}

export function emptyHead(key: ConversationKey, sha256: Sha256): Head {
  return { position: 0, hash: genesisHash(key, sha256), occurredAt: 0, archived: false }
}

function freshState<State>(reducer: Reducer<State>): State {
  return Object.freeze(reducer.initial())
}
