import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultSettings } from '@colloquy/context'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { say } from '../../../test/support/given.ts'
import { exitCodes } from './exit.ts'
import { run } from './program.ts'
import { findSettings } from './settings.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'colloquy-settings-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const write = (name: string, text: string) => writeFile(join(directory, name), text)
const found = (env: Record<string, string> = {}, options = {}, flags = {}) =>
  findSettings({ io: { ...capturedIo({ env }), cwd: directory }, options }, flags)

describe('settings', () => {
  test('are the defaults where there is no file', async () => {
    expect(await found()).toMatchObject({ settings: defaultSettings, file: null })
  })

  test.each([
    ['colloquy.config.json', '{ "contextBudget": 123, "strategy": ["topic-based", "token-budget"] }'],
    ['colloquy.config.yaml', 'contextBudget: 123\nstrategy: [topic-based, token-budget]\n'],
    ['colloquy.config.toml', 'contextBudget = 123\nstrategy = ["topic-based", "token-budget"]\n'],
    ['colloquy.config.mjs', 'export default { contextBudget: 123, strategy: ["topic-based", "token-budget"] }'],
    [
      'colloquy.config.ts',
      'const n: number = 123\nexport default { contextBudget: n, strategy: ["topic-based", "token-budget"] as const }',
    ],
    ['colloquy.config.js', 'export default { contextBudget: 123, strategy: ["topic-based", "token-budget"] }'],
  ])('are read from %s', async (name, text) => {
    // As `npm init` leaves it, where a bare import of such a file fails.
    await write('package.json', '{ "type": "commonjs" }')
    await write(name, text)
    expect(await found()).toMatchObject({
      settings: { ...defaultSettings, contextBudget: 123, strategy: ['topic-based', 'token-budget'] },
      file: join(directory, name),
    })
  })

  test('a flag goes before the environment, that before the file, that before the default, one by one', async () => {
    await write(
      'colloquy.config.json',
      JSON.stringify({
        contextBudget: 1,
        strategy: 'null',
        thresholds: { targetRatio: 0.5, leastTokens: 7 },
        prices: { m: { input: 1, output: 2 } },
      }),
    )
    const env = {
      COLLOQUY_CONTEXT_BUDGET: '2',
      COLLOQUY_STRATEGY: 'topic-based,token-budget',
      COLLOQUY_LEAST_TOKENS: '8',
      COLLOQUY_PER_TURN: 'true',
    }
    const { settings, sources } = await found(env, {}, { contextBudget: 3 })
    expect(settings).toMatchObject({
      contextBudget: 3,
      strategy: ['topic-based', 'token-budget'],
      thresholds: { summaryThreshold: 0.85, targetRatio: 0.5, leastTokens: 8, perTurn: true },
      prices: { m: { input: 1, output: 2 } },
    })
    expect(Object.fromEntries(sources)).toMatchObject({
      contextBudget: 'flag',
      strategy: 'environment',
      'thresholds.leastTokens': 'environment',
      'thresholds.targetRatio': 'file',
      'thresholds.summaryThreshold': 'default',
      prices: 'file',
    })
  })

  test('come from the file that is named, which must be there', async () => {
    await write('colloquy.config.json', '{ "contextBudget": 1 }')
    await write('other.json', '{ "contextBudget": 2 }')
    expect((await found({}, { config: 'other.json' })).settings.contextBudget).toBe(2)
    expect((await found({ COLLOQUY_CONFIG: join(directory, 'other.json') })).settings.contextBudget).toBe(2)
    await expect(found({}, { config: 'missing.json' })).rejects.toMatchObject({ code: 'settings_invalid' })
    await expect(found({}, { config: 'other' })).rejects.toMatchObject({ code: 'settings_invalid' })
  })
})

describe('a file that cannot be used is refused with its name and what is wrong', () => {
  test.each<[string, string, RegExp | string]>([
    ['colloquy.config.json', '{ "contextBudget": ', /json/i],
    ['colloquy.config.json', 'null', /./],
    ['colloquy.config.json', '[]', /object/],
    ['colloquy.config.json', '"text"', /./],
    ['colloquy.config.json', '\u0000\u0001', /./],
    ['colloquy.config.json', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, /./],
    ['colloquy.config.json', ' '.repeat(1_048_577), /1048577 bytes/],
    ['colloquy.config.yaml', 'contextBudget: [1', /./],
    ['colloquy.config.yaml', 'contextBudget: !!js/function "function () {}"', /./],
    ['colloquy.config.toml', 'contextBudget = = 1', /./],
    ['colloquy.config.ts', 'export default {', /./],
    ['colloquy.config.mjs', 'throw new Error("no luck today")', /no luck today/],
    ['colloquy.config.mjs', 'throw null', /./],
    ['colloquy.config.mjs', 'import "./not-there.mjs"', /not-there/],
    ['colloquy.config.mjs', 'export default new Proxy({}, { ownKeys() { throw new Error("trap") } })', /trap/],
    ['colloquy.config.json', '{ "contextBudget": "much" }', 'contextBudget'],
    ['colloquy.config.json', '{ "extends": "https://example.invalid/config" }', 'extends'],
    ['colloquy.config.json', '{ "$development": { "contextBudget": 1 } }', '$development'],
  ])('%s, case %#', async (name, text, problem) => {
    await write(name, text)
    const refused = await found().then(
      () => expect.fail('it was taken'),
      (error: unknown) => error,
    )
    expect(refused).toMatchObject({ code: 'settings_invalid', message: expect.stringContaining(join(directory, name)) })
    expect((refused as Error).message).toMatch(problem)
    expect((refused as Error).message).not.toContain('\n')
  })

  test('a directory of that name, and two files of which nobody knows which one holds', async () => {
    await mkdir(join(directory, 'colloquy.config.json'))
    await expect(found()).rejects.toThrow('it is no file')
    await write('colloquy.config.yaml', 'contextBudget: 1')
    await expect(found()).rejects.toThrow('colloquy.config.json, colloquy.config.yaml')
  })

  test('an environment that cannot be used is refused with the field and the variable', async () => {
    await expect(found({ COLLOQUY_TARGET_RATIO: 'half' })).rejects.toMatchObject({
      code: 'settings_invalid',
      details: { field: 'thresholds.targetRatio', problem: expect.stringContaining('COLLOQUY_TARGET_RATIO') },
    })
    await expect(found({ COLLOQUY_STRATEGY: 'cleverly' })).rejects.toMatchObject({ details: { field: 'strategy' } })
  })
})

