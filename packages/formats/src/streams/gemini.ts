/** The stream of the Gemini API (`streamGenerateContent?alt=sse`): https://ai.google.dev/api/generate-content */
import type { JsonObject, Usage } from '@colloquy/core'
import { asCount, asList, asObject } from '../codecs/fields.ts'
import { parseIsoTime } from '../iso-time.ts'
import type { Session } from './answer.ts'
import { createDecoder, type Dialect, type DialectReader, reportError } from './decoder.ts'
import { asText, countOf, present } from './fields.ts'
import { type Candidate, endCandidate, finishCandidate, openCandidate, takePart } from './gemini-candidate.ts'
import type { StreamDecoder, StreamOptions } from './stream-event.ts'

export const gemini: Dialect = {
  provider: 'google',
  api: 'generate_content',
  recognises: ({ candidates, promptFeedback, usageMetadata }) =>
    Array.isArray(candidates) || asObject(promptFeedback) !== undefined || asObject(usageMetadata) !== undefined,
  start: readGemini,
}

export const createGeminiDecoder = (options: StreamOptions): StreamDecoder => createDecoder(gemini, options)

interface Response {
  readonly id: string | undefined
  readonly candidates: Map<number, Candidate>
}

function readGemini(session: Session): DialectReader {
  let response: Response | undefined

  const end = (how: 'whole' | 'cut' | 'failed'): void => {
    for (const candidate of response?.candidates.values() ?? []) endCandidate(candidate, how)
    response = undefined
  }

  const candidateAt = (index: number, chunk: JsonObject): Candidate => {
    const createdAt = parseIsoTime(chunk.createTime)
    const head = { responseId: asText(chunk.responseId), model: asText(chunk.modelVersion), createdAt }
    response ??= { id: head.responseId, candidates: new Map() }
    const known = response.candidates.get(index)
    if (known !== undefined) {
      known.answer.identify(head)
      return known
    }
    const candidate = openCandidate(session.openAnswer({ ...head, choice: index }))
    response.candidates.set(index, candidate)
    return candidate
  }

  const read = (chunk: JsonObject): void => {
    if (!gemini.recognises(chunk)) return session.notice('unknown', 'the event is no chunk of a Gemini answer', chunk)
    const id = asText(chunk.responseId)
    if (response?.id !== undefined && id !== undefined && id !== response.id) end('cut')
    for (const [at, value] of (asList(chunk.candidates) ?? []).entries()) {
      const fields = asObject(value) ?? {}
      const candidate = candidateAt(asCount(fields.index) ?? at, chunk)
      for (const part of asList(asObject(fields.content)?.parts) ?? []) takePart(session, candidate, asObject(part) ?? {})
      const { groundingMetadata, urlContextMetadata, citationMetadata, safetyRatings, finishMessage } = fields
      candidate.answer.keep(present({ groundingMetadata, urlContextMetadata, citationMetadata, safetyRatings, finishMessage }))
      const finish = asText(fields.finishReason)
      if (finish !== undefined) finishCandidate(candidate, finish)
    }
    const blocked = asText(asObject(chunk.promptFeedback)?.blockReason)
    if (blocked !== undefined) {
      const candidate = candidateAt(0, chunk)
      candidate.answer.keep(present({ promptFeedback: chunk.promptFeedback }))
      candidate.finish = blocked
      candidate.answer.stop({ unified: 'content_filter', raw: blocked })
    }
    takeUsage(asObject(chunk.usageMetadata))
  }

  /** Each chunk has it, growing; the first may have no counts yet. Of the whole response, so it goes to its first answer. */
  const takeUsage = (usage: JsonObject | undefined): void => {
    const first = response?.candidates.values().next().value
    if (first !== undefined && asCount(usage?.promptTokenCount) !== undefined) first.answer.report(usageOf(usage as JsonObject))
  }

  const openMessageId = (): string | undefined => response?.candidates.values().next().value?.answer.messageId

  return {
    read,
    fail: (raw) => {
      reportError(session, openMessageId(), raw)
      end('failed')
    },
    done: () => end('whole'),
    end: () => end('cut'),
    openMessageId,
  }
}

/** The input includes what was read from the cache; thoughts are counted beside the output. */
function usageOf(raw: JsonObject): Usage {
  const input = countOf(raw.promptTokenCount) + countOf(raw.toolUsePromptTokenCount)
  const cacheRead = Math.min(input, countOf(raw.cachedContentTokenCount))
  const reasoning = countOf(raw.thoughtsTokenCount)
  return {
    input: input - cacheRead,
    output: countOf(raw.candidatesTokenCount) + reasoning,
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 },
    reasoning,
    raw,
  }
}
