/** What a failed send leads to, over a scripted connection. What a real server does is in append.test.ts. */
import type { AppendOutcome, AppendRequest } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { beginningOf, following, newKey, utf8 } from '../../../../test/support/log-writer.ts'
import type { LogConnection } from '../connections/connection.ts'
import { type AppendOptions, appender } from './append.ts'
import type { AppendSession } from './append-session.ts'

const failure = (code: string): Error => Object.assign(new Error(`it failed with ${code}`), { code })
const connectionLost = (): Error => new Error('Connection terminated unexpectedly')

type ScriptOptions = AppendOptions & {
  /** The server took no writes when the log was opened. */
  readonly isReadOnly?: boolean
}

/** An appender whose sends do what `script` says, one entry a send; after its end each succeeds. */
function scripted(script: readonly (Error | 'local')[], options: ScriptOptions = {}) {
  const sent: (readonly unknown[])[] = []
  let isLocalOnly = false
  const query = async <Row>({ text }: { text: string }, values: readonly unknown[]) => {
    if (!text.includes('log_append')) return []
    const step = script[sent.length]
    sent.push(values)
    if (step instanceof Error) throw step
    isLocalOnly = step === 'local'
    return [appended] as unknown as readonly Row[]
  }
  return { sent, append: appenderOver({ query, isLocalOnly: () => isLocalOnly }, options).append }
}

/** What the append function answers. */
const appended = { answer: ['appended', '7', '1'], feed_positions: [6], refused: null, recorded_at: 1 }

function appenderOver(answers: Pick<AppendSession, 'query' | 'isLocalOnly'>, options: ScriptOptions = {}) {
  const session: AppendSession = { ...answers, commit: () => Promise.resolve() }
  const log = {
    target: 'db:5432/talk',
    kysely: { isTransaction: false },
    partitions: 1,
    needsReadCommitted: false,
    isReadOnly: options.isReadOnly ?? false,
    withAppendSession: <T>(work: (session: AppendSession) => Promise<T>) => work(session),
  } as unknown as LogConnection
  return appender(log, options, () => {})
}

function aRequest(text = 'hello'): AppendRequest {
  const key = newKey()
  return { key, expected: beginningOf(key), envelopes: following(key, beginningOf(key), [{ body: utf8(text) }]) }
}

