/** What the stream tests share: streams written by hand, decoded, and what must be true of every decoding. */
import { type Message, message, ownJson, type Part } from '@colloquy/core'
import { createStreamDecoder, type StreamFormat } from '../../packages/formats/src/streams/detect-stream.ts'
import type { ProviderError } from '../../packages/formats/src/streams/errors.ts'
import type { Notice, PartDelta, StreamEvent, StreamOptions } from '../../packages/formats/src/streams/stream-event.ts'
import { sha256 } from '../support/core-log.ts'

export type Chunk = Uint8Array | string
type Ended = Extract<StreamEvent, { type: 'answerEnded' }>

export interface Decoded {
  readonly events: readonly StreamEvent[]
  readonly ended: readonly Ended[]
  readonly messages: readonly Message[]
  readonly errors: readonly ProviderError[]
  readonly notices: readonly Notice[]
}

export function decode(format: StreamFormat, chunks: Chunk | Iterable<Chunk>, options: Partial<StreamOptions> = {}): Decoded {
  const decoder = createStreamDecoder(format, { sha256, ...options })
  const events: StreamEvent[] = []
  const all = typeof chunks === 'string' || chunks instanceof Uint8Array ? [chunks] : chunks
  for (const chunk of all) events.push(...decoder.push(chunk))
  events.push(...decoder.end())
  return decodedFrom(events)
}

export function decodedFrom(events: readonly StreamEvent[]): Decoded {
  const ended = events.filter((event) => event.type === 'answerEnded')
  return {
    events,
    ended,
    messages: ended.map((event) => event.message),
    errors: events.flatMap((event) => (event.type === 'errorReported' ? [event.error] : [])),
    notices: events.flatMap((event) => (event.type === 'noticed' ? [event.notice] : [])),
  }
}

/** Payloads as server-sent events; a string stands as it is, as in `[DONE]`. */
export function sse(...payloads: readonly unknown[]): string {
  return payloads.map((payload) => `data: ${typeof payload === 'string' ? payload : JSON.stringify(payload)}\n\n`).join('')
}

export function only<T>(list: readonly T[]): T {
  if (list.length !== 1) throw new Error(`expected one, found ${list.length}`)
  return list[0] as T
}

export const stopOf = (decoded: Decoded) => decoded.messages.map(({ model }) => model?.stop)
export const partsOf = (decoded: Decoded): readonly Part[] => decoded.messages.flatMap(({ parts }) => parts)
export const callsOf = (decoded: Decoded) => partsOf(decoded).filter((part) => part.type === 'tool_call')
export const textOf = (decoded: Decoded): string =>
  partsOf(decoded)
    .map((part) => (part.type === 'text' ? part.text : ''))
    .join('')

/** What is wrong with a decoding; nothing must be, whatever the bytes were. */
export function problemsWith({ events, notices }: Pick<Decoded, 'events' | 'notices'>): string[] {
  const problems: string[] = []
  const answers = new Map<string, Following>()
  for (const event of events) {
    if (event.type === 'noticed' || (event.type === 'errorReported' && event.messageId === undefined)) continue
    const messageId = event.messageId as string
    if (event.type === 'answerStarted') {
      if (answers.get(messageId)?.isOpen === true) problems.push(`${messageId} started while it was open`)
      answers.set(messageId, { isOpen: true, parts: new Map(), done: [] })
      continue
    }
    const answer = answers.get(messageId)
    if (answer?.isOpen !== true) problems.push(`${event.type} of ${messageId}, which is not open`)
    else if (event.type !== 'errorReported') problems.push(...follow(answer, event))
  }
  for (const [messageId, { isOpen }] of answers) if (isOpen) problems.push(`${messageId} never ended`)
  if (notices.some(({ kind }) => kind === 'contradiction')) return problems.filter((problem) => !problem.includes('deltas'))
  return problems
}

interface Following {
  isOpen: boolean
  readonly parts: Map<number, { readonly kind: Part['type']; readonly deltas: PartDelta[]; isDone: boolean }>
  readonly done: Part[]
}

type Followed = Exclude<StreamEvent, { type: 'noticed' | 'errorReported' | 'answerStarted' }>

function follow(answer: Following, event: Followed): string[] {
  switch (event.type) {
    case 'partStarted':
      if (answer.parts.has(event.part)) return [`part ${event.part} started twice`]
      answer.parts.set(event.part, { kind: event.kind, deltas: [], isDone: false })
      return []
    case 'partDelta': {
      const part = answer.parts.get(event.part)
      if (part === undefined || part.isDone) return [`a delta of part ${event.part}, which is not open`]
      part.deltas.push(event.delta)
      return []
    }
    case 'partDone': {
      const part = answer.parts.get(event.part)
      if (part === undefined || part.isDone) return [`part ${event.part} is done, but was not open`]
      part.isDone = true
      answer.done.push(event.value)
      return deltaProblems(part.deltas, event.value)
    }
    case 'usageReported':
    case 'answerStopped':
      return []
    case 'answerEnded': {
      answer.isOpen = false
      return [
        ...[...answer.parts.values()].filter(({ isDone }) => !isDone).map(() => 'a part is not done at the end'),
        ...messageProblems(event, answer.done),
      ]
    }
    default:
      return event satisfies never
  }
}

function deltaProblems(deltas: readonly PartDelta[], part: Part): string[] {
  const joined = (kind: PartDelta['kind']) =>
    deltas.map((delta) => (delta.kind === kind && 'text' in delta ? delta.text : '')).join('')
  const expected: Partial<Record<PartDelta['kind'], string>> = {}
  if (part.type === 'text') expected.text = part.text
  if (part.type === 'refusal') expected.refusal = part.text
  if (part.type === 'reasoning' && part.text !== undefined) expected.reasoning = part.text
  // What came whole came without deltas, and a tool without arguments has none to bring.
  if (part.type === 'tool_call' && joined('arguments') !== '') expected.arguments = part.args.raw
  if (part.type === 'compaction' && deltas.length > 0) expected.compaction = part.content ?? ''
  return Object.entries(expected).flatMap(([kind, text]) =>
    deltas.length > 0 && joined(kind as PartDelta['kind']) !== text
      ? [`the deltas of a ${part.type} part are not its ${kind}`]
      : [],
  )
}

function messageProblems({ message: ended, media, interrupted }: Ended, done: readonly Part[]): string[] {
  const problems: string[] = []
  const checked = message.safeParse(ended)
  if (!checked.success) problems.push(`the message is not valid: ${checked.error.message}`)
  try {
    ownJson(ended, { depth: 60, keys: 10_000, envelopeBytes: Number.MAX_SAFE_INTEGER })
  } catch (error) {
    problems.push(`the message cannot be stored: ${String(error)}`)
  }
  if (ended.parts.length !== done.length || !ended.parts.every((part) => done.includes(part))) {
    problems.push('the parts of the message are not those that were done')
  }
  const named = JSON.stringify(ended.parts).match(/"hash":"[0-9a-f]{64}"/g) ?? []
  if (!named.every((name) => media.some(({ hash }) => name.includes(hash)))) problems.push('a file is named but not handed out')
  const stop = ended.model?.stop?.unified
  if (interrupted !== true && stop === undefined) problems.push('an answer that was not interrupted has no stop')
  return problems
}
