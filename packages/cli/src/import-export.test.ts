import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EventLog } from '@colloquy/core'
import { openMemoryLog } from '@colloquy/engine'
import { exporters, formats } from '@colloquy/formats'
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { writeSession } from '../../../test/bench/transcript-file.ts'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { chatBotText } from '../../../test/formats/app-fixtures.ts'
import { exportFormats } from './export-formats.ts'
import { run } from './program.ts'

const scratch = await mkdtemp(join(tmpdir(), 'colloquy-import-'))
afterAll(() => rm(scratch, { recursive: true, force: true }))
const sample = await readFile(new URL('../samples/claude-code.jsonl', import.meta.url))
const sampleId = '7c1e4a52-93b0-4d7e-8f16-2a5b0c9d3e71'

/** Calls commands over one log. */
function cli(log: EventLog = openMemoryLog()) {
  return async (...argv: string[]) => {
    const io = capturedIo({ log })
    const code = await run(argv, io)
    return { code, stdout: io.stdout.text, stderr: io.stderr.text }
  }
}

async function folder(name: string): Promise<string> {
  const path = join(scratch, name)
  await mkdir(path, { recursive: true })
  return path
}

describe('import of a directory', () => {
  test('takes transcripts of all levels by name, and says of everything else why not', async () => {
    const [directory, outside] = [await folder('mixed'), await folder('outside')]
    await mkdir(join(directory, 'sub', '.git'), { recursive: true })
    await writeFile(join(outside, 'secret.jsonl'), sample)
    await writeFile(join(directory, 'sub', 'session.jsonl'), sample)
    await writeFile(join(directory, 'a.json'), chatBotText)
    await writeFile(join(directory, 'package.json'), '{"name":"x"}')
    await writeFile(join(directory, 'empty.json'), '')
    await writeFile(join(directory, 'notes.md'), '# notes')
    await writeFile(join(directory, 'picture.json'), Uint8Array.of(0x89, 0x50, 0x4e, 0x47))
    await symlink(join(outside, 'secret.jsonl'), join(directory, 'out.jsonl'))
    await symlink(outside, join(directory, 'out'))
    await symlink(join(directory, 'a.json'), join(directory, 'b.json'))
    await symlink(join(directory, 'nothing'), join(directory, 'c.json'))
    const call = cli()
    const { code, stdout, stderr } = await call('import', directory, '--json')
    const rows = JSON.parse(stdout) as { id: string; format?: string; reason?: string }[]
    expect(code).toBe(0)
    expect(rows.map(({ id, format, reason }) => [id.slice(directory.length + 1), format ?? reason])).toEqual([
      ['a.json', 'chat-bot'],
      ['b.json', 'a link to what is in the directory already'],
      ['c.json', 'a link that leads nowhere'],
      ['empty.json', expect.stringContaining('the file is empty')],
      ['notes.md', expect.stringContaining('its name does not end')],
      ['out', 'a link that leads out of the directory'],
      ['out.jsonl', 'a link that leads out of the directory'],
      ['package.json', 'nothing in the file is of a format that can be imported'],
      ['picture.json', expect.stringContaining('not UTF-8')],
      ['sub/.git', 'nobody keeps transcripts there'],
      ['sub/session.jsonl', 'claude-code'],
    ])
    expect(stderr).toContain('2 files with 3 conversations imported; ')
    expect(stderr).toContain('0 of the conversations were there already; 9 files skipped; 0 refused')
    expect((await call('import', directory)).stderr).toContain(
      '0 actions stored, 3 of the conversations were there already; 9 files skipped',
    )
  })

  test('refuses a transcript that is damaged, and imports the others', async () => {
    const directory = await folder('damaged')
    await writeFile(join(directory, 'a.jsonl'), `${sample.toString()}{"type":"user","uu`)
    await writeFile(join(directory, 'b.jsonl'), sample)
    const { code, stdout, stderr } = await cli()('import', directory, '--json')
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject([{ id: join(directory, 'b.jsonl'), format: 'claude-code' }])
    expect(stderr).toContain('"code":"import_refused"')
    expect(stderr).toContain('1 file with 2 conversations imported')
    expect(stderr).toContain('; 1 refused')
  })

  test('a file in conflict with what is stored is named, and the others are imported', async () => {
    const directory = await folder('conflict')
    await writeFile(join(directory, 'a.jsonl'), sample)
    await writeFile(join(directory, 'b.jsonl'), sample.toString().replace('failed in CI again', 'failed again'))
    const { code, stderr } = await cli()('import', directory)
    expect(code).toBe(1)
    expect(stderr).toContain(`import_conflict: ${join(directory, 'b.jsonl')}: Conversation ${sampleId} already holds other`)
    expect(stderr).toContain('1 file with 2 conversations imported')
    const again = await cli()('import', directory, '--json')
    expect(JSON.parse(again.stderr.split('\n')[0] as string)).toMatchObject({
      code: 'import_conflict',
      file: join(directory, 'b.jsonl'),
    })
  })

  test('a file that is asked for by its name is refused where one in a directory is skipped', async () => {
    const file = join(await folder('asked'), 'package.json')
    await writeFile(file, '{"name":"x"}')
    const { code, stderr } = await cli()('import', file)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^import_refused: .*package.json was not imported; line 1: nothing in the file is of a format/)
  })
})

