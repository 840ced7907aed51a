/** One answer of Gemini while its chunks arrive. */
import type { JsonObject, Part } from '@colloquy/core'
import { asId, asList, asObject, asString } from '../codecs/fields.ts'
import type { Answer, OpenPart, Session } from './answer.ts'
import { asText, lookUp } from './fields.ts'
import { createPartialArguments, type PartialArguments } from './partial-arguments.ts'
import type { Stop } from './stream-event.ts'
import { givenArguments } from './tool-arguments.ts'

/** Text that goes on until another kind of part, or a signature, comes. */
interface OpenText {
  readonly kind: 'text' | 'reasoning'
  readonly part: OpenPart
  readonly signature: string | undefined
}

interface OpenCall {
  readonly part: OpenPart
  readonly callId: string
  readonly name: string
  readonly args: PartialArguments
  readonly signature: string | undefined
  isSound: boolean
}

export interface Candidate {
  readonly answer: Answer
  text: OpenText | undefined
  call: OpenCall | undefined
  calls: number
  /** Code that the provider runs; a result is of the last one. */
  codes: number
  lastCode: string | undefined
  finish: string | undefined
}

export function openCandidate(answer: Answer): Candidate {
  return { answer, text: undefined, call: undefined, calls: 0, codes: 0, lastCode: undefined, finish: undefined }
}

export function takePart(session: Session, candidate: Candidate, part: JsonObject): void {
  const signature = asText(part.thoughtSignature)
  const call = asObject(part.functionCall)
  if (typeof part.text === 'string') return takeText(candidate, part.text, part.thought === true, signature)
  closeText(candidate)
  if (call !== undefined) return takeCall(session, candidate, call, signature)
  closeCall(candidate, true)
  candidate.answer.add(wholePart(candidate, part))
}

/** Google wants signatures back in the part in which they came, so texts with one are never joined with others. */
function takeText(candidate: Candidate, text: string, isThought: boolean, signature: string | undefined): void {
  if (text === '' && signature === undefined) return
  closeCall(candidate, true)
  const kind = isThought ? 'reasoning' : 'text'
  const { text: open, answer } = candidate
  if (open?.kind !== kind || open.signature !== undefined || signature !== undefined) {
    closeText(candidate)
    candidate.text = { kind, part: answer.open(kind), signature }
  }
  if (text !== '') candidate.text?.part.append({ kind, text })
  if (signature !== undefined) candidate.text?.part.append({ kind: 'signature', signature })
}

/** Whole with `args`; or begun with a name and `willContinue`, continued by values with their paths, ended by one that does not continue. */
function takeCall(session: Session, candidate: Candidate, call: JsonObject, signature: string | undefined): void {
  const name = asText(call.name)
  if (name !== undefined) {
    // A call that the server never ended: the next one ends it.
    closeCall(candidate, true)
    openCall(candidate, name, call, signature)
  }
  const open = candidate.call
  if (open === undefined) return session.notice('unknown', 'a piece of a call that did not begin', call)
  const pieces = asList(call.partialArgs) ?? []
  if (!open.args.take(pieces)) {
    open.isSound = false
    session.notice('unreadable', 'a value of the arguments has no place among the others', call)
  }
  candidate.answer.hold(JSON.stringify(pieces).length)
  if (call.willContinue !== true) closeCall(candidate, true)
}

function openCall(candidate: Candidate, name: string, call: JsonObject, signature: string | undefined): void {
  const callId = asId(call.id) ?? `call_${candidate.calls}`
  candidate.calls++
  const part = candidate.answer.open('tool_call', { callId, name })
  candidate.call = { part, callId, name, args: createPartialArguments(asObject(call.args)), signature, isSound: true }
  if (signature !== undefined) part.append({ kind: 'signature', signature })
}

function closeText(candidate: Candidate): void {
  const { text: open } = candidate
  candidate.text = undefined
  if (open === undefined) return
  const { kind, part, signature } = open
  if (kind === 'text') part.finish({ type: 'text', text: part.text(), ...signed(signature) })
  else
    part.finish({ type: 'reasoning', text: part.text(), ...(signature !== undefined && { signature }), redacted: false, origin })
}

