import { Writable } from 'node:stream'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { describe, expect, test } from 'vitest'
import { captured, capturedIo } from '../../../test/cli/captured-io.ts'
import { say } from '../../../test/support/given.ts'
import { OutputClosed } from './exit.ts'
import { commandName, type Listing, makeOutput, type OutputStream } from './output.ts'
import { run } from './program.ts'
import { startProgress } from './progress.ts'

interface Row {
  readonly id: string
  readonly count: number
}

const listing: Listing<Row> = {
  columns: [
    { title: 'ID', value: ({ id }) => id },
    { title: 'COUNT', value: ({ count }) => count, shown: ({ count }) => `${count} times`, align: 'right' },
    { title: 'REST', value: ({ id }) => id.repeat(20), isRest: true },
  ],
  json: ({ id, count }) => ({ id, count }),
}

const rows: Row[] = [
  { id: 'a', count: 1 },
  { id: 'b\u001b[2J\tx', count: 20 },
]

async function* pages(): AsyncIterable<readonly Row[]> {
  yield rows.slice(0, 1)
  yield []
  yield rows.slice(1)
}

describe('a list', () => {
  test('is tab-separated lines without a heading in a pipe', async () => {
    const io = capturedIo()
    await makeOutput(io, {}).list(listing, pages())
    const hostile = 'b\\e[2J\\tx'
    expect(io.stdout.text).toBe(`a\t1\t${'a'.repeat(20)}\n${hostile}\t20\t${hostile.repeat(20)}\n`)
    expect(io.stderr.text).toBe('')
  })

  test('is a table on a terminal, cut to its width', async () => {
    const io = capturedIo({ terminal: { columns: 40 } })
    await makeOutput(io, {}).list(listing, [rows])
    const lines = io.stdout.text.split('\n')
    expect(lines[0]).toContain('ID')
    expect(lines[1]).toMatch(/^a {11}1 times {2}a{17,20}/)
    expect(lines[2]).toContain('20 times  b\\e[2J\\tx')
    expect(lines[2]?.length).toBeLessThanOrEqual(41)
  })

  test('is one JSON array when asked for, also of nothing', async () => {
    const io = capturedIo()
    const output = makeOutput(io, { json: true })
    expect(await output.list(listing, pages())).toBe(2)
    expect(JSON.parse(io.stdout.text)).toEqual(rows)
    const empty = capturedIo()
    await makeOutput(empty, { json: true }).list(listing, [])
    expect(JSON.parse(empty.stdout.text)).toEqual([])
  })
})

test('a list that fails in the middle is JSON all the same, and one that fails at once is nothing', async () => {
  const pages = function* (count: number) {
    for (let n = 0; n < count; n++) yield rows
    throw new Error('gone')
  }
  for (const [count, text] of [
    [0, ''],
    [2, expect.stringMatching(/\}\n\]\n$/)],
  ] as const) {
    const io = capturedIo()
    await expect(makeOutput(io, { json: true }).list(listing, pages(count))).rejects.toThrow('gone')
    expect(io.stdout.text).toEqual(text)
    if (count > 0) expect(JSON.parse(io.stdout.text)).toHaveLength(4)
  }
})

test('a reader that goes away ends the writing, and any other failure is told', async () => {
  const broken = (code: string) => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done(Object.assign(new Error(`write ${code}`), { code })) })
    return makeOutput({ ...capturedIo(), stdout: stream }, {})
  }
  const writeTwice = async (code: string) => {
    const output = broken(code)
    await output.write('x'.repeat(100_000))
    await output.write('y')
  }
  await expect(writeTwice('EPIPE')).rejects.toBeInstanceOf(OutputClosed)
  await expect(writeTwice('ENOSPC')).rejects.toMatchObject({ code: 'ENOSPC' })
})

