/**
 * Recorded calls of Anthropic Messages, OpenAI Responses and Chat Completions: `{uri, status, request, response}`, a list of them or
 * JSON lines; bodies as JSON, streamed answers as the text of the stream. One conversation may go from one provider to another.
 *
 * Each request resends what was said before. What is known already is not said again: a request that continues a conversation adds
 * its new messages and its answer to it. One that goes on from an earlier message (the same call made twice) begins a fork behind it;
 * behind a part of a message, where no fork can be, a conversation that names where it came from; and one that shares nothing with the
 * others a conversation of its own. Answers are known by the provider's response id, new messages
 * of a request by the number of the exchange.
 *
 * The exchange itself is kept beside its answer, as a record from which it can be put together again: fields of the request and
 * leading messages that are those of the exchange before are named and not repeated, words that stand in a message of the
 * conversation are pointers to it.
 */
import {
  type ConversationAction,
  canonicalJson,
  defaultLimits,
  errorRecorded,
  foreignRecordKept,
  forkIdOf,
  type ImportedFile,
  type ImportedFork,
  isColloquyError,
  type Json,
  type JsonObject,
  type Media,
  type Message,
} from '@colloquy/core'
import { contentId, conversationIds } from '../content-id.ts'
import { asString } from '../fields.ts'
import { badLineEntry, fileValues, valuesIn } from '../file-values.ts'
import { mediaShelf } from '../media-shelf.ts'
import { refusal } from '../refusal.ts'
import type { SourceFile, TranscriptFormat } from '../source-file.ts'
import { withoutWords, wordsOf } from '../without-words.ts'
import { type ThreadEntry, type ThreadMessage, writeThread } from '../write-thread.ts'
import { type Answer, decodeAnswer, decodeRequest, type Exchange, readExchange } from './exchange.ts'
import { beginning, extend, followKnown, isEndOfMessage, type SaidNode, saidBy } from './exchange-tree.ts'

const format = 'exchanges'

export const exchanges: TranscriptFormat = {
  id: format,
  describe: 'requests with their answers of the Messages, Responses and Chat Completions APIs',
  files: ['json', 'jsonl'],
  matches: (file) => valuesIn(file).some(({ value }) => readExchange(value) !== undefined),
  importFile,
}

/** A conversation that grows with the exchanges. */
interface Growing {
  readonly id: string
  readonly responseId: string
  /** Where it branched off. */
  readonly from: SaidNode
  readonly entries: ThreadEntry[]
  readonly media: Media[]
  tip: SaidNode
  /** What the present exchange said. */
  readonly said: SaidNode[]
  /** The system prompt that it was last called with. */
  system: string
}

/** @throws `import_refused` with the number of the exchange, and what in it is not what it must be */
function importFile(file: SourceFile): ImportedFile {
  const { values, remarks: read, badLines, skipped } = fileValues(file)
  const nextId = conversationIds(file.options)
  const root = beginning()
  const growing: Growing[] = []
  const byTip = new Map<SaidNode, Growing>()
  const afterResponse = new Map<string, SaidNode>()
  /** The system prompt that held when something was said. */
  const systemAt = new Map<SaidNode, string>()
  const forkIds = new Set<string>()
  const recordOf = exchangeRecorder(file)

  for (const { line, path, value } of values) {
    const exchange = readExchange(value)
    if (exchange === undefined) {
      throw refusal(file.source, line, `${path} has no request with messages or input, and a response. Take it out of the file`)
    }
    const { request, answer } = decoded(file, line, path, exchange)
    const continued = afterResponse.get(asString(exchange.request.previous_response_id) ?? '')
    const { node, rest } = followKnown(continued ?? root, request.messages)
    const responseId = answer.responseId ?? `exchange-${line}`
    const conversation = byTip.get(node) ?? begin(node, responseId)
    byTip.delete(node)
    const said = [
      ...systemEntries(conversation, request.system, line),
      ...rest.map((message, index) => saidIn(conversation, message, `exchange-${line}.${index + 1}`, line, answer.startedAt)),
      ...answersIn(conversation, answer, responseId, line),
    ]
    const { record, media } = recordOf(exchange, line, said)
    conversation.entries.push(...said, { kind: 'actions', line, id: `exchange-${line}`, actions: [...failure(answer), record] })
    conversation.media.push(...request.media, ...answer.media, ...media)
    byTip.set(conversation.tip, conversation)
    for (const tip of conversation.said.splice(0)) systemAt.set(tip, conversation.system)
    if (answer.responseId !== undefined) afterResponse.set(answer.responseId, conversation.tip)
  }

  const written = growing.map(({ id, responseId, from, entries, media }, index) => {
    const shelf = mediaShelf(file.sha256)
    return writeThread({
      source: file.source,
      format,
      conversationId: id,
      started: forkPoint(from) ?? {
        source: { format, id: responseId },
        ...(from.conversationId !== undefined && {
          parent: {
            relation: 'fork',
            conversationId: from.conversationId,
            ...(from.messageId !== undefined && { messageId: from.messageId }),
          },
        }),
      },
      entries: [...(index === 0 ? badLines.map((bad) => badLineEntry(format, bad)) : []), ...entries],
      media: { ...shelf, all: () => [...new Map([...media, ...shelf.all()].map((each) => [each.hash, each])).values()] },
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    })
  })
  return {
    format,
    records: values.length + badLines.length + skipped.length,
    conversations: written.map(({ conversation }) => conversation),
    skipped,
    remarks: [...read, ...written.flatMap(({ remarks }) => remarks)],
  }

  function begin(from: SaidNode, responseId: string): Growing {
    const system = forkPoint(from) ? (systemAt.get(from) ?? '[]') : '[]'
    const conversation: Growing = {
      id: forkPoint(from) ? nextForkId(from.conversationId as string, responseId) : nextId(`${format}-${nameOf(responseId)}`),
      responseId,
      from,
      entries: [],
      media: [],
      tip: from,
      said: [],
      system,
    }
    growing.push(conversation)
    return conversation
  }

  /** Of a conversation: its answer, which is the same in each import; where that cannot be part of an id, its hash. */
  function nameOf(responseId: string): string {
    return responseId.length <= 64 && !responseId.includes('~') ? responseId : contentId(responseId, file.sha256)
  }

  function nextForkId(parentId: string, responseId: string): string {
    const name = nameOf(responseId)
    let id = forkIdOf(parentId, name)
    for (let n = 2; forkIds.has(id); n++) id = forkIdOf(parentId, `${name}.${n}`)
    forkIds.add(id)
    return id
  }
}

