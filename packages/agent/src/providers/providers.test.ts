import type { LanguageModelV4CallOptions } from '@ai-sdk/provider'
import Anthropic from '@anthropic-ai/sdk'
import { type JsonObject, type Message, messageAdded, textMessage } from '@colloquy/core'
import type { StreamEvent } from '@colloquy/formats'
import { AIMessage, AIMessageChunk, type BaseMessage } from '@langchain/core/messages'
import { ChatGenerationChunk } from '@langchain/core/outputs'
import { FakeListChatModel, FakeStreamingChatModel } from '@langchain/core/utils/testing'
import { simulateReadableStream } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import type { Model } from '../model.ts'
import { aiSdkModel } from './ai-sdk.ts'
import { anthropicModel } from './anthropic.ts'
import { langChainModel } from './langchain.ts'
import { openaiChatModel, openaiModel } from './openai.ts'
import { type Script, scriptedModel } from './scripted.ts'

const call: Message = {
  v: 1,
  id: 'm2',
  role: 'assistant',
  parts: [
    { type: 'text', text: 'I will look.' },
    {
      type: 'tool_call',
      callId: 'c1',
      name: 'forecast',
      args: { raw: '{"city":"Zürich"}', json: { city: 'Zürich' }, valid: true },
      executor: { kind: 'client' },
    },
  ],
}
const result: Message = {
  v: 1,
  id: 'm3',
  role: 'tool',
  parts: [{ type: 'tool_result', callId: 'c1', callMessageId: 'm2', status: 'ok', content: [{ type: 'text', text: '12 mm' }] }],
}
const request = {
  system: 'Be brief.',
  tools: [{ name: 'forecast', description: 'Rain', inputSchema: { type: 'object', properties: { city: { type: 'string' } } } }],
  messages: [textMessage('m1', 'user', 'Will it rain?'), call, result],
  config: { model: 'the-model', maxTokens: 99, temperature: 0.5, cacheKey: 'key-1', service_tier: 'flex' },
}
/** Arguments that `JSON.parse` takes, and reads as something else than what is written. */
const unholdable = [
  '{"id": 1234567890123456789}',
  '{"x": -0}',
  '{"__proto__": {"a": 1}}',
  '{"x": 1e400}',
  '{"x": 1, "x": 2}',
  `${'['.repeat(70)}${']'.repeat(70)}`,
]
const go = { signal: new AbortController().signal }

async function eventsOf(events: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const all: StreamEvent[] = []
  for await (const event of events) all.push(event)
  return all
}
const messageIn = (events: readonly StreamEvent[]): Message =>
  events.flatMap((event) => (event.type === 'answerEnded' ? [event.message] : []))[0] as Message
const ask = (model: Model, signal = go.signal) => eventsOf(model.stream(model.encoder.encode(request), { signal }))

/** Answers each request with the next of these, and keeps what was asked. */
function server(...answers: readonly (() => Response)[]) {
  const requests: { body: JsonObject; signal: AbortSignal | null | undefined }[] = []
  const fetch = async (_url: unknown, init?: RequestInit): Promise<Response> => {
    requests.push({ body: JSON.parse(init?.body as string), signal: init?.signal })
    return (answers[requests.length - 1] as () => Response)()
  }
  return { requests, fetch: fetch as typeof globalThis.fetch }
}
const sse = (...payloads: readonly unknown[]) => {
  const text = payloads.map((payload) => `data: ${JSON.stringify(payload)}\n\n`).join('')
  return () => new Response(text, { headers: { 'content-type': 'text/event-stream' } })
}
const options = { apiKey: 'none', baseURL: 'http://127.0.0.1:1' }

