/** The log in memory: the reference implementation. What the durable logs do is what this does, and one contract suite says so. */
import {
  type AppendOutcome,
  type AppendRequest,
  type Clock,
  type ConversationKey,
  type Envelope,
  type EventLog,
  genesisHash,
  type Head,
  type Media,
  pageSize,
  partitionOf,
  type Snapshot,
  type StoredEnvelope,
} from '@colloquy/core'
import { sha256, systemClock } from './node-ports.ts'

interface Conversation {
  readonly key: ConversationKey
  readonly envelopes: StoredEnvelope[]
  readonly commands: Map<string, StoredEnvelope[]>
  /** By state key, ascending by position. */
  readonly snapshots: Map<string, Snapshot[]>
  archived: boolean
}

/** A log that ends with the process. Bytes are copied on their way in and out: what a caller does to its own changes nothing here. */
export function openMemoryLog(options: { readonly partitions?: number; readonly clock?: Clock } = {}): EventLog {
  const { partitions = 1, clock = systemClock } = options
  const conversations = new Map<string, Conversation>()
  const feeds = Array.from({ length: partitions }, (): StoredEnvelope[] => [])
  const allMedia = new Map<string, Media>()

  const find = (key: ConversationKey) => conversations.get(nameOf(key))

  function appendOne({ key, expected, envelopes, archive }: AppendRequest): AppendOutcome {
    assertPositions(expected.position, envelopes)
    const conversation: Conversation = find(key) ?? {
      key,
      envelopes: [],
      commands: new Map(),
      snapshots: new Map(),
      archived: false,
    }
    const { commands } = conversation
    const duplicates = new Set(
      envelopes.flatMap(({ commandId }) => (commandId !== null && commands.has(commandId) ? commandId : [])),
    )
    if (duplicates.size > 0) {
      return { status: 'duplicate', commands: new Map([...duplicates].map((id) => [id, commandOf(conversation, id)])) }
    }

    const head = headOf(conversation)
    if (head.archived) return { status: 'archived', head }
    if (head.position !== expected.position || !isEqual(head.hash, expected.hash)) {
      return { status: 'conflict', head, missed: missedBy(expected, conversation) }
    }

    const feed = feeds[partitionOf(key, partitions, sha256)] as StoredEnvelope[]
    const recordedAt = clock()
    const added = envelopes.map((envelope, i) => copyEnvelope({ ...envelope, feedPosition: feed.length + 1 + i, recordedAt }))
    if (added.length > 0) conversations.set(nameOf(key), conversation)
    conversation.archived = archive === true
    for (const envelope of added) {
      conversation.envelopes.push(envelope)
      feed.push(envelope)
      if (envelope.commandId === null) continue
      const command = commands.get(envelope.commandId) ?? []
      commands.set(envelope.commandId, [...command, envelope])
    }
    return { status: 'appended', envelopes: added.map(copyEnvelope) }
  }

  return {
    partitions,
    append: async (requests) => requests.map(appendOne),

    async head(key) {
      const conversation = find(key)
      return conversation && headOf(conversation)
    },

    async *read(key, { from = 1, to = Number.MAX_SAFE_INTEGER } = {}) {
      for (let next = Math.max(from, 1); next <= to; next += pageSize) {
        const page = (find(key)?.envelopes ?? []).slice(next - 1, Math.min(next - 1 + pageSize, to))
        if (page.length === 0) return
        yield page.map(copyEnvelope)
      }
    },

    command: async (key, commandId) => commandOf(find(key), commandId),

    async conversations({ tenant, after = '', limit }) {
      const found = [...conversations.values()]
        .filter(({ key }) => key.tenant === tenant && !key.conversationId.startsWith('colloquy:'))
        .filter(({ key }) => compareByCodePoint(key.conversationId, after) > 0)
      found.sort((a, b) => compareByCodePoint(a.key.conversationId, b.key.conversationId))
      return found.slice(0, limit).map((conversation) => ({ ...conversation.key, ...headOf(conversation) }))
    },

    feed: async ({ partition, after, limit }) => (feeds[partition] ?? []).slice(after, after + limit).map(copyEnvelope),

    async snapshot(key, { stateKey, atOrBefore = Number.MAX_SAFE_INTEGER }) {
      const snapshot = find(key)
        ?.snapshots.get(stateKey)
        ?.findLast(({ position, body }) => body !== null && position <= atOrBefore)
      return snapshot && copySnapshot(snapshot)
    },

    async stateHashes(key, stateKey) {
      const snapshots = find(key)?.snapshots.get(stateKey) ?? []
      return snapshots.map(({ position, stateHash }) => ({ position, stateHash: copyBytes(stateHash) }))
    },

    async saveSnapshot(key, snapshot) {
      const conversation = find(key)
      if (!conversation) return
      const kept = conversation.snapshots.get(snapshot.stateKey) ?? []
      conversation.snapshots.set(snapshot.stateKey, withSnapshot(kept, copySnapshot(snapshot)))
    },

    async putMedia(key, media) {
      for (const item of media) {
        const name = JSON.stringify([partitionOf(key, partitions, sha256), key.tenant, item.hash])
        if (!allMedia.has(name)) allMedia.set(name, { ...item, bytes: copyBytes(item.bytes) })
      }
    },

    async media(key, hash) {
      const item = allMedia.get(JSON.stringify([partitionOf(key, partitions, sha256), key.tenant, hash]))
      return item && { ...item, bytes: copyBytes(item.bytes) }
    },

    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

const nameOf = ({ tenant, conversationId }: ConversationKey): string => JSON.stringify([tenant, conversationId])

function headOf({ key, envelopes, archived }: Conversation): Head {
  const last = envelopes.at(-1)
  return {
    position: last?.position ?? 0,
    hash: copyBytes(last?.hash ?? genesisHash(key, sha256)),
    occurredAt: last?.occurredAt ?? 0,
    archived,
  }
}

function missedBy(expected: AppendRequest['expected'], { key, envelopes }: Conversation): StoredEnvelope[] {
  const seen = expected.position === 0 ? genesisHash(key, sha256) : envelopes[expected.position - 1]?.hash
  if (!seen || !isEqual(seen, expected.hash)) return []
  return envelopes.slice(expected.position, expected.position + pageSize).map(copyEnvelope)
}

function commandOf(conversation: Conversation | undefined, commandId: string): StoredEnvelope[] {
  return (conversation?.commands.get(commandId) ?? []).map(copyEnvelope)
}

/** Only the youngest body is kept, whatever came last. A hash that is there stays: it is the witness of what the state was. */
function withSnapshot(kept: readonly Snapshot[], added: Snapshot): Snapshot[] {
  const present = kept.find(({ position }) => position === added.position)
  const isOther = present !== undefined && !isEqual(present.stateHash, added.stateHash)
  const merged = isOther ? present : { ...added, body: added.body ?? present?.body ?? null }
  const all = [...kept.filter((snapshot) => snapshot !== present), merged].sort((a, b) => a.position - b.position)
  const youngest = all.findLast(({ body }) => body !== null)
  return all.map((snapshot) => (snapshot === youngest ? snapshot : { ...snapshot, body: null }))
}

function assertPositions(expectedPosition: number, envelopes: readonly Envelope[]): void {
  for (const [i, { conversationId, position }] of envelopes.entries()) {
    if (position === expectedPosition + i + 1) continue
    throw new RangeError(`An envelope for ${conversationId} has position ${position} where ${expectedPosition + i + 1} follows.`)
  }
}

function copyEnvelope(envelope: StoredEnvelope): StoredEnvelope {
  return {
    ...envelope,
    body: copyBytes(envelope.body),
    salt: envelope.salt && copyBytes(envelope.salt),
    commit: copyBytes(envelope.commit),
    hash: copyBytes(envelope.hash),
    inputHash: envelope.inputHash && copyBytes(envelope.inputHash),
  }
}

const copySnapshot = (snapshot: Snapshot): Snapshot => ({
  ...snapshot,
  stateHash: copyBytes(snapshot.stateHash),
  body: snapshot.body && copyBytes(snapshot.body),
})

/** Not `slice`, with which a Buffer shares its memory. */
const copyBytes = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes)

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** The order of UTF-8 bytes, as the database has it. JavaScript's own differs beyond U+FFFF, where it compares surrogates. */
const compareByCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
