import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { ColloquyError, type JsonObject, type Message, type Part, type Usage } from '@colloquy/core'
import { type OpenPart, toolArguments } from '@colloquy/formats'
import type { Model } from '../model.ts'
import { type AnswerWriter, append, openAnswer } from './answer-writer.ts'
import { aiSdkEncoder } from './encoders.ts'
import { jsonOf } from './json-of.ts'
import { readUntilAborted } from './read-until-aborted.ts'

/** Any model of the AI SDK: what a provider package's `openai('...')`, `google('...')` and so on give. Its `doStream` tries once. */
export function aiSdkModel(model: LanguageModelV4): Model {
  const { provider, modelId } = model
  return {
    provider,
    id: modelId,
    encoder: aiSdkEncoder,
    async *stream(body, { signal }) {
      const call = { ...body, abortSignal: signal } as unknown as LanguageModelV4CallOptions
      const writer = openAnswer({ provider, api: 'ai-sdk', model: modelId })
      const reader = readParts(writer)
      yield* writer.drain()
      let failure: { readonly error: unknown } | undefined
      try {
        const { stream } = await model.doStream(call)
        for await (const part of readUntilAborted(stream, signal)) {
          if (part.type === 'error') failure ??= { error: part.error }
          else reader.take(part)
          yield* writer.drain()
        }
      } catch (error) {
        failure ??= { error }
      }
      reader.end(failure !== undefined || signal.aborted)
      yield* writer.drain()
      if (failure !== undefined && !signal.aborted) throw failureOf(failure.error, model)
    },
  }
}

/** A stream's `error` part may hold anything. */
function failureOf(error: unknown, { provider, modelId }: LanguageModelV4): unknown {
  if (typeof error === 'object' && error !== null) return error
  return new ColloquyError('model_failed', { provider, model: modelId, kind: 'unknown', problem: String(error) })
}

type Known = Exclude<LanguageModelV4StreamPart, { type: 'error' }>

