import { strategyNames as configurable } from '@colloquy/context'
import { compactionFailed, conversationTitled } from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { beforeEach, describe, expect, test } from 'vitest'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { spoken, talk, toolCall, toolResult } from '../../../test/support/compaction.ts'
import { fixedClock } from '../../../test/support/given.ts'
import { strategyNames } from './compaction-strategy-names.ts'
import { run } from './program.ts'

/** 40 messages of 100 tokens, with a call in the middle. */
let log: ReturnType<typeof openMemoryLog>

async function call(...given: string[]) {
  const io = capturedIo({ log })
  const code = await run(given, io)
  return { code, stdout: io.stdout.text, stderr: io.stderr.text }
}

async function json(...given: string[]) {
  const { stdout, stderr } = await call(...given, '--json')
  return JSON.parse(stdout || stderr)
}

beforeEach(async () => {
  log = openMemoryLog()
  await using engine = createEngine({ log, clock: fixedClock() })
  const conversation = await engine.open('c')
  await conversation.dispatch([
    ...talk(1, 20, 100),
    spoken('a', 'assistant', [toolCall('c1')], 100),
    spoken('t', 'tool', [toolResult('c1')], 100),
    ...talk(23, 40, 100),
  ])
})

describe('compact', () => {
  test.each(strategyNames)('by %s goes down to the budget, and uncompact leads back', async (strategy) => {
    const before = (await json('show', 'c')).state
    const result = await json('compact', 'c', '--strategy', strategy, '--budget', '2000')
    expect(result).toMatchObject({
      id: 'c',
      status: 'compacted',
      position: 41,
      budgetTokens: 2_000,
      before: { messages: 40, tokens: 4_000 },
    })
    expect(result.after.tokens).toBeLessThanOrEqual(2_000)
    expect(result.ratio).toBeCloseTo(result.after.tokens / 4_000, 2)
    const { state } = await json('show', 'c')
    expect(state.messages).toHaveLength(result.after.messages)
    expect(state.context.usedTokens).toBe(result.after.tokens)
    expect(await json('uncompact', 'c')).toMatchObject({ id: 'c', position: 42, compactionPosition: 41 })
    expect((await json('show', 'c')).state.messages).toEqual(before.messages)
  })

  test('takes every strategy but the one that does nothing', () => {
    expect([...strategyNames, 'null']).toEqual(configurable)
  })

  test('goes by the configuration where the command line says nothing', async () => {
    const env = { COLLOQUY_CONTEXT_BUDGET: '3000', COLLOQUY_STRATEGY: 'summarizing', COLLOQUY_LEAST_TOKENS: '0' }
    const io = capturedIo({ log, env })
    expect(await run(['compact', 'c', '--json'], io)).toBe(0)
    expect(JSON.parse(io.stdout.text)).toMatchObject({ status: 'compacted', strategy: 'summarizing', budgetTokens: 1_800 })
    const analyzed = capturedIo({ log, env })
    expect(await run(['analyze', 'c', '--json'], analyzed)).toBe(0)
    expect(JSON.parse(analyzed.stdout.text).window).toMatchObject({ maxContextTokens: 3_000, summaryThresholdTokens: 2_550 })
  })

  test('as a dry run says what would leave and stores nothing', async () => {
    const result = await json('compact', 'c', '--budget', '2000', '--dry-run')
    expect(result).toMatchObject({ status: 'planned', strategy: 'adaptive', before: { tokens: 4_000 } })
    expect(result.coveredIds[0]).toBe('m1')
    const { stdout } = await call('compact', 'c', '--budget', '2000', '--dry-run')
    expect(stdout).toMatch(/^planned\tnothing was stored$/m)
    expect((await json('show', 'c')).position).toBe(40)
  })

  test('says what it did, and shows the summary', async () => {
    const { code, stdout, stderr } = await call('compact', 'c', '--budget', '2000', '--instructions', 'keep names')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^covered\t\d+ messages, m1 to m\d+$/m)
    expect(stdout).toMatch(/^tokens\t4000 to \d+, \d+ % \(budget 2000\)$/m)
    expect(stdout).toMatch(/\n\nSummary of \d+ earlier messages/)
    expect(stderr).toContain('uncompact c --at 41')
  })

  test('within the budget already stores nothing and is no failure', async () => {
    const { code, stdout } = await call('compact', 'c')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^unchanged\tthe working set is within the target already \(budget 30000 tokens\)$/m)
    expect((await json('show', 'c')).position).toBe(40)
  })

  test('instead of another is one command, and redo brings back the first', async () => {
    await call('compact', 'c', '--budget', '2000')
    const second = await json('compact', 'c', '--instead-of', '41', '--strategy', 'sliding-window', '--budget', '1000')
    expect(second).toMatchObject({ status: 'compacted', position: 43, strategy: 'sliding-window', before: { tokens: 4_000 } })
    await call('uncompact', 'c')
    expect(await json('compact', 'c', '--redo', '41')).toMatchObject({ status: 'compacted', position: 45, redoes: 41 })
    expect((await call('replay', 'c', '--verify')).code).toBe(0)
  })

  test.each([
    [['compact', 'nobody', '--budget', '10'], 'conversation_not_found', 4],
    [['uncompact', 'nobody'], 'conversation_not_found', 4],
    [['uncompact', 'c'], 'compaction_not_found', 4],
    [['uncompact', 'c', '--at', '5'], 'compaction_not_found', 4],
    [['uncompact', 'c', '--at', '500'], 'position_not_found', 4],
    [['compact', 'c', '--redo', '5'], 'compaction_not_found', 4],
    [['analyze', 'nobody'], 'conversation_not_found', 4],
  ])('%j is refused with %s', async (given, code, exit) => {
    const result = await call(...given, '--json')
    expect(result.code).toBe(exit)
    expect(JSON.parse(result.stderr)).toMatchObject({ code })
  })
})

