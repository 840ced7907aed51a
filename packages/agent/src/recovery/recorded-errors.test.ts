/**
 * Every recorded error, thrown by the real client of its provider (its `fetch` plays the recording), is classified rightly and handled by
 * its policy, in virtual time. The recordings are not part of the repository: without them every test here is skipped and says so.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { APICallError } from '@ai-sdk/provider'
import Anthropic from '@anthropic-ai/sdk'
import { readHttpError } from '@colloquy/formats'
import OpenAI from 'openai'
import { afterAll, describe, expect, test } from 'vitest'
import { type FailedExchange, failedExchanges, isMissing, root } from '../../../../test/formats/recorded-errors.ts'
import { decode } from '../../../../test/formats/streams-decoded.ts'
import { classify, type FailureKind } from './classify.ts'
import { recover } from './recover.ts'

/** Kind, tries, waits between them. */
type Expected = readonly [FailureKind, number, readonly number[]]

const once = (kind: FailureKind): Expected => [kind, 1, []]
const limited: Expected = ['rate_limit', 3, [10_000, 30_000]]

const expected: Readonly<Record<string, Expected>> = {
  'anthropic-auth-401.yml': once('authentication'),
  'anthropic-context-length.yml': once('context_overflow'),
  'anthropic-model-not-found.yaml': once('rejected'),
  // It asks for one second.
  'azure-rate-limit-429.yml': ['rate_limit', 3, [1_000, 1_000]],
  'deepseek-context-length.yml': once('context_overflow'),
  'deepseek-missing-tool-output.yaml': once('rejected'),
  'openai-auth-401.yml': once('authentication'),
  'openai-context-length.yml': once('context_overflow'),
  'openai-reasoning-without-following-item.yaml': once('rejected'),
  'openai-stream-rate-limited-1.sse': limited,
  // The code is "unknown-error" and the text "Foobar": nothing to go by.
  'openai-stream-unknown-error-responses-1.sse': ['unknown', 2, [1_000]],
  'openrouter-429-retries.yaml': limited,
  'openrouter-context-length.yml': once('context_overflow'),
}

const table: Record<string, unknown>[] = []

describe.skipIf(isMissing)(`recorded errors${isMissing ? ' (skipped: ../shared/data is not beside this checkout)' : ''}`, () => {
  afterAll(() => console.table(table))

  test('are all there', () => {
    expect(readdirSync(root).sort()).toEqual(Object.keys(expected).sort())
  })

  test.each(Object.keys(expected))('%s is classified and handled', async (name) => {
    const [kind, tries, waits] = expected[name] ?? once('unknown')
    const ways = waysToFail(name)
    for (const [way, raise] of ways) expect({ way, ...(await inVirtualTime(raise)) }).toMatchObject({ way, kind, tries, waits })
    table.push({ file: name.replace(/\.\w+$/, ''), ways: ways.length, kind, tries, waits: waits.join(', ') })
  })
})

/** How often and after which waits `raise` is tried, and what its last error is. */
async function inVirtualTime(raise: () => Promise<never>) {
  const waits: number[] = []
  let tries = 0
  const error: unknown = await recover(
    async () => {
      tries += 1
      return raise()
    },
    { sleep: async (ms) => void waits.push(ms), random: () => 0 },
  ).catch((caught: unknown) => caught)
  const { kind, status, code, retryAfterMs } = classify(error)
  return { kind, status, code, retryAfterMs, tries, waits }
}

function waysToFail(name: string): readonly (readonly [string, () => Promise<never>])[] {
  if (name.endsWith('.sse')) {
    const bytes = readFileSync(new URL(name, root))
    return [
      ['openai sdk, stream', async () => throughOpenAIStream(bytes)],
      ['decoded', async () => Promise.reject(decode('openai-responses', bytes).errors[0])],
    ]
  }
  return failedExchanges(name).flatMap((exchange) => [
    name.startsWith('anthropic')
      ? (['anthropic sdk', async () => throughAnthropic(exchange)] as const)
      : (['openai sdk', async () => throughOpenAI(exchange)] as const),
    ['ai sdk', async () => Promise.reject(asAiSdk(exchange))] as const,
    ['read', async () => Promise.reject(readHttpError({ provider: 'p', ...exchange }))] as const,
  ])
}

const noRetries = { apiKey: 'none', maxRetries: 0 }

async function throughAnthropic(exchange: FailedExchange): Promise<never> {
  const client = new Anthropic({ ...noRetries, fetch: async () => answer(exchange) })
  await client.messages.create({ model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'hi' }], stream: true })
  throw new Error('The recording was not an error.')
}

async function throughOpenAI(exchange: FailedExchange): Promise<never> {
  const client = new OpenAI({ ...noRetries, fetch: async () => answer(exchange) })
  await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'hi' }], stream: true })
  throw new Error('The recording was not an error.')
}

async function throughOpenAIStream(bytes: Uint8Array<ArrayBuffer>): Promise<never> {
  const headers = { 'content-type': 'text/event-stream' }
  const client = new OpenAI({ ...noRetries, fetch: async () => new Response(bytes, { headers }) })
  for await (const _ of await client.responses.create({ model: 'm', input: 'hi', stream: true })) {
    // Until it throws.
  }
  throw new Error('The recording was not an error.')
}

function asAiSdk({ url, status, headers, body }: FailedExchange): APICallError {
  return new APICallError({
    message: 'm',
    url,
    requestBodyValues: {},
    statusCode: status,
    responseHeaders: Object.fromEntries(answerHeaders(headers)),
    responseBody: textOf(body),
  })
}

function answer({ status, headers, body }: FailedExchange): Response {
  return new Response(textOf(body), { status, headers: answerHeaders(headers) })
}

/** Not those of the transfer: the recorder unpacked the body. */
function answerHeaders(headers: FailedExchange['headers']): Headers {
  const kept = Object.entries(headers).filter(([name]) => !/^(content-(length|encoding)|transfer-encoding)$/i.test(name))
  return new Headers(kept.flatMap(([name, values]) => values.map((value): [string, string] => [name, value])))
}

const textOf = (body: FailedExchange['body']): string => (typeof body === 'string' ? body : JSON.stringify(body))
