/** One answer of a chat completion while its chunks arrive. */
import type { Json, JsonObject } from '@colloquy/core'
import { asCount, asId, asList, asObject, asString } from '../codecs/fields.ts'
import type { Answer, OpenPart, Session } from './answer.ts'
import { asText, lookUp } from './fields.ts'
import { mergeReasoningDetails } from './reasoning-details.ts'
import type { Citation, Stop } from './stream-event.ts'
import { toolArguments } from './tool-arguments.ts'

export interface Choice {
  readonly answer: Answer
  /** Texts of one kind are one part, as in an answer that is not streamed, in whatever order their pieces come. */
  text: OpenPart | undefined
  reasoning: OpenPart | undefined
  refusal: OpenPart | undefined
  readonly citations: Json[]
  readonly details: JsonObject[]
  readonly calls: Call[]
  hasCalls: boolean
  hasRefusal: boolean
  /** The reason for which it finished; undefined while it has not. */
  finish: string | undefined
}

interface Call {
  readonly index: number | undefined
  readonly part: OpenPart
  readonly callId: string
  /** Undefined where the server gave none. */
  readonly givenId: string | undefined
  name: string
  /** Its arguments are no text and no object: nobody can say what the tool was to be called with. */
  isUnusable: boolean
}

export function openChoice(answer: Answer): Choice {
  return {
    answer,
    text: undefined,
    reasoning: undefined,
    refusal: undefined,
    citations: [],
    details: [],
    calls: [],
    hasCalls: false,
    hasRefusal: false,
    finish: undefined,
  }
}

export function takeDelta(session: Session, choice: Choice, delta: JsonObject, logprobs: JsonObject | undefined): void {
  takeReasoning(choice, delta)
  takeContent(choice, delta.content, asList(logprobs?.content))
  const refusal = asText(delta.refusal)
  if (refusal !== undefined) {
    choice.hasRefusal = true
    choice.refusal ??= choice.answer.open('refusal')
    choice.refusal.append({ kind: 'refusal', text: refusal, ...withLogprobs(asList(logprobs?.refusal)) })
  }
  for (const raw of asList(delta.annotations) ?? []) {
    choice.citations.push(raw)
    choice.text ??= choice.answer.open('text')
    choice.text.append({ kind: 'citation', citation: citationOf(raw) })
  }
  for (const call of asList(delta.tool_calls) ?? []) {
    const entry = asObject(call) ?? {}
    takeCall(session, choice, entry, asObject(entry.function))
  }
  const legacy = asObject(delta.function_call)
  if (legacy !== undefined) takeCall(session, choice, { index: 0 }, legacy)
}

export function finishChoice(choice: Choice, finish: string | undefined): void {
  choice.finish = finish
  closeParts(choice, finish !== 'length')
  const { answer, hasCalls, hasRefusal } = choice
  const said = finish === undefined ? 'end' : (lookUp(stops, finish) ?? 'other')
  // Servers say "stop" beside calls and refusals too; what is to be done next is not the end.
  const unified = said === 'end' && hasCalls ? 'tool_calls' : said === 'end' && hasRefusal ? 'refusal' : said
  answer.stop({ unified, raw: finish ?? null })
}

export function endChoice(choice: Choice, sources: readonly Json[], how: 'whole' | 'cut' | 'failed'): void {
  const { answer, finish } = choice
  if (how === 'whole' && finish === undefined) finishChoice(choice, undefined)
  closeParts(choice, finish !== undefined)
  for (const [index, source] of sources.entries()) {
    const url = asText(source) ?? asText(asObject(source)?.url)
    const title = asText(asObject(source)?.title)
    answer.add({
      type: 'citation_source',
      sourceId: String(index + 1),
      ...(url !== undefined && { url }),
      ...(title !== undefined && { title }),
    })
  }
  if (how === 'failed') answer.stop({ unified: 'error', raw: null })
  answer.end({ interrupted: how === 'failed' || (how === 'cut' && finish === undefined) })
}

/** Text; or a list of parts, as Mistral writes it. */
function takeContent(choice: Choice, content: Json | undefined, logprobs: readonly Json[] | undefined): void {
  const text = asText(content)
  if (text !== undefined) {
    choice.text ??= choice.answer.open('text')
    choice.text.append({ kind: 'text', text, ...withLogprobs(logprobs) })
  }
  for (const inner of asList(content) ?? []) {
    const { type, text: said, thinking } = asObject(inner) ?? {}
    if (type === 'text') takeContent(choice, asString(said), undefined)
    else if (type === 'thinking') {
      const thoughts = asList(thinking)?.map((thought) => asString(asObject(thought)?.text) ?? '')
      takeReasoning(choice, { reasoning: thoughts?.join('') ?? thinking ?? null })
    } else choice.answer.add({ type: 'custom', kind: `openai.${asString(type) ?? 'unknown'}`, payload: inner })
  }
}

/** Under `reasoning_content` or `reasoning`; OpenRouter repeats it in `reasoning_details`, with what only the provider can read. */
function takeReasoning(choice: Choice, delta: JsonObject): void {
  const details = (asList(delta.reasoning_details) ?? []).map((detail) => asObject(detail) ?? {})
  const inDetails = details.map((detail) => asText(detail.text) ?? asText(detail.summary) ?? '').join('')
  const text = asText(delta.reasoning_content) ?? asText(delta.reasoning) ?? asText(inDetails)
  if (text === undefined && details.length === 0) return
  choice.reasoning ??= choice.answer.open('reasoning')
  mergeReasoningDetails(choice.details, details)
  choice.answer.hold(JSON.stringify(details).length)
  if (text !== undefined) choice.reasoning.append({ kind: 'reasoning', text })
}

