import { ColloquyError } from './errors.ts'

/** Which conversation: ids are 1-200 characters each. */
export interface ConversationKey {
  readonly tenant: string
  readonly conversationId: string
}

/** Whose conversations they are where nobody says it. */
export const defaultTenant = 'default'

const maxLength = 200
/** Begins the ids of our own streams (ledgers), which callers must not touch. */
const ownPrefix = 'colloquy:'
/** Parts a fork's own id from its root's: `<root id>~<uuid>`. */
const forkMark = '~'

/**
 * An id that a column, a header and a person can hold: 1-200 characters, no control characters, no half of a surrogate pair.
 * @throws `id_invalid`
 */
export function assertId(kind: string, value: unknown): asserts value is string {
  const problem = idProblem(value)
  if (problem !== undefined) throw new ColloquyError('id_invalid', { kind, problem })
}

/** A conversation's id as callers choose it. @throws `id_invalid`, also for what is kept for forks and for our own streams */
export function assertConversationId(value: unknown): asserts value is string {
  assertId('conversation id', value)
  if (value.includes(forkMark)) {
    throw new ColloquyError('id_invalid', { kind: 'conversation id', problem: `"${forkMark}" is kept for the ids of forks` })
  }
  if (value.startsWith(ownPrefix)) {
    throw new ColloquyError('id_invalid', {
      kind: 'conversation id',
      problem: `the prefix "${ownPrefix}" is kept for Colloquy's own streams`,
    })
  }
}

/** The id of one of our own streams, which no caller can open: `colloquy:<kind>:<name>`. @throws `id_invalid` */
export function assertOwnStreamId(value: unknown): asserts value is string {
  assertId('stream id', value)
  if (!value.startsWith(ownPrefix) || value.includes(forkMark)) {
    throw new ColloquyError('id_invalid', { kind: 'stream id', problem: `it is not of the form ${ownPrefix}<kind>:<name>` })
  }
}

/** Whether this is the id of a fork, which only `engine.fork` gives. */
export function isForkId(conversationId: string): boolean {
  return conversationId.includes(forkMark)
}

/** The id of a new fork of a conversation, or of one of its forks. @throws `id_invalid` where the root's id leaves no room for it */
export function forkIdOf(conversationId: string, uuid: string): string {
  const id = `${rootIdOf(conversationId)}${forkMark}${uuid}`
  assertForkId(id)
  return id
}

/** A fork's id: a conversation's id, the mark and what tells the forks of it apart. @throws `id_invalid` */
export function assertForkId(value: string): void {
  assertId('fork id', value)
  const root = rootIdOf(value)
  assertConversationId(root)
  const own = value.slice(root.length + forkMark.length)
  if (own === '' || own.includes(forkMark)) {
    throw new ColloquyError('id_invalid', { kind: 'fork id', problem: `it is not of the form <root id>${forkMark}<uuid>` })
  }
}

/** The id of the conversation that a fork, or a fork of a fork, came out of; an id that is no fork is its own root. */
export function rootIdOf(conversationId: string): string {
  const mark = conversationId.indexOf(forkMark)
  return mark < 0 ? conversationId : conversationId.slice(0, mark)
}

function idProblem(value: unknown): string | undefined {
  if (typeof value !== 'string') return `it is a ${typeof value}, not a string`
  if (value.length < 1 || value.length > maxLength) return `it has ${value.length} characters, not 1 to ${maxLength}`
  if (!value.isWellFormed()) return 'it holds half of a surrogate pair'
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return `it holds the control character U+${code.toString(16).padStart(4, '0')}`
  }
  return undefined
}
