import type { Json, JsonObject } from '@colloquy/core'
import { asObject } from '../codecs/fields.ts'
import { createSession, type Session } from './answer.ts'
import { readError, streamLimitError } from './errors.ts'
import { readPayloads } from './payload.ts'
import { createSseReader, type SseEvent } from './sse.ts'
import {
  defaultStreamLimits,
  type StreamDecoder,
  type StreamEvent,
  type StreamLimits,
  type StreamOptions,
} from './stream-event.ts'

/** How one API is read. Bytes, framing, limits and what is no JSON are the decoder's. */
export interface Dialect {
  /** The company that made the API. */
  readonly provider: string
  readonly api: string
  /** Whether a payload can be nothing but an event of this API. */
  readonly recognises: (payload: JsonObject) => boolean
  readonly start: (session: Session) => DialectReader
}

export interface DialectReader {
  /** `event` is the name that stood beside the payload, for payloads that do not say what they are. */
  readonly read: (payload: JsonObject, event: string | undefined) => void
  /** Reports an error. What is open ends, now or when the API says so. */
  readonly fail: (raw: Json) => void
  /** `[DONE]`: all that is open is whole. */
  readonly done: () => void
  /** The connection is over; what is not known to be whole is interrupted. */
  readonly end: () => void
  /** The answer that is open, the first of several. */
  readonly openMessageId: () => string | undefined
}

export function createDecoder(dialect: Dialect, options: StreamOptions): StreamDecoder {
  const limits = { ...defaultStreamLimits, ...options.limits }
  const source = { provider: options.provider ?? dialect.provider, api: dialect.api }
  const sse = createSseReader({ limitChars: limits.eventChars })
  let events: StreamEvent[] = []
  let isOver = false
  const session = createSession(source, options, (event) => events.push(event))
  const reader = dialect.start(session)

  const drain = (): StreamEvent[] => {
    const drained = events
    events = []
    return drained
  }

  const take = ({ event, data }: SseEvent): void => {
    if (data.includes('\ufffd')) {
      session.notice('replaced_bytes', 'the event holds U+FFFD: its bytes were not UTF-8, or it was written so', data)
    }
    for (const payload of readPayloads(data)) {
      if (payload.type === 'done') reader.done()
      else if (payload.type === 'json') takeValue(payload.value, event)
      else if (event === 'error') reader.fail(payload.text)
      else session.notice('unreadable', payload.problem, payload.text)
    }
  }

  const takeValue = (value: Json, event: string | undefined): void => {
    const payload = asObject(value)
    if (payload === undefined) session.notice('unknown', 'the event is no object', value)
    else if (isError(payload, event)) reader.fail(payload)
    else reader.read(payload, event)
  }

  const passedByAnswers = (): keyof StreamLimits | undefined => {
    const { chars, parts } = session.held()
    return chars > limits.answerChars ? 'answerChars' : parts > limits.answerParts ? 'answerParts' : undefined
  }

  const takeAll = (arrived: readonly SseEvent[]): void => {
    for (const event of arrived) {
      take(event)
      if (passedByAnswers() !== undefined) break
    }
    const passed = passedByAnswers() ?? (sse.hasOverflowed() ? 'eventChars' : undefined)
    if (passed === undefined) return
    isOver = true
    const messageId = reader.openMessageId()
    const error = streamLimitError(source.provider, passed, limits[passed])
    session.emit({ type: 'errorReported', ...(messageId !== undefined && { messageId }), error })
    reader.end()
  }

  return {
    push: (chunk) => {
      if (!isOver) takeAll(sse.push(chunk))
      return drain()
    },
    end: () => {
      if (!isOver) takeAll(sse.end())
      if (!isOver) reader.end()
      isOver = true
      return drain()
    },
    reopen: () => sse.reopen(),
  }
}

/** Everything a source of chunks brings, decoded as it arrives. When the source throws, what is open ends first. */
export async function* decodeStream(
  decoder: StreamDecoder,
  chunks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
): AsyncGenerator<StreamEvent, void, undefined> {
  try {
    for await (const chunk of chunks) yield* decoder.push(chunk)
  } catch (cause) {
    yield* decoder.end()
    throw cause
  }
  yield* decoder.end()
}

export function reportError(session: Session, messageId: string | undefined, raw: Json): void {
  const error = readError(session.provider, raw)
  session.emit({ type: 'errorReported', ...(messageId !== undefined && { messageId }), error })
}

/** `{type: error}` (Anthropic, Responses), `{object: error}` (vLLM), `{error: ...}` (the others), and FastAPI's `{detail}` alone. */
function isError(payload: JsonObject, event: string | undefined): boolean {
  const { type, object, error, detail } = payload
  if (event === 'error' || type === 'error' || object === 'error') return true
  if (type !== undefined) return false
  return (error !== undefined && error !== null && error !== false) || (detail !== undefined && Object.keys(payload).length === 1)
}
