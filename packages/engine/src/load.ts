import {
  type ConversationKey,
  type EventLog,
  genesisHash,
  type Head,
  type Reducer,
  type Resolver,
  replay,
  resolverOf,
  type Sha256,
  type Snapshot,
  type StoredAction,
  type Unapplied,
} from '@colloquy/core'
import type { Snapshots } from './snapshots.ts'

/** A state out of the log. */
export interface Loaded<State> {
  readonly state: State
  /** What was replayed onto; undefined: the whole log was. */
  readonly snapshot: Snapshot | undefined
  /** Bytes that were read: of the snapshot, and of the bodies since. */
  readonly readBytes: number
  /** What no reducer could apply, as far as `replay` keeps it. */
  readonly unapplied: readonly Unapplied[]
}

/**
 * A conversation as far as the log has it: the youngest usable snapshot, and the envelopes since. Two queries, where those fit into one
 * page of `EventLog.actions`. A conversation that does not exist is empty, at position 0.
 */
export async function load<State>(
  log: EventLog,
  key: ConversationKey,
  ports: { readonly reducer: Reducer<State>; readonly sha256: Sha256; readonly snapshots: Snapshots<State> },
): Promise<Loaded<State> & { readonly head: Head }> {
  const { reducer, sha256, snapshots } = ports
  const latest = await log.latest(key, reducer.stateKey)
  if (latest === undefined) {
    return {
      state: Object.freeze(reducer.initial()),
      head: emptyHead(key, sha256),
      snapshot: undefined,
      readBytes: 0,
      unapplied: [],
    }
  }
  const { head, snapshot } = latest
  // One that was taken of envelopes which a fail-over lost tells of a future that did not come.
  const usable = snapshot && snapshot.position <= head.position ? snapshot : undefined
  return { ...(await replayOnto(log, key, { reducer, snapshots, snapshot: usable, to: head.position })), head }
}

/** The state at a position, from the youngest snapshot at or before it. */
export async function loadAt<State>(
  log: EventLog,
  key: ConversationKey,
  ports: { readonly reducer: Reducer<State>; readonly snapshots: Snapshots<State>; readonly position: number },
): Promise<Loaded<State>> {
  const { reducer, snapshots, position } = ports
  const snapshot = await log.snapshot(key, { stateKey: reducer.stateKey, atOrBefore: position })
  return replayOnto(log, key, { reducer, snapshots, snapshot, to: position })
}

async function replayOnto<State>(
  log: EventLog,
  key: ConversationKey,
  ports: {
    readonly reducer: Reducer<State>
    readonly snapshots: Snapshots<State>
    readonly snapshot: Snapshot | undefined
    readonly to: number
  },
): Promise<Loaded<State>> {
  const { reducer, snapshots, snapshot, to } = ports
  const resolve: Resolver = resolverOf(log, key, reducer)
  const saved = snapshot && snapshots.open(key, snapshot)
  const from = saved && snapshot ? { state: saved, position: snapshot.position, occurredAt: 0 } : undefined
  let readBytes = from ? (snapshot?.body?.length ?? 0) : 0
  async function* counted(): AsyncGenerator<readonly StoredAction[]> {
    for await (const page of log.actions(key, { from: (from?.position ?? 0) + 1, to })) {
      for (const { body } of page) readBytes += body.length
      yield page
    }
  }
  const { state, unapplied } = await replay(reducer, counted(), { resolve, ...(from && { from }) })
  return { state, snapshot: from && snapshot, readBytes, unapplied }
}

export function emptyHead(key: ConversationKey, sha256: Sha256): Head {
  return { position: 0, hash: genesisHash(key, sha256), occurredAt: 0, archived: false }
}
