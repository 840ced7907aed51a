import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ColloquyError,
  conversationTitled,
  defineAction,
  defineSlice,
  type EventLog,
  messageAdded,
  messageRedacted,
  type StoredEnvelope,
} from '@colloquy/core'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { fixedClock, say } from '../../../test/support/given.ts'
import { openRewindableLog } from '../../../test/support/rewindable-log.ts'
import { run } from './program.ts'

/** The sample and two small conversations, in one log that every command here reads. */
const log = openMemoryLog()
const sample = new URL('../samples/claude-code.jsonl', import.meta.url).pathname
let directory: string
let id: string
let head: number

async function call(given: readonly string[], terminal?: { columns: number }) {
  const io = capturedIo({ log, ...(terminal && { terminal }) })
  const code = await run(given, io)
  return { code, stdout: io.stdout.text, stderr: io.stderr.text }
}

async function read(...given: string[]) {
  const { code, stdout } = await call([...given, '--json'])
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'colloquy-reading-'))
  const [file] = await read('import', sample)
  ;({ id, position: head } = file.conversations[0])
  await using engine = createEngine({ log, clock: fixedClock() })
  const hostile = await engine.open('a-hostile')
  const text = '\u001b]0;owned\u0007line one\nline two\u202e'
  await hostile.dispatch([
    conversationTitled({ title: 'x\u001b[2Jy' }),
    messageAdded({ message: { v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text }] }, tokenCount: 3 }),
  ])
  await hostile.dispatch(messageRedacted({ messageId: 'm1' }))
  await (await engine.open('b-short')).dispatch(say('m1'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

describe('list', () => {
  test('gives conversations by id, in pages where that is asked for', async () => {
    const all = await read('list')
    const ids = all.map((one: { id: string }) => one.id)
    expect(ids).toEqual([id, expect.stringMatching(`^${id}:`), 'a-hostile', 'b-short'])
    expect(all.find((one: { id: string }) => one.id === id)).toMatchObject({
      position: head,
      archived: false,
      title: expect.any(String),
    })
    expect(all.filter(({ parentId }: { parentId: string | null }) => parentId === id)).toHaveLength(1)
    expect(await read('list', '--limit', '2')).toEqual(all.slice(0, 2))
    expect(await read('list', '--after', ids[1])).toEqual(all.slice(2))
  })

  test('gives lines that a script can cut, and a table to people', async () => {
    const lines = (await call(['list'])).stdout.split('\n')
    const cells = lines.map((line) => line.split('\t'))
    expect(cells.find(([first]) => first === 'b-short')).toEqual([
      'b-short',
      '1',
      '1',
      '1',
      '2026-01-01T00:00:04.000Z',
      'open',
      '',
    ])
    expect((await call(['list'], { columns: 120 })).stdout).toMatch(/^\S*ID +POSITION +MESSAGES/)
  })
})

describe('show', () => {
  test('gives the state after a position, and the same at the time of that position', async () => {
    const envelopes: { position: number; occurredAt: string }[] = await read('replay', id)
    // The last of its time, before the middle.
    const at = envelopes.findLast(({ position, occurredAt }) => position < 40 && occurredAt !== envelopes[position]?.occurredAt)
    const shown = await read('show', id, '--at', String(at?.position))
    expect(shown).toMatchObject({ id, position: at?.position, occurredAt: at?.occurredAt })
    expect(await read('show', id, '--at', at?.occurredAt ?? '')).toEqual(shown)
    const now = await read('show', id)
    expect(now.position).toBe(head)
    expect(now.stateHash).not.toBe(shown.stateHash)
  })

  test('before the first action gives the state at position 0, and says so', async () => {
    const { code, stdout, stderr } = await call(['show', id, '--at', '1999-12-31', '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ position: 0, occurredAt: null, state: { messages: [] } })
    expect(stderr).toContain('had not begun')
  })

  test('beyond the end is exit code 4', async () => {
    const { code, stdout, stderr } = await call(['show', id, '--at', String(head + 1)])
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' })
    expect(stderr).toMatch(/^position_not_found: /)
  })

  test('prints messages in a line each, or whole', async () => {
    const short = (await call(['show', 'a-hostile', '--at', '2'])).stdout
    expect(short).toContain('2\tuser\t3\t\\e]0;owned\\u0007line one line two\\u202e\n')
    const full = (await call(['show', 'a-hostile', '--at', '2', '--full'])).stdout
    expect(full).toContain('#2 user, 3 tokens\n\\e]0;owned\\u0007line one\nline two\\u202e\n')
  })
})

test('nothing that was stored acts on a terminal', async () => {
  for (const given of [
    ['list'],
    ['show', 'a-hostile', '--at', '2'],
    ['show', 'a-hostile', '--at', '2', '--full'],
    ['show', 'a-hostile', '--at', '2', '--json'],
    ['replay', 'a-hostile'],
    ['replay', 'a-hostile', '--verify', '--json'],
    ['diff', 'a-hostile', '--from', '1', '--to', '2'],
    ['diff', 'a-hostile', '--from', '2', '--to', '3'],
    ['export', 'a-hostile', '--format', 'jsonl'],
    ['export', 'a-hostile', '--format', 'json'],
    ['export', 'a-hostile', '--format', 'markdown'],
  ]) {
    const { code, stdout } = await call(given, { columns: 200 })
    expect(code).toBe(0)
    // Our own colours aside, which the test does not ask for anyway.
    // oxlint-disable-next-line no-control-regex
    expect({ given, found: stdout.match(/\u001b(?!\[\d+m)|[\u0000-\u0009\u000b-\u001a\u007f-\u009f\u202e]/) }).toEqual({
      given,
      found: null,
    })
  }
})

describe('replay', () => {
  test('gives every position, to where it is told', async () => {
    const envelopes = await read('replay', id)
    expect(envelopes.map((envelope: { id: number }) => envelope.id)).toEqual(Array.from({ length: head }, (_, i) => i + 1))
    expect(await read('replay', id, '--to', '5')).toEqual(envelopes.slice(0, 5))
    expect((await call(['replay', id, '--to', String(head + 1)])).code).toBe(4)
    expect((await call(['replay', id, '--to', '0'])).code).toBe(4)
  })

  test('--verify gives the verdict and the state hash at every position', async () => {
    const verdict = await read('replay', id, '--verify')
    expect(verdict).toMatchObject({ id, verdict: 'same', positions: head, chain: { ok: true } })
    expect(verdict.compared).toBeGreaterThan(0)
    for (const position of [1, 40, head]) {
      const { stateHash } = await read('show', id, '--at', String(position))
      expect(verdict.envelopes[position - 1]).toMatchObject({ position, stateHash })
    }
  })

  test('--verify says when nothing vouches for the states', async () => {
    const { code, stdout } = await call(['replay', 'b-short', '--verify'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^verdict\tnothing_kept: the log is whole and every action was applied; .*nothing to compare/m)
    expect(await read('replay', 'b-short', '--verify')).toMatchObject({ verdict: 'nothing_kept', compared: 0 })
  })

  test('--verify is exit code 3 when the code leads to another state than it did', async () => {
    const other = openMemoryLog()
    const io = () => capturedIo({ log: other })
    expect(await run(['import', sample], io())).toBe(0)
    // A reducer that counts otherwise, as far as the kept hash can tell.
    const key = { tenant: 'default', conversationId: id }
    await using engine = createEngine({ log: other })
    await other.saveSnapshot(key, { position: 30, stateKey: engine.reducer.stateKey, stateHash: new Uint8Array(32), body: null })
    const verified = io()
    expect(await run(['replay', id, '--verify', '--json'], verified)).toBe(3)
    expect(JSON.parse(verified.stdout.text)).toMatchObject({
      verdict: 'code_changed',
      difference: { position: 30 },
      chain: { ok: true },
    })
  })
})

describe('diff', () => {
  test('of a compaction gives the messages that it covers, and counters', async () => {
    const envelopes: { position: number; type: string }[] = await read('replay', id)
    const position = envelopes.find(({ type }) => type === 'contextCompacted')?.position ?? 0
    const given = ['diff', id, '--from', String(position - 1), '--to', String(position)]
    const { slices } = await read(...given)
    expect(slices.map((slice: { id: string }) => slice.id).sort()).toEqual(['context', 'messages'])
    const [messages] = slices.filter((slice: { id: string }) => slice.id === 'messages')
    expect(messages.removed.length).toBeGreaterThan(5)
    expect(messages.added).toMatchObject([{ value: { position } }])
    const { stdout } = await call(given)
    expect(stdout).toContain('context\t~\tcompactions 0 -> 1 (+1)\n')
    expect(stdout.match(/^messages\t-\t/gm)).toHaveLength(messages.removed.length)
  })

  test('from 0 gives all there is, and to the same position nothing', async () => {
    const { slices } = await read('diff', 'b-short', '--from', '0', '--to', '1')
    expect(slices.find((slice: { id: string }) => slice.id === 'messages').added).toMatchObject([{ id: 'm1' }])
    const { stdout, stderr } = await call(['diff', 'b-short', '--from', '1', '--to', '1'])
    expect(stdout).toBe('')
    expect(stderr).toContain('are the same')
  })
})

describe('a conversation with a slice that is not ours', () => {
  const rated = defineAction('rated', z.strictObject({ stars: z.int() }))
  const ratings = defineSlice({
    name: 'ratings',
    version: 1,
    initial: () => ({ stars: 0 }),
    actions: [rated],
    reduce: (draft, action) => void (draft.stars += action.payload.stars),
  })
  const own = openMemoryLog()

  async function callOwn(...given: string[]) {
    const io = capturedIo({ log: own })
    const code = await run(given, io)
    return { code, stdout: io.stdout.text, stderr: io.stderr.text }
  }

  beforeAll(async () => {
    await using engine = createEngine({ log: own, slices: [ratings], clock: fixedClock(), snapshotEvery: 100 })
    for (const name of ['own', 'own-too']) {
      const conversation = await engine.open(name)
      await conversation.dispatch([say('m1'), ...Array.from({ length: 298 }, () => rated({ stars: 1 })), say('m2')])
    }
  })

  test('is not called proved, and has an exit code of its own', async () => {
    const { code, stdout } = await callOwn('replay', 'own', '--verify')
    expect(code).toBe(5)
    expect(stdout).toMatch(/^verdict\tunproved: the log is whole, but /m)
    expect(stdout).toMatch(/^not applied\t298 actions, the first is rated at position 2: no slice knows this action$/m)
    expect(stdout).toMatch(/^not compared\t1 state hash, kept by other slices or versions$/m)
    const json = await callOwn('replay', 'own', '--verify', '--json')
    expect(json.code).toBe(5)
    expect(JSON.parse(json.stdout)).toMatchObject({
      verdict: 'unproved',
      compared: 0,
      keptUnderOtherKeys: 1,
      unappliedCount: 298,
      firstUnapplied: { position: 2, type: 'rated', slice: null },
      chain: { ok: true },
    })
  })

  test('is not called the same where actions of that slice lie between', async () => {
    const { code, stdout, stderr } = await callOwn('diff', 'own', '--from', '3', '--to', '299')
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toContain(
      '298 actions up to position 299 could not be applied; the first is rated at position 2: no slice knows this action.',
    )
    expect(stderr).toContain('The states at 3 and 299 are the same, without what could not be applied.')
    expect(JSON.parse((await callOwn('diff', 'own', '--from', '3', '--to', '299', '--json')).stdout)).toMatchObject({
      slices: [],
      unappliedCount: { from: 2, to: 298 },
    })
    const other = await callOwn('diff', 'own', 'own-too', '--from', '1')
    expect(other.stderr).toContain('298 actions up to position 300 of own-too could not be applied')
    expect(JSON.parse((await callOwn('diff', 'own', '--from', '0', '--to', '1', '--json')).stdout)).toMatchObject({
      unappliedCount: { from: 0, to: 0 },
    })
  })

  test('is listed with one line about it, not with one for each action', async () => {
    const { code, stdout, stderr } = await callOwn('list')
    expect(code).toBe(0)
    expect(stdout.trimEnd().split('\n')).toHaveLength(2)
    expect(stderr.split('\n').filter((line) => line.includes('rated'))).toEqual([
      'replay of own: rated at position 2 could not be applied: no slice knows this action. There may be more: "show own" counts them.',
      'replay of own-too: rated at position 2 could not be applied: no slice knows this action. There may be more: "show own-too" counts them.',
    ])
  })

  test('is shown and replayed with their number', async () => {
    const words = '298 actions could not be applied; the first is rated at position 2: no slice knows this action.'
    expect((await callOwn('show', 'own')).stderr).toContain(words)
    expect((await callOwn('replay', 'own')).stderr).toContain(words)
    expect((await callOwn('show', 'own', '--at', '2')).stderr).toContain('1 action could not be applied')
  })
})

describe('fork', () => {
  test('makes a conversation that goes on by itself, and two branches can be compared', async () => {
    const forks = openMemoryLog()
    await using engine = createEngine({ log: forks, clock: fixedClock() })
    const root = await engine.open('root')
    for (const one of ['m1', 'm2', 'm3']) await root.dispatch(say(one))
    const io = () => capturedIo({ log: forks })
    const made = io()
    expect(await run(['fork', 'root', '--at', '2', '--reason', 'another answer', '--json'], made)).toBe(0)
    const fork = JSON.parse(made.stdout.text)
    expect(fork).toEqual({ id: expect.stringMatching(/^root~/), parentId: 'root', at: 2, position: 3 })
    const compared = io()
    expect(await run(['diff', 'root', fork.id, '--json'], compared)).toBe(0)
    const { shared, from, to, slices } = JSON.parse(compared.stdout.text)
    expect({ shared, from, to }).toEqual({ shared: 2, from: 3, to: 3 })
    expect(slices.find((slice: { id: string }) => slice.id === 'messages').removed).toMatchObject([{ id: 'm3' }])
    for (const command of [['verify', fork.id], ['replay', fork.id, '--verify'], ['show', fork.id], ['list']])
      expect({ command, code: await run(command, io()) }).toEqual({ command, code: 0 })
    const listed = io()
    await run(['list', '--json'], listed)
    expect(JSON.parse(listed.stdout.text)).toMatchObject([{ id: 'root' }, { id: fork.id, parentId: 'root' }])
  })

  test('of what is not there is exit code 4', async () => {
    expect(await call(['fork', 'b-short', '--at', '9'])).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/^position_not_found/),
    })
    expect(await call(['fork', 'nobody', '--at', '1'])).toMatchObject({ code: 4 })
  })
})

describe('export', () => {
  test('jsonl is what is stored, byte for byte, in a pipe', async () => {
    const { stdout } = await call(['export', 'a-hostile', '--format', 'jsonl'])
    const bodies: string[] = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).body)
    const stored: string[] = []
    for await (const page of log.read({ tenant: 'default', conversationId: 'a-hostile' })) {
      stored.push(...page.map(({ body }) => Buffer.from(body).toString()))
    }
    expect(bodies).toEqual(stored)
  })

  test('writes to a file, and then nothing to stdout', async () => {
    const file = join(directory, 'transcript.md')
    const toFile = await call(['export', id, '--format', 'markdown', '-o', file])
    expect(toFile).toMatchObject({ code: 0, stdout: '' })
    expect(await readFile(file, 'utf8')).toBe((await call(['export', id, '--format', 'markdown'])).stdout)
    expect(await call(['export', id, '--format', 'json', '-o', join(directory, 'no', 'where')])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^file_unwritable: .*where was not written: ENOENT: /),
    })
  })
})

