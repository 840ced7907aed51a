/** Logs made by hand: stamped with fixed times, salts and ids, so that the same actions are the same bytes in every run. */
import { createHash } from 'node:crypto'
import {
  type Action,
  type ConversationKey,
  type ConversationState,
  canonicalInput,
  conversationReducer,
  encodeBody,
  genesisHash,
  type PositionRange,
  type Reducer,
  type Resolver,
  type Sha256,
  type StampedAction,
  type StoredEnvelope,
  stamp,
} from '@colloquy/core'

export const sha256: Sha256 = (...parts) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}

export const testKey: ConversationKey = { tenant: 'default', conversationId: 'c1' }

/** 2026-01-01T00:00:00Z, and one second for each position. */
export const timeAt = (position: number): number => 1_767_225_600_000_000 + position * 1_000_000

export const saltAt = (position: number): Uint8Array => sha256(new TextEncoder().encode(`salt ${position}`)).subarray(0, 16)

/** The action as the dispatch of a log's `position` would stamp it. */
export function stampedAt(position: number, action: Action): StampedAction {
  return { ...action, position, occurredAt: timeAt(position), actor: 'tester' }
}

/** The actions at positions 1, 2, 3 ... of one conversation, chained. */
export function envelopesOf(
  actions: readonly Action[],
  options: { readonly key?: ConversationKey; readonly reducer?: Pick<Reducer, 'definition'> } = {},
): StoredEnvelope[] {
  const { key = testKey, reducer = conversationReducer } = options
  let previousHash = genesisHash(key, sha256)
  return actions.map((action, index) => {
    const position = index + 1
    const header = {
      ...key,
      position,
      type: action.type,
      schemaVersion: reducer.definition(action.type)?.schemaVersion ?? 1,
      occurredAt: timeAt(position),
      commandId: `command ${position}`,
      commandIndex: 0,
      actor: 'tester',
      cause: null,
      keyId: null,
    }
    const chain = { previousHash, salt: saltAt(position), input: canonicalInput([action]) }
    const envelope = stamp(header, encodeBody(action, Number.MAX_SAFE_INTEGER), chain, sha256)
    previousHash = envelope.hash
    return { ...envelope, feedPosition: position, recordedAt: timeAt(position) }
  })
}

export function pagesOf<T>(items: readonly T[], size = 3): T[][] {
  const pages: T[][] = []
  for (let i = 0; i < items.length; i += size) pages.push(items.slice(i, i + size))
  return pages
}

/** Stamped actions by position, as `resolve` finds them. */
export function actionsIn(log: readonly StampedAction[], ranges: readonly PositionRange[]): StampedAction[] {
  return ranges.flatMap(([from, to]) => log.filter(({ position }) => position >= from && position <= to))
}

/** What `resolverOf` is over a log, over an array. */
export const readFrom = (envelopes: readonly StoredEnvelope[]) => ({
  async *actions(_key: ConversationKey, { from, to }: { readonly from: number; readonly to: number }) {
    yield* pagesOf(envelopes.filter(({ position }) => position >= from && position <= to))
  },
})

export const resolveNothing: Resolver = async () => []

/** A conversation in which `actions` happened one by one, each through the reducer, nothing guarded. */
export function given(...actions: readonly Action[]): Given {
  return new Given(conversationReducer.initial(), []).when(...actions)
}

export class Given {
  readonly state: ConversationState
  readonly log: readonly StampedAction[]

  constructor(state: ConversationState, log: readonly StampedAction[]) {
    this.state = state
    this.log = log
  }

  /** The action as it would come next, with what it names in the log. */
  next(action: Action): StampedAction {
    const stamped = stampedAt(this.log.length + 1, action)
    const ranges = conversationReducer.definition(action.type)?.resolve?.(action.payload)
    return ranges === undefined ? stamped : { ...stamped, resolved: actionsIn(this.log, ranges) }
  }

  when(...actions: readonly Action[]): Given {
    return actions.reduce<Given>((past, action) => {
      const stamped = past.next(action)
      return new Given(conversationReducer.reduce(past.state, stamped), [...past.log, stamped])
    }, this)
  }

  /** Lets the guards judge `action`. @throws what they throw */
  guard(action: Action): void {
    conversationReducer.guard(this.state, this.next(action))
  }
}