test('no other source is read, and nothing is fetched', async () => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    response.end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    await write('.colloquyrc', 'contextBudget=1')
    await write('.env', 'COLLOQUY_CONTEXT_BUDGET=2')
    await write('package.json', '{ "colloquy": { "contextBudget": 3 } }')
    await write('base.json', '{ "contextBudget": 4 }')
    await mkdir(join(directory, '.config'))
    await write('.config/colloquy.json', '{ "contextBudget": 5 }')
    expect(await found()).toMatchObject({ settings: defaultSettings, file: null })
    for (const source of [`http://127.0.0.1:${port}/config`, './base.json', 'gh:owner/repository']) {
      await write('colloquy.config.json', JSON.stringify({ extends: source }))
      await expect(found()).rejects.toMatchObject({ code: 'settings_invalid', details: { field: 'extends' } })
    }
    await rm(join(directory, 'colloquy.config.json'))
    await write('colloquy.config.yaml', 'strategy: "null"')
    expect((await found()).settings).toEqual({ ...defaultSettings, strategy: 'null' })
    expect(asked).toEqual([])
  } finally {
    server.close()
  }
})

test('colloquy settings shows each one, and where it comes from; one that cannot be used ends with exit code 2', async () => {
  await write('colloquy.config.json', '{ "contextBudget": 1000 }')
  const colloquy = async (...words: string[]) => {
    const io = { ...capturedIo({ env: { COLLOQUY_PER_TURN: '4' } }), cwd: directory }
    return { code: await run(words, io), stdout: io.stdout.text, stderr: io.stderr.text }
  }
  const { code, stdout } = await colloquy('settings', '--strategy', 'topic-based', '--json')
  expect(code).toBe(exitCodes.ok)
  expect(JSON.parse(stdout)).toEqual(
    expect.arrayContaining([
      { id: 'contextBudget', value: 1000, source: 'file' },
      { id: 'strategy', value: 'topic-based', source: 'flag' },
      { id: 'thresholds.perTurn', value: 4, source: 'environment' },
      { id: 'thresholds.targetRatio', value: 0.6, source: 'default' },
    ]),
  )
  expect(await colloquy('settings', '--strategy', 'cleverly')).toMatchObject({
    code: exitCodes.usage,
    stderr: expect.stringMatching(/^settings_invalid: The setting strategy cannot be used: .*the command line/),
  })
  expect(await colloquy('settings', '--budget', '0')).toMatchObject({ code: exitCodes.usage })
})

test('compact and analyze go by them: budget, thresholds and strategy', async () => {
  await write(
    'colloquy.config.json',
    JSON.stringify({
      contextBudget: 1000,
      strategy: ['null', 'sliding-window'],
      thresholds: { targetRatio: 0.5, summaryThreshold: 0.75, leastTokens: 0 },
    }),
  )
  const log = openMemoryLog()
  await using engine = createEngine({ log })
  await (await engine.open('c')).dispatch(
    Array.from({ length: 20 }, (_, i) => say(`m${i}`, `message ${i}`, 100, i % 2 === 0 ? 'user' : 'assistant')),
  )
  const json = async (...words: string[]) => {
    const io = { ...capturedIo({ log }), cwd: directory }
    await run([...words, '--json'], io)
    return JSON.parse(io.stdout.text)
  }
  expect((await json('analyze', 'c')).window).toMatchObject({
    maxContextTokens: 1000,
    summaryThresholdTokens: 750,
    targetTokens: 500,
  })
  expect(await json('compact', 'c', '--dry-run')).toMatchObject({
    status: 'planned',
    strategy: 'null|sliding-window',
    budgetTokens: 500,
  })
  expect(await json('compact', 'c', '--dry-run', '--strategy', 'chronological', '--budget', '900')).toMatchObject({
    status: 'planned',
    strategy: 'chronological',
    budgetTokens: 900,
  })
})