describe('a command that judges', () => {
  /** Called with a stdout whose reader is gone, before the first word or after it. */
  async function unread(given: readonly string[], io: ReturnType<typeof capturedIo>) {
    const gone = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
    const stdout = new Writable({ write: (_chunk, _encoding, done) => done(gone) })
    return { code: await run(given, { ...io, stdout }), stderr: io.stderr.text }
  }

  test('does so to the end when nobody reads its output', async () => {
    const log = openMemoryLog()
    await using engine = createEngine({ log })
    for (const id of ['a', 'b', 'c']) await (await engine.open(id)).dispatch(say('m1'))
    const broken = Object.assign(Object.create(log) as typeof log, {
      async *read(...range: Parameters<typeof log.read>) {
        for await (const page of log.read(...range))
          yield range[0].conversationId === 'c' ? page.map((stored) => ({ ...stored, actor: 'x' })) : page
      },
    })
    const io = () => capturedIo({ log: broken })
    expect(await unread(['verify'], io())).toMatchObject({ code: 3, stderr: expect.stringContaining('1 of 3 conversations') })
    expect((await unread(['verify', '--json'], io())).code).toBe(3)
    expect((await unread(['replay', 'c', '--verify'], io())).code).toBe(3)
    expect((await unread(['doctor', '--db', '/nowhere/at/all'], io())).code).toBe(1)
    const sample = new URL('../samples/claude-code.jsonl', import.meta.url).pathname
    expect((await unread(['import', '/nowhere/at/all', sample], io())).code).toBe(1)
    expect((await unread(['context', 'a'], io())).code).toBe(0)
    // Of these the output is the result.
    expect((await unread(['list'], io())).code).toBe(0)
  })
})

test('words go to stderr, or nowhere', () => {
  const io = capturedIo()
  makeOutput(io, {}).say('done')
  makeOutput(io, {}).next(['show', '<id>'], ['list'])
  makeOutput(io, { quiet: true }).say('never')
  expect(io.stderr.text).toBe('done\nNext: colloquy show <id>\n      colloquy list\n')
  expect(io.stdout.text).toBe('')
})

test('what to do next names the same store, and is harmless when it is pasted', () => {
  const nextOf = (options: Parameters<typeof makeOutput>[1], ...words: string[]) => {
    const io = capturedIo()
    makeOutput(io, options).next(words)
    return io.stderr.text
  }
  expect(nextOf({ db: './talks', tenant: 'a b' }, 'list')).toBe("Next: colloquy list --db ./talks --tenant 'a b'\n")
  expect(nextOf({ db: 'postgres://ann:secret@h/d' }, 'list')).toBe('Next: colloquy list --db <url>\n')
  expect(nextOf({}, 'show', 'x; rm -rf ~ $(id)')).toBe("Next: colloquy show 'x; rm -rf ~ $(id)'\n")
  expect(nextOf({}, 'show', "it's")).toBe("Next: colloquy show 'it'\\''s'\n")
})

test('what we tell people to type is how they called us', () => {
  expect(commandName({})).toBe('colloquy')
  expect(commandName({ npm_command: 'exec' })).toBe('npx colloquy')
  expect(commandName({ npm_command: 'run-script', npm_lifecycle_event: 'demo' })).toBe('npm run -s colloquy --')
  expect(commandName({ npm_command: 'run-script', npm_lifecycle_event: 'test' })).toBe('colloquy')
})

describe('progress', () => {
  const advanceFor = async (stderr: OutputStream, env: Record<string, string> = {}) => {
    using progress = startProgress({ stderr, env }, 'Importing', 10)
    progress.advance(1)
    await new Promise((resolve) => setTimeout(resolve, 520))
    progress.advance(4)
  }

  test('is shown on a terminal once the work takes long, and is gone afterwards', async () => {
    const stderr = captured({ columns: 80 })
    await advanceFor(stderr)
    expect(stderr.text).toContain('Importing')
    expect(stderr.text).toContain('5 of 10')
    expect(stderr.text).not.toContain('1 of 10')
    expect(stderr.text.endsWith('\r\u001b[2K')).toBe(true)
  })

  test('is silent in pipes and in CI', async () => {
    const pipe = captured()
    const ci = captured({ columns: 80 })
    await Promise.all([advanceFor(pipe), advanceFor(ci, { CI: 'true' })])
    expect(pipe.text + ci.text).toBe('')
  })
})