test('a body that cannot be read is exit code 3 for everything that reads it', async () => {
  const broken7 = <Stored extends { readonly position: number }>(stored: Stored): Stored =>
    stored.position === 7 ? { ...stored, body: Buffer.from('{') } : stored
  const broken = Object.assign(Object.create(log) as typeof log, {
    async *read(...range: Parameters<typeof log.read>) {
      for await (const page of log.read(...range)) yield page.map(broken7)
    },
    async *actions(...range: Parameters<typeof log.actions>) {
      for await (const page of log.actions(...range)) yield page.map(broken7)
    },
  })
  for (const given of [
    ['show', id],
    ['replay', id],
    ['export', id, '--format', 'json'],
  ]) {
    const io = capturedIo({ log: broken })
    expect({ given, code: await run(given, io) }).toEqual({ given, code: 3 })
    expect(io.stderr.text).toMatch(/^log_corrupt: .*position 7/)
  }
  const replayed = capturedIo({ log: broken })
  expect(await run(['replay', id, '--verify', '--json'], replayed)).toBe(3)
  expect(JSON.parse(replayed.stdout.text)).toMatchObject({
    verdict: 'log_changed',
    positions: 6,
    chain: { problem: { position: 7 } },
  })
  expect(JSON.parse(replayed.stdout.text).envelopes).toHaveLength(6)
  const verified = capturedIo({ log: broken })
  expect(await run(['verify', id, '--json'], verified)).toBe(3)
  expect(JSON.parse(verified.stdout.text)).toMatchObject([{ id, ok: false, problem: { position: 7 } }])
})

