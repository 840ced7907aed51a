/** What people say is in the conversation's log, and nowhere else: a secret is planted in every message, and looked for in every line. */
import { type CacheTier, memoryTier, promptCache } from '@colloquy/cache'
import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { cacheWarnings, failureFields } from './logger.ts'
import { pinoLogger } from './pino-logger.ts'
import { circuits } from './recovery/circuit.ts'
import { classify } from './recovery/classify.ts'
import { fallBack } from './recovery/fall-back.ts'
import { recover } from './recovery/recover.ts'

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
