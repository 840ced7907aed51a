/** The stream of the Messages API: https://platform.claude.com/docs/en/build-with-claude/streaming */
import type { Json, JsonObject, Usage } from '@colloquy/core'
import { asCount, asList, asObject, asString } from '../codecs/fields.ts'
import type { Answer, OpenPart, Session, TextKind } from './answer.ts'
import { citationOf, partOfBlock } from './anthropic-blocks.ts'
import { createDecoder, type Dialect, type DialectReader, reportError } from './decoder.ts'
import { asText, countOf, lookUp, present } from './fields.ts'
import type { Stop, StreamDecoder, StreamOptions } from './stream-event.ts'

export const anthropic: Dialect = {
  provider: 'anthropic',
  api: 'messages',
  recognises: ({ type }) => typeof type === 'string' && eventTypes.has(type),
  start: readAnthropic,
}

export const createAnthropicDecoder = (options: StreamOptions): StreamDecoder => createDecoder(anthropic, options)

const eventTypes: ReadonlySet<string> = new Set([
  'message_start',
  'content_block_start',
  'content_block_delta',
  'content_block_stop',
  'message_delta',
  'message_stop',
])

interface Block {
  readonly part: OpenPart
  /** As it began; what arrives since then is in `part` and in `arrived`. */
  readonly start: JsonObject
  readonly arrived: { readonly citations: Json[]; signature?: string; encrypted_content?: string }
}

interface Current {
  readonly answer: Answer
  readonly id: string | undefined
  readonly open: Map<number, Block>
  usage: JsonObject
  hasStop: boolean
  hasClientCalls: boolean
}

function readAnthropic(session: Session): DialectReader {
  let current: Current | undefined
  let hasEnded = false

  const begin = (id: string | undefined, model: string | undefined): Current => {
    const answer = session.openAnswer({ responseId: id, model })
    current = { answer, id, open: new Map(), usage: {}, hasStop: false, hasClientCalls: false }
    return current
  }
  // A stream whose beginning is lost has no message_start.
  const ensure = (): Current => current ?? begin(undefined, undefined)

  const end = (how: 'whole' | 'cut' | 'failed'): void => {
    if (current === undefined) return
    const { answer, open, hasStop, hasClientCalls } = current
    for (const block of open.values()) finish(block, false)
    if (how === 'failed') answer.stop({ unified: 'error', raw: null })
    // After message_stop without a reason nothing was cut; an answer whose reason came has all its parts.
    else if (how === 'whole' && !hasStop) answer.stop({ unified: hasClientCalls ? 'tool_calls' : 'end', raw: null })
    answer.end({ interrupted: how === 'failed' || (how === 'cut' && !hasStop) })
    current = undefined
    hasEnded = true
  }

  const startMessage = (message: JsonObject): void => {
    const id = asText(message.id)
    if (current !== undefined && id !== undefined && current.id === id) {
      session.notice('repeated', `message_start of ${id} came again`, message)
      return
    }
    end('cut')
    const started = begin(id, asText(message.model))
    // Answers that only call tools from code have their blocks and their end in message_start.
    for (const [index, value] of (asList(message.content) ?? []).entries()) {
      startBlock(started, index, value)
      stopBlock(started, index)
    }
    takeEnd(started, message, message.usage)
  }

  const startBlock = (answering: Current, index: number, value: Json | undefined): Block => {
    const { answer, open } = answering
    const start = asObject(value) ?? { type: 'unknown', value: value ?? null }
    const before = open.get(index)
    if (before !== undefined) finish(before, false)
    if (start.type === 'tool_use') answering.hasClientCalls = true
    const head = partOfBlock(start, { text: '', isWhole: false })
    const call = head.type === 'tool_call' ? { callId: head.callId, name: head.name } : {}
    const part = answer.open(head.type, { place: index, ...call })
    const block: Block = { part, start, arrived: { citations: [...(asList(start.citations) ?? [])] } }
    open.set(index, block)
    const texts = lookUp(textBlocks, asString(start.type))
    const text = texts && asText(start[texts.field])
    if (texts !== undefined && text !== undefined) part.append({ kind: texts.kind, text })
    return block
  }

  const stopBlock = ({ open }: Current, index: number): void => {
    const block = open.get(index)
    if (block === undefined) return
    finish(block, true)
    open.delete(index)
  }

  const takeDelta = (answering: Current, index: number, delta: JsonObject, event: JsonObject): void => {
    const implied = lookUp(impliedBlocks, asString(delta.type))
    const block = answering.open.get(index) ?? (implied && startBlock(answering, index, implied(index)))
    const unknown = (): void =>
      session.notice('unknown', `a delta of type ${asString(delta.type) ?? 'none'}, which its block does not take`, event)
    if (block === undefined) return unknown()
    const { part, start, arrived } = block
    const append = (kind: TextKind, value: Json | undefined): void => {
      const text = asText(value)
      if (kind !== textKindOf(start)) unknown()
      else if (text !== undefined) part.append({ kind, text })
    }
    switch (delta.type) {
      case 'text_delta':
        return append('text', delta.text)
      case 'thinking_delta':
        return append('reasoning', delta.thinking)
      case 'input_json_delta':
        return append('arguments', delta.partial_json)
      case 'signature_delta': {
        const signature = asText(delta.signature)
        if (signature === undefined) return
        arrived.signature = signature
        return part.append({ kind: 'signature', signature })
      }
      case 'citations_delta':
        if (delta.citation === undefined) return unknown()
        arrived.citations.push(delta.citation)
        return part.append({ kind: 'citation', citation: citationOf(delta.citation) })
      case 'compaction_delta': {
        const encrypted = asText(delta.encrypted_content)
        if (encrypted !== undefined) arrived.encrypted_content = encrypted
        return append('compaction', delta.content)
      }
      default:
        return unknown()
    }
  }

  /** The fields that end an answer: of message_delta, or of a message_start that is a whole answer. */
  const takeEnd = (answering: Current, fields: JsonObject, usage: Json | undefined): void => {
    const { answer } = answering
    const { stop_sequence, stop_details, container, context_management } = fields
    answer.keep(present({ stop_sequence, stop_details, container, context_management }))
    // Cumulative: what is reported again replaces what was there. The output_tokens of message_start are a placeholder.
    const reported = present(asObject(usage) ?? {})
    if (Object.keys(reported).length > 0) {
      answering.usage = { ...answering.usage, ...reported }
      answer.report(usageOf(answering.usage))
    }
    const reason = asText(fields.stop_reason)
    if (reason === undefined) return
    answering.hasStop = true
    answer.stop({ unified: lookUp(stops, reason) ?? 'other', raw: reason })
  }

  const read: DialectReader['read'] = (payload, name) => {
    const type = asString(payload.type) ?? name
    if (type === 'ping') return
    if (type === undefined || !eventTypes.has(type)) {
      return session.notice('unknown', `an event of type ${type ?? 'none'} that we do not know`, payload)
    }
    const index = asCount(payload.index) ?? 0
    switch (type) {
      case 'message_start':
        return startMessage(asObject(payload.message) ?? {})
      case 'content_block_start':
        startBlock(ensure(), index, payload.content_block)
        return
      case 'content_block_delta':
        return takeDelta(ensure(), index, asObject(payload.delta) ?? {}, payload)
      case 'content_block_stop':
        return stopBlock(ensure(), index)
      case 'message_delta':
        if (current === undefined && hasEnded) return session.notice('repeated', 'message_delta came after message_stop', payload)
        return takeEnd(ensure(), { ...payload, ...asObject(payload.delta) }, payload.usage)
      default:
        return end('whole')
    }
  }

  const openMessageId = (): string | undefined => current?.answer.messageId

  return {
    read,
    fail: (raw) => {
      reportError(session, openMessageId(), raw)
      end('failed')
    },
    // Gateways add it after message_stop.
    done: () => end('whole'),
    end: () => end('cut'),
    openMessageId,
  }
}

