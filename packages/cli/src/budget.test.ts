import { budget as budgetMiddleware, openTenantBudget, reserve } from '@colloquy/context'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { beforeEach, describe, expect, test } from 'vitest'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { say } from '../../../test/support/given.ts'
import { parseLimits } from './budget-settings.ts'
import { run } from './program.ts'

let log = openMemoryLog()
beforeEach(() => {
  log = openMemoryLog()
})

async function call(...given: string[]) {
  const io = capturedIo({ log })
  const code = await run(given, io)
  return { code, stdout: io.stdout.text, stderr: io.stderr.text }
}

describe('budget <id>', () => {
  test('shows what is limited, used, reserved and was refused; --set changes limits and keeps the others', async () => {
    await using engine = createEngine({ log, middleware: [budgetMiddleware({ limitTokens: 40 })] })
    const conversation = await engine.open('c')
    await conversation.dispatch(say('m1', 'hi', 30))
    await reserve(conversation, { modelCalls: 1, costMicros: 900 }, { reservationId: 'r1', purpose: 'model_call', holder: 'me' })
    await conversation.dispatch(say('m2', 'hi', 30)).catch(() => {})

    expect((await call('budget', 'c', '--set', 'cost=2.50,calls=3..5', '--set-turn', 'tool-calls=4')).code).toBe(0)
    const { code, stdout } = await call('budget', 'c', '--set', 'calls=none', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      id: 'c',
      position: 6,
      limits: {
        conversation: { costMicros: { soft: null, hard: 2_500_000 } },
        turn: { toolCalls: { soft: null, hard: 4 } },
      },
      standing: expect.arrayContaining([
        { scope: 'conversation', kind: 'costMicros', used: 0, reserved: 900, soft: null, hard: 2_500_000, left: 2_499_100 },
        { scope: 'conversation', kind: 'messageTokens', used: 30, reserved: 0, soft: null, hard: null, left: null },
        { scope: 'turn', kind: 'toolCalls', used: 0, reserved: 0, soft: null, hard: 4, left: 4 },
      ]),
      reservations: [{ reservationId: 'r1', holder: 'me', purpose: 'model_call' }],
      refusals: 1,
      lastRefusal: { requested: 30, limit: 40, used: 30 },
    })
    const text = (await call('budget', 'c')).stdout
    expect(text).toMatch(/^refusals\t1, the last at position 3: messageAdded needed 30, and 30 of 40 tokens were used$/m)
    expect(text).toMatch(/^conversation\tcost-micros\t0\t900\t\t2500000\t2499100$/m)
    expect(text).toMatch(/^r1\tmodel_call\tme\t\S+Z\t1 model calls, 900 cost micros$/m)
  })

  test('gives back what a dead process reserved, once', async () => {
    await using engine = createEngine({ log })
    await reserve(await engine.open('c'), { modelCalls: 1 }, { reservationId: 'r1' })
    expect(JSON.parse((await call('budget', 'c', '--release', 'r1', '--json')).stdout)).toMatchObject({ reservations: [] })
    const again = await call('budget', 'c', '--release', 'r1')
    expect(again).toMatchObject({ code: 4, stderr: expect.stringMatching(/^reservation_not_open: /) })
  })

  test('knows no conversation that is not there, and makes none', async () => {
    expect(await call('budget', 'nobody', '--set', 'tokens=5')).toMatchObject({ code: 4, stdout: '' })
    expect(await log.conversations({ tenant: 'default', limit: 1 })).toEqual([])
  })
})

describe('budget without an id', () => {
  test('is that of the tenant, one for each scope, and no list shows its ledger', async () => {
    expect((await call('budget', '--set', 'tokens=1000', '--tenant', 'acme')).code).toBe(0)
    await using ledger = await openTenantBudget({ log, tenant: 'acme', holder: 'me' })
    await ledger.reserve({ modelCalls: 1, inputTokens: 10, outputTokens: 5 })
    const { stdout } = await call('budget', '--tenant', 'acme')
    expect(stdout).toMatch(/^tenant\tacme, ledger colloquy:budget:tenant$/m)
    expect(stdout).toMatch(/^conversation\ttokens\t0\t\d+\t\t1000\t\d+$/m)
    for (const other of [
      ['--tenant', 'acme', '--scope', 'team'],
      ['--tenant', 'other'],
    ])
      expect(JSON.parse((await call('budget', ...other, '--json')).stdout)).toMatchObject({ position: 0, standing: [] })
    expect((await call('list', '--tenant', 'acme')).stdout).toBe('')
  })

  test.each([
    [['c', '--scope', 'team']],
    [['--set-turn', 'tokens=5']],
    [['--set', 'tokens']],
    [['--set', 'dollars=5']],
    [['--set', 'tokens=1=2']],
    [['--set', 'tokens=-5']],
    [['--set', 'tokens=1.5']],
    [['--set', 'tokens=..']],
    [['--set', 'cost=0.0000001']],
    [['--set', 'tokens=99999999999999999999']],
    [['--set', 'tokens=1..0']],
    [['--set', 'tokens=5,tokens=6']],
    [['--set', 'calls=5,model-calls=6']],
    [['--scope', 'a b/~']],
  ])('refuses %j as wrong usage', async (given) => {
    expect(await call('budget', ...given)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^usage_invalid: /),
    })
  })
})

test('a hint is given only for a ledger that is there, and a scope that cannot be is named as such', async () => {
  expect((await call('budget')).stderr).not.toContain('verify')
  expect((await call('budget', '--set', 'tokens=5..5')).stderr).toContain('verify colloquy:budget:tenant')
  expect((await call('budget', '--scope', 'a b/~')).stderr).toMatch(/^usage_invalid: --scope takes a name without "~"/)
})

test('limits are typed as hard, soft..hard, soft.. or none, in dollars and seconds too', () => {
  expect(parseLimits('--set', 'tokens=10, cost=2.3,seconds=1..2,messages=5..,tool-calls=none')).toEqual({
    tokens: { soft: null, hard: 10 },
    costMicros: { soft: null, hard: 2_300_000 },
    wallMs: { soft: 1_000, hard: 2_000 },
    messages: { soft: 5, hard: null },
    toolCalls: null,
  })
})
