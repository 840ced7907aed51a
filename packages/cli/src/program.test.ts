import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { run } from './program.ts'

const scratch = await mkdtemp(join(tmpdir(), 'colloquy-program-'))
afterAll(() => rm(scratch, { recursive: true, force: true }))

async function call(...argv: string[]) {
  const io = capturedIo()
  const code = await run(argv, io)
  return { code, stdout: io.stdout.text, stderr: io.stderr.text }
}

describe('help', () => {
  test('leads with examples, with and without --help', async () => {
    const bare = await call()
    expect(bare).toMatchObject({ code: 0, stderr: '' })
    expect(bare.stdout).toMatch(/^Examples:\n {2}colloquy demo/)
    expect((await call('--help')).stdout).toBe(bare.stdout)
  })

  test('names every command and exit code', async () => {
    const { stdout } = await call('-h')
    for (const name of [
      'demo',
      'chat',
      'tools',
      'import',
      'formats',
      'list',
      'show',
      'replay',
      'diff',
      'fork',
      'compact',
      'uncompact',
      'analyze',
      'budget',
      'verify',
      'export',
      'migrate',
      'doctor',
    ]) {
      expect(stdout).toMatch(new RegExp(`^ {2}${name}\\b`, 'm'))
    }
    expect(stdout).toContain('0 done, 1 failed, 2 wrong usage, 3 verification failed, 4 not found, 5 not proved, 130 interrupted')
  })

  test('of a command shows its options and those of all', async () => {
    const { code, stdout } = await call('show', '--help')
    expect(code).toBe(0)
    expect(stdout).toContain('--at <position|time>')
    expect(stdout).toContain('--db <store>')
  })
})

describe('wrong usage is exit code 2', () => {
  test.each([
    [['repaly'], 'Did you mean replay?'],
    [['help', 'nosuch'], "Unknown command 'nosuch'"],
    [['show', 'x', '--att', '3'], 'Did you mean --at?'],
    [['show'], "argument 'id'"],
    [['list', 'extra'], 'Too many arguments'],
    [['compact', 'x', '--strategy', 'none'], 'Allowed choices are adaptive'],
    [['compact', 'x', '--budget', '0'], '--budget takes a whole number from 1'],
    [['compact', 'x', '--redo', '3', '--dry-run'], 'cannot be used with'],
    [['uncompact', 'x', '--at', 'now'], '--at takes a position'],
    [['diff', 'x', '--from', '1'], 'from --from to --to'],
    [['fork', 'x'], "'--at <position>' not specified"],
    [['fork', 'x', '--at', 'now'], '--at takes a position'],
    [['diff', 'x', '--from', 'one', '--to', '2'], '--from takes a position'],
    [['export', 'x', '--format', 'pdf'], 'jsonl, json, markdown, html, openai-chat, anthropic-messages, sharegpt, chat-bot'],
    [['show', 'x', '--at', 'noon'], '--at takes a position or an ISO 8601 time'],
    [['list', '--limit', '0'], '--limit takes a whole number from 1'],
    [['verify', 'x', '--all'], 'Give an id or --all, not both'],
    [['verify', '--seen', `1:${'ab'.repeat(32)}`], '--seen is about one conversation: give its id'],
    [['verify', '--all', '--against', 'x.jsonl'], '--against is about one conversation: give its id'],
    [['verify', 'x', '--against', 'x.jsonl', '--seen', '72:0'], 'cannot be used with'],
    [['verify', 'x', '--seen', '72'], '--seen takes a position and the whole hash of its envelope'],
    [['verify', 'x', '--seen', `1:${'ab'.repeat(8)}`], '--seen takes a position and the whole hash of its envelope'],
    [['verify', 'x', '--seen', `0:${'ab'.repeat(32)}`], '--seen takes a position and the whole hash of its envelope'],
    [['import', 'a', 'b', '--id', 'x'], '--id names the conversation of one file'],
    [['list', '--db', 'redis://x'], '"redis:..." is none of them'],
  ])('%j', async (argv, words) => {
    const { code, stdout, stderr } = await call(...argv)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^usage_invalid: .*See "colloquy --help"\.\n$/s)
    expect(stderr).toContain(words)
  })
})

