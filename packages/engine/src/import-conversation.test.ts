import {
  contextCompacted,
  conversationStarted,
  type EventLog,
  type ImportedCommand,
  type ImportedConversation,
  messageAdded,
} from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { given, say, storedIn } from '../../../test/support/given.ts'
import { createEngine } from './engine.ts'
import { openMemoryLog } from './memory-log.ts'
import { sha256 } from './node-ports.ts'
import { verifyReplay } from './verify.ts'

const second = 1_000_000
const command = (n: number): ImportedCommand => ({
  commandId: `record:${n}`,
  actions: [say(`m${n}`, `text ${n}`)],
  occurredAt: n * second,
})
const imported = (commands: readonly ImportedCommand[], extra: Partial<ImportedConversation> = {}): ImportedConversation => ({
  conversationId: 'c',
  format: 'test',
  commands,
  media: [],
  ...extra,
})
const numbers = (n: number, from = 1) => Array.from({ length: n }, (_, i) => i + from)

describe('importConversation', () => {
  test('writes records in their order with their own time, made monotone, and says where they come from', async () => {
    const { engine, log } = await given()
    const commands = [command(5), command(3), command(9)]
    const [result] = await engine.importConversation(imported(commands))
    expect(result).toMatchObject({ appended: 3, alreadyThere: 0, position: 3 })
    expect((await storedIn(log, 'c')).map((e) => [e.commandId, e.occurredAt, e.cause])).toEqual([
      ['record:5', 5 * second, 'import:test'],
      ['record:3', 5 * second, 'import:test'],
      ['record:9', 9 * second, 'import:test'],
    ])
  })

  test('adds nothing the second time, and only what is new of a file that has grown', async () => {
    const { engine, log } = await given()
    await engine.importConversation(imported(numbers(5).map(command)))
    expect(await engine.importConversation(imported(numbers(5).map(command)))).toMatchObject([
      { appended: 0, alreadyThere: 5, position: 5 },
    ])
    expect(await engine.importConversation(imported(numbers(8).map(command)))).toMatchObject([
      { appended: 3, alreadyThere: 5, position: 8 },
    ])
    expect(await storedIn(log, 'c')).toHaveLength(8)
  })

  test('refuses a file whose record is stored with another content', async () => {
    const { engine, log } = await given()
    await engine.importConversation(imported(numbers(3).map(command)))
    const changed = [command(1), { ...command(2), actions: [say('m2', 'edited')] }, command(3), command(4)]
    await expect(engine.importConversation(imported(changed))).rejects.toMatchObject({
      code: 'import_conflict',
      details: { position: 2 },
    })
    expect(await storedIn(log, 'c')).toHaveLength(3)
  })

  test('checks everything before the first append: a refused import leaves nothing, of no conversation', async () => {
    const { engine, log } = await given()
    const bad = { commandId: 'bad', actions: [{ type: 'messageAdded', payload: { tokenCount: -1 } }] }
    const both = [imported(numbers(300).map(command)), imported([bad], { conversationId: 'd' })]
    await expect(engine.importConversation(both)).rejects.toMatchObject({ code: 'action_invalid' })
    expect(await log.conversations({ tenant: 'default', limit: 10 })).toEqual([])
  })

  test('an import that a crash cut is finished by importing again', async () => {
    const log = openMemoryLog()
    let appends = 0
    const dying = Object.assign(Object.create(log) as EventLog, {
      append: (requests: Parameters<EventLog['append']>[0]) => {
        if (++appends === 3) throw new Error('killed')
        return log.append(requests)
      },
    })
    const commands = numbers(450).map(command)
    await using first = createEngine({ log: dying })
    await expect(first.importConversation(imported(commands))).rejects.toThrow('killed')
    const partly = (await storedIn(log, 'c')).length
    expect(partly).toBeGreaterThan(0)
    expect(partly).toBeLessThan(450)
    await using second = createEngine({ log })
    expect(await second.importConversation(imported(commands))).toMatchObject([
      { appended: 450 - partly, alreadyThere: partly, position: 450 },
    ])
    expect((await storedIn(log, 'c')).map((e) => e.commandId)).toEqual(commands.map((c) => c.commandId))
  })

  test('keeps a state hash at its end and every 100 envelopes, and replay reaches each of them', async () => {
    const { engine, log } = await given()
    await engine.importConversation(imported(numbers(250).map(command)))
    const key = { tenant: 'default', conversationId: 'c' }
    expect((await log.stateHashes(key, engine.reducer.stateKey)).map((s) => s.position)).toEqual([100, 200, 250])
    expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({ verdict: 'same', compared: 3 })
  })

  test('runs no guards and no middleware: what happened elsewhere is history', async () => {
    const { engine } = await given([], { middleware: [() => () => () => Promise.reject(new Error('middleware ran'))] })
    const twice = [conversationStarted({}), conversationStarted({})].map((action, i) => ({
      commandId: `s${i}`,
      actions: [action],
    }))
    expect(await engine.importConversation(imported(twice))).toMatchObject([{ appended: 2 }])
  })

  test('reaches conversations that are in memory, and their subscribers', async () => {
    const { engine, conversation } = await given()
    const seen: number[] = []
    conversation.envelopes$.subscribe((e) => seen.push(e.position))
    await engine.importConversation(imported(numbers(3).map(command)))
    expect(conversation.getState().messages).toHaveLength(3)
    expect(seen).toEqual([1, 2, 3])
  })

  test('moves the positions that a compaction names, when the log has more than the file', async () => {
    const { engine, conversation, log } = await given()
    await engine.importConversation(imported(numbers(2).map(command)))
    await conversation.dispatch(say('between'))
    const compaction: ImportedCommand = {
      commandId: 'compaction',
      actions: [
        contextCompacted(
          {
            covered: { messageIds: ['m1', 'm2', 'm3'], ranges: [[1, 3]], tokens: 3 },
            strategy: 'theirs',
            trigger: 'imported',
            before: { messages: 3, tokens: 3 },
            after: { messages: 0, tokens: 0 },
          },
          { derivedFrom: [[1, 3]] },
        ),
      ],
    }
    await engine.importConversation(imported([command(1), command(2), command(3), compaction]))
    const stored = await storedIn(log, 'c')
    expect(stored.map((e) => e.type)).toEqual([
      'messageAdded',
      'messageAdded',
      'messageAdded',
      'messageAdded',
      'contextCompacted',
    ])
    expect(stored[4]?.action.derivedFrom).toEqual([
      [1, 2],
      [4, 4],
    ])
    expect(stored[4]?.action.payload).toMatchObject({
      covered: {
        ranges: [
          [1, 2],
          [4, 4],
        ],
      },
    })
    expect(
      conversation
        .getState()
        .messages.map((m) => m)
        .toJSON()
        .map((m) => m.id),
    ).toEqual(['between'])
    expect(await engine.importConversation(imported([command(1), command(2), command(3), compaction]))).toMatchObject([
      { appended: 0, alreadyThere: 4 },
    ])
  })

  test('keeps media under their hash before the envelopes that refer to them', async () => {
    const { engine, log } = await given()
    const media = { hash: 'a'.repeat(64), mediaType: 'image/png', bytes: Uint8Array.of(1, 2, 3) }
    const part = {
      type: 'media' as const,
      kind: 'image' as const,
      mediaType: 'image/png',
      source: { kind: 'hash' as const, hash: media.hash, bytes: 3 },
    }
    const action = messageAdded({ message: { v: 1, id: 'm1', role: 'user', parts: [part] }, tokenCount: 1 })
    await engine.importConversation(imported([{ commandId: 'r1', actions: [action] }], { media: [media] }))
    expect(await log.media({ tenant: 'default', conversationId: 'c' }, media.hash)).toEqual(media)
  })
})
