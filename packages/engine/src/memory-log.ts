import {
  type AppendOutcome,
  type AppendRequest,
  type ConversationKey,
  type EventLog,
  genesisHash,
  type Head,
  type Media,
  pageSize,
  partitionOf,
  type Snapshot,
  type StoredEnvelope,
} from '@colloquy/core'
import { sha256 } from './node-ports.ts'

interface Kept {
  readonly key: ConversationKey
  readonly envelopes: StoredEnvelope[]
  readonly commands: Map<string, StoredEnvelope[]>
  readonly snapshots: Map<string, Snapshot>
  archived: boolean
}

export function openMemoryLog({ partitions = 1 }: { partitions?: number } = {}): EventLog {
  const conversations = new Map<string, Kept>()
  const feeds = Array.from({ length: partitions }, (): StoredEnvelope[] => [])
  const media = new Map<string, Media>()
  const nameOf = (key: ConversationKey) => JSON.stringify([key.tenant, key.conversationId])
  const find = (key: ConversationKey) => conversations.get(nameOf(key))
  const headOf = (key: ConversationKey, kept: Kept | undefined): Head => {
    const last = kept?.envelopes.at(-1)
    return {
      position: last?.position ?? 0,
      hash: last?.hash ?? genesisHash(key, sha256),
      occurredAt: last?.occurredAt ?? 0,
      archived: kept?.archived ?? false,
    }
  }
  function appendOne({ key, expected, envelopes, archive }: AppendRequest): AppendOutcome {
    const kept = find(key) ?? { key, envelopes: [], commands: new Map(), snapshots: new Map(), archived: false }
    const head = headOf(key, kept)
    const ids = new Set(envelopes.flatMap((e) => e.commandId ?? []))
    const found = [...ids].filter((id) => kept.commands.has(id))
    if (found.length > 0) return { status: 'duplicate', commands: new Map(found.map((id) => [id, kept.commands.get(id) ?? []])) }
    if (kept.archived) return { status: 'archived', head }
    if (head.position !== expected.position || Buffer.compare(head.hash, expected.hash) !== 0) {
      return { status: 'conflict', head, missed: kept.envelopes.slice(expected.position, expected.position + pageSize) }
    }
    const feed = feeds[partitionOf(key, partitions, sha256)] as StoredEnvelope[]
    const stored = envelopes.map((e, i) => ({ ...e, feedPosition: feed.length + i + 1, recordedAt: Date.now() * 1000 }))
    kept.envelopes.push(...stored)
    feed.push(...stored)
    for (const e of stored)
      if (e.commandId !== null) kept.commands.set(e.commandId, [...(kept.commands.get(e.commandId) ?? []), e])
    if (archive) kept.archived = true
    if (stored.length > 0) conversations.set(nameOf(key), kept)
    return { status: 'appended', envelopes: stored }
  }
  const log: EventLog = {
    partitions,
    append: async (requests) => requests.map(appendOne),
    head: async (key) => (find(key) ? headOf(key, find(key)) : undefined),
    async *read(key, { from = 1, to = Infinity } = {}) {
      const all = find(key)?.envelopes ?? []
      for (let at = from; at <= Math.min(to, all.length); at += pageSize) yield all.slice(at - 1, Math.min(at - 1 + pageSize, to))
    },
    command: async (key, id) => find(key)?.commands.get(id) ?? [],
    conversations: async ({ tenant, after = '', limit }) =>
      [...conversations.values()]
        .filter(({ key }) => key.tenant === tenant && key.conversationId > after && !key.conversationId.startsWith('colloquy:'))
        .sort((a, b) => (a.key.conversationId < b.key.conversationId ? -1 : 1))
        .slice(0, limit)
        .map((kept) => ({ ...kept.key, ...headOf(kept.key, kept) })),
    feed: async ({ partition, after, limit }) => (feeds[partition] ?? []).slice(after, after + limit),
    snapshot: async (key, { stateKey, atOrBefore = Infinity }) =>
      [...(find(key)?.snapshots.values() ?? [])]
        .filter((s) => s.stateKey === stateKey && s.body !== null && s.position <= atOrBefore)
        .at(-1),
    stateHashes: async (key, stateKey) => [...(find(key)?.snapshots.values() ?? [])].filter((s) => s.stateKey === stateKey),
    async saveSnapshot(key, snapshot) {
      const snapshots = find(key)?.snapshots
      if (!snapshots) return
      for (const [name, s] of snapshots)
        if (s.stateKey === snapshot.stateKey && s.position < snapshot.position) snapshots.set(name, { ...s, body: null })
      snapshots.set(`${snapshot.position}:${snapshot.stateKey}`, snapshot)
    },
    async putMedia(key, items) {
      for (const item of items) media.set(JSON.stringify([key.tenant, item.hash]), item)
    },
    media: async (key, hash) => media.get(JSON.stringify([key.tenant, hash])),
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  }
  return log
}