function takeCall(session: Session, choice: Choice, entry: JsonObject, given: JsonObject | undefined): void {
  const index = asCount(entry.index)
  const givenId = asId(entry.id)
  const name = asText(given?.name)
  const text = argumentsText(given?.arguments)
  const call = callOf(choice, { index, givenId, name, text }) ?? openCall(choice, index, givenId, name)
  if (call.name === '' && name !== undefined) call.name = name
  if (text === undefined) return
  if (typeof given?.arguments !== 'string' && asObject(given?.arguments) === undefined) {
    call.isUnusable = true
    session.notice('unreadable', `the arguments of the call ${call.callId} are neither a text nor an object`, entry)
  }
  // Servers that send a call a second time repeat its id and name, or all of it; the arguments then begin anew.
  const before = call.part.text()
  const isRepeated = name !== undefined && before !== '' && (givenId === undefined ? text === before : text.startsWith(before))
  if (isRepeated) session.notice('repeated', `the call ${call.callId} was sent again`, entry)
  const more = isRepeated ? text.slice(before.length) : text
  if (more !== '') call.part.append({ kind: 'arguments', text: more })
}

/** A piece of their text; some servers send the value itself, which then is all of them. */
function argumentsText(value: Json | undefined): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function openCall(choice: Choice, index: number | undefined, givenId: string | undefined, name: string | undefined): Call {
  const callId = givenId ?? freeCallId(choice, index)
  const part = choice.answer.open('tool_call', { callId, ...(name !== undefined && { name }) })
  const call: Call = { index, part, callId, givenId, name: name ?? '', isUnusable: false }
  choice.calls.push(call)
  choice.hasCalls = true
  return call
}

/** Of the index of the call, or of the next one, where several calls have it. */
function freeCallId({ calls }: Choice, index = calls.length): string {
  let number = index
  while (calls.some(({ callId }) => callId === `call_${number}`)) number++
  return `call_${number}`
}

interface CallPiece {
  readonly index: number | undefined
  readonly givenId: string | undefined
  readonly name: string | undefined
  readonly text: string | undefined
}

/** The call that an entry continues: at its index, else by its id, else the last one. */
function callOf({ calls }: Choice, { index, givenId, name, text }: CallPiece): Call | undefined {
  if (index === undefined && givenId !== undefined) return calls.findLast((call) => call.givenId === givenId)
  const last = index === undefined ? calls.at(-1) : calls.findLast((call) => call.index === index)
  if (last === undefined || name === undefined || (givenId !== undefined && last.givenId === givenId)) return last
  // Some servers give every call the same index, or none, and an empty id. Another id or name begins another call unless the arguments
  // are still open; so does the same name with other arguments when nothing can follow those that are there.
  const before = last.part.text()
  const isOther = givenId !== undefined || (last.name !== '' && last.name !== name)
  if (isOther) return before === '' || toolArguments(before, true).valid ? undefined : last
  const mayBeOther = text !== undefined && text !== before && text.trim() !== '' && before.trimEnd().endsWith('}')
  return mayBeOther && toolArguments(before, true).valid ? undefined : last
}

function closeParts(choice: Choice, isWhole: boolean): void {
  const { text, reasoning, refusal, citations, details, calls } = choice
  if (text !== undefined) {
    const found = citations.splice(0).map(citationOf)
    text.finish({ type: 'text', text: text.text(), ...(found.length > 0 && { citations: found }) })
  }
  if (reasoning !== undefined) {
    const kept = details.splice(0)
    const encrypted = kept.map((detail) => asText(detail.data)).find((data) => data !== undefined)
    const signature = kept.map((detail) => asText(detail.signature)).find((found) => found !== undefined)
    reasoning.finish({
      type: 'reasoning',
      ...(reasoning.text() !== '' && { text: reasoning.text() }),
      ...(signature !== undefined && { signature }),
      ...(encrypted !== undefined && { encrypted }),
      redacted: false,
      origin: choice.answer.origin,
      ...(kept.length > 0 && { providerMetadata: { reasoning_details: kept } }),
    })
  }
  if (refusal !== undefined) refusal.finish({ type: 'refusal', text: refusal.text() })
  for (const { part, callId, name, isUnusable } of calls.splice(0)) {
    const args = isUnusable ? { raw: part.text(), valid: false } : toolArguments(part.text(), isWhole)
    part.finish({ type: 'tool_call', callId, name, args, executor: { kind: 'client' } })
  }
  choice.text = undefined
  choice.reasoning = undefined
  choice.refusal = undefined
}

function citationOf(raw: Json): Citation {
  const { type } = asObject(raw) ?? {}
  const inner = asObject(asObject(raw)?.[asString(type) ?? '']) ?? {}
  const [url, title] = [asText(inner.url), asText(inner.title)]
  const [start, end] = [asCount(inner.start_index), asCount(inner.end_index)]
  return {
    kind: asString(type) ?? 'unknown',
    ...(url !== undefined && { url }),
    ...(title !== undefined && { title }),
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
    raw,
  }
}

const withLogprobs = (logprobs: readonly Json[] | undefined) =>
  (logprobs?.length ?? 0) > 0 ? { logprobs: logprobs as Json } : {}

const stops: Readonly<Record<string, Stop['unified']>> = {
  stop: 'end',
  eos: 'end',
  end_turn: 'end',
  length: 'length',
  model_length: 'length',
  tool_calls: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
  error: 'error',
  insufficient_system_resource: 'error',
}
