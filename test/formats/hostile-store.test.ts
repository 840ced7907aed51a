/**
 * Files that nobody wrote in good faith, through a store: each is imported whole and comes back from the log as it was checked, or is
 * refused with a code and leaves not one row. 10,000 for each family of importers: `COLLOQUY_RUNS=10000`.
 */
import { readFileSync } from 'node:fs'
import {
  type EventLog,
  fromUtf8,
  type HeldConversation,
  type ImportedFile,
  isColloquyError,
  stateHash,
  toHex,
} from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { openEmbeddedLog, type PostgresLog } from '@colloquy/postgres'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { agentDocuments } from './agent-samples.ts'
import {
  chatBotText,
  exchangeList,
  gptTree,
  inspectLog,
  langChainList,
  langGraphThread,
  openHandsLog,
  shareGptList,
  tau2Run,
  tauRun,
} from './app-fixtures.ts'
import { mutate, strangeValue } from './hostile.ts'
import { runs } from './runs.ts'

const claudeCode = readFileSync(new URL('../../packages/cli/samples/claude-code.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line): unknown => JSON.parse(line))

const families: Readonly<Record<string, readonly unknown[]>> = {
  'claude-code': [claudeCode.slice(0, 6), claudeCode.slice(20, 28), claudeCode.slice(-8)],
  agents: agentDocuments,
  chatgpt: [gptTree, [gptTree]],
  'openai-chat': [tauRun, tau2Run, openHandsLog],
  exchanges: [exchangeList, exchangeList[0]],
  langgraph: [langGraphThread, langChainList],
  sharegpt: [shareGptList, shareGptList[0]],
  inspect: [inspectLog],
  'chat-bot': [JSON.parse(chatBotText)],
}

/** Valid in JSON and awkward elsewhere: they must come back to the last code unit. */
const awkward = [
  '\u0000',
  '\ud800',
  'a\udfffb',
  'e\u0301 é',
  '👩‍👩‍👧 𝒳',
  '\u202eabc\u202c ‮שלום',
  '\u2028\u2029',
  '__proto__',
  'constructor',
  ' ',
  'x'.repeat(3000),
]

/** Texts that stand for a value, valid JSON or not. */
const tokens = [
  '9007199254740993',
  '-9007199254740992',
  '1e400',
  '-1e400',
  '1e-400',
  '-0',
  'NaN',
  'Infinity',
  'undefined',
  `1${'0'.repeat(50_000)}`,
  '01',
  '{"__proto__":{"polluted":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  '{"a":1,"a":2}',
  '{"\\u0061":1,"a":2}',
  `${'['.repeat(65)}${']'.repeat(65)}`,
  `${'{"a":'.repeat(65)}1${'}'.repeat(65)}`,
  `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
  '['.repeat(100_000),
  `[${'0,'.repeat(10_000)}0]`,
  '"\\ud800"',
  '"\\u0000"',
  '"\u0000"',
  '"unterminated',
  "'single'",
]
const placeholder = '@ a token stands here @'

/** Of a family's documents, as one JSON value or as lines, with fields changed, tokens put in, cut, glued or turned into noise. */
function files(documents: readonly unknown[]): fc.Arbitrary<string | Uint8Array> {
  const path = fc.array(fc.nat(30), { minLength: 1, maxLength: 7 })
  const value = fc.oneof(strangeValue('user', 'assistant', 'tool'), fc.constantFrom(...awkward), fc.string({ unit: 'binary' }))
  const ending = fc.constantFrom(
    (text: string) => text,
    (text: string) => `\ufeff${text}`,
    (text: string) => text.replaceAll('\n', '\r\n'),
    (text: string) => text.replaceAll('\n', ''),
    (text: string) => `${text}\n${text}`,
    (text: string) => text.slice(0, Math.floor(text.length * 0.7)),
  )
  const made = fc
    .tuple(
      fc.constantFrom(...documents),
      fc.array(fc.tuple(path, value), { maxLength: 2 }),
      fc.option(fc.tuple(path, fc.constantFrom(...tokens)), { freq: 2 }),
      ending,
      fc.boolean(),
    )
    .map(([document, changes, put, end, asLines]) => {
      const copy: unknown = structuredClone(document)
      for (const [steps, changed] of changes) mutate(copy, steps, structuredClone(changed))
      if (put !== null) mutate(copy, put[0], placeholder)
      const isList = Array.isArray(copy)
      const text =
        asLines && isList ? copy.map((line) => JSON.stringify(line)).join('\n') : JSON.stringify(copy, null, isList ? 0 : 1)
      return end(put === null ? text : text.replaceAll(JSON.stringify(placeholder), () => put[1]))
    })
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.string({ unit: 'binary', maxLength: 100 }),
    fc.constantFrom(...tokens),
    made.map((text) => {
      const bytes = new TextEncoder().encode(text)
      bytes[bytes.length >> 1] = 0xff
      return bytes
    }),
  )
  return fc.oneof({ weight: 9, arbitrary: made }, { weight: 1, arbitrary: noise })
}

interface Store {
  readonly log: EventLog
  readonly tenant: string
  readonly rows: () => Promise<number>
}

/** Imports into the store. @returns what happened */
async function through({ log, tenant, rows }: Store, content: string | Uint8Array): Promise<string> {
  await using engine = createEngine({ log, tenant })
  const before = await rows()
  let file: ImportedFile
  try {
    file = importFile({ source: 'hostile', content, sha256 })
    await engine.importConversation(file.conversations)
  } catch (error) {
    // Anything but a code of ours is a failure.
    if (!isColloquyError(error)) throw error
    expect(['import_refused', 'import_conflict']).toContain(error.code)
    expect(await rows()).toBe(before)
    return error.code
  }
  const stored = await rows()
  // Every command is there under its id with the input that it has now, or this would be a conflict.
  const again = await engine.importConversation(file.conversations)
  expect([await rows(), again.map(({ appended }) => appended)]).toEqual([stored, again.map(() => 0)])
  for (const [index, conversation] of file.conversations.entries()) {
    const { conversationId } = conversation
    const bodies = await bodiesOf(log, tenant, conversationId)
    // What a log holds that had the conversation before is of both files.
    const own = bodiesIn(conversation)
    // A fork begins with what its parent has.
    if (before === 0) expect(conversation.fork ? bodies.slice(-own.length || bodies.length) : bodies).toEqual(own)
    expect(bodies).toHaveLength(again[index]?.position ?? 0)
    const { state } = await engine.replay(conversationId)
    expect(toHex(stateHash(state, sha256))).toBe(toHex(again[index]?.stateHash ?? Uint8Array.of()))
  }
  return 'imported'
}

/** The text of each action as it must be stored. */
const bodiesIn = ({ commands }: HeldConversation): string[] =>
  commands.flatMap(({ actions }) =>
    actions.map(({ type, payload, meta, derivedFrom }) => `${type} ${JSON.stringify({ payload, meta, derivedFrom })}`),
  )

async function bodiesOf(log: EventLog, tenant: string, conversationId: string): Promise<string[]> {
  const bodies: string[] = []
  for await (const page of log.read({ tenant, conversationId }))
    bodies.push(...page.map(({ type, body }) => `${type} ${fromUtf8(body)}`))
  return bodies
}

const prototypeKeys = () =>
  JSON.stringify([Reflect.ownKeys(Object.prototype).map(String), Reflect.ownKeys(Array.prototype).map(String)])

async function check(documents: readonly unknown[], numRuns: number, open: (run: number) => Store): Promise<Map<string, number>> {
  const clean = prototypeKeys()
  const outcomes = new Map<string, number>()
  let run = 0
  await fc.assert(
    fc.asyncProperty(files(documents), fc.boolean(), async (content, isSecond) => {
      run += 1
      const store = open(run)
      // Over a store that has the document already, most that was changed is a conflict.
      if (isSecond) await through(store, JSON.stringify(documents[0]))
      const outcome = await through(store, content)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      expect(prototypeKeys()).toBe(clean)
    }),
    { numRuns },
  )
  return outcomes
}

function inMemory(): Store {
  const log = openMemoryLog()
  const rows = async () => {
    let count = 0
    for (let after = 0; ; ) {
      const page = await log.feed({ partition: 0, after, limit: 500 })
      if (page.scannedTo === after) return count
      count += page.envelopes.length
      after = page.scannedTo
    }
  }
  return { log, tenant: 'default', rows }
}

const counted = (outcomes: ReadonlyMap<string, number>): string =>
  [...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', ')

describe('in memory', () => {
  test.each(Object.entries(families))(
    '%s',
    async (family, documents) => {
      const outcomes = await check(documents, runs(200), inMemory)
      console.log(`${family}: ${counted(outcomes)}`)
      // A generator that makes nothing but refusals, or none, would prove nothing.
      expect(outcomes.get('imported') ?? 0).toBeGreaterThan(0)
      expect(outcomes.get('import_refused') ?? 0).toBeGreaterThan(0)
    },
    3_600_000,
  )
})

describe('in a database', () => {
  let log: PostgresLog
  beforeAll(async () => {
    log = await openEmbeddedLog({ memory: true })
  })
  afterAll(() => log.close())
  const rowsOf = (tenant: string) => async () => {
    const { count } = await log.kysely
      .selectFrom('envelope')
      .where('tenant', '=', tenant)
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
    return count
  }

  const storeOf = (tenant: string): Store => ({ log, tenant, rows: rowsOf(tenant) })

  test.each(Object.entries(families))(
    '%s',
    async (family, documents) => {
      await check(documents, runs(15, 300), (run) => storeOf(`${family}-${run}`))
    },
    3_600_000,
  )
})
