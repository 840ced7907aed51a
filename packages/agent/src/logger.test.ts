/** What people say is in the conversation's log, and nowhere else: a secret is planted in every message, and looked for in every line. */
import { type CacheTier, memoryTier, promptCache } from '@colloquy/cache'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import OpenAI from 'openai'
import { filter, firstValueFrom } from 'rxjs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { cacheWarnings, failureFields } from './logger.ts'
import type { Model } from './model.ts'
import { pinoLogger } from './pino-logger.ts'
import { scriptedModel } from './providers/scripted.ts'
import { circuits } from './recovery/circuit.ts'
import { classify } from './recovery/classify.ts'
import { fallBack } from './recovery/fall-back.ts'
import { recover } from './recovery/recover.ts'
import { defineTool } from './tools/tool.ts'
import { createToolRegistry } from './tools/tool-registry.ts'
import { runTurn } from './turn/run-turn.ts'

const secret = 'my account number is 4711-0815'

/** Answers 400 and 503, and quotes the request in its error, as some providers do. */
const quoting = async (_: unknown, init?: { readonly body?: unknown }): Promise<Response> => {
  const quoted = JSON.stringify({ error: { message: `cannot take ${String(init?.body)}`, type: 'server_error' } })
  return new Response(quoted, { status: 503, headers: { 'content-type': 'application/json' } })
}

test('a secret in messages, in an error that quotes them, and in a cache that fails is in no line, at the lowest level', async () => {
  const lines: string[] = []
  const logger = pinoLogger({ level: 'debug', destination: { write: (line) => void lines.push(line) } })

  const failing: CacheTier = {
    ...memoryTier(),
    level: 'disk',
    get: async () => Promise.reject(new Error('EIO: i/o error, read')),
  }
  const prompts = promptCache({ tiers: [failing], onWarning: cacheWarnings(logger) })
  const client = new OpenAI({ apiKey: 'none', maxRetries: 0, fetch: quoting })
  const open = circuits({ onChange: (circuit, { state }) => logger.warn('a circuit changed', { circuit, state }) })

  const ask = async (model: string): Promise<string> =>
    recover(
      async () => {
        await client.chat.completions.create({ model, messages: [{ role: 'user', content: secret }] })
        return 'answered'
      },
      {
        circuit: open.of(model, 'stream'),
        sleep: async () => {},
        onRetry: ({ failure, attempt, delayMs }) => logger.info('tried again', { ...failureFields(failure), attempt, delayMs }),
      },
    )
  const request = { tenant: 'acme', conversation: 'c1', prompt: secret, config: { model: 'a' } }
  const error: unknown = await prompts
    .getOrAsk(request, async () =>
      fallBack(['a', 'b'], ask, {
        onFallBack: ({ from, to, failure }) => logger.warn('fell back', { from, to, kind: failure.kind }),
      }),
    )
    .catch((caught: unknown) => caught)
  logger.error('the turn failed', failureFields(classify(error)))

  // The secret was there to be found, and all of it was logged.
  expect(classify(error).problem).toContain(secret)
  const events = lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
  expect(new Set(events)).toEqual(
    new Set(['a cache tier failed', 'tried again', 'a circuit changed', 'fell back', 'the turn failed']),
  )
  expect(lines.join('')).not.toContain('4711')
})

test('nor is it in a line of a turn: in what is said, thought, asked of tools, answered by them, or quoted by what fails', async () => {
  const lines: string[] = []
  const logger = pinoLogger({ level: 'debug', destination: { write: (line) => void lines.push(line) } })
  await using engine = createEngine({ log: openMemoryLog(), onError: () => {} })
  const conversation = await engine.open('c1')
  const refused = Object.assign(new Error(`cannot take ${secret}`), { status: 529 })
  const call = (name: string) => ({ name, args: { secret } })
  const scripted = scriptedModel({
    scripts: [
      { failsWith: refused },
      { reasoning: secret, text: secret, calls: [call('echo'), call('throw'), call('slow'), call('none')] },
      { text: secret, breaksWith: new Error(`lost behind ${secret}`) },
      { text: secret },
    ],
  })
  // The connection fails when the answer is there: nothing is lost, and it is logged.
  const model: Model = {
    ...scripted,
    async *stream(body, options) {
      yield* scripted.stream(body, options)
      throw new Error(`gone after ${secret}`)
    },
  }
  const input = z.strictObject({ secret: z.string() })
  const lateAnswer = (signal: AbortSignal): Promise<string> =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(secret)))
  const tools = createToolRegistry([
    defineTool({
      name: 'echo',
      input,
      execute: ({ secret: said }, { logger: own, progress }) => {
        progress(0.5, said)
        own.info('echoes', { bytes: said.length })
        return said
      },
    }),
    defineTool({ name: 'throw', input, execute: () => Promise.reject(new Error(`no ${secret}`)) }),
    // Ends after it was given up: its late answer is recorded, and that is logged.
    defineTool({ name: 'slow', input, timeoutMs: 5, execute: (_, { signal }) => lateAnswer(signal) }),
  ])
  const late = firstValueFrom(conversation.envelopes$.pipe(filter(({ type }) => type === 'toolEndedLate')))
  const turn = runTurn(conversation, secret, { model, tools, logger, recovery: { sleep: async () => {} } })
  await turn.done.catch(() => undefined)
  await late
  expect(JSON.stringify(conversation.getState().messages.slice())).toContain(secret)
  const events = lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
  expect(events).toEqual(expect.arrayContaining(['echoes', 'the connection failed behind a whole answer']))
  expect(lines.join('')).not.toContain('4711')
})
