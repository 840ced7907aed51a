import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { memoryTier } from './memory-tier.ts'
import { conversationTag, type PromptCacheOptions, type PromptRequest, promptCache, promptKey } from './prompt-cache.ts'
import type { CacheTier } from './tier.ts'

const config = { model: 'm', temperature: 0.5, maxTokens: 100, topP: 1, topK: 40, tools: [{ name: 'read' }] }
const request: PromptRequest = { tenant: 'acme', conversation: 'c1', prompt: 'why?', config }

const at = (options: PromptCacheOptions = {}) => {
  const clock = { ms: 0 }
  return { clock, prompts: promptCache({ now: () => clock.ms, ...options }) }
}

describe('a prompt cache', () => {
  test('answers the same request, however its config is written down', async () => {
    const { prompts } = at()
    await prompts.set(request, { text: 'because' })
    const { model, ...rest } = config
    expect(await prompts.get({ ...request, config: { ...rest, model, seed: undefined } })).toEqual({ text: 'because' })
  })

  test('keeps an answer in memory no longer than it may be old there', async () => {
    const below = memoryTier()
    const { prompts, clock } = at({ tiers: [{ ...below, level: 'below' }], maxAgeMs: 1_000 })
    await prompts.set(request, 'because')
    await below.clear()
    clock.ms += 999
    expect(await prompts.get(request)).toBe('because')
    clock.ms += 1
    expect(await prompts.get(request)).toBeUndefined()
  })

  test('refuses an answer that is none, and asks once', async () => {
    const { prompts } = at()
    let asked = 0
    const nothing = async () => {
      asked += 1
      return undefined as never
    }
    await expect(prompts.getOrAsk(request, nothing)).rejects.toMatchObject({
      code: 'value_invalid',
      details: { path: '$.answer' },
    })
    await expect(prompts.set(request, undefined as never)).rejects.toMatchObject({ code: 'value_invalid' })
    expect(asked).toBe(1)
  })

  test.each([
    ['tenant', { tenant: 'acme2' }],
    ['conversation', { conversation: 'c2' }],
    ['prompt', { prompt: 'why' }],
    ['kind of prompt', { prompt: ['why?'] }],
    ['model', { config: { ...config, model: 'm2' } }],
    ['temperature', { config: { ...config, temperature: 0 } }],
    ['maximum of tokens', { config: { ...config, maxTokens: 101 } }],
    ['top_p', { config: { ...config, topP: 0.9 } }],
    ['top_k', { config: { ...config, topK: 41 } }],
    ['tools', { config: { ...config, tools: [{ name: 'write' }] } }],
    ['absent tools', { config: { ...config, tools: undefined } }],
    ['other field', { config: { ...config, system: 'be brief' } }],
  ] as [string, Partial<PromptRequest>][])('has no answer for another %s', async (_, other) => {
    const { prompts } = at()
    await prompts.set(request, 'because')
    expect(await prompts.get({ ...request, ...other })).toBeUndefined()
  })

  test('has a key of its own for every request, whatever is in it', () => {
    const part = fc.oneof(fc.string({ unit: 'binary', maxLength: 3 }), fc.constantFrom('a', 'ab', '","', '"', '\\', 'a","b'))
    const any = fc.record({ tenant: part, conversation: part, prompt: part, config: fc.record({ model: part, system: part }) })
    const text = ({ tenant, conversation, prompt, config: { model, system } }: PromptRequest) =>
      JSON.stringify([tenant, conversation, prompt, model, system])
    fc.assert(
      fc.property(any, any, (one, other) => {
        expect(promptKey(one) === promptKey(other)).toBe(text(one) === text(other))
        expect(promptKey(one)).toMatch(/^prompt:[0-9a-f]{64}$/)
        const tag = ({ tenant, conversation }: PromptRequest) => conversationTag(tenant, conversation)
        expect(tag(one) === tag(other)).toBe(one.tenant === other.tenant && one.conversation === other.conversation)
      }),
      { numRuns: 500 },
    )
  })

  test('has the same key today as it had in the first version', () => {
    expect(promptKey(request)).toMatchInlineSnapshot(`"prompt:2349f4857feb100a0b497b382becd8a618df6779b7ed9bbdb5a3e97e78d5bc0d"`)
  })

  test('compares what it finds with what was asked: a tier that gives out the wrong entry makes a miss', async () => {
    const kept = memoryTier()
    // Whatever is asked for, it has the first entry that it ever got.
    let first: string | undefined
    const confused: CacheTier = {
      ...kept,
      level: 'disk',
      set: async (key, entry) => {
        first ??= key
        await kept.set(key, entry)
      },
      get: async () => kept.get(first ?? ''),
    }
    const { prompts } = at({ tiers: [confused] })
    await prompts.set(request, 'because')
    const other = { ...request, tenant: 'umbrella' }
    expect(await prompts.get(other)).toBeUndefined()
    expect(await prompts.getOrAsk(other, async () => 'asked')).toBe('asked')
  })

  test('asks once for 50 who want to know at a time', async () => {
    const { prompts } = at()
    let asked = 0
    const ask = async () => {
      asked += 1
      return 'because'
    }
    await Promise.all(Array.from({ length: 50 }, async () => prompts.getOrAsk(request, ask)))
    expect(await prompts.getOrAsk(request, ask)).toBe('because')
    expect(asked).toBe(1)
  })

  test('forgets a conversation, and no other', async () => {
    const { prompts } = at()
    const others = [
      { ...request, conversation: 'c2' },
      { ...request, tenant: 'umbrella' },
    ]
    for (const one of [request, ...others]) await prompts.set(one, 'because')
    await prompts.invalidateConversation('acme', 'c1')
    expect(await prompts.get(request)).toBeUndefined()
    for (const one of others) expect(await prompts.get(one)).toBe('because')
  })

  test('keeps answers for their TTL, the last used ones, and says how it stands', async () => {
    const { prompts, clock } = at({ capacity: 2, ttlMs: 10_000 })
    const [a, b, c] = ['a', 'b', 'c'].map((prompt) => ({ ...request, prompt })) as [PromptRequest, PromptRequest, PromptRequest]
    await prompts.set(a, 1, { ttlMs: 5_000 })
    await prompts.set(b, 2)
    await prompts.get(a)
    await prompts.set(c, 3)
    expect(await prompts.get(b)).toBeUndefined()
    clock.ms = 5_000
    expect(await prompts.get(a)).toBeUndefined()
    expect(await prompts.get(c)).toBe(3)
    expect(prompts.stats()).toEqual({ total: 2, active: 1, expired: 1, capacity: 2, hits: 2, misses: 2, hitRate: 0.5 })
  })

  test.each([{ temperature: Number.NaN }, { topK: Number.POSITIVE_INFINITY }])(
    'refuses a config that two requests could share by mistake: %s',
    async (wrong) => {
      await expect(at().prompts.get({ ...request, config: { ...config, ...wrong } })).rejects.toMatchObject({
        code: 'value_invalid',
      })
    },
  )
})