function closeCall(candidate: Candidate, isWhole: boolean): void {
  const { call } = candidate
  candidate.call = undefined
  if (call === undefined) return
  const { part, callId, name, args, signature, isSound } = call
  const { raw, json } = givenArguments(args.value())
  part.complete('arguments', raw)
  part.finish({
    type: 'tool_call',
    callId,
    name,
    args: isWhole && isSound && json !== undefined ? { raw, json, valid: true } : { raw, valid: false },
    executor: { kind: 'client' },
    ...signed(signature),
  })
}

export function finishCandidate(candidate: Candidate, finish: string): void {
  closeText(candidate)
  closeCall(candidate, finish !== 'MAX_TOKENS')
  if (candidate.finish !== undefined) return
  candidate.finish = finish
  const unified = finish === 'STOP' && candidate.calls > 0 ? 'tool_calls' : (lookUp(stops, finish) ?? 'other')
  candidate.answer.stop({ unified, raw: finish })
}

export function endCandidate(candidate: Candidate, how: 'whole' | 'cut' | 'failed'): void {
  const { answer, finish } = candidate
  closeText(candidate)
  closeCall(candidate, how === 'whole')
  if (how === 'failed') answer.stop({ unified: 'error', raw: null })
  else if (how === 'whole') answer.stop({ unified: candidate.calls > 0 ? 'tool_calls' : 'end', raw: null })
  answer.end({ interrupted: how === 'failed' || (how === 'cut' && finish === undefined) })
}

/** A part that comes in one chunk: a file, or code that the provider runs. */
function wholePart(candidate: Candidate, part: JsonObject): Part {
  const { answer } = candidate
  const inline = asObject(part.inlineData)
  const file = asObject(part.fileData)
  const code = asObject(part.executableCode)
  const result = asObject(part.codeExecutionResult)
  const signature = signed(asText(part.thoughtSignature))
  const mediaType = asText(inline?.mimeType) ?? asText(file?.mimeType) ?? 'application/octet-stream'
  const media = { type: 'media', kind: mediaKind(mediaType), mediaType, ...signature } as const
  const stored = inline && answer.putMedia(mediaType, asString(inline.data) ?? '')
  if (stored !== undefined) return { ...media, source: { kind: 'hash', ...stored } }
  const url = asText(file?.fileUri)
  if (url !== undefined) return { ...media, source: { kind: 'url', url } }
  if (code !== undefined) {
    candidate.lastCode = asId(code.id) ?? `code_${candidate.codes++}`
    const call = { callId: candidate.lastCode, name: 'code_execution', args: givenArguments(code) }
    return { type: 'tool_call', ...call, executor: { kind: 'provider' }, ...signature }
  }
  if (result !== undefined && candidate.lastCode !== undefined) {
    const status = result.outcome === 'OUTCOME_OK' ? 'ok' : 'error'
    const text = asString(result.output) ?? ''
    return { type: 'tool_result', callId: candidate.lastCode, status, content: [{ type: 'text', text }], raw: part }
  }
  return { type: 'custom', kind: `google.${Object.keys(part)[0] ?? 'unknown'}`, payload: part }
}

function mediaKind(mediaType: string): Extract<Part, { type: 'media' }>['kind'] {
  const kind = mediaType.slice(0, mediaType.indexOf('/'))
  return kind === 'image' || kind === 'audio' || kind === 'video' ? kind : mediaType === 'application/pdf' ? 'document' : 'file'
}

const origin = { provider: 'google', api: 'generate_content' }

/** Text and calls have no signature of their own in our model. */
const signed = (thoughtSignature: string | undefined) =>
  thoughtSignature === undefined ? {} : { providerMetadata: { thoughtSignature } }

const stops: Readonly<Record<string, Stop['unified']>> = {
  STOP: 'end',
  MAX_TOKENS: 'length',
  SAFETY: 'content_filter',
  RECITATION: 'content_filter',
  BLOCKLIST: 'content_filter',
  PROHIBITED_CONTENT: 'content_filter',
  SPII: 'content_filter',
  IMAGE_SAFETY: 'content_filter',
  MALFORMED_FUNCTION_CALL: 'error',
  UNEXPECTED_TOOL_CALL: 'error',
}
