/** The stream of the Responses API: https://platform.openai.com/docs/api-reference/responses-streaming */
import type { JsonObject, Usage } from '@colloquy/core'
import { asCount, asList, asObject, asString, sameJson } from '../codecs/fields.ts'
import type { Session } from './answer.ts'
import { createDecoder, type Dialect, type DialectReader, reportError } from './decoder.ts'
import { asText, asTime, countOf, lookUp, present } from './fields.ts'
import {
  closeItems,
  finishFromOutput,
  finishItem,
  type Items,
  openContent,
  openItem,
  openItems,
  placeOf,
  takeText,
} from './responses-open-items.ts'
import type { Stop, StreamDecoder, StreamOptions } from './stream-event.ts'

export const openaiResponses: Dialect = {
  provider: 'openai',
  api: 'responses',
  recognises: ({ type }) => asString(type)?.startsWith('response.') ?? false,
  start: readResponses,
}

export const createOpenAIResponsesDecoder = (options: StreamOptions): StreamDecoder => createDecoder(openaiResponses, options)

interface Current extends Items {
  readonly id: string | undefined
  /** The last one; numbers may have gaps, but they only grow. */
  sequence: number
  error: JsonObject | undefined
}

function readResponses(session: Session): DialectReader {
  /** Kept when it has ended, to know its events again when a connection repeats them. */
  let current: Current | undefined

  const begin = (response: JsonObject | undefined): Current => {
    const head = headOf(response)
    const items = openItems(session.openAnswer(head))
    current = { ...items, id: head.responseId, sequence: -1, error: undefined }
    return current
  }

  const read: DialectReader['read'] = (payload, name) => {
    const type = asString(payload.type) ?? name ?? ''
    if (type === 'keepalive') return
    if (!type.startsWith('response.')) return session.notice('unknown', `an event of type ${type} that we do not know`, payload)
    const response = asObject(payload.response)
    const sequence = asCount(payload.sequence_number)
    if (current !== undefined && isRepeated(current, type, response, sequence)) {
      return session.notice('repeated', `event ${sequence ?? type} was received before`, payload)
    }
    if (type === 'response.created') end('cut')
    const answering = current === undefined || current.answer.isEnded() ? begin(response) : current
    answering.sequence = sequence ?? answering.sequence
    take(answering, type, payload, response)
  }

  const take = (answering: Current, type: string, payload: JsonObject, response: JsonObject | undefined): void => {
    switch (type) {
      case 'response.created':
      case 'response.queued':
      case 'response.in_progress':
        return answering.answer.identify(headOf(response))
      case 'response.output_item.added': {
        const item = asObject(payload.item) ?? {}
        openItem(answering, placeOf(answering, payload, item, false), item)
        return
      }
      case 'response.output_item.done': {
        const item = asObject(payload.item) ?? {}
        return finishItem(answering, placeOf(answering, payload, item, true), item)
      }
      case 'response.content_part.added':
        return openContent(answering, payload, asObject(payload.part) ?? {})
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
      case 'response.cancelled':
        answering.answer.identify(headOf(response))
        return finishResponse(answering, response ?? {}, type.slice('response.'.length))
      default:
        if (!takeText(answering, type, payload) && !progress.test(type)) {
          session.notice('unknown', `an event of type ${type} that we do not know, or that its item does not take`, payload)
        }
    }
  }

  const finishResponse = (answering: Current, response: JsonObject, verb: string): void => {
    finishFromOutput(
      answering,
      (asList(response.output) ?? []).map((item) => asObject(item) ?? {}),
    )
    const { answer } = answering
    const usage = asObject(response.usage)
    if (usage !== undefined) answer.report(usageOf(usage))
    answer.keep(present({ incomplete_details: response.incomplete_details }))
    const error = asObject(response.error)
    if (error !== undefined && !isSameError(answering.error, error)) reportError(session, answer.messageId, { error })
    const status = asText(response.status) ?? verb
    // What is open is a call as well as what was said to be done.
    closeItems(answering)
    answer.stop(stopOf(answering, status, asText(asObject(response.incomplete_details)?.reason)))
    close(answering, status === 'failed' || status === 'cancelled')
  }

  const end = (how: 'whole' | 'cut'): void => {
    if (current === undefined || current.answer.isEnded()) return
    const hasFailed = current.error !== undefined
    // Gateways that add [DONE] may leave out response.completed.
    const isWhole = how === 'whole' && current.open.size === 0 && !hasFailed
    if (hasFailed) current.answer.stop({ unified: 'error', raw: null })
    else if (isWhole) current.answer.stop(stopOf(current, 'completed', undefined))
    close(current, !isWhole)
  }

  const close = (answering: Current, interrupted: boolean): void => {
    closeItems(answering)
    answering.answer.end({ interrupted })
  }

  return {
    read,
    fail: (raw) => {
      const payload = asObject(raw) ?? {}
      const sequence = asCount(payload.sequence_number)
      const open = current?.answer.isEnded() === false ? current : undefined
      if (current !== undefined && sequence !== undefined && sequence <= current.sequence) {
        return session.notice('repeated', `event ${sequence} was received before`, raw)
      }
      reportError(session, open?.answer.messageId, raw)
      if (open === undefined) return
      // response.failed follows, with the usage; when it does not, the end of the connection ends the answer.
      open.error = asObject(payload.error) ?? payload
      open.sequence = sequence ?? open.sequence
    },
    done: () => end('whole'),
    end: () => end('cut'),
    openMessageId: () => (current?.answer.isEnded() === false ? current.answer.messageId : undefined),
  }
}