describe('an append', () => {
  test.each(['40001', '40P01', '55P03', '57014', '53200', '25P02', '53300', '57P03', 'ECONNREFUSED'])(
    'is tried again after %s, which undid it or never let it in',
    async (code) => {
      const { append, sent } = scripted([failure(code), failure(code)])
      expect(await append([aRequest()])).toMatchObject([{ status: 'appended' }])
      expect(sent).toHaveLength(3)
      // It is known not to be stored, so giving up says so.
      const never = scripted(
        Array.from({ length: 100 }, () => failure(code)),
        { deadlineMs: 20 },
      )
      await expect(never.append([aRequest()])).rejects.not.toMatchObject({ code: 'append_outcome_unknown' })
    },
  )

  test.each([
    connectionLost(),
    failure('57P01'),
    failure('57P02'),
    failure('08006'),
    failure('ECONNRESET'),
    failure('XX000'),
    new Error('?'),
  ])('is sent again, the same bytes, after %s, under which it may be stored', async (error) => {
    const { append, sent } = scripted([error])
    expect(await append([aRequest()])).toMatchObject([{ status: 'appended' }])
    expect(sent[1]).toEqual(sent[0])
  })

  test('waits for the fail-over of a server that took writes when the log was opened', async () => {
    const { append, sent } = scripted([failure('25006'), failure('25006')])
    expect(await append([aRequest()])).toMatchObject([{ status: 'appended' }])
    expect(sent).toHaveLength(3)
    const never = scripted(
      Array.from({ length: 100 }, () => failure('25006')),
      { deadlineMs: 20 },
    )
    await expect(never.append([aRequest()])).rejects.toMatchObject({ code: 'log_read_only', details: { target: 'db:5432/talk' } })
  })

  test('is refused at once by a server that took no writes when the log was opened either, until it is promoted', async () => {
    const { append, sent } = scripted([failure('25006')], { isReadOnly: true })
    await expect(append([aRequest()])).rejects.toMatchObject({ code: 'log_read_only', retryable: true })
    expect(sent).toHaveLength(1)
    expect(await append([aRequest()])).toMatchObject([{ status: 'appended' }])
  })

  test('is refused at once when the disk is full', async () => {
    const { append, sent } = scripted([failure('53100')])
    await expect(append([aRequest()])).rejects.toMatchObject({
      code: 'storage_full',
      retryable: true,
      details: { target: 'db:5432/talk' },
    })
    expect(sent).toHaveLength(1)
  })

  test('gives up at its deadline: with what stood in the way, when it surely is not stored', async () => {
    const always = (error: Error) =>
      scripted(
        Array.from({ length: 100 }, () => error),
        { deadlineMs: 30 },
      )
    await expect(always(failure('40001')).append([aRequest()])).rejects.toMatchObject({
      code: 'database_failed',
      details: { sqlState: '40001' },
    })
    await expect(always(failure('ECONNREFUSED')).append([aRequest()])).rejects.toMatchObject({ code: 'database_unreachable' })
  })

  test('gives up at its deadline: with "unknown", once it was sent without an answer, whatever happened afterwards', async () => {
    const script = [connectionLost(), ...Array.from({ length: 100 }, () => failure('ECONNREFUSED'))]
    const { append } = scripted(script, { deadlineMs: 60 })
    const request = aRequest()
    await expect(append([request])).rejects.toMatchObject({
      code: 'append_outcome_unknown',
      details: {
        conversationId: request.key.conversationId,
        position: 1,
        hash: Buffer.from(request.envelopes[0]?.hash ?? []).toString('hex'),
      },
      cause: script[0],
    })
    const full = scripted([connectionLost(), failure('53100')])
    await expect(full.append([aRequest()])).rejects.toMatchObject({ code: 'append_outcome_unknown' })
  })

  test('that the server will never take fails alone: its neighbours of the batch are stored', async () => {
    const sizes: number[] = []
    const { append } = poisoned(sizes)
    const requests = ['a', 'b', 'poison', 'd', 'e'].map(aRequest)
    const settled = await Promise.allSettled(requests.map((request) => append([request])))
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
    expect(settled[2]).toMatchObject({ reason: { code: 'database_failed', details: { sqlState: '22003' } } })
    expect(sizes[0]).toBe(5)
  })

  test('of several requests rejects as unknown when one failed and others are stored', async () => {
    const { append } = poisoned([])
    await expect(append(['a', 'poison'].map(aRequest))).rejects.toMatchObject({ code: 'append_outcome_unknown' })
    await expect(append([aRequest('poison'), aRequest('poison')])).rejects.toMatchObject({ code: 'database_failed' })
  })

  test('that is stored on the primary only says so, and warns', async () => {
    const warnings: string[] = []
    const { append } = scripted(['local'], { onWarning: (warning) => warnings.push(warning) })
    expect(await append([aRequest()])).toMatchObject([{ status: 'appended', durability: 'local' }])
    expect(warnings).toEqual([expect.stringContaining('primary only')])
    const [next] = (await append([aRequest()])) as [AppendOutcome]
    expect(next).not.toHaveProperty('durability')
  })
})

/** An appender over a server that never takes a body "poison". */
function poisoned(sizes: number[]) {
  const query = async <Row>(_statement: object, values: readonly unknown[]) => {
    const bodies = values.filter((value) => value instanceof Uint8Array).map((value) => Buffer.from(value).toString('latin1'))
    sizes.push(
      values.length === 19 ? 1 : (bodies.find((body) => /conversation-/.test(body))?.match(/conversation-/g)?.length ?? 0),
    )
    if (bodies.some((body) => body.includes('poison'))) throw failure('22003')
    return [appended] as unknown as readonly Row[]
  }
  return appenderOver({ query, isLocalOnly: () => false })
}