test('what is told of many records is told once for all that say the same of different lines', async () => {
  const file = join(await folder('resumed'), 'session.jsonl')
  const lines = sample.toString().trimEnd().split('\n')
  await writeFile(file, [...lines, ...lines.slice(1, 9)].join('\n'))
  const { stderr } = await cli()('import', file)
  const told = stderr.split('\n').filter((line) => line.includes('×'))
  expect(told.join('\n')).toMatch(/^ {2}\d × user: the record of line … again \(uuid …\) \(line 54, .*\)$/m)
  expect(told.length).toBeLessThan(5)
})

test('a file too large to be held, from the disk or piped in, is imported as it is', async () => {
  const file = join(await folder('large'), 'session.jsonl')
  const { records } = writeSession(file, 9_000_000)
  // What is piped in is kept in a file meanwhile. A place of its own: other tests pipe too.
  const temporary = await folder('temporary')
  vi.stubEnv('TMPDIR', temporary)
  onTestFinished(() => void vi.unstubAllEnvs())
  const results = []
  for (const source of [file, '-']) {
    const io = {
      ...capturedIo(),
      stdin: (async function* () {
        const content = await readFile(file)
        for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536)
      })(),
    }
    expect(await run(['import', source, '--json'], io)).toBe(0)
    results.push(JSON.parse(io.stdout.text)[0])
  }
  expect(results[0]).toMatchObject({ records, skipped: [], remarks: [] })
  expect(results[1]).toEqual({ ...results[0], id: 'stdin' })
  expect(await readdir(temporary)).toEqual([])
})

describe('formats', () => {
  test('lists every importer and every exporter, which are those that export takes', async () => {
    const { code, stdout } = await cli()('formats', '--json')
    const rows = JSON.parse(stdout) as { id: string; direction: string; files: string[]; name: string; streams?: boolean }[]
    expect(code).toBe(0)
    const ids = (direction: string) => rows.filter((row) => row.direction === direction).map(({ id }) => id)
    expect(ids('import')).toEqual(formats.map(({ id }) => id))
    expect(ids('export')).toEqual(['jsonl', ...exporters.map(({ id }) => id)])
    expect(ids('export').sort()).toEqual([...exportFormats].sort())
    expect(rows.filter(({ streams }) => streams).map(({ id }) => id)).toEqual(['claude-code', 'codex', 'pi'])
    for (const { files, name } of rows) expect([files.length > 0, name.length > 10]).toEqual([true, true])
  })
})