const anthropicAnswer = sse(
  { type: 'message_start', message: { id: 'msg_1', model: 'claude', usage: { input_tokens: 9, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Yes.' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } },
  { type: 'message_stop' },
)

describe('Anthropic', () => {
  test('is sent the request with the stable prefix marked for its cache', async () => {
    const { requests, fetch } = server(anthropicAnswer)
    const model = anthropicModel(new Anthropic({ ...options, fetch }), { id: 'the-model' })
    expect(messageIn(await ask(model))).toMatchObject({
      parts: [{ type: 'text', text: 'Yes.' }],
      model: { provider: 'anthropic', stop: { unified: 'end', raw: 'end_turn' }, usage: { input: 9, output: 3 } },
    })
    const cache_control = { type: 'ephemeral' }
    expect(requests[0]?.body).toEqual({
      model: 'the-model',
      max_tokens: 99,
      temperature: 0.5,
      service_tier: 'flex',
      system: [{ type: 'text', text: 'Be brief.', cache_control }],
      tools: [{ name: 'forecast', description: 'Rain', input_schema: request.tools[0]?.inputSchema, cache_control }],
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'Will it rain?', cache_control }] },
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'I will look.' },
            { type: 'tool_use', id: 'c1', name: 'forecast', input: { city: 'Zürich' } },
          ],
        },
        {
          role: 'user',
          content: [expect.objectContaining({ type: 'tool_result', tool_use_id: 'c1', cache_control })],
        },
      ],
      stream: true,
    })
  })

  test('marks nothing where a message brings a mark of its own', () => {
    const marked: Message = { v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text: 'Hi', cacheHint: 'ephemeral' }] }
    const { encoder } = anthropicModel(new Anthropic(options), { id: 'x' })
    expect(JSON.stringify(encoder.encode({ ...request, messages: [marked] })).match(/cache_control/g)).toHaveLength(1)
  })
})

