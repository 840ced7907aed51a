import {
  contextCompacted,
  conversationArchived,
  conversationStarted,
  defaultLimits,
  type EventLog,
  type ImportedCommand,
  type ImportedConversation,
  type Media,
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

  test('makes a branch a fork, once, behind the command that it leaves its parent after', async () => {
    const { engine, log } = await given()
    const branch = imported([command(1), command(4)], {
      conversationId: 'c~branch',
      fork: { parentId: 'c', afterCommandId: 'record:2', messageId: 'm2' },
    })
    const whole = [imported(numbers(3).map(command)), branch]
    expect(await engine.importConversation(whole)).toMatchObject([{ position: 3 }, { appended: 3, position: 5 }])
    expect(await engine.importConversation(whole)).toMatchObject([{ appended: 0 }, { appended: 0, alreadyThere: 2 }])
    expect((await storedIn(log, 'c~branch')).map((e) => [e.conversationId, e.type, e.commandId, e.occurredAt / second])).toEqual([
      ['c', 'messageAdded', 'record:1', 1],
      ['c', 'messageAdded', 'record:2', 2],
      ['c~branch', 'conversationForked', 'forked', 2],
      // A command of the branch is its own, whatever its parent calls one of its own.
      ['c~branch', 'messageAdded', 'record:1', 2],
      ['c~branch', 'messageAdded', 'record:4', 4],
    ])
    const { lineage } = (await engine.open('c~branch')).getState()
    expect(lineage.parent).toEqual({ conversationId: 'c', relation: 'fork', position: 2, messageId: 'm2' })
    const longer = { ...branch, commands: [command(1), command(4), command(6)] }
    expect(await engine.importConversation([imported(numbers(9).map(command)), longer])).toMatchObject([
      { appended: 6 },
      { appended: 1, position: 6 },
    ])
    const key = { tenant: 'default', conversationId: 'c~branch' }
    expect(await verifyReplay(log, key, engine.reducer, sha256)).toMatchObject({ verdict: 'same', chain: { ok: true } })
  })

  test('refuses a branch that is stored as one of another place, before anything of its file is appended', async () => {
    const { engine, log } = await given()
    const branchAfter = (n: number) => ({
      ...imported([command(4)], { conversationId: 'c~branch' }),
      fork: { parentId: 'c', afterCommandId: `record:${n}` },
    })
    await engine.importConversation([imported(numbers(2).map(command)), branchAfter(1)])
    for (const place of [2, 3, 9]) {
      await expect(
        engine.importConversation([imported(numbers(3).map(command)), branchAfter(place)]),
        `after record ${place}`,
      ).rejects.toMatchObject({ code: 'import_conflict', details: { conversationId: 'c~branch' } })
    }
    expect(await storedIn(log, 'c')).toHaveLength(2)
  })

  test('refuses a branch of what is not there', async () => {
    const { engine, log } = await given()
    const fork = { parentId: 'c', afterCommandId: 'record:9' }
    const other = imported([command(1)], { conversationId: 'other' })
    const branch = imported([command(1)], { conversationId: 'c~branch', fork })
    await expect(engine.importConversation([other, branch])).rejects.toMatchObject({ code: 'import_conflict' })
    expect(await storedIn(log, 'other')).toEqual([])
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
    const commands = numbers(1_700).map(command)
    await using first = createEngine({ log: dying })
    await expect(first.importConversation(imported(commands))).rejects.toThrow('killed')
    const partly = (await storedIn(log, 'c')).length
    expect(partly).toBeGreaterThan(0)
    expect(partly).toBeLessThan(1_700)
    await using second = createEngine({ log })
    expect(await second.importConversation(imported(commands))).toMatchObject([
      { appended: 1_700 - partly, alreadyThere: partly, position: 1_700 },
    ])
    expect((await storedIn(log, 'c')).map((e) => e.commandId)).toEqual(commands.map((c) => c.commandId))
  })

  test('keeps a state hash at its end and after each append of 500 envelopes, and replay reaches each of them', async () => {
    const { engine, log } = await given()
    await engine.importConversation(imported(numbers(1_200).map(command)))
    const key = { tenant: 'default', conversationId: 'c' }
    expect((await log.stateHashes(key, engine.reducer.stateKey)).map((s) => s.position)).toEqual([500, 1_000, 1_200])
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

  test('commands that are made anew each time are walked once when their importer has walked them, and twice when nobody has', async () => {
    const { engine } = await given()
    let walks = 0
    const made = (n: number): Iterable<ImportedCommand> => ({
      *[Symbol.iterator]() {
        walks += 1
        yield* numbers(n).map(command)
      },
    })
    const commands = made(700)
    const walked = { commands, checked: { actions: 700, limits: defaultLimits } }
    expect(await engine.importConversation(imported([], walked))).toMatchObject([{ appended: 700, position: 700 }])
    expect(walks).toBe(1)
    await engine.importConversation(imported([], { commands, conversationId: 'd' }))
    expect(walks).toBe(3)
    // What is stored already is compared with, and then there is nothing to write.
    expect(await engine.importConversation(imported([], walked))).toMatchObject([{ appended: 0, alreadyThere: 700 }])
    expect(walks).toBe(4)
  })

  test('an importer that walked its commands under other limits is not believed', async () => {
    const { log } = await given()
    await using engine = createEngine({ log, limits: { envelopeBytes: 300 } })
    const long = { commandId: 'long', actions: [say('m9', 'x'.repeat(400))] }
    const checked = { actions: 2, limits: defaultLimits }
    await expect(engine.importConversation(imported([command(1), long], { checked }))).rejects.toMatchObject({
      code: 'envelope_too_large',
    })
    expect(await log.conversations({ tenant: 'default', limit: 10 })).toEqual([])
  })

  test('a conflict in one conversation keeps the others of the file out too', async () => {
    const { engine, log } = await given()
    await engine.importConversation(imported(numbers(3).map(command)))
    const changed = [command(1), { ...command(2), actions: [say('m2', 'edited')] }]
    const both = [imported(numbers(5).map(command), { conversationId: 'd' }), imported(changed)]
    await expect(engine.importConversation(both)).rejects.toMatchObject({ code: 'import_conflict' })
    expect(
      (await log.conversations({ tenant: 'default', limit: 10 })).map(({ conversationId, position }) => [
        conversationId,
        position,
      ]),
    ).toEqual([['c', 3]])
  })

  test('media of a command are there before its envelopes, and only those of commands that are missing', async () => {
    const calls: string[] = []
    const log = openMemoryLog()
    const told = Object.assign(Object.create(log) as EventLog, {
      putMedia: (...[key, media]: Parameters<EventLog['putMedia']>) => {
        calls.push(`media ${media.map(({ hash }) => hash).join(' ')}`)
        return log.putMedia(key, media)
      },
      append: (requests: Parameters<EventLog['append']>[0]) => {
        calls.push(`append ${requests[0]?.envelopes.length}`)
        return log.append(requests)
      },
    })
    const file = (hash: string): Media => ({ hash, mediaType: 'image/png', bytes: Uint8Array.of(1) })
    const withFile = (n: number): ImportedCommand => ({ ...command(n), media: [file(`hash-${n}`)] })
    await using engine = createEngine({ log: told })
    await engine.importConversation(imported([...numbers(500).map(command), withFile(501)]))
    expect(calls).toEqual(['append 500', 'media hash-501', 'append 1'])
    calls.length = 0
    await engine.importConversation(imported([...numbers(500).map(command), withFile(501), withFile(502)]))
    expect(calls).toEqual(['media hash-502', 'append 1'])
  })
})

describe('a conversation that was archived', () => {
  test('is archived when it is imported, and nothing follows', async () => {
    const { engine, log } = await given()
    const archive = { commandId: 'end', actions: [conversationArchived({})] }
    await engine.importConversation(imported([command(1), archive]))
    expect(await log.head({ tenant: 'default', conversationId: 'c' })).toMatchObject({ position: 2, archived: true })
    await expect((await engine.open('c')).dispatch(say('m2'))).rejects.toMatchObject({ code: 'conversation_archived' })
    expect(await engine.importConversation(imported([command(1), archive]))).toMatchObject([{ appended: 0, alreadyThere: 2 }])
  })

  test('takes nothing behind its end from a file either, and then nothing of it is stored', async () => {
    const { engine, log } = await given()
    const archive = { commandId: 'end', actions: [conversationArchived({})] }
    await expect(engine.importConversation(imported([command(1), archive, command(2)]))).rejects.toMatchObject({
      code: 'conversation_archived',
      details: { position: 2 },
    })
    expect(await log.head({ tenant: 'default', conversationId: 'c' })).toBeUndefined()
  })
})
