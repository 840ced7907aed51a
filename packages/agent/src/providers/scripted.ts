import type { JsonObject, Usage } from '@colloquy/core'
import { ColloquyError, fromUtf8 } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { createStreamDecoder, detectStream, type StreamEvent, type StreamFormat } from '@colloquy/formats'
import type { Model } from '../model.ts'
import { append, openAnswer } from './answer-writer.ts'
import { anthropicEncoder } from './encoders.ts'

/** What the model does when it is called: plays a recorded stream, says what is written here, or fails. */
export type Script =
  | {
      /** The body of an answer, or its payloads line by line, as a provider sent it. */
      readonly recorded: Uint8Array | string
      /** Default: known by its content. */
      readonly format?: StreamFormat
    }
  | {
      readonly reasoning?: string
      readonly text?: string
      readonly calls?: readonly { readonly name: string; readonly args: JsonObject; readonly callId?: string }[]
      readonly usage?: Pick<Usage, 'input' | 'output'>
      /** The connection is lost behind what is said: the answer is interrupted, and this is thrown. */
      readonly breaksWith?: unknown
    }
  /** Rejected before the first byte. */
  | { readonly failsWith: unknown }

export interface ScriptedModelOptions {
  /** One for each call, in order; or a function of what the model was sent and the number of the call, from 1. */
  readonly scripts: readonly Script[] | ((body: JsonObject, call: number) => Script)
  readonly id?: string
  readonly provider?: string
  /** Awaited before each event is told: how a demo talks at a pace, and a test stops in the middle. */
  readonly beforeEvent?: (event: StreamEvent, signal: AbortSignal) => Promise<void> | void
}

/** A model without a network: for demonstrations, tests and offline work. What it is sent is encoded as for Anthropic. */
export function scriptedModel({ scripts, id = 'scripted', provider = 'scripted', beforeEvent }: ScriptedModelOptions): Model {
  let calls = 0
  return {
    provider,
    id,
    encoder: anthropicEncoder,
    async *stream(body: JsonObject, { signal }) {
      calls += 1
      const script = typeof scripts === 'function' ? scripts(body, calls) : scripts[calls - 1]
      if (script === undefined) {
        const problem = `the script ends after ${calls - 1} calls`
        throw new ColloquyError('model_failed', { provider, model: id, kind: 'script_ended', problem })
      }
      if ('failsWith' in script) throw script.failsWith
      const source = { provider, model: id, call: calls }
      const played = 'recorded' in script ? playRecorded(script, provider, signal) : playWritten(script, source, signal)
      for (const event of played) {
        if (!signal.aborted) await beforeEvent?.(event, signal)
        yield event
      }
    },
  }
}

/** Line by line, as it would arrive. */
function* playRecorded(
  script: Extract<Script, { recorded: unknown }>,
  provider: string,
  signal: AbortSignal,
): Generator<StreamEvent> {
  const text = typeof script.recorded === 'string' ? script.recorded : fromUtf8(script.recorded)
  const format = script.format ?? detectStream(text)
  if (format === undefined) {
    const problem = 'the recorded stream is of no known format'
    throw new ColloquyError('model_failed', { provider, model: 'scripted', kind: 'script_ended', problem })
  }
  const decoder = createStreamDecoder(format, { sha256, ...(provider !== 'scripted' && { provider }) })
  for (const line of text.split(/(?<=\n)/)) {
    if (signal.aborted) break
    yield* decoder.push(line)
  }
  yield* decoder.end()
}

const pieceChars = 24

function* playWritten(
  script: Extract<Script, { text?: string }>,
  { provider, model, call }: { readonly provider: string; readonly model: string; readonly call: number },
  signal: AbortSignal,
): Generator<StreamEvent> {
  const { answer, drain } = openAnswer({ provider, api: 'scripted', model }, () => `scripted-${call}`)
  const { reasoning, text, calls = [], usage = { input: 0, output: 0 } } = script
  yield* drain()
  if (reasoning !== undefined) {
    const part = answer.open('reasoning')
    for (const piece of piecesOf(reasoning)) {
      if (signal.aborted) break
      append(part, 'reasoning', piece)
      yield* drain()
    }
    part.finish({ type: 'reasoning', text: part.text(), redacted: false })
  }
  if (text !== undefined && !signal.aborted) {
    const part = answer.open('text')
    for (const piece of piecesOf(text)) {
      if (signal.aborted) break
      append(part, 'text', piece)
      yield* drain()
    }
    part.finish({ type: 'text', text: part.text() })
  }
  for (const [index, { name, args, callId = `call-${call}-${index + 1}` }] of calls.entries()) {
    if (signal.aborted) break
    const part = answer.open('tool_call', { callId, name })
    const raw = JSON.stringify(args)
    append(part, 'arguments', raw)
    yield* drain()
    part.finish({ type: 'tool_call', callId, name, args: { raw, json: args, valid: true }, executor: { kind: 'client' } })
    yield* drain()
  }
  const isBroken = script.breaksWith !== undefined
  if (signal.aborted || isBroken) answer.end({ interrupted: true })
  else {
    answer.report({ ...usage, cacheRead: 0, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 0 })
    answer.stop(calls.length > 0 ? { unified: 'tool_calls', raw: 'tool_use' } : { unified: 'end', raw: 'end_turn' })
    answer.end()
  }
  yield* drain()
  if (isBroken && !signal.aborted) throw script.breaksWith
}

/** Whole code points: half of one is not text. */
function piecesOf(text: string): string[] {
  const points = Array.from(text)
  return Array.from({ length: Math.ceil(points.length / pieceChars) }, (_, index) =>
    points.slice(index * pieceChars, (index + 1) * pieceChars).join(''),
  )
}
