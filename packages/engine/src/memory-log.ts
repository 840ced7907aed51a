/** The log in memory: the reference implementation. What the durable logs do is what this does, and one contract suite says so. */
import { randomBytes } from 'node:crypto'
import {
  type AppendOutcome,
  type AppendRequest,
  actionPageSize,
  assertAppend,
  assertForkOf,
  type Clock,
  ColloquyError,
  type ConversationKey,
  type EventLog,
  equalBytes,
  type FeedFilter,
  type FeedPage,
  type ForkPoint,
  feedPageByPage,
  forkHash,
  genesisHash,
  type Head,
  type Media,
  pageBytes,
  pageOf,
  pageSize,
  partitionOf,
  type Snapshot,
  type StoredEnvelope,
  segmentsOf,
} from '@colloquy/core'
import { sha256, systemClock } from './node-ports.ts'

interface Conversation {
  readonly key: ConversationKey
  /** Where this one and those before it left their parents, the root's first. */
  readonly ancestry: readonly ForkPoint[]
  /** What the first own envelope follows. */
  readonly beginning: Uint8Array
  /** Microseconds since 1970: of the last envelope that it shares. */
  readonly begunAt: number
  /** Its own. */
  readonly envelopes: StoredEnvelope[]
  readonly commands: Map<string, StoredEnvelope[]>
  /** By state key, ascending by position. */
  readonly snapshots: Map<string, Snapshot[]>
  archived: boolean
}

