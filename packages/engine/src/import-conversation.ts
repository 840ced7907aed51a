import { isDeepStrictEqual } from 'node:util'
import {
  type Action,
  assertConversationId,
  assertForkId,
  assertId,
  ColloquyError,
  type ConversationKey,
  canonicalInput,
  contextCompacted,
  conversationArchived,
  conversationForked,
  type Envelope,
  type EventLog,
  encodeBody,
  type Head,
  type ImportedCommand,
  type ImportedConversation,
  type ImportedFork,
  isSameInput,
  type Limits,
  type Media,
  type PositionRange,
  type Random,
  type Reducer,
  readAction,
  resolveAction,
  resolverOf,
  type Sha256,
  type StoredEnvelope,
  stamp,
  startFold,
} from '@colloquy/core'
import { emptyHead } from './load.ts'
import type { Snapshots } from './snapshots.ts'
import { checked } from './writer.ts'

/** What became of an imported conversation: where it ends, and the hash of its state there. */
export interface ImportedResult {
  readonly conversationId: string
  /** Envelopes that this import stored. */
  readonly appended: number
  /** Commands that were stored before. */
  readonly alreadyThere: number
  readonly position: number
  readonly stateHash: Uint8Array
}

export interface ImportPorts<State> {
  readonly log: EventLog
  readonly tenant: string
  readonly reducer: Reducer<State>
  readonly snapshots: Snapshots<State>
  readonly clock: () => number
  readonly random: Random
  readonly sha256: Sha256
  readonly limits: Limits
}

/** One append takes as many envelopes, or as many bytes of bodies, unless one command alone has more. */
const pageEnvelopes = 500
const pageBytes = 2 ** 21

/** Checks everything, then writes conversation by conversation. See `Engine.importConversation`. */
export async function importConversations<State>(
  conversations: readonly ImportedConversation[],
  ports: ImportPorts<State>,
): Promise<readonly ImportedResult[]> {
  const stored = new Map<ImportedConversation, ImportedResult>()
  const inFile = new Set<string>()
  for (const conversation of conversations) {
    const { conversationId, fork } = conversation
    // A parent that this file does not bring must be there, or its other conversations would be stored without the branch.
    if (fork && !inFile.has(fork.parentId) && !(await forkedBy({ tenant: ports.tenant, conversationId }, fork, ports)))
      throw new ColloquyError('import_conflict', { conversationId: fork.parentId, position: 0 })
    inFile.add(conversationId)
    const result = await check(conversation, ports)
    if (result !== undefined) stored.set(conversation, result)
  }
  const results: ImportedResult[] = []
  for (const conversation of conversations) results.push(stored.get(conversation) ?? (await write(conversation, ports)))
  return results
}

/**
 * Walks the commands as far as nobody has: none may be refused, or conflict with what is stored, once the first is appended.
 * @returns what there is, when all of it is stored already
 */
async function check<State>(conversation: ImportedConversation, ports: ImportPorts<State>): Promise<ImportedResult | undefined> {
  const { conversationId, commands, checked: walked } = conversation
  const { reducer, limits, log, tenant, sha256 } = ports
  if (conversation.fork) assertForkId(conversationId)
  else assertConversationId(conversationId)
  const key: ConversationKey = { tenant, conversationId }
  const isNew = (await log.head(key)) === undefined
  if (isNew && walked !== undefined && isDeepStrictEqual(walked.limits, limits)) return undefined
  const known = await readKnown(key, ports)
  if (conversation.fork && !isNew) {
    const forked = await forkedBy(key, conversation.fork, ports)
    // Where it left its parent is said once and for all.
    if (forked === undefined) throw new ColloquyError('import_conflict', { conversationId, position: known.head.position })
    isStored(conversationId, forked.command.commandId, forked.command.actions, known, sha256)
  }
  let count = 0
  let missing = 0
  let position = 0
  let archivedAt = 0
  for (const { commandId, actions } of commands) {
    assertId('command id', commandId)
    for (const { type } of actions) {
      if (archivedAt > 0) throw new ColloquyError('conversation_archived', { conversationId, position: archivedAt })
      position += 1
      if (type === conversationArchived.type) archivedAt = position
    }
    for (const action of actions) encodeBody(checked(reducer, action, limits).action, limits.envelopeBytes)
    count += 1
    if (!isStored(conversationId, commandId, actions, known, sha256)) missing += 1
  }
  return missing > 0 || isNew
    ? undefined
    : resultOf(conversationId, { known, before: known.head.position, alreadyThere: count }, ports)
}

/** Of its first envelope. */
type StoredCommand = Pick<StoredEnvelope, 'position' | 'salt' | 'inputHash'>

/** What the log holds of a conversation: its state, its end, and where the file's commands are. */
interface Known<State> {
  state: State
  head: Head
  /** Of all bodies: what a load without a snapshot reads. */
  bytes: number
  readonly commands: Map<string, StoredCommand>
}

