import { assertForkOf, type CursorLog, type EventLog, type StoredEnvelope } from '@colloquy/core'
import type { Kysely } from 'kysely'
import { type AppendOptions, appender } from './append/append.ts'
import { type Connection, type LogConnection, logConnection } from './connections/connection.ts'
import { fork } from './fork.ts'
import { readAncestry } from './read/ancestry.ts'
import { commandLookup } from './read/command-lookup.ts'
import { readFeed, readFeedHeads, readFeedPages } from './read/feed.ts'
import { putMedia, readMedia } from './read/media.ts'
import { listConversations, readHead, readOutcome, readPage } from './read/read.ts'
import { readActions } from './read/read-actions.ts'
import { dropSnapshot, readLatest, readSnapshot, readStateHashes, saveSnapshot } from './read/snapshots.ts'
import type { Database } from './schema/database.ts'
import { checkSchema } from './schema/migrate.ts'
import { readPartitions } from './schema/partitions.ts'
import { readSettings, type Settings } from './schema/settings.ts'
import { type Growth, growthBy, type Signals } from './signals/growth.ts'

/** An `EventLog` in a database. */
export interface PostgresLog extends EventLog {
  /** The database itself, for reads of your own and for `doctor`. The log's tables are written by the log only. */
  readonly kysely: Kysely<Database>
  /**
   * The same log as the standby of `readUrl` has it, for what only reads and may be a moment behind: replays, verifications, exports,
   * lists, feeds. Whatever decides what is appended reads from the log itself. Without a `readUrl` it is the log itself.
   */
  readonly reader: PostgresLog
}

/**
 * The log in a database whose schema is there.
 * @throws `schema_missing`, `schema_newer`, `partitions_differ`, `database_unreachable`, `database_failed`
 */
export async function openLog(
  connection: Connection,
  asked: AppendOptions & { readonly partitions?: number; readonly signals?: Signals },
  judge: (settings: Settings) => void = () => {},
): Promise<PostgresLog> {
  await checkSchema(connection)
  const { kysely } = connection
  const settings = await readSettings(kysely)
  judge(settings)
  const found = await readPartitions(kysely, asked.partitions)
  return logOver(connection, { ...settings, ...found }, asked)
}

/** The log in a database of which all is known that an opening asks. */
export function logOver(
  connection: Connection,
  { isolation, ...facts }: CursorLog & Pick<Settings, 'isCluster' | 'isReadOnly' | 'isolation' | 'role' | 'seesAllTenants'>,
  asked: AppendOptions & { readonly signals?: Signals },
): PostgresLog {
  const log = logConnection(connection, { ...facts, needsReadCommitted: isolation !== 'read committed' })
  return postgresLog(log, asked, growthBy(asked.signals ?? 'local'))
}

function postgresLog(log: LogConnection, options: AppendOptions, growth: Growth): PostgresLog {
  const { append, close: closeAppender } = appender(log, options, growth.tell)
  const close = async (): Promise<void> => {
    await closeAppender()
    await log.close()
    await growth.close()
  }
  const own: PostgresLog = {
    kysely: log.kysely,
    get reader() {
      return own
    },
    id: log.id,
    partitions: log.partitions,
    append,
    outcome: (query) => log.run(`give the outcome at position ${query.position}`, () => readOutcome(log, query)),
    head: (key) => log.run(`give the head of ${key.conversationId}`, () => readHead(log, key)),
    latest: (key, stateKey) => log.run(`give the latest of ${key.conversationId}`, () => readLatest(log, key, stateKey)),
    async fork(request) {
      assertForkOf(request.key, request.parent)
      return log.run(`fork ${request.parent.conversationId}`, () => fork(log, request))
    },
    ancestry: (key) => log.run(`give the ancestry of ${key.conversationId}`, () => readAncestry(log, key)),
    read: (key, range) => readPages(log, key, range),
    actions: (key, range) => readActions(log, key, range),
    command: commandLookup(log),
    conversations: (query) => log.run(`list the conversations of ${query.tenant}`, () => listConversations(log, query)),
    feed: (query) => log.run(`give the feed of partition ${query.partition}`, () => readFeed(log, query)),
    feedPages: (query) => log.run(`give the feed of ${query.after.size} partitions`, () => readFeedPages(log, query)),
    feedHeads: () => log.run('give the ends of the feed', () => readFeedHeads(log)),
    onGrowth: growth.onGrowth,
    snapshot: (key, query) => log.run(`give a snapshot of ${key.conversationId}`, () => readSnapshot(log, key, query)),
    stateHashes: (key, stateKey) =>
      log.run(`give the state hashes of ${key.conversationId}`, () => readStateHashes(log, key, stateKey)),
    saveSnapshot: (key, snapshot) => log.run(`keep a snapshot of ${key.conversationId}`, () => saveSnapshot(log, key, snapshot)),
    dropSnapshot: (key, snapshot) => log.run(`drop a snapshot of ${key.conversationId}`, () => dropSnapshot(log, key, snapshot)),
    putMedia: (key, media) => log.run(`keep ${media.length} media`, () => putMedia(log, key, media)),
    media: (key, hash) => log.run(`give the media ${hash}`, () => readMedia(log, key, hash)),
    close,
    [Symbol.asyncDispose]: close,
  }
  return own
}

async function* readPages(
  log: LogConnection,
  key: Parameters<EventLog['read']>[0],
  range: Parameters<EventLog['read']>[1] = {},
): AsyncGenerator<readonly StoredEnvelope[]> {
  const to = range.to ?? Number.MAX_SAFE_INTEGER
  let from = Math.max(range.from ?? 1, 1)
  while (from <= to) {
    const start = from
    const { envelopes, headPosition } = await log.run(`read ${key.conversationId}`, () => readPage(log, key, start, to))
    if (envelopes.length === 0) return
    yield envelopes
    from += envelopes.length
    if (from > headPosition) return
  }
}