/** A log that ends with the process. Bytes are copied on their way in and out: what a caller does to its own changes nothing here. */
export function openMemoryLog(
  options: { readonly id?: string; readonly partitions?: number; readonly clock?: Clock } = {},
): EventLog {
  const { id = randomBytes(4).toString('hex'), partitions = 1, clock = systemClock } = options
  const conversations = new Map<string, Conversation>()
  const feeds = Array.from({ length: partitions }, (): StoredEnvelope[] => [])
  const allMedia = new Map<string, Media>()
  const listeners = new Set<(partitions: readonly number[]) => void>()

  let isClosed = false

  /** @throws `log_closed` */
  function assertOpen(): void {
    if (isClosed) throw new ColloquyError('log_closed', { target: 'memory' })
  }

  /** @throws `log_closed` */
  function find(key: ConversationKey): Conversation | undefined {
    assertOpen()
    return conversations.get(nameOf(key))
  }

  function appendOne({ key, expected, envelopes, archive }: AppendRequest): AppendOutcome {
    const conversation = find(key) ?? newConversation(key, [], genesisHash(key, sha256))
    const { commands } = conversation
    const duplicates = new Set(
      envelopes.flatMap(({ commandId }) => (commandId !== null && commands.has(commandId) ? commandId : [])),
    )
    if (duplicates.size > 0) {
      return { status: 'duplicate', commands: new Map([...duplicates].map((id) => [id, commandOf(conversation, id)])) }
    }

    const head = headOf(conversation)
    if (head.archived) return { status: 'archived', head }
    if (head.position !== expected.position || !equalBytes(head.hash, expected.hash)) {
      return { status: 'conflict', head, missed: missedBy(expected, conversation) }
    }

    const partition = partitionOf(key, partitions, sha256)
    const feed = feeds[partition] as StoredEnvelope[]
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
    if (added.length > 0) for (const listener of listeners) listener([partition])
    return { status: 'appended', envelopes: added.map(copyEnvelope) }
  }

  /** The history of a conversation at positions `from` to `to`: its own envelopes, and those that it shares. */
  function history({ key, ancestry }: Conversation, from: number, to: number): StoredEnvelope[] {
    return segmentsOf(key.conversationId, ancestry).flatMap((segment) => {
      const owner = find({ tenant: key.tenant, conversationId: segment.conversationId })
      const before = owner?.ancestry.at(-1)?.position ?? 0
      const [first, last] = [Math.max(from, segment.from), Math.min(to, segment.to)]
      return owner?.envelopes.slice(Math.max(first - before - 1, 0), Math.max(last - before, 0)) ?? []
    })
  }

  function missedBy(expected: AppendRequest['expected'], conversation: Conversation): StoredEnvelope[] {
    const before = conversation.ancestry.at(-1)?.position ?? 0
    const seen =
      expected.position === before ? conversation.beginning : history(conversation, expected.position, expected.position)[0]?.hash
    if (!seen || !equalBytes(seen, expected.hash)) return []
    return pageOf(history(conversation, expected.position + 1, expected.position + pageSize)).map(copyEnvelope)
  }

  const snapshotOf = (conversation: Conversation | undefined, stateKey: string, atOrBefore: number): Snapshot | undefined => {
    const snapshot = conversation?.snapshots
      .get(stateKey)
      ?.findLast(({ position, body }) => body !== null && position <= atOrBefore)
    return snapshot && copySnapshot(snapshot)
  }

  async function feed({ partition, after, limit, ...filter }: Parameters<EventLog['feed']>[0]): Promise<FeedPage> {
    assertOpen()
    const feed = feeds[partition] ?? []
    const envelopes: StoredEnvelope[] = []
    let scannedTo = after
    let bytes = 0
    while (scannedTo < feed.length && envelopes.length < limit && bytes < pageBytes) {
      const envelope = feed[scannedTo] as StoredEnvelope
      scannedTo += 1
      if (!isWanted(envelope, filter)) continue
      envelopes.push(copyEnvelope(envelope))
      bytes += envelope.body.length
    }
    return { envelopes, scannedTo }
  }

  return {
    id,
    partitions,
    async append(requests) {
      requests.forEach(assertAppend)
      return requests.map(appendOne)
    },

    async outcome({ key, position, hash }) {
      const conversation = find(key)
      const found = conversation && history(conversation, position, position)[0]
      if (!found) return 'unknown'
      return equalBytes(found.hash, hash) ? 'stored' : 'not_stored'
    },

    async latest(key, stateKey) {
      const conversation = find(key)
      return (
        conversation && {
          head: headOf(conversation),
          snapshot: snapshotOf(conversation, stateKey, Number.MAX_SAFE_INTEGER),
        }
      )
    },

    async fork({ key, parent }) {
      assertForkOf(key, parent)
      const from = find({ tenant: key.tenant, conversationId: parent.conversationId })
      if (!from) return { status: 'parent_not_found' }
      const present = find(key)
      if (present) {
        const point = present.ancestry.at(-1)
        const isSame = point?.conversationId === parent.conversationId && point.position === parent.position
        return isSame ? { status: 'forked', head: headOf(present), created: false } : { status: 'taken' }
      }
      const shared = history(from, parent.position, parent.position)[0]
      if (shared?.position !== parent.position) return { status: 'position_not_found', headPosition: headOf(from).position }
      const beginning = forkHash(shared.hash, parent.position, key, sha256)
      const made = newConversation(key, [...from.ancestry, parent], beginning, shared.occurredAt)
      conversations.set(nameOf(key), made)
      return { status: 'forked', head: headOf(made), created: true }
    },

    ancestry: async (key) => find(key)?.ancestry ?? [],

    async head(key) {
      const conversation = find(key)
      return conversation && headOf(conversation)
    },

    async *read(key, { from = 1, to = Number.MAX_SAFE_INTEGER } = {}) {
      for (let next = Math.max(from, 1); next <= to; ) {
        const conversation = find(key)
        const page = pageOf(conversation ? history(conversation, next, Math.min(next - 1 + pageSize, to)) : [])
        if (page.length === 0) return
        yield page.map(copyEnvelope)
        next += page.length
      }
    },

    async *actions(key, { from, to }) {
      for (let next = from; next <= to; ) {
        const last = Math.min(next - 1 + actionPageSize, to)
        const conversation = find(key)
        const found = conversation ? history(conversation, next, last) : []
        if (found.length !== last - next + 1) throw missing(key, next + found.length)
        const page = pageOf(found)
        yield page.map(copyEnvelope)
        next += page.length
      }
    },

    command: async (key, commandId) => commandOf(find(key), commandId),

    async conversations({ tenant, after = '', limit }) {
      assertOpen()
      const found = [...conversations.values()]
        .filter(({ key }) => key.tenant === tenant && !key.conversationId.startsWith('colloquy:'))
        .filter(({ key }) => compareByCodePoint(key.conversationId, after) > 0)
      found.sort((a, b) => compareByCodePoint(a.key.conversationId, b.key.conversationId))
      return found.slice(0, limit).map((conversation) => ({ ...conversation.key, ...headOf(conversation) }))
    },

    feed,
    feedPages: (query) => feedPageByPage(feed, query),

    async feedHeads() {
      assertOpen()
      return feeds.map(({ length }) => length)
    },

    onGrowth(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },

    snapshot: async (key, { stateKey, atOrBefore = Number.MAX_SAFE_INTEGER }) => snapshotOf(find(key), stateKey, atOrBefore),

    async stateHashes(key, stateKey) {
      const snapshots = [...(find(key)?.snapshots.values() ?? [])].flat()
      return snapshots
        .filter((snapshot) => stateKey === undefined || snapshot.stateKey === stateKey)
        .sort((a, b) => a.position - b.position || compareByCodePoint(a.stateKey, b.stateKey))
        .map((snapshot) => ({
          position: snapshot.position,
          stateKey: snapshot.stateKey,
          stateHash: copyBytes(snapshot.stateHash),
        }))
    },

    async saveSnapshot(key, snapshot) {
      const conversation = find(key)
      if (!conversation) return
      const kept = conversation.snapshots.get(snapshot.stateKey) ?? []
      conversation.snapshots.set(snapshot.stateKey, withSnapshot(kept, copySnapshot(snapshot)))
    },

    async dropSnapshot(key, { position, stateKey }) {
      const snapshots = find(key)?.snapshots
      const kept = snapshots?.get(stateKey) ?? []
      snapshots?.set(
        stateKey,
        kept.map((snapshot) => (snapshot.position === position ? { ...snapshot, body: null } : snapshot)),
      )
    },

    async putMedia(key, media) {
      assertOpen()
      for (const item of media) {
        const name = JSON.stringify([partitionOf(key, partitions, sha256), key.tenant, item.hash])
        if (!allMedia.has(name)) allMedia.set(name, { ...item, bytes: copyBytes(item.bytes) })
      }
    },

    async media(key, hash) {
      assertOpen()
      const item = allMedia.get(JSON.stringify([partitionOf(key, partitions, sha256), key.tenant, hash]))
      return item && { ...item, bytes: copyBytes(item.bytes) }
    },

    close,
    [Symbol.asyncDispose]: close,
  }

  async function close(): Promise<void> {
    isClosed = true
    // Readers of the feed find out at once, and not with their next sweep.
    for (const listener of listeners) listener(feeds.map((_, partition) => partition))
  }
}