async function write<State>(conversation: ImportedConversation, ports: ImportPorts<State>): Promise<ImportedResult> {
  const { conversationId, format, commands, media } = conversation
  const { log, tenant, sha256 } = ports
  const key: ConversationKey = { tenant, conversationId }
  const fork = conversation.fork && (await makeFork(key, conversation.fork, ports))
  const known = await readKnown(key, ports)
  const before = known.head.position
  const pages = pageWriter(key, `import:${format}`, known, ports)
  /** Where the file's positions are in the log: the same, unless something else was appended between two imports of a growing file. */
  const places = new Map<number, number>()
  let filePosition = 0
  let alreadyThere = 0
  let isMediaStored = media.length === 0
  try {
    if (fork && !known.commands.has(fork.commandId)) await pages.add(fork, places)
    for (const command of commands) {
      const stored = isStored(conversationId, command.commandId, command.actions, known, sha256)
      for (const index of command.actions.keys()) {
        const place = stored ? stored.position + index : pages.position() + index + 1
        filePosition += 1
        if (place !== filePosition) places.set(filePosition, place)
      }
      if (stored !== undefined) {
        alreadyThere += 1
        continue
      }
      if (!isMediaStored) await log.putMedia(key, media)
      isMediaStored = true
      await pages.add(command, places)
    }
    await pages.send()
  } finally {
    await pages.settled()
  }
  return resultOf(conversationId, { known, before, alreadyThere }, ports)
}

/**
 * The fork itself, before its own commands. Idempotent, as the place of the command that it leaves its parent after is.
 * @returns the command that says so, which is its first
 */
async function makeFork<State>(key: ConversationKey, fork: ImportedFork, ports: ImportPorts<State>): Promise<ImportedCommand> {
  const { parentId } = fork
  const forked = await forkedBy(key, fork, ports)
  if (forked === undefined) throw new ColloquyError('import_conflict', { conversationId: parentId, position: 0 })
  const { position, command } = forked
  const outcome = await ports.log.fork({ key, parent: { conversationId: parentId, position } })
  if (outcome.status !== 'forked') throw new ColloquyError('import_conflict', { conversationId: key.conversationId, position })
  return command
}

/** The first command of a fork, and where it leaves its parent; undefined when the parent has no such command. */
async function forkedBy<State>(
  key: ConversationKey,
  { parentId, afterCommandId, messageId }: ImportedFork,
  { log }: Pick<ImportPorts<State>, 'log'>,
): Promise<{ readonly position: number; readonly command: ImportedCommand } | undefined> {
  const left = (await log.command({ ...key, conversationId: parentId }, afterCommandId)).at(-1)
  if (left === undefined) return undefined
  const { position, occurredAt } = left
  const forked = conversationForked({ parentId, position, ...(messageId !== undefined && { messageId }) })
  return { position, command: { commandId: 'forked', actions: [forked], occurredAt } }
}

async function resultOf<State>(
  conversationId: string,
  { known, before, alreadyThere }: { readonly known: Known<State>; readonly before: number; readonly alreadyThere: number },
  { tenant, snapshots }: ImportPorts<State>,
): Promise<ImportedResult> {
  const { position } = known.head
  const stateHash = await snapshots.save({ tenant, conversationId }, known.state, position, known.bytes)
  return { conversationId, appended: position - before, alreadyThere, position, stateHash }
}

async function readKnown<State>(key: ConversationKey, { log, reducer, sha256 }: ImportPorts<State>): Promise<Known<State>> {
  const head = await log.head(key)
  const known: Known<State> = {
    state: Object.freeze(reducer.initial()),
    head: head ?? emptyHead(key, sha256),
    bytes: 0,
    commands: new Map(),
  }
  if (head === undefined) return known
  const resolve = resolverOf(log, key, reducer)
  // What cannot be applied is history too: replay reports it.
  const fold = startFold(reducer)
  for await (const page of log.read(key, { to: head.position })) {
    for (const envelope of page) {
      fold.apply(await readAction(reducer, envelope, resolve))
      const { commandId, commandIndex, position, salt, inputHash } = envelope
      const isOwn = envelope.conversationId === key.conversationId
      if (isOwn && commandId !== null && commandIndex === 0) known.commands.set(commandId, { position, salt, inputHash })
      known.bytes += envelope.body.length
    }
  }
  known.state = fold.finish().state
  return known
}

/** The first envelope of a command that is stored. @throws `import_conflict` when the log holds something else under its id */
function isStored<State>(
  conversationId: string,
  commandId: string,
  actions: readonly Action[],
  known: Known<State>,
  sha256: Sha256,
): StoredCommand | undefined {
  const first = known.commands.get(commandId)
  if (first === undefined) return undefined
  if (!isSameInput(first, canonicalInput(actions), sha256)) {
    throw new ColloquyError('import_conflict', { conversationId, position: first.position })
  }
  return first
}

/**
 * Stamps commands and appends them page by page. While the log is at a page the next one is made: two pages are all of a file that
 * is in memory here.
 */