/** The block as an answer that is not streamed holds it, made a part. */
function finish({ part, start, arrived }: Block, isWhole: boolean): void {
  const text = part.text()
  const { citations, ...more } = arrived
  const field = lookUp(textBlocks, asString(start.type))?.field
  const texts = { ...(field !== undefined && { [field]: text }), ...(citations.length > 0 && { citations }) }
  const block = { ...start, ...more, ...texts }
  part.finish(partOfBlock(block, { text, isWhole }))
}

/** The kind of text that the deltas of a block bring. */
function textKindOf({ type }: JsonObject): TextKind | undefined {
  const name = asString(type)
  return lookUp(textBlocks, name)?.kind ?? (name?.endsWith('tool_use') ? 'arguments' : undefined)
}

/** The blocks whose deltas are a text of theirs, and the field in which a block that is not streamed has it. */
const textBlocks: { readonly [type: string]: { readonly kind: TextKind; readonly field: string } } = {
  text: { kind: 'text', field: 'text' },
  thinking: { kind: 'reasoning', field: 'thinking' },
  compaction: { kind: 'compaction', field: 'content' },
}

/** The block to which a delta belongs when its start is lost. */
const impliedBlocks: Readonly<Record<string, (index: number) => JsonObject>> = {
  text_delta: () => ({ type: 'text' }),
  citations_delta: () => ({ type: 'text' }),
  thinking_delta: () => ({ type: 'thinking' }),
  signature_delta: () => ({ type: 'thinking' }),
  compaction_delta: () => ({ type: 'compaction' }),
  input_json_delta: (index) => ({ type: 'tool_use', id: `call_${index}`, name: 'unknown' }),
}

const stops: Readonly<Record<string, Stop['unified']>> = {
  end_turn: 'end',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  stop_sequence: 'stop_sequence',
  tool_use: 'tool_calls',
  pause_turn: 'pause',
  refusal: 'refusal',
  compaction: 'compaction',
}

function usageOf(raw: JsonObject): Usage {
  const written = asObject(raw.cache_creation)
  const ttl5m = countOf(written?.ephemeral_5m_input_tokens)
  const ttl1h = countOf(written?.ephemeral_1h_input_tokens)
  const total = asCount(raw.cache_creation_input_tokens) ?? ttl5m + ttl1h
  // Only the sum is reported again at the end: a split that exceeds it is of the beginning.
  const hasSplit = ttl5m + ttl1h <= total
  const uses = Object.entries(asObject(raw.server_tool_use) ?? {}).filter(
    (entry): entry is [string, number] => asCount(entry[1]) !== undefined,
  )
  return {
    input: countOf(raw.input_tokens),
    output: countOf(raw.output_tokens),
    cacheRead: countOf(raw.cache_read_input_tokens),
    cacheWrite: hasSplit ? { ttl5m, ttl1h, other: total - ttl5m - ttl1h } : { ttl5m: 0, ttl1h: 0, other: total },
    reasoning: countOf(asObject(raw.output_tokens_details)?.thinking_tokens),
    ...(uses.length > 0 && { serverTools: Object.fromEntries(uses) }),
    raw,
  }
}
