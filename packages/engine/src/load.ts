import {
  type ConversationKey,
  decodeState,
  type EventLog,
  genesisHash,
  type Head,
  type Reducer,
  replay,
  resolverOf,
  type Sha256,
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
  const head = await log.head(key)
  if (head === undefined) return { state: freshState(reducer), head: emptyHead(key, sha256) }
  const { state } = await loadAt(log, key, reducer, { position: head.position })
  return { state, head }
}

/** Replays to a position, from the youngest snapshot at or before it. */
async function loadAt<State>(log: EventLog, key: ConversationKey, reducer: Reducer<State>, end: { readonly position: number }) {
  const snapshot = await log.snapshot(key, { stateKey: reducer.stateKey, atOrBefore: end.position })
  const resolve = resolverOf(log, key, reducer)
  if (!snapshot?.body) return replay(reducer, log.read(key, { to: end.position }), { resolve })
  const from = { state: decodeState(snapshot.body) as State, position: snapshot.position, occurredAt: 0 }
  return replay(reducer, log.read(key, { from: snapshot.position + 1, to: end.position }), { resolve, from })
}

export function emptyHead(key: ConversationKey, sha256: Sha256): Head {
  return { position: 0, hash: genesisHash(key, sha256), occurredAt: 0, archived: false }
}

function freshState<State>(reducer: Reducer<State>): State {
  return Object.freeze(reducer.initial())
}
