/** Which log: `--db`, else `COLLOQUY_DB`, else `./.colloquy`; to read, a standby of it where one is named. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import {
  ColloquyError,
  type ConversationKey,
  type ConversationState,
  type EventLog,
  type Head,
  type Unapplied,
} from '@colloquy/core'
import { createEngine, type Engine, type ErrorListener, openMemoryLog } from '@colloquy/engine'
import type { Context } from './context.ts'
import type { Output } from './output.ts'
import { printable } from './printable.ts'
import { type Progress, startProgress } from './progress.ts'

/** Where a log lies. */
export type Place =
  | { readonly kind: 'memory' }
  | { readonly kind: 'directory'; readonly directory: string }
  | { readonly kind: 'postgres'; readonly url: string }

/** The log that a command works on, and an engine over it for one tenant. Closed with the command. */
export interface Store extends AsyncDisposable {
  readonly place: Place
  readonly tenant: string
  readonly log: EventLog
  readonly engine: Engine<ConversationState>
  readonly key: (conversationId: string) => ConversationKey
  /** A progress bar that advances by each envelope which is read or appended while it is open. */
  progress(label: string, totalEnvelopes: number): Disposable
}

/** @throws `usage_invalid` */
export function placeOf(db: string | undefined, env: Context['io']['env']): Place {
  const name = db ?? env['COLLOQUY_DB'] ?? './.colloquy'
  if (name === 'memory:') return { kind: 'memory' }
  if (isPostgresUrl(name)) return { kind: 'postgres', url: name }
  const scheme = /^[a-z][a-z0-9+.-]+:/i.exec(name)?.[0]
  // Only the scheme is repeated: the rest may hold a password.
  if (scheme !== undefined)
    throw usageInvalid(`A store is a directory, postgres://... or memory:, and "${scheme}..." is none of them`)
  if (name === '') throw usageInvalid('The name of the store is empty; give a directory, postgres://... or memory:')
  return { kind: 'directory', directory: resolve(name) }
}

/**
 * Where a command that only reads goes: `--read-url`, else `COLLOQUY_READ_URL`, else where the others go. A store that is named on the
 * command line is the one that is read: the variable is about another.
 * @throws `usage_invalid`
 */
export function readPlaceOf({ db, readUrl }: Context['options'], env: Context['io']['env']): Place {
  const url = readUrl ?? (db === undefined ? env['COLLOQUY_READ_URL'] : undefined)
  if (url === undefined) return placeOf(db, env)
  if (!isPostgresUrl(url)) throw usageInvalid('The read url is not a postgres://... url; a standby is a server')
  return { kind: 'postgres', url }
}

/** The place in words, without user and password. */
export function placeName(place: Place): string {
  switch (place.kind) {
    case 'memory':
      return 'memory'
    case 'directory':
      return place.directory
    case 'postgres': {
      if (!URL.canParse(place.url)) return 'postgres'
      const { host, pathname } = new URL(place.url)
      return `postgres://${host}${pathname}`
    }
    default:
      return place satisfies never
  }
}

const isPostgresUrl = (name: string): boolean => /^postgres(ql)?:\/\//.test(name)

/**
 * Whether there is anything to open yet. A server is asked by opening it.
 * @throws `usage_invalid` when what is there is no store and can become none: a file, or a directory whose `postgres` is something else
 */
export function isThere(place: Place): boolean {
  if (place.kind !== 'directory') return true
  const { directory } = place
  const database = join(directory, 'postgres')
  // What every directory of a Postgres has; `postgres` alone is the name of many a folder.
  if (existsSync(join(database, 'PG_VERSION'))) return true
  if (!isFree(directory)) throw usageInvalid(`A store is a directory, and ${directory} is none`)
  if (!isFree(database) || (existsSync(database) && readdirSync(database).length > 0))
    throw usageInvalid(`${database} is no database of ours, so ${directory} can be no store; name another one with --db`)
  return false
}

/** A directory, or nothing so far. */
const isFree = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() !== false

/**
 * The store for a command. One that only reads finds nothing in a directory that is not there, and leaves it so.
 * @throws `store_missing` for `append` to a directory that holds none: what is appended must stay somewhere
 * @throws `usage_invalid`, `directory_locked`, `database_unreachable`, `schema_newer`, `schema_missing`
 */