function readParts({ session, answer }: AnswerWriter): { take(part: Known): void; end(isCut: boolean): void } {
  const texts = new Map<string, OpenPart>()
  const calls = new Map<string, { readonly part: OpenPart; readonly name: string }>()
  const { provider } = session
  let isFinished = false

  const finishText = (part: OpenPart, metadata: unknown): void => {
    const more = metadataOf(metadata)
    const made: Part =
      part.kind === 'reasoning'
        ? { type: 'reasoning', text: part.text(), redacted: false, ...more }
        : { type: 'text', text: part.text(), ...more }
    part.finish(made)
  }

  const take = (part: Known): void => {
    switch (part.type) {
      case 'text-start':
      case 'reasoning-start':
        texts.set(part.id, answer.open(part.type === 'text-start' ? 'text' : 'reasoning'))
        return
      case 'text-delta':
      case 'reasoning-delta': {
        const kind = part.type === 'text-delta' ? ('text' as const) : ('reasoning' as const)
        const open = texts.get(part.id) ?? answer.open(kind)
        texts.set(part.id, open)
        append(open, kind, part.delta)
        return
      }
      case 'text-end':
      case 'reasoning-end': {
        const open = texts.get(part.id)
        texts.delete(part.id)
        if (open !== undefined) finishText(open, part.providerMetadata)
        return
      }
      case 'tool-input-start':
        calls.set(part.id, { part: answer.open('tool_call', { callId: part.id, name: part.toolName }), name: part.toolName })
        return
      case 'tool-input-delta': {
        const open = calls.get(part.id)
        if (open !== undefined) append(open.part, 'arguments', part.delta)
        return
      }
      case 'tool-input-end':
        return
      case 'tool-call': {
        const { toolCallId: callId, toolName: name, input } = part
        const open = calls.get(callId)?.part ?? answer.open('tool_call', { callId, name })
        calls.delete(callId)
        const executor = { kind: part.providerExecuted === true ? ('provider' as const) : ('client' as const) }
        open.finish({
          type: 'tool_call',
          callId,
          name,
          args: toolArguments(input, true),
          executor,
          ...metadataOf(part.providerMetadata),
        })
        return
      }
      case 'tool-result': {
        const { toolCallId: callId, result, isError } = part
        const content = [{ type: 'custom' as const, kind: 'ai-sdk.json', payload: jsonOf(result) }]
        answer.add({ type: 'tool_result', callId, status: isError === true ? 'error' : 'ok', content })
        return
      }
      case 'source':
        answer.add({
          type: 'citation_source',
          sourceId: part.id,
          ...(part.sourceType === 'url' && { url: part.url }),
          ...(part.title !== undefined && { title: part.title }),
        })
        return
      case 'file':
        answer.add(fileOf(part, answer.putMedia))
        return
      case 'response-metadata':
        answer.identify({ responseId: part.id, model: part.modelId })
        return
      case 'finish': {
        isFinished = true
        const { unified, raw } = part.finishReason
        answer.report(usageOf(part.usage))
        answer.stop({ unified: stops[unified], raw: raw ?? unified })
        return
      }
      case 'stream-start':
        for (const warning of part.warnings) session.notice('unknown', 'the provider warns', jsonOf(warning))
        return
      case 'ping':
      case 'raw':
        return
      case 'custom':
      case 'reasoning-file':
      case 'tool-approval-request':
        answer.add({ type: 'custom', kind: `ai-sdk.${part.type}`, payload: jsonOf(part) })
        return
      default:
        session.notice('unknown', 'the stream has a part that we do not know', jsonOf(part satisfies never))
    }
  }

  return {
    take,
    end: (isCut) => {
      for (const part of texts.values()) finishText(part, undefined)
      for (const [callId, { part, name }] of calls) {
        const args = { raw: part.text(), valid: false }
        part.finish({ type: 'tool_call', callId, name, args, executor: { kind: 'client' } })
      }
      answer.end({ interrupted: isCut || !isFinished })
    },
  }

  function metadataOf(metadata: unknown): { providerMetadata?: JsonObject; origin?: { provider: string; api: string } } {
    if (metadata === undefined) return {}
    return { providerMetadata: jsonOf(metadata) as JsonObject, origin: { provider, api: 'ai-sdk' } }
  }
}

const stops = {
  stop: 'end',
  length: 'length',
  'content-filter': 'content_filter',
  'tool-calls': 'tool_calls',
  error: 'error',
  interrupted: 'interrupted',
  other: 'other',
} as const satisfies Record<string, NonNullable<NonNullable<Message['model']>['stop']>['unified']>

type FinishPart = Extract<LanguageModelV4StreamPart, { type: 'finish' }>

/** Ours has no total: what is not split counts as not cached. */
function usageOf({ inputTokens, outputTokens, raw }: FinishPart['usage']): Usage {
  const { total = 0, noCache, cacheRead = 0, cacheWrite = 0 } = inputTokens
  return {
    input: noCache ?? Math.max(0, total - cacheRead - cacheWrite),
    output: outputTokens.total ?? (outputTokens.text ?? 0) + (outputTokens.reasoning ?? 0),
    cacheRead,
    cacheWrite: { ttl5m: 0, ttl1h: 0, other: cacheWrite },
    reasoning: outputTokens.reasoning ?? 0,
    ...(raw !== undefined && { raw: jsonOf(raw) }),
  }
}

function fileOf(
  { data, mediaType }: Extract<LanguageModelV4StreamPart, { type: 'file' }>,
  put: AnswerWriter['answer']['putMedia'],
): Part {
  const top = mediaType.split('/')[0]
  const kind = top === 'image' || top === 'audio' || top === 'video' ? top : 'file'
  if (data.type === 'url') return { type: 'media', kind, mediaType, source: { kind: 'url', url: String(data.url) } }
  const base64 = typeof data.data === 'string' ? data.data : Buffer.from(data.data).toString('base64')
  const stored = put(mediaType, base64)
  if (stored === undefined) return { type: 'custom', kind: 'ai-sdk.file', payload: { mediaType, data: base64 } }
  return { type: 'media', kind, mediaType, source: { kind: 'hash', ...stored } }
}