/** A fork has whole messages of its parent. */
function forkPoint(from: SaidNode): ImportedFork | undefined {
  const { conversationId: parentId, messageId } = from
  if (parentId === undefined || messageId === undefined || !isEndOfMessage(from)) return undefined
  return { parentId, afterCommandId: `${format}:${messageId}`, messageId }
}

function decoded(file: SourceFile, line: number, path: string, exchange: Exchange) {
  try {
    return { request: decodeRequest(exchange, file), answer: decodeAnswer(exchange, file) }
  } catch (error) {
    if (!isColloquyError(error)) throw error
    throw refusal(file.source, line, `${path} could not be read: ${error.message}`, error)
  }
}

/** A system prompt is no part of the list, and is said again only when it changes. */
function systemEntries(conversation: Growing, system: readonly Message[], line: number): ThreadMessage[] {
  const said = canonicalJson(system.map(({ role, parts }) => [role, parts] as unknown as Json))
  if (said === conversation.system) return []
  conversation.system = said
  return system.map((message, index) => {
    const { v: _, id: __, ...rest } = message
    return { kind: 'message', line, id: `exchange-${line}.system${index > 0 ? `.${index + 1}` : ''}`, message: rest, records: [] }
  })
}

function answersIn(conversation: Growing, answer: Answer, responseId: string, line: number): ThreadMessage[] {
  const { messages, model, usage, endedAt } = answer
  const last = messages.findLastIndex(({ role }) => role === 'assistant')
  return messages.map((message, index) => ({
    ...saidIn(conversation, message, index === 0 ? responseId : `${responseId}.${index + 1}`, line, endedAt, model),
    usage: index === last ? usage : undefined,
  }))
}

/** The message as it joins the conversation, which it makes longer by what it says. */
function saidIn(
  conversation: Growing,
  decodedMessage: Message,
  id: string,
  line: number,
  occurredAt: number | undefined,
  model?: Message['model'],
): ThreadMessage {
  const { v: _, id: __, ...said } = decodedMessage
  for (const part of said.parts) {
    const key = saidBy(said, part)
    if (key === undefined) continue
    conversation.tip = extend(conversation.tip, key, conversation.id, id)
    conversation.said.push(conversation.tip)
  }
  const message = { ...said, ...(occurredAt !== undefined && { createdAt: occurredAt }) }
  return {
    kind: 'message',
    line,
    id,
    occurredAt,
    message: said.role === 'assistant' && model ? { ...message, model } : message,
    records: [],
  }
}

function failure({ problem, messages }: Answer): ConversationAction[] {
  if (problem === undefined) return []
  return [errorRecorded({ kind: messages.length > 0 ? 'stream_error' : 'api_error', problem })]
}

/** Keeps what an exchange said beside its messages, and nothing that an earlier one said already. */
function exchangeRecorder({ sha256 }: SourceFile) {
  const words = new Map<string, string>()
  const before = new Map<string, { readonly line: number; readonly request: JsonObject; readonly items: readonly string[] }>()

  return ({ api, fields, request, listKey, list }: Exchange, line: number, said: readonly ThreadMessage[]) => {
    for (const { id, message } of said) {
      for (const [text, pointer] of wordsOf(message, id)) if (!words.has(text)) words.set(text, pointer)
    }
    const previous = before.get(api)
    const items = Array.isArray(request[listKey]) ? list.map((item) => canonicalJson(item)) : []
    before.set(api, { line, request, items })
    const firstNew = items.findIndex((item, index) => item !== previous?.items[index])
    const sameItems = firstNew < 0 ? items.length : firstNew
    const sameFields = Object.keys(request).filter((key) => {
      const earlier = previous?.request[key]
      return key !== listKey && earlier !== undefined && canonicalJson(earlier) === canonicalJson(request[key])
    })
    const kept = Object.entries(request).filter(([key]) => !sameFields.includes(key))
    const ownRequest = { ...Object.fromEntries(kept), ...(items.length > 0 && { [listKey]: list.slice(sameItems) }) }
    const media = mediaShelf(sha256)
    const record = {
      ...(previous &&
        (sameFields.length > 0 || sameItems > 0) && {
          $as: { exchange: previous.line, fields: sameFields, messages: sameItems },
        }),
      ...(withoutWords(media.replaceIn({ ...fields, request: ownRequest }), words) as JsonObject),
    }
    const reason = 'the call that the messages before it were said in'
    return {
      record: foreignRecordKept({ format, recordType: `exchange/${api}`, line, reason, record }),
      media: media.all(),
    }
  }
}