describe('errors', () => {
  test.each([[['import', 'a.jsonl', '--id', 'a~b']], [['list', '--tenant', '']], [['budget', '--scope', '']]])(
    'an id that is none is wrong usage: %j',
    async (argv) => {
      const { code, stdout, stderr } = await call(...argv)
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toMatch(/^id_invalid: /)
    },
  )

  test.each(['show', 'replay', 'verify'])('%s of an unknown id is exit code 4', async (command) => {
    const { code, stdout, stderr } = await call(command, 'nobody')
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' })
    expect(stderr).toMatch(/^conversation_not_found: [^\n]*nobody[^\n]*\n$/)
  })

  test('are JSON on stderr with --json, wherever it stands', async () => {
    for (const argv of [
      ['--json', 'show', 'nobody'],
      ['show', 'nobody', '--json'],
    ]) {
      const { code, stdout, stderr } = await call(...argv)
      expect({ code, stdout }).toEqual({ code: 4, stdout: '' })
      expect(JSON.parse(stderr)).toEqual({
        code: 'conversation_not_found',
        message: expect.stringContaining('nobody'),
        details: { conversationId: 'nobody' },
        retryable: false,
      })
    }
  })

  test('show the stack with --debug only', async () => {
    expect((await call('show', 'nobody', '--debug')).stderr).toContain('program.ts')
    expect((await call('show', 'nobody')).stderr).not.toContain('.ts')
  })

  test('escape what they quote', async () => {
    const { stderr } = await call('show', 'no\u001b[2Jbody')
    expect(stderr).toContain('no\\e[2Jbody')
    expect(stderr).not.toContain('\u001b')
  })
})

describe('import', () => {
  test.each([
    ['empty', ''],
    ['binary', 'a\0b'],
    ['garbage', 'this is not a transcript\n'],
  ])('refuses a file that is %s', async (name, content) => {
    const file = join(scratch, `${name}.jsonl`)
    await writeFile(file, content)
    const { code, stdout, stderr } = await call('import', file)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^import_refused: [^\n]*line 1: [^\n]*\n$/)
  })

  test('of a directory without files says so, and makes no store', async () => {
    const directory = await mkdtemp(join(scratch, 'empty-'))
    const { code, stdout, stderr } = await call('import', directory, '--db', join(directory, 'store'))
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toBe(`There is no file in ${directory}, so nothing was imported.\n`)
    expect((await call('import', directory, '--json')).stdout).toBe('[]\n')
  })

  test('says which file cannot be read, and takes the others', async () => {
    const good = new URL('../samples/claude-code.jsonl', import.meta.url).pathname
    const { code, stdout, stderr } = await call('import', join(scratch, 'nowhere.jsonl'), good, '--json')
    expect(code).toBe(1)
    const [failure, ...words] = stderr.split('\n')
    expect(JSON.parse(failure ?? '')).toMatchObject({
      code: 'import_refused',
      details: { source: join(scratch, 'nowhere.jsonl') },
    })
    expect(words.join('\n')).toContain('Next: colloquy list')
    expect(JSON.parse(stdout)).toMatchObject([
      { id: good, format: 'claude-code', conversations: [{ alreadyThere: 0 }, { alreadyThere: 0 }] },
    ])
  })

  test('lists every record that became nothing of its own, with the reason', async () => {
    const file = join(scratch, 'cut.jsonl')
    const record = {
      type: 'user',
      uuid: 'u1',
      parentUuid: null,
      sessionId: 's1',
      timestamp: '2026-01-01T00:00:00Z',
      isSidechain: false,
    }
    await writeFile(file, `${JSON.stringify({ ...record, message: { role: 'user', content: 'hello' } })}\n{"type":"user","uu`)
    const refused = await call('import', file)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    const taken = await call('import', file, '--allow-truncated')
    expect(taken.code).toBe(0)
    expect(taken.stderr).toMatch(/1 × .*\(line 2\)/)
  })
})