describe('export', () => {
  const log = openMemoryLog()
  const call = cli(log)
  const stored = call('import', new URL('../samples/claude-code.jsonl', import.meta.url).pathname)

  test.each(exportFormats)(
    'writes %s to stdout, to a file that only its owner may read, and to one of the usual name',
    async (format) => {
      await stored
      const directory = await folder(`export-${format}`)
      const { stdout } = await call('export', sampleId, '--format', format)
      expect(stdout.length).toBeGreaterThan(100)
      expect(await call('export', sampleId, '--format', format, '-o', join(directory, 'x'))).toMatchObject({
        code: 0,
        stdout: '',
      })
      expect(await call('export', sampleId, '--format', format, '-o', directory)).toMatchObject({ code: 0 })
      const endings: Partial<Record<string, string>> = { markdown: 'md', 'chat-bot': '', sharegpt: 'sharegpt.jsonl' }
      const isRequest = format === 'openai-chat' || format === 'anthropic-messages'
      const ending = endings[format] ?? (isRequest ? `${format}.json` : format)
      const usual =
        format === 'chat-bot' ? /^\d{4}-\d\d-\d\d_conversation-with-.*-in-.*\.json$/ : new RegExp(`^${sampleId}\\.${ending}$`)
      const names = (await readdir(directory)).sort()
      expect(names).toEqual([expect.stringMatching(usual), 'x'])
      for (const name of names) {
        expect(await readFile(join(directory, name), 'utf8')).toBe(stdout)
        expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600)
      }
    },
  )

  test('a directory gets every format beside the others, and no conversation in place of another', async () => {
    await stored
    const directory = await folder('export-all')
    for (const format of exportFormats) expect((await call('export', sampleId, '--format', format, '-o', directory)).code).toBe(0)
    expect(await readdir(directory)).toHaveLength(exportFormats.length)
    // Its name says the day, the person and the guild, and two conversations may have these in common.
    const { code, stderr } = await call('export', sampleId, '--format', 'chat-bot', '-o', directory)
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^file_unwritable: .* a file of that name is there already, and may/),
    ])
    expect((await call('export', sampleId, '--format', 'json', '-o', directory)).code).toBe(0)
  })

  test('writes what a link leads to, and leaves the link; one that leads nowhere is refused', async () => {
    await stored
    const [directory, elsewhere] = [await folder('export-link'), await folder('export-elsewhere')]
    const [link, target, lost] = [join(directory, 'link.json'), join(elsewhere, 'target.json'), join(directory, 'lost.json')]
    await writeFile(target, 'before')
    await symlink(target, link)
    expect(await call('export', sampleId, '--format', 'json', '-o', link)).toMatchObject({ code: 0 })
    expect(await readlink(link)).toBe(target)
    expect(await readFile(target, 'utf8')).toBe((await call('export', sampleId, '--format', 'json')).stdout)
    await symlink(join(elsewhere, 'nothing'), lost)
    expect(await call('export', sampleId, '--format', 'json', '-o', lost)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^file_unwritable: .*a link that leads nowhere/),
    })
    expect((await readdir(directory)).sort()).toEqual(['link.json', 'lost.json'])
    expect(await readdir(elsewhere)).toEqual(['target.json'])
  })

  test('reads files only for a format that shows them, and only those that it asks for', async () => {
    await stored
    const asked: string[] = []
    const watched = Object.assign(Object.create(log) as EventLog, {
      media: (...[key, hash]: Parameters<EventLog['media']>) => {
        asked.push(hash)
        return log.media(key, hash)
      },
    })
    const page = await cli(watched)('export', sampleId, '--format', 'html')
    expect(page.stdout).toContain('src="data:image/png;base64,')
    expect(asked).toHaveLength(1)
    await cli(watched)('export', sampleId, '--format', 'markdown')
    expect(asked).toHaveLength(1)
  })

  test('a chat bot file that was imported comes out as it was, under the name it should have', async () => {
    const own = cli()
    const directory = await folder('chat-bot')
    await writeFile(join(directory, 'any.json'), chatBotText)
    const { stdout } = await own('import', join(directory, 'any.json'), '--json')
    const id = JSON.parse(stdout)[0].conversations[0].id as string
    await own('export', id, '--format', 'chat-bot', '-o', await folder('chat-bot-out'))
    const [name] = await readdir(join(scratch, 'chat-bot-out'))
    expect(JSON.parse(await readFile(join(scratch, 'chat-bot-out', name as string), 'utf8'))).toEqual(JSON.parse(chatBotText))
  })

  test('what cannot be written is told with its code, and what was there stays', async () => {
    await stored
    const directory = await folder('unwritable')
    const file = join(directory, 'old.md')
    await writeFile(file, 'old')
    for (const [target, words] of [
      [join(directory, 'nothing', 'x.md'), 'ENOENT'],
      [join(file, 'x.md'), 'ENOTDIR'],
      ['/dev/null', 'it is no regular file'],
    ] as const) {
      const { code, stderr } = await call('export', sampleId, '--format', 'markdown', '-o', target)
      expect([code, stderr]).toEqual([1, expect.stringMatching(new RegExp(`^file_unwritable: .* was not written: ${words}`))])
    }
    expect((await stat('/dev/null')).isCharacterDevice()).toBe(true)
    const dying = Object.assign(Object.create(log) as EventLog, {
      async *read(...given: Parameters<EventLog['read']>) {
        yield* log.read(...given)
        throw new Error('the log went away')
      },
    })
    expect((await cli(dying)('export', sampleId, '--format', 'jsonl', '-o', file)).code).toBe(1)
    expect(await readdir(directory)).toEqual(['old.md'])
    expect(await readFile(file, 'utf8')).toBe('old')
    await chmod(file, 0o644)
    await call('export', sampleId, '--format', 'jsonl', '-o', file)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })
})
