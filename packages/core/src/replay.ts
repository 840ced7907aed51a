/** Replay: the same reducers over stored envelopes, without guards, middleware or effects. */
import type { PositionRange, StampedAction } from './action.ts'
import { freezeState, ownState, type Reducer, type Unapplied, upcastAction } from './combine-slices.ts'
import { actionOf, type StoredAction } from './envelope.ts'
import type { ConversationKey } from './ids.ts'
import type { EventLog } from './ports/event-log.ts'

/** A state and where in the log it stands. */
export interface Folded<State> {
  readonly state: State
  readonly position: number
  /** Of the last envelope; 0 at the beginning. */
  readonly occurredAt: number
}

/** Where a replay led, and what it had to leave out. */
export interface Replayed<State> extends Folded<State> {
  /** What no reducer could apply: at most `unappliedKept` of them, and how many in all. */
  readonly unapplied: readonly Unapplied[]
  readonly unappliedCount: number
}

const unappliedKept = 100

/** Reads the actions that an action names, as they stand in the log now. */
export type Resolver = (ranges: readonly PositionRange[]) => Promise<readonly StampedAction[]>

/** Where a replay stops: after a position, or after the longest prefix whose `occurredAt` is not later than a time. */
export interface ReplayEnd {
  readonly position?: number | undefined
  /** Microseconds since 1970. */
  readonly occurredAt?: number | undefined
}

/**
 * Folds pages of stored actions, from the beginning or onto `from.state`, which it owns and changes (a frozen one it copies).
 * @throws `log_corrupt` for a body that cannot be read
 */
export async function replay<State>(
  reducer: Reducer<State>,
  pages: AsyncIterable<readonly StoredAction[]> | Iterable<readonly StoredAction[]>,
  options: { readonly resolve: Resolver; readonly from?: Folded<State>; readonly end?: ReplayEnd },
): Promise<Replayed<State>> {
  const fold = startFold(reducer, options.from)
  for await (const page of pages) {
    for (const envelope of page) {
      if (isBeyond(envelope, options.end)) return fold.finish()
      const action = readAction(reducer, envelope, options.resolve)
      // Few actions are resolved; awaiting the others would cost more than applying them.
      fold.apply(action instanceof Promise ? await action : action)
    }
  }
  return fold.finish()
}

function isBeyond(envelope: StoredAction, end: ReplayEnd = {}): boolean {
  return envelope.position > (end.position ?? Infinity) || envelope.occurredAt > (end.occurredAt ?? Infinity)
}

/** A fold in progress over actions: the heart of every replay. */
export function startFold<State>(reducer: Reducer<State>, from?: Folded<State>) {
  const state = ownState(from?.state ?? reducer.initial())
  let position = from?.position ?? 0
  let occurredAt = from?.occurredAt ?? 0
  let unappliedCount = 0
  const unapplied: Unapplied[] = []

  return {
    apply(action: StampedAction): void {
      for (const failure of reducer.applyOwned(state, action)) {
        unappliedCount += 1
        if (unapplied.length < unappliedKept) unapplied.push(failure)
      }
      position = action.position
      occurredAt = action.occurredAt
    },
    /** Freezes the state, once, and gives it away. */
    finish: (): Replayed<State> => ({ state: freezeState(state), position, occurredAt, unapplied, unappliedCount }),
  }
}

/** The stored action as today's reducers see it: upcast, and with what it names in the log. */
export function readAction(reducer: Reducer, envelope: StoredAction, resolve: Resolver): StampedAction | Promise<StampedAction> {
  const action = upcastAction(reducer, actionOf(envelope), envelope.schemaVersion)
  return needsResolving(reducer, action) ? resolveAction(reducer, action, resolve) : action
}

function needsResolving(reducer: Reducer, action: StampedAction): boolean {
  return reducer.definition(action.type)?.resolve !== undefined
}

/**
 * The action with what it names in the log, when its definition asks for that. Positions from its own on are left out: when it was
 * dispatched they did not exist, and on replay they would.
 */
export async function resolveAction(reducer: Reducer, action: StampedAction, resolve: Resolver): Promise<StampedAction> {
  if (action.newerSchemaVersion !== undefined || action.upcastProblem !== undefined) return action
  const ranges = reducer.definition(action.type)?.resolve?.(action.payload)
  if (ranges === undefined) return action
  const before = action.position - 1
  const existing = ranges.filter(([from]) => from <= before).map(([from, to]): PositionRange => [from, Math.min(to, before)])
  return { ...action, resolved: await resolve(existing) }
}

/** Ranges that are no further apart are read as one: so many envelopes in between cost less than another query. */
const nearPositions = 32

/** Resolves from the log itself. */
export function resolverOf(log: Pick<EventLog, 'actions'>, key: ConversationKey, reducer: Reducer): Resolver {
  return async (ranges) => {
    const wanted = ranges.toSorted(([a], [b]) => a - b)
    const at = new Map<number, StampedAction>()
    let next = 0
    for (const [from, to] of withoutGaps(wanted, nearPositions)) {
      for await (const page of log.actions(key, { from, to })) {
        for (const envelope of page) {
          const { position, schemaVersion } = envelope
          while ((wanted[next]?.[1] ?? Infinity) < position) next += 1
          if ((wanted[next]?.[0] ?? Infinity) > position) continue
          at.set(position, upcastAction(reducer, actionOf(envelope), schemaVersion))
        }
      }
    }
    return actionsIn(ranges, at)
  }
}

/** Ranges, ascending, joined where at most `gap` positions are between them. */
function withoutGaps(ascending: readonly PositionRange[], gap: number): PositionRange[] {
  const joined: [number, number][] = []
  for (const [from, to] of ascending) {
    const last = joined.at(-1)
    if (last !== undefined && from - last[1] <= gap + 1) last[1] = Math.max(last[1], to)
    else joined.push([from, to])
  }
  return joined
}

/** Those at the positions, range by range. */
export function actionsIn(ranges: readonly PositionRange[], at: ReadonlyMap<number, StampedAction>): StampedAction[] {
  const found: StampedAction[] = []
  for (const [from, to] of ranges) {
    for (let position = from; position <= to; position++) {
      const action = at.get(position)
      if (action !== undefined) found.push(action)
    }
  }
  return found
}