function headOf(response: JsonObject | undefined) {
  return { responseId: asText(response?.id), model: asText(response?.model), createdAt: asTime(response?.created_at) }
}

/** Whether an event is of a response, or a part of one, that was read: a connection that is opened again repeats them. */
function isRepeated(current: Current, type: string, response: JsonObject | undefined, sequence: number | undefined): boolean {
  const id = asText(response?.id)
  const isEnded = current.answer.isEnded()
  // Gateways change the id inside a response, so another id is another response only where one may begin.
  if (id !== undefined && id !== current.id && (type === 'response.created' || isEnded)) return false
  if (isEnded) return true
  return sequence === undefined ? type === 'response.created' && id !== undefined : sequence <= current.sequence
}

/** Events that say nothing that another event does not say. */
const progress =
  /^response\.(content_part\.done|reasoning_summary_part\.(added|done)|(\w+_call|mcp_list_tools)\.(in_progress|searching|generating|interpreting|partial_image|completed|failed))$/

const isSameError = (known: JsonObject | undefined, error: JsonObject): boolean =>
  known !== undefined && sameJson(known.code, error.code) && sameJson(known.message, error.message)

function stopOf(items: Items, status: string, reason: string | undefined): Stop {
  if (status === 'failed') return { unified: 'error', raw: status }
  if (status === 'cancelled') return { unified: 'interrupted', raw: status }
  if (status === 'incomplete') return { unified: lookUp(incompleteReasons, reason) ?? 'other', raw: reason ?? status }
  if (status !== 'completed') return { unified: 'other', raw: status }
  const { hasApprovals, hasClientCalls, hasRefusal } = items
  return { unified: hasApprovals ? 'pause' : hasClientCalls ? 'tool_calls' : hasRefusal ? 'refusal' : 'end', raw: status }
}

const incompleteReasons: Readonly<Record<string, Stop['unified']>> = {
  max_output_tokens: 'length',
  content_filter: 'content_filter',
}

function usageOf(raw: JsonObject): Usage {
  const details = asObject(raw.input_tokens_details)
  const input = countOf(raw.input_tokens)
  const cacheRead = Math.min(input, countOf(details?.cached_tokens))
  const cacheWrite = Math.min(input - cacheRead, countOf(details?.cache_write_tokens))
  return {
    input: input - cacheRead - cacheWrite,
    output: countOf(raw.output_tokens),
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: cacheWrite },
    reasoning: countOf(asObject(raw.output_tokens_details)?.reasoning_tokens),
    raw,
  }
}
