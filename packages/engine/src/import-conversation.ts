import {
  type Action,
  assertConversationId,
  assertId,
  ColloquyError,
  type ConversationKey,
  canonicalInput,
  contextCompacted,
  type Envelope,
  type EventLog,
  encodeBody,
  type Head,
  type ImportedConversation,
  isSameInput,
  type Limits,
  type PositionRange,
  type Random,
  type Reducer,
  readAction,
  resolveAction,
  resolverOf,
  type Sha256,
  type StoredEnvelope,
  stamp,
} from '@colloquy/core'
import { emptyHead } from './load.ts'
import type { Snapshots } from './snapshots.ts'
import { checked } from './writer.ts'

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

/** Envelopes of one append, unless a command is larger. */
const batchSize = 100

/** A command that was checked and is ready to be stamped. */
interface Prepared {
  readonly commandId: string
  readonly input: string
  readonly occurredAt: number | undefined
  /** Where the file's own counting puts the first action. */
  readonly filePosition: number
  readonly actions: readonly { readonly action: Action; readonly schemaVersion: number }[]
}

/** Checks everything, then writes conversation by conversation. See `Engine.importConversation`. */
export async function importConversations<State>(
  conversations: readonly ImportedConversation[],
  ports: ImportPorts<State>,
): Promise<readonly ImportedResult[]> {
  const prepared = conversations.map((conversation) => ({ conversation, commands: prepare(conversation, ports) }))
  const results: ImportedResult[] = []
  for (const { conversation, commands } of prepared) results.push(await write(conversation, commands, ports))
  return results
}

function prepare<State>({ conversationId, commands }: ImportedConversation, { reducer, limits }: ImportPorts<State>): Prepared[] {
  assertConversationId(conversationId)
  let filePosition = 1
  return commands.map(({ commandId, actions, occurredAt }) => {
    assertId('command id', commandId)
    const made = actions.map((action) => checked(reducer, action, limits))
    for (const { action } of made) encodeBody(action, limits.envelopeBytes)
    const result = { commandId, input: canonicalInput(actions), occurredAt, filePosition, actions: made }
    filePosition += made.length
    return result
  })
}

/** What the log holds of a conversation: its state, its end, and where the file's commands are. */
interface Known<State> {
  state: State
  head: Head
  readonly commands: Map<string, Pick<StoredEnvelope, 'position' | 'salt' | 'inputHash'>>
}

async function write<State>(
  { conversationId, format, media }: ImportedConversation,
  commands: readonly Prepared[],
  ports: ImportPorts<State>,
): Promise<ImportedResult> {
  const { log, tenant, snapshots, sha256 } = ports
  const key: ConversationKey = { tenant, conversationId }
  const known = await readKnown(key, ports)
  const missing = commands.filter((command) => !isStored(conversationId, command, known, sha256))
  if (media.length > 0 && missing.length > 0) await log.putMedia(key, media)

  const before = known.head.position
  const placed = placesOf(commands, known)
  for (let from = 0; from < missing.length; ) {
    let to = from
    for (let size = 0; to < missing.length && (size === 0 || size + (missing[to]?.actions.length ?? 0) <= batchSize); to++) {
      size += missing[to]?.actions.length ?? 0
    }
    await appendBatch(key, missing.slice(from, to), `import:${format}`, known, placed, ports)
    from = to
    if (from < missing.length) await snapshots.saveHash(key, known.state, known.head.position)
  }
  const stateHash = await snapshots.save(key, known.state, known.head.position)
  return {
    conversationId,
    appended: known.head.position - before,
    alreadyThere: commands.length - missing.length,
    position: known.head.position,
    stateHash,
  }
}