test('show says that a conversation could not be compacted', async () => {
  await using engine = createEngine({ log, clock: fixedClock() })
  const failed = compactionFailed({ strategy: 'adaptive', trigger: 'auto', reason: 'summariser_failed', problem: 'overloaded' })
  await (await engine.open('c')).dispatch([failed, failed])
  expect((await call('show', 'c')).stdout).toMatch(
    /^not compacted\t2 times in a row, the last at position 42 \(adaptive\): summariser_failed$/m,
  )
  expect((await call('replay', 'c')).stdout).toMatch(/compactionFailed\tadaptive \(auto\): summariser_failed, overloaded/)
})

describe('analyze', () => {
  test('says what there is, how full the window is, and what suits it', async () => {
    expect(await json('analyze', 'c')).toMatchObject({
      id: 'c',
      position: 40,
      messages: 40,
      byRole: { user: 19, assistant: 20, tool: 1 },
      toolRequests: 1,
      matchedResults: 1,
      window: {
        usedTokens: 4_000,
        maxContextTokens: 50_000,
        summaryThresholdTokens: 42_500,
        targetTokens: 30_000,
        isNearLimit: false,
      },
      strategy: 'chronological',
    })
    const { stdout, stderr } = await call('analyze', 'c')
    expect(stdout).toMatch(/^window\t4000 of 50000 tokens; compacted above 42500$/m)
    expect(stderr).toContain('compact c --strategy chronological --dry-run')
  })

  test('as it was at a position', async () => {
    expect(await json('analyze', 'c', '--at', '21')).toMatchObject({
      position: 21,
      unansweredCalls: [{ messageId: 'a', callId: 'c1', name: 'search' }],
    })
  })

  test('of a conversation without messages is empty', async () => {
    await using engine = createEngine({ log, clock: fixedClock() })
    await (await engine.open('empty')).dispatch(conversationTitled({ title: 'x' }))
    expect(await json('analyze', 'empty')).toMatchObject({ messages: 0, threads: [], topicChanges: 0 })
  })
})