const nameOf = ({ tenant, conversationId }: ConversationKey): string => JSON.stringify([tenant, conversationId])

function newConversation(key: ConversationKey, ancestry: readonly ForkPoint[], beginning: Uint8Array, begunAt = 0): Conversation {
  return { key, ancestry, beginning, begunAt, envelopes: [], commands: new Map(), snapshots: new Map(), archived: false }
}

function headOf({ ancestry, beginning, begunAt, envelopes, archived }: Conversation): Head {
  const last = envelopes.at(-1)
  return {
    position: last?.position ?? ancestry.at(-1)?.position ?? 0,
    hash: copyBytes(last?.hash ?? beginning),
    occurredAt: last?.occurredAt ?? begunAt,
    archived,
  }
}

function isWanted(envelope: StoredEnvelope, { tenant, types, conversationId }: FeedFilter): boolean {
  return (
    (tenant === undefined || envelope.tenant === tenant) &&
    (types === undefined || types.includes(envelope.type)) &&
    (conversationId === undefined || envelope.conversationId === conversationId)
  )
}

function commandOf(conversation: Conversation | undefined, commandId: string): StoredEnvelope[] {
  return (conversation?.commands.get(commandId) ?? []).map(copyEnvelope)
}

/** Only the youngest body is kept, whatever came last. A hash that is there stays: it is the witness of what the state was. */
function withSnapshot(kept: readonly Snapshot[], added: Snapshot): Snapshot[] {
  const present = kept.find(({ position }) => position === added.position)
  const isOther = present !== undefined && !equalBytes(present.stateHash, added.stateHash)
  const merged = isOther ? present : { ...added, body: added.body ?? present?.body ?? null }
  const all = [...kept.filter((snapshot) => snapshot !== present), merged].sort((a, b) => a.position - b.position)
  const youngest = all.findLast(({ body }) => body !== null)
  return all.map((snapshot) => (snapshot === youngest ? snapshot : { ...snapshot, body: null }))
}

function missing({ conversationId }: ConversationKey, position: number): ColloquyError {
  return new ColloquyError('log_corrupt', { conversationId, position, problem: 'there is no such envelope' })
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

/** The order of UTF-8 bytes, as the database has it. JavaScript's own differs beyond U+FFFF, where it compares surrogates. */
const compareByCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