async function readKnown<State>(key: ConversationKey, { log, reducer, sha256 }: ImportPorts<State>): Promise<Known<State>> {
  const head = await log.head(key)
  const known: Known<State> = {
    state: Object.freeze(reducer.initial()),
    head: head ?? emptyHead(key, sha256),
    commands: new Map(),
  }
  if (head === undefined) return known
  const resolve = resolverOf(log, key, reducer)
  for await (const page of log.read(key, { to: head.position })) {
    for (const envelope of page) {
      known.state = reducer.reduce(known.state, await readAction(reducer, envelope, resolve), ignore)
      const { commandId, commandIndex, position, salt, inputHash } = envelope
      if (commandId !== null && commandIndex === 0) known.commands.set(commandId, { position, salt, inputHash })
    }
  }
  return known
}

/** @throws `import_conflict` when the log holds something else under the record's command id */
function isStored<State>(conversationId: string, { commandId, input }: Prepared, known: Known<State>, sha256: Sha256): boolean {
  const first = known.commands.get(commandId)
  if (first === undefined) return false
  if (!isSameInput(first, input, sha256)) throw new ColloquyError('import_conflict', { conversationId, position: first.position })
  return true
}

/** Where the file's positions are in the log: the same, unless something else was appended between two imports of a growing file. */
function placesOf<State>(commands: readonly Prepared[], known: Known<State>): Map<number, number> {
  const places = new Map<number, number>()
  let next = known.head.position + 1
  for (const { commandId, filePosition, actions } of commands) {
    const stored = known.commands.get(commandId)?.position
    for (const index of actions.keys()) places.set(filePosition + index, stored === undefined ? next++ : stored + index)
  }
  return places
}

async function appendBatch<State>(
  key: ConversationKey,
  commands: readonly Prepared[],
  cause: string,
  known: Known<State>,
  places: ReadonlyMap<number, number>,
  { log, reducer, clock, random, sha256, limits }: ImportPorts<State>,
): Promise<void> {
  const expected = known.head
  const resolve = resolverOf(log, key, reducer)
  const envelopes: Envelope[] = []
  let { position, hash, occurredAt } = expected
  let state = known.state
  for (const { commandId, input, actions, occurredAt: recordTime } of commands) {
    for (const [commandIndex, { action: given, schemaVersion }] of actions.entries()) {
      const action = replaced(given, places)
      position += 1
      // File order is the order; a record's own time is kept as far as it does not run backwards.
      occurredAt = Math.max(recordTime ?? clock(), occurredAt)
      const header = {
        ...key,
        position,
        type: action.type,
        schemaVersion,
        occurredAt,
        commandId,
        commandIndex,
        actor: null,
        cause,
        keyId: null,
      }
      const envelope = stamp(
        header,
        encodeBody(action, limits.envelopeBytes),
        { previousHash: hash, salt: random(16), input: commandIndex === 0 ? input : undefined },
        sha256,
      )
      envelopes.push(envelope)
      hash = envelope.hash
      state = reducer.reduce(
        state,
        await resolveAction(reducer, { ...action, position, occurredAt, actor: null }, resolve),
        ignore,
      )
    }
  }
  const outcome = (await log.append([{ key, expected, envelopes }]))[0]
  switch (outcome?.status) {
    case 'appended':
      known.state = state
      known.head = { position, hash, occurredAt, archived: false }
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

/** The action with the positions that it names moved to where they are in the log. */
function replaced(action: Action, places: ReadonlyMap<number, number>): Action {
  const move = (ranges: readonly PositionRange[]) => ranges.flatMap((range) => movedRange(range, places))
  const derived = action.derivedFrom ? { ...action, derivedFrom: move(action.derivedFrom) } : action
  if (!contextCompacted.match(action)) return derived
  const { covered } = action.payload
  return { ...derived, payload: { ...action.payload, covered: { ...covered, ranges: move(covered.ranges) } } }
}

function movedRange([from, to]: PositionRange, places: ReadonlyMap<number, number>): PositionRange[] {
  const isUnmoved = places.get(from) === from && places.get(to) === to
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

/** What is imported is history: an action that cannot be applied is history too. Replay reports it. */
const ignore = (): void => {}