function pageWriter<State>(key: ConversationKey, cause: string, known: Known<State>, ports: ImportPorts<State>) {
  const { log, reducer, snapshots, clock, random, sha256, limits } = ports
  const resolve = resolverOf(log, key, reducer)
  let { position, hash, occurredAt } = known.head
  /** As a replay does it, which is several times as fast as action by action: between two pages nobody looks at the state. */
  let fold = startFold(reducer, { state: known.state, position, occurredAt })
  let envelopes: Envelope[] = []
  let media: Media[] = []
  let bytes = 0
  let hasAppended = false
  let appending: Promise<void> | undefined

  return { position: () => position, add, send, settled: () => appending }

  async function add(command: ImportedCommand, places: ReadonlyMap<number, number>): Promise<void> {
    const made = command.actions.map((given) => {
      const { action, schemaVersion } = checked(reducer, given, limits)
      const placed = replaced(action, places)
      return { action: placed, schemaVersion, body: encodeBody(placed, limits.envelopeBytes) }
    })
    const size = made.reduce((sum, { body }) => sum + body.length, 0)
    if (envelopes.length > 0 && (envelopes.length + made.length > pageEnvelopes || bytes + size > pageBytes)) await send()
    media.push(...(command.media ?? []))
    bytes += size
    const input = canonicalInput(command.actions)
    for (const [commandIndex, { action, schemaVersion, body }] of made.entries()) {
      position += 1
      // File order is the order; a record's own time is kept as far as it does not run backwards.
      occurredAt = Math.max(command.occurredAt ?? clock(), occurredAt)
      const { type } = action
      const { commandId } = command
      const envelope = stamp(
        { ...key, position, type, schemaVersion, occurredAt, commandId, commandIndex, actor: null, cause, keyId: null },
        body,
        { previousHash: hash, salt: random(16), input: commandIndex === 0 ? input : undefined },
        sha256,
      )
      envelopes.push(envelope)
      hash = envelope.hash
      const stamped = { ...action, position, occurredAt, actor: null }
      // Only few actions ask for others, and a step of the event loop for each of the rest would be felt.
      const asks = reducer.definition(type)?.resolve !== undefined
      fold.apply(asks ? await resolveAction(reducer, stamped, resolve) : stamped)
    }
  }

  async function send(): Promise<void> {
    await appending
    if (envelopes.length === 0) return
    const { state } = fold.finish()
    fold = startFold(reducer, { state, position, occurredAt })
    const archived = envelopes.some(({ type }) => type === conversationArchived.type)
    const page = { state, head: { position, hash, occurredAt, archived }, envelopes, media }
    envelopes = []
    media = []
    bytes = 0
    appending = store(page)
    // Looked at when the next page is sent, or at the end.
    appending.catch(() => {})
  }

  async function store(page: Pick<Known<State>, 'state' | 'head'> & { envelopes: Envelope[]; media: Media[] }): Promise<void> {
    const expected = known.head
    if (hasAppended) await snapshots.saveHash(key, known.state, expected.position)
    if (page.media.length > 0) await log.putMedia(key, page.media)
    const archive = page.head.archived
    const outcome = (await log.append([{ key, expected, envelopes: page.envelopes, ...(archive && { archive }) }]))[0]
    switch (outcome?.status) {
      case 'appended':
        known.state = page.state
        known.head = page.head
        for (const { body } of page.envelopes) known.bytes += body.length
        hasAppended = true
        return
      case 'archived':
        throw new ColloquyError('conversation_archived', { conversationId: key.conversationId, position: outcome.head.position })
      case 'conflict':
      case 'duplicate':
        throw new ColloquyError('position_conflict', {
          conversationId: key.conversationId,
          expectedPosition: expected.position,
          actualPosition: outcome.status === 'conflict' ? outcome.head.position : expected.position,
        })
      case undefined:
        return
      default:
        outcome satisfies never
    }
  }
}

/** The action with the positions that it names moved to where they are in the log. */
function replaced(action: Action, places: ReadonlyMap<number, number>): Action {
  const move = (ranges: readonly PositionRange[]) => ranges.flatMap((range) => movedRange(range, places))
  const derived = action.derivedFrom ? { ...action, derivedFrom: move(action.derivedFrom) } : action
  if (!contextCompacted.match(action)) return derived
  const { covered } = action.payload
  return { ...derived, payload: { ...action.payload, covered: { ...covered, ranges: move(covered.ranges) } } }
}

function movedRange([from, to]: PositionRange, places: ReadonlyMap<number, number>): PositionRange[] {
  const isUnmoved = !places.has(from) && !places.has(to)
  if (isUnmoved) return [[from, to]]
  const moved: [number, number][] = []
  for (let position = from; position <= to; position++) {
    const place = places.get(position) ?? position
    const last = moved.at(-1)
    if (last !== undefined && last[1] + 1 === place) last[1] = place
    else moved.push([place, place])
  }
  return moved
}