test('a damaged conversation is listed as such, hides no other, and is exit code 3', async () => {
  const three = openMemoryLog()
  await using engine = createEngine({ log: three, clock: fixedClock() })
  for (const one of ['a', 'b', 'c']) await (await engine.open(one)).dispatch(say('m1'))
  const unreadable = Object.assign(Object.create(three) as typeof three, {
    async *actions(...range: Parameters<typeof three.actions>) {
      for await (const page of three.actions(...range))
        yield range[0].conversationId === 'b' ? page.map((stored) => ({ ...stored, body: Buffer.from('{') })) : page
    },
  })
  const io = capturedIo({ log: unreadable })
  expect(await run(['list', '--json'], io)).toBe(3)
  expect(JSON.parse(io.stdout.text)).toMatchObject([
    { id: 'a', messages: 1, damage: null },
    { id: 'b', position: 1, messages: null, title: null, damage: expect.stringContaining('position 1') },
    { id: 'c', messages: 1, damage: null },
  ])
  expect(io.stderr.text).toMatch(/^1 of 3 conversations is damaged\.\nNext: colloquy verify b\n$/)
  const table = capturedIo({ log: unreadable })
  expect(await run(['list'], table)).toBe(3)
  expect(table.stdout.text.split('\n')[1]).toMatch(/^b\t1\t\t\t.*\tdamaged\t.*position 1/)
})