export async function openStore(context: Context, access: 'read' | 'append' | 'create' = 'read'): Promise<Store> {
  const { options, io } = context
  const place = access === 'read' ? readPlaceOf(options, io.env) : placeOf(options.db, io.env)
  const open = io.openLog ?? ((found: Place) => openLog(found, context.output))
  if (isThere(place)) return storeOf(await open(place), place, context)
  switch (access) {
    case 'read':
      context.output.say(`There is no store at ${placeName(place)} yet; --db names another one.`)
      return storeOf(await open({ kind: 'memory' }), place, context)
    case 'append':
      throw new ColloquyError('store_missing', { directory: placeName(place) })
    case 'create':
      context.output.say(`Creating an embedded database in ${placeName(place)} (once).`)
      return storeOf(await open(place), place, context)
    default:
      return access satisfies never
  }
}

/** A store over an open log, which it closes. */
function storeOf(own: EventLog, place: Place, context: Context): Store {
  let progress: Progress | undefined
  const log = watched(own, (count) => {
    // Ctrl-C stops between two calls of the log, so that an append is whole, the store is closed and its lock is given back.
    context.io.signal.throwIfAborted()
    progress?.advance(count)
  })
  const tenant = context.options.tenant
  const engine = createEngine({
    log,
    ...(tenant !== undefined && { tenant }),
    onError: reporter(context.output),
  })
  return {
    place,
    tenant: engine.tenant,
    log,
    engine,
    key: (conversationId) => ({ tenant: engine.tenant, conversationId }),
    progress(label, totalEnvelopes) {
      const started = startProgress(context.io, label, totalEnvelopes, { isHidden: context.options.quiet ?? false })
      progress = started
      return {
        [Symbol.dispose]() {
          progress = undefined
          started[Symbol.dispose]()
        },
      }
    },
    async [Symbol.asyncDispose]() {
      await engine.close()
      await own.close()
    },
  }
}

/** What goes wrong beside a command. Of a conversation with actions that no slice here knows the first is told, not each of thousands. */
function reporter(output: Context['output']): ErrorListener {
  const told = new Set<string>()
  return (error, where) => {
    if (!isUnapplied(error)) return output.say(`${where}: ${error instanceof Error ? error.message : JSON.stringify(error)}`)
    if (told.has(where)) return
    told.add(where)
    const { type, position, problem } = error
    const id = where.replace(/^replay of /, '')
    output.say(
      printable(
        `${where}: ${type} at position ${position} could not be applied: ${problem}. There may be more: "show ${id}" counts them.`,
      ),
    )
  }
}

function isUnapplied(error: unknown): error is Unapplied {
  return typeof error === 'object' && error !== null && !(error instanceof Error) && 'position' in error && 'problem' in error
}

/** Where a conversation ends. @throws `conversation_not_found` */
export async function headOf({ log, key }: Pick<Store, 'log' | 'key'>, conversationId: string): Promise<Head> {
  const head = await log.head(key(conversationId))
  if (head === undefined) throw new ColloquyError('conversation_not_found', { conversationId })
  return head
}

/** What weakens a server is said in one line of ours, where a warning of the process takes two. */
async function openLog(place: Place, output: Output): Promise<EventLog> {
  switch (place.kind) {
    case 'memory':
      return openMemoryLog()
    case 'directory': {
      const { openEmbeddedLog } = await import('@colloquy/postgres')
      return openEmbeddedLog({ directory: place.directory })
    }
    case 'postgres': {
      const { openPostgresLog } = await import('@colloquy/postgres')
      return openPostgresLog({ url: place.url, onWarning: (text) => output.say(text) })
    }
    default:
      return place satisfies never
  }
}

/** A log that says how many envelopes an append is about to store and a read has given. */
function watched(log: EventLog, onEnvelopes: (count: number) => void): EventLog {
  const own: Pick<EventLog, 'append' | 'read' | 'feed'> = {
    append(requests) {
      onEnvelopes(requests.reduce((sum, { envelopes }) => sum + envelopes.length, 0))
      return log.append(requests)
    },
    async *read(key, range) {
      for await (const page of log.read(key, range)) {
        onEnvelopes(page.length)
        yield page
      }
    },
    async feed(query) {
      const page = await log.feed(query)
      onEnvelopes(page.envelopes.length)
      return page
    },
  }
  return new Proxy(log, {
    get(target, name) {
      if (name === 'append' || name === 'read' || name === 'feed') return own[name]
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function usageInvalid(problem: string): ColloquyError<'usage_invalid'> {
  return new ColloquyError('usage_invalid', { problem })
}