describe('every client', () => {
  const failing = () =>
    new Response(JSON.stringify({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }), { status: 529 })
  const models = (fetch: typeof globalThis.fetch): Model[] => [
    anthropicModel(new Anthropic({ ...options, maxRetries: 5, fetch }), { id: 'x' }),
    openaiModel(new OpenAI({ ...options, maxRetries: 5, fetch }), { id: 'x' }),
    openaiChatModel(new OpenAI({ ...options, maxRetries: 5, fetch }), { id: 'x' }),
  ]

  test.each([0, 1, 2])('tries once: number %i', async (index) => {
    const { requests, fetch } = server(failing, failing, failing)
    await expect(ask(models(fetch)[index] as Model)).rejects.toMatchObject({ status: 529 })
    expect(requests).toHaveLength(1)
  })

  test.each([0, 1, 2])('lets the connection go when it is aborted, and tells what came: number %i', async (index) => {
    const controller = new AbortController()
    let isCancelled = false
    const first = [
      { type: 'message_start', message: { id: 'msg_1', model: 'claude', usage: { input_tokens: 9, output_tokens: 1 } } },
      { type: 'response.created', response: { id: 'r1', model: 'gpt', status: 'in_progress', output: [] } },
      { id: 'c1', model: 'gpt', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'Ye' } }] },
    ]
    const endless = () =>
      new Response(
        new ReadableStream({
          start: (stream) => stream.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(first[index])}\n\n`)),
          cancel: () => {
            isCancelled = true
          },
        }),
      )
    const model = models(server(endless).fetch)[index] as Model
    const events: StreamEvent[] = []
    for await (const event of model.stream(model.encoder.encode(request), { signal: controller.signal })) {
      events.push(event)
      controller.abort(new Error('stop'))
    }
    expect(events.at(-1)).toMatchObject({ type: 'answerEnded', interrupted: true })
    expect(isCancelled).toBe(true)
  })

  test.each([0, 1, 2])('throws behind what came when the connection breaks: number %i', async (index) => {
    const broken = () =>
      new Response(
        new ReadableStream({
          pull: (stream) => stream.error(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })),
        }),
      )
    await expect(ask(models(server(broken).fetch)[index] as Model)).rejects.toThrow('ECONNRESET')
  })
})

describe('OpenAI', () => {
  test('Responses is sent instructions, items and the key of its cache', async () => {
    const { requests, fetch } = server(
      sse(
        { type: 'response.created', response: { id: 'r1', model: 'gpt', status: 'in_progress', output: [] } },
        { type: 'response.completed', response: { id: 'r1', model: 'gpt', status: 'completed', output: [] } },
      ),
    )
    await ask(openaiModel(new OpenAI({ ...options, fetch }), { id: 'the-model' }))
    expect(requests[0]?.body).toMatchObject({
      model: 'the-model',
      max_output_tokens: 99,
      prompt_cache_key: 'key-1',
      service_tier: 'flex',
      store: false,
      stream: true,
      include: ['reasoning.encrypted_content'],
      tools: [{ type: 'function', name: 'forecast', parameters: request.tools[0]?.inputSchema }],
      input: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Will it rain?' },
        { role: 'assistant' },
        { type: 'function_call', call_id: 'c1' },
        { type: 'function_call_output', call_id: 'c1', output: '12 mm' },
      ],
    })
  })

  test('Chat asks for usage, and is sent no tools when there are none', async () => {
    const chunk = { id: 'c1', model: 'gpt', object: 'chat.completion.chunk' }
    const { requests, fetch } = server(
      sse({ ...chunk, choices: [{ index: 0, delta: { content: 'Yes' }, finish_reason: 'stop' }] }),
    )
    const model = openaiChatModel(new OpenAI({ ...options, fetch }), { id: 'the-model', provider: 'groq' })
    const events = await eventsOf(model.stream(model.encoder.encode({ ...request, tools: [] }), go))
    expect(messageIn(events).model?.provider).toBe('groq')
    expect(requests[0]?.body).toMatchObject({ stream_options: { include_usage: true }, prompt_cache_key: 'key-1' })
    expect(requests[0]?.body.tools).toBeUndefined()
  })
})

const v4Usage = {
  inputTokens: { total: 20, noCache: 12, cacheRead: 8, cacheWrite: undefined },
  outputTokens: { total: 7, text: 5, reasoning: 2 },
}

describe('the AI SDK', () => {
  test('is given a prompt of its own kind, and its stream is an answer of ours', async () => {
    const asked: LanguageModelV4CallOptions[] = []
    const chunks = [
      { type: 'stream-start', warnings: [] },
      { type: 'response-metadata', id: 'resp-1', modelId: 'the-model-2026' },
      { type: 'reasoning-start', id: 'r' },
      { type: 'reasoning-delta', id: 'r', delta: 'Hm.' },
      { type: 'reasoning-end', id: 'r', providerMetadata: { acme: { signature: 'sig' } } },
      { type: 'text-start', id: 't' },
      { type: 'text-delta', id: 't', delta: 'It ' },
      { type: 'text-delta', id: 't', delta: 'rains.' },
      { type: 'text-end', id: 't' },
      { type: 'tool-input-start', id: 'c9', toolName: 'forecast' },
      { type: 'tool-input-delta', id: 'c9', delta: '{"city":' },
      { type: 'tool-input-delta', id: 'c9', delta: '"Bern"}' },
      { type: 'tool-input-end', id: 'c9' },
      { type: 'tool-call', toolCallId: 'c9', toolName: 'forecast', input: '{"city":"Bern"}' },
      { type: 'file', mediaType: 'image/png', data: { type: 'data', data: 'aGk=' } },
      { type: 'finish', finishReason: { unified: 'tool-calls', raw: 'tool_use' }, usage: v4Usage },
    ]
    const model = aiSdkModel(
      new MockLanguageModelV4({
        provider: 'acme',
        modelId: 'the-model',
        doStream: async (options: LanguageModelV4CallOptions) => {
          asked.push(options)
          return { stream: simulateReadableStream({ chunks: chunks as never[] }) }
        },
      }),
    )
    const events = await ask(model)
    expect(messageIn(events)).toEqual({
      v: 1,
      id: expect.any(String),
      role: 'assistant',
      parts: [
        {
          type: 'reasoning',
          text: 'Hm.',
          redacted: false,
          providerMetadata: { acme: { signature: 'sig' } },
          origin: { provider: 'acme', api: 'ai-sdk' },
        },
        { type: 'text', text: 'It rains.' },
        {
          type: 'tool_call',
          callId: 'c9',
          name: 'forecast',
          args: { raw: '{"city":"Bern"}', json: { city: 'Bern' }, valid: true },
          executor: { kind: 'client' },
        },
        {
          type: 'media',
          kind: 'image',
          mediaType: 'image/png',
          source: { kind: 'hash', bytes: 2, hash: expect.stringMatching(/^8f434346/) },
        },
      ],
      model: {
        provider: 'acme',
        api: 'ai-sdk',
        id: 'the-model-2026',
        responseId: 'resp-1',
        stop: { unified: 'tool_calls', raw: 'tool_use' },
        usage: { input: 12, output: 7, cacheRead: 8, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 2 },
      },
    })
    expect(events.filter(({ type }) => type === 'partDone').map((event) => 'part' in event && event.part)).toEqual([0, 1, 2, 3])
    expect(asked[0]).toMatchObject({
      maxOutputTokens: 99,
      temperature: 0.5,
      prompt: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'text', text: 'Will it rain?' }] },
        { role: 'assistant', content: [{ type: 'text' }, { type: 'tool-call', toolCallId: 'c1', input: { city: 'Zürich' } }] },
        { role: 'tool', content: [{ type: 'tool-result', toolCallId: 'c1', output: { type: 'text', value: '12 mm' } }] },
      ],
      tools: [{ type: 'function', name: 'forecast', inputSchema: request.tools[0]?.inputSchema }],
    })
  })

  test('keeps what the log could not hold as a text, and arguments of which that is so are not valid', async () => {
    const model = aiSdkModel(
      new MockLanguageModelV4({
        doStream: async () => ({
          stream: simulateReadableStream({
            chunks: [
              ...unholdable.map((input, at) => ({ type: 'tool-call', toolCallId: `c${at}`, toolName: 'get', input })),
              { type: 'tool-result', toolCallId: 'p1', toolName: 'search', result: { id: 2 ** 60, at: new Date(0), rows: 3n } },
            ] as never[],
          }),
        }),
      }),
    )
    const { parts } = messageIn(await ask(model))
    const args = parts.flatMap((part) => (part.type === 'tool_call' ? [part.args] : []))
    expect(args).toEqual(unholdable.map((raw) => ({ raw, valid: false })))
    const text = '{"id":1152921504606847000,"at":"1970-01-01T00:00:00.000Z","rows":"3"}'
    expect(parts.at(-1)).toMatchObject({ content: [{ payload: { $text: text } }] })
    expect(() => messageAdded({ message: { v: 1, id: 'm', role: 'assistant', parts }, tokenCount: 1 })).not.toThrow()
  })

  test('fails as its stream says, behind what came', async () => {
    const model = aiSdkModel(
      new MockLanguageModelV4({
        doStream: async () => ({
          stream: simulateReadableStream({
            chunks: [
              { type: 'text-start', id: 't' },
              { type: 'text-delta', id: 't', delta: 'Half' },
              { type: 'error', error: Object.assign(new Error('overloaded'), { statusCode: 529 }) },
            ] as never[],
          }),
        }),
      }),
    )
    const events: StreamEvent[] = []
    await expect(
      (async () => {
        for await (const event of model.stream(model.encoder.encode(request), go)) events.push(event)
      })(),
    ).rejects.toMatchObject({ statusCode: 529 })
    expect(messageIn(events).parts).toEqual([{ type: 'text', text: 'Half' }])
    expect(messageIn(events).model?.stop?.unified).toBe('interrupted')
  })
})

describe('LangChain', () => {
  test('arguments that the log could not hold are kept as they were written, and are not valid', async () => {
    class Calling extends FakeStreamingChatModel {
      override async *_streamResponseChunks() {
        const tool_call_chunks = unholdable.map((args, index) => ({
          index,
          id: `c${index}`,
          name: 'forecast',
          args,
          type: 'tool_call_chunk' as const,
        }))
        yield new ChatGenerationChunk({ message: new AIMessageChunk({ content: '', tool_call_chunks }), text: '' })
      }
      override bindTools() {
        return this as never
      }
    }
    const fake = new Calling({ responses: [new AIMessage('')] })
    const { parts } = messageIn(await ask(langChainModel(fake, { id: 'fake' })))
    expect(parts.map((part) => part.type === 'tool_call' && part.args)).toEqual(unholdable.map((raw) => ({ raw, valid: false })))
  })

  test('a fake list model answers in pieces', async () => {
    const fake = new FakeListChatModel({ responses: ['It rains.'], generationInfo: { finish_reason: 'stop' } })
    const message = messageIn(await ask(langChainModel(fake, { id: 'fake' })))
    expect(message.parts).toEqual([{ type: 'text', text: 'It rains.' }])
    expect(message.model).toMatchObject({ provider: 'langchain', id: 'fake', stop: { unified: 'end', raw: 'stop' } })
  })

  test('pieces of calls, usage and reasons become ours; the model is given messages and tools', async () => {
    let asked: readonly BaseMessage[] = []
    let bound: readonly unknown[] = []
    class Recording extends FakeStreamingChatModel {
      override bindTools(tools: never[]) {
        bound = tools
        return this as never
      }
      override async *_streamResponseChunks(messages: BaseMessage[]) {
        asked = messages
        for (const message of pieces) yield new ChatGenerationChunk({ message, text: '' })
      }
    }
    const piece = (fields: object) => new AIMessageChunk(fields)
    const pieces = [
      piece({ content: 'I look. ', id: 'run-1' }),
      piece({
        content: '',
        tool_call_chunks: [{ index: 0, id: 'c5', name: 'forecast', args: '{"city"', type: 'tool_call_chunk' }],
      }),
      piece({ content: '', tool_call_chunks: [{ index: 0, args: ':"Bern"}', type: 'tool_call_chunk' }] }),
      piece({
        content: '',
        response_metadata: { finish_reason: 'tool_calls', model_name: 'm-1' },
        usage_metadata: { input_tokens: 30, output_tokens: 4, total_tokens: 34, input_token_details: { cache_read: 10 } },
      }),
    ]
    const fake = new Recording({ responses: [new AIMessage('')] })
    const message = messageIn(await ask(langChainModel(fake, { id: 'fake', provider: 'acme' })))
    expect(message.parts).toEqual([
      { type: 'text', text: 'I look. ' },
      {
        type: 'tool_call',
        callId: 'c5',
        name: 'forecast',
        args: { raw: '{"city":"Bern"}', json: { city: 'Bern' }, valid: true },
        executor: { kind: 'client' },
      },
    ])
    expect(message.model).toMatchObject({
      id: 'm-1',
      stop: { unified: 'tool_calls', raw: 'tool_calls' },
      usage: { input: 20, cacheRead: 10, output: 4 },
    })
    expect(bound).toMatchObject([{ type: 'function', function: { name: 'forecast' } }])
    expect(asked.map(({ type }) => type)).toEqual(['system', 'human', 'ai', 'tool'])
  })

  test('throws what the model throws', async () => {
    const fake = new FakeStreamingChatModel({ thrownErrorString: 'no such model' })
    await expect(ask(langChainModel(fake, { id: 'fake' }))).rejects.toThrow('no such model')
  })
})

describe('the scripted model', () => {
  const play = (...scripts: Script[]) => ask(scriptedModel({ scripts }))

  test('says what is written, in whole code points', async () => {
    const message = messageIn(await play({ reasoning: 'hm', text: '🌧️'.repeat(30), usage: { input: 5, output: 6 } }))
    expect(message.parts).toEqual([
      { type: 'reasoning', text: 'hm', redacted: false },
      { type: 'text', text: '🌧️'.repeat(30) },
    ])
    expect(message.model).toMatchObject({ stop: { unified: 'end' }, usage: { input: 5, output: 6 } })
  })

  test('plays what was recorded', async () => {
    const recorded = await anthropicAnswer().text()
    expect(messageIn(await play({ recorded }))).toMatchObject({ id: 'msg_1', parts: [{ text: 'Yes.' }] })
    await expect(play({ recorded: 'nothing of the kind' })).rejects.toMatchObject({ code: 'model_failed' })
  })

  test('fails as it is told to, and when the script is over', async () => {
    await expect(play({ failsWith: new Error('down') })).rejects.toThrow('down')
    await expect(play()).rejects.toMatchObject({ code: 'model_failed', details: { kind: 'script_ended' } })
  })
})
