import { type ConversationState, conversationTitled } from '@colloquy/core'
import { firstValueFrom, from, map, take, toArray } from 'rxjs'
import { describe, expect, test, vi } from 'vitest'
import { given, say } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'

describe('a conversation as a store', () => {
  test('has the shape of a Redux store, and RxJS takes it as an observable', async () => {
    const { conversation, dispatch } = await given([say('m1')])
    const lengths: number[] = []
    const subscription = from(conversation).subscribe((state) => lengths.push((state as ConversationState).messages.length))
    let calls = 0
    const stop = conversation.subscribe(() => {
      calls += 1
    })
    await dispatch(say('m2'))
    stop()
    await dispatch(say('m3'))
    subscription.unsubscribe()
    await dispatch(say('m4'))
    expect(lengths).toEqual([1, 2, 3])
    expect(calls).toBe(1)
  })

  test('state$ begins with the present state, select repeats nothing', async () => {
    const { conversation, dispatch } = await given([say('m1')])
    const titles = firstValueFrom(conversation.select((state) => state.lifecycle.title).pipe(take(2), toArray()))
    const counts = firstValueFrom(
      conversation.state$.pipe(
        map((s) => s.messages.length),
        take(3),
        toArray(),
      ),
    )
    await dispatch(say('m2'))
    await dispatch(conversationTitled({ title: 'x' }))
    expect(await titles).toEqual([null, 'x'])
    expect(await counts).toEqual([1, 2, 2])
  })

  test('tells nobody what is not stored: subscribers see an envelope when the log has it', async () => {
    const { conversation, dispatch, log } = await given()
    const heads: Promise<number | undefined>[] = []
    conversation.envelopes$.subscribe(() =>
      heads.push(log.head({ tenant: 'default', conversationId: 'c' }).then((head) => head?.position)),
    )
    await dispatch(say('m1'))
    expect(await Promise.all(heads)).toEqual([1])
  })

  test('keeps conversations apart, and engine.envelopes$ hears all', async () => {
    const { engine, conversation, dispatch } = await given()
    const other = await engine.open('d')
    const seen: string[] = []
    conversation.envelopes$.subscribe((e) => seen.push(`c:${e.position}`))
    other.envelopes$.subscribe((e) => seen.push(`d:${e.position}`))
    engine.envelopes$.subscribe((e) => seen.push(`all:${e.conversationId}`))
    await dispatch(say('m1'))
    await other.dispatch(say('m1'))
    expect(seen).toEqual(['c:1', 'all:c', 'd:1', 'all:d'])
  })
})

describe('a subscriber that throws', () => {
  test('harms neither the dispatch nor anyone else, and is reported', async () => {
    const { conversation, dispatch, engine, errors } = await given()
    const boom = () => {
      throw new Error('boom')
    }
    conversation.envelopes$.subscribe(boom)
    conversation.subscribe(boom)
    conversation.select((s) => s.messages.length).subscribe(boom)
    conversation.state$.pipe(map(boom)).subscribe()
    engine.envelopes$.pipe(map(boom)).subscribe(() => undefined)
    const seen: number[] = []
    conversation.envelopes$.subscribe((e) => seen.push(e.position))
    engine.envelopes$.subscribe((e) => seen.push(e.position))
    await dispatch(say('m1'))
    await dispatch(say('m2'))
    expect(seen).toEqual([1, 1, 2, 2])
    expect(errors.length).toBeGreaterThanOrEqual(6)
    expect(errors.every(({ error }) => (error as Error).message === 'boom')).toBe(true)
    expect(errors.map(({ where }) => where)).toContain('conversation c')
  })

  test('with what cannot be written as JSON is warned of, and an onError that throws too', async () => {
    const warnings: string[] = []
    const listen = ({ name, message }: Error) => void (name === 'ColloquyWarning' && warnings.push(message))
    process.on('warning', listen)
    const cyclic: Record<string, unknown> = {}
    cyclic['self'] = cyclic
    const rude = () => {
      throw new Error('rude')
    }
    await using quiet = createEngine({ log: openMemoryLog() })
    await using loud = createEngine({ log: openMemoryLog(), onError: rude })
    for (const engine of [quiet, loud]) {
      const conversation = await engine.open('c')
      conversation.envelopes$.subscribe(() => {
        throw cyclic
      })
      await expect(conversation.dispatch(say('m1'))).resolves.toMatchObject({ position: 1 })
    }
    await vi.waitUntil(() => warnings.length === 3)
    process.off('warning', listen)
    expect(warnings).toEqual([
      expect.stringContaining('conversation c: <ref *1> { self: [Circular *1] }'),
      expect.stringContaining('conversation c: <ref *1>'),
      expect.stringContaining('onError: Error: rude'),
    ])
  })
})

test('RxJS 7 takes three functions too', async () => {
  const { conversation, engine, errors } = await given()
  const heard: string[] = []
  const none = () => {}
  conversation.state$.subscribe(none, none, () => heard.push('complete'))
  await new Promise<void>((resolve) => {
    engine.feed$({ from: 'nonsense' }).subscribe(none, (error: unknown) => {
      heard.push((error as { code: string }).code)
      resolve()
    })
  })
  await engine.close()
  expect(heard).toEqual(['cursor_invalid', 'complete'])
  expect(errors).toEqual([])
})