test('more conversations than a page holds are all listed and verified, once', async () => {
  const many = openMemoryLog()
  const ids = Array.from({ length: 250 }, (_, i) => `c${String(i).padStart(3, '0')}`)
  await using engine = createEngine({ log: many, clock: fixedClock() })
  for (const one of ids) await (await engine.open(one)).dispatch(say('m1'))
  for (const command of ['list', 'verify']) {
    const io = capturedIo({ log: many })
    expect(await run([command, '--json'], io)).toBe(0)
    expect(JSON.parse(io.stdout.text).map((one: { id: string }) => one.id)).toEqual(ids)
  }
})

describe('verify', () => {
  test('checks one conversation or all', async () => {
    expect(await read('verify', id)).toMatchObject([{ id, ok: true, positions: head, erased: 0, seen: null, problem: null }])
    expect(await read('verify')).toHaveLength(4)
    expect(await read('verify', '--all')).toEqual(await read('verify'))
  })

  test('says that the log is whole, and what to keep so that more can be said', async () => {
    const [{ headHash }] = await read('verify', id)
    const { stderr } = await call(['verify', id])
    expect(stderr).toContain(`${id} is whole.`)
    expect(stderr).toContain(`Keep ${head}:${headHash} outside of this store`)
    const seen = await call(['verify', id, '--seen', `${head}:${headHash}`])
    expect(seen.code).toBe(0)
    expect(seen.stderr).toContain(`${id} is whole, and up to position ${head} as it was seen.`)
    expect(await read('verify', id, '--seen', `${head}:${headHash.toUpperCase()}`)).toMatchObject([{ ok: true, seen: head }])
    expect((await call(['verify', '--all'])).stderr).toContain('4 conversations are whole, and so is the feed.')
  })

  test('is exit code 3 where the log does not hold what was seen', async () => {
    for (const [position, problem] of [
      [1, { position: 1, text: expect.stringContaining(`${'00'.repeat(32)} was seen`) }],
      [2, { position: 2, text: 'the log ends at position 1, and position 2 was seen' }],
    ] as const) {
      const given = ['verify', 'b-short', '--seen', `${position}:${'00'.repeat(32)}`]
      const { code, stdout } = await call([...given, '--json'])
      expect({ code, found: JSON.parse(stdout) }).toEqual({
        code: 3,
        found: [expect.objectContaining({ id: 'b-short', ok: false, seen: null, problem })],
      })
      expect((await call(given)).stderr).toContain('b-short is not whole, or not as it was seen.')
    }
  })

  describe('--against an export', () => {
    async function exported() {
      const { log: kept, rewindTo } = openRewindableLog()
      await using engine = createEngine({ log: kept, clock: fixedClock() })
      await (await engine.open('c')).dispatch(['m1', 'm2', 'm3', 'm4'].map((name) => say(name)))
      const file = join(directory, 'c.jsonl')
      expect(await run(['export', 'c', '--format', 'jsonl', '-o', file], capturedIo({ log: kept }))).toBe(0)
      const verify = async (...given: string[]) => {
        const io = capturedIo({ log: kept })
        const code = await run(['verify', 'c', '--against', file, ...given], io)
        return { code, stdout: io.stdout.text, stderr: io.stderr.text }
      }
      const goOn = async (...names: string[]) => {
        await using other = createEngine({ log: kept, clock: fixedClock() })
        await (await other.open('c')).dispatch(names.map((name) => say(name, 'later')))
      }
      return { file, verify, goOn, rewindTo }
    }

    test('is as if its last envelope was seen, however far the log went on', async () => {
      const { verify, goOn } = await exported()
      await goOn('m5')
      const { code, stderr } = await verify()
      expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('up to position 4 as it was seen.') })
      expect(JSON.parse((await verify('--json')).stdout)).toMatchObject([{ ok: true, positions: 5, seen: 4 }])
    })

    test('names the first envelope that is another one now, and the first that is gone', async () => {
      const { file, verify, goOn, rewindTo } = await exported()
      await rewindTo(2)
      expect(await verify()).toMatchObject({
        code: 3,
        stderr: expect.stringContaining(`The first envelope that is not as in ${file} is at position 3.`),
      })
      await goOn('m3', 'm4', 'm5')
      const { code, stdout, stderr } = await verify()
      expect({ code, stdout }).toEqual({ code: 3, stdout: expect.stringContaining('position 4: the hash is') })
      expect(stderr).toContain(`The first envelope that is not as in ${file} is at position 3.`)
    })

    test.each([
      ['nothing', () => '', 'holds no envelope'],
      ['a transcript', () => '{"role":"user"}\n', 'line 1 is no envelope'],
      ['no JSON', () => 'hello', 'line 1 is no envelope'],
      ['an export that lacks a line', (text: string) => text.slice(text.indexOf('\n') + 1), 'line 1 is of position 2'],
    ])('refuses %s', async (_, change, problem) => {
      const { file, verify } = await exported()
      await writeFile(file, change(await readFile(file, 'utf8')))
      expect(await verify()).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(problem) })
    })
  })

  test('--all finds what was taken out of the feed, of whomever it was', async () => {
    const holed = openMemoryLog({ partitions: 4 })
    await using engine = createEngine({ log: holed, tenant: 'another', clock: fixedClock() })
    await using ours = createEngine({ log: holed, clock: fixedClock() })
    for (const one of ['c1', 'c2', 'c3', 'c4', 'c5']) {
      for (const each of [engine, ours]) await (await each.open(one)).dispatch([say('m1'), say('m2')])
    }
    const heads = await holed.feedHeads()
    const [middle, last] = heads.map((end, partition) => ({ partition, end })).filter(({ end }) => end >= 4)
    const gone = new Map([
      [middle?.partition, 2],
      [last?.partition, last?.end],
    ])
    const take = <Page extends { envelopes: readonly StoredEnvelope[] }>(partition: number, page: Page): Page => ({
      ...page,
      envelopes: page.envelopes.filter(({ feedPosition }) => feedPosition !== gone.get(partition)),
    })
    const io = capturedIo({
      log: Object.assign(Object.create(holed) as EventLog, {
        feed: async (query: Parameters<EventLog['feed']>[0]) => take(query.partition, await holed.feed(query)),
      }),
    })
    expect(await run(['verify', '--all', '--json'], io)).toBe(3)
    expect(JSON.parse(io.stdout.text)).toHaveLength(5)
    const lines = io.stderr.text.split('\n')
    expect(lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))).toMatchObject([
      { code: 'feed_hole', details: { partition: middle?.partition, expected: 2, found: 3 } },
      { code: 'feed_hole', details: { partition: last?.partition, expected: last?.end, found: (last?.end ?? 0) + 1 } },
    ])
    expect(io.stderr.text).toContain('2 of 4 partitions of the feed have holes')
  })

  test('--all says so where it may not see the whole feed', async () => {
    const io = capturedIo({
      log: Object.assign(Object.create(log) as EventLog, {
        feed: async () => {
          throw new ColloquyError('tenant_missing', { role: 'colloquy_app', operation: 'give the feed of partition 0' })
        },
      }),
    })
    expect(await run(['verify', '--all'], io)).toBe(0)
    expect(io.stderr.text).toContain('4 conversations are whole.')
    expect(io.stderr.text).toContain('The feed was not looked at for holes: Role colloquy_app sees one tenant at a time')
  })
})
