import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openEmbeddedLog } from '@colloquy/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { colloquy, type Finished, main, repository } from './run-command.ts'

const sample = join(repository, 'packages/cli/samples/claude-code.jsonl')

/** One store for all tests that only read, since each start of PGlite takes a second. */
let directory: string
let store: string
/** The longer of the two conversations in the sample, and its end. */
let id: string
let head: number
let imported: Finished

const call = (...given: string[]) => colloquy([...given, '--db', store])
const read = async (...given: string[]) => JSON.parse((await call(...given, '--json')).stdout)

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'colloquy-cli-'))
  store = join(directory, 'store')
  imported = await call('import', sample, '--json')
  ;({ id, position: head } = JSON.parse(imported.stdout)[0].conversations[0])
})
afterAll(() => rm(directory, { recursive: true, force: true }))

describe('a stored conversation', () => {
  test('was stored whole by the first import', () => {
    expect(imported.code).toBe(0)
    expect(imported.stderr).toMatch(/^Creating an embedded database in .*\nNext: colloquy list --db /)
    expect(JSON.parse(imported.stdout)).toMatchObject([
      { id: sample, format: 'claude-code', conversations: [{ appended: head, alreadyThere: 0 }, { alreadyThere: 0 }] },
    ])
  })

  test('is not stored again by a second import', async () => {
    const before = await read('list')
    const { code, stdout } = await call('import', sample, '--json')
    expect(code).toBe(0)
    const [{ conversations }] = JSON.parse(stdout)
    expect(conversations.map(({ appended }: { appended: number }) => appended)).toEqual([0, 0])
    expect(await read('list')).toEqual(before)
  })

  test('is listed', async () => {
    const all = await read('list')
    expect(all).toMatchObject([{ id, position: head, archived: false }, { parentId: id }])
  })

  test('is shown as it was after a position', async () => {
    const shown = await read('show', id, '--at', '40')
    expect(shown).toMatchObject({ id, position: 40, state: { lifecycle: { archived: null } } })
  })

  test('replays to the states that were kept, and says so in words', async () => {
    const { code, stdout, stderr } = await call('replay', id, '--verify')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^verdict\tsame: every kept state hash \([1-9]/m)
    expect(stdout.match(/^\d+\t/gm)).toHaveLength(head)
    expect(stderr).toMatch(/^Next: colloquy /)
  })

  test('differs between two positions', async () => {
    const { slices } = await read('diff', id, '--from', '40', '--to', '60')
    expect(slices.map((slice: { id: string }) => slice.id)).toContain('messages')
  })

  test('can be read by a program that stops reading', async () => {
    const line = `set -o pipefail; "$0" --conditions=@colloquy/source "$1" export "$2" --format jsonl --db "$3" | head -n 1`
    const { stdout, stderr } = await promisify(execFile)('bash', ['-c', line, process.execPath, main, id, store])
    expect(JSON.parse(stdout)).toMatchObject({ position: 1 })
    expect(stderr).not.toMatch(/EPIPE|Error/)
  })
})

test('a refused file leaves nothing', async () => {
  const before = await read('list')
  const bad = join(directory, 'bad.jsonl')
  const [first] = (await readFile(sample, 'utf8')).split('\n').slice(1)
  await writeFile(bad, `${first?.replaceAll(id, '11111111-2222-4333-8444-555555555555')}\n{"type":"user","broken\n{}\n`)
  const { code, stdout, stderr } = await call('import', bad)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/^import_refused: [^\n]*line 2/)
  expect(await read('list')).toEqual(before)
})

test('a second process on the same directory is refused, with the pid of the first', async () => {
  await using _log = await openEmbeddedLog({ directory: store })
  const { code, stdout, stderr } = await call('list', '--json')
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(JSON.parse(stderr)).toMatchObject({ code: 'directory_locked', details: { pid: process.pid } })
})

test('a conversation is compacted and brought back in processes of their own', async () => {
  const fresh = join(directory, 'compacted')
  await colloquy(['import', sample, '--db', fresh])
  const own = (...given: string[]) => colloquy([...given, '--db', fresh, '--json'])
  const before = JSON.parse((await own('show', id)).stdout)
  const compacted = JSON.parse((await own('compact', id, '--budget', '400')).stdout)
  expect(compacted).toMatchObject({
    id,
    status: 'compacted',
    position: head + 1,
    before: { messages: before.state.messages.length },
  })
  expect(JSON.parse((await own('uncompact', id)).stdout)).toMatchObject({ compactionPosition: head + 1, position: head + 2 })
  expect(JSON.parse((await own('show', id)).stdout).state.messages).toEqual(before.state.messages)
  expect((await own('verify', id)).code).toBe(0)
})

describe('a store that was changed behind our back', () => {
  let copy: string
  beforeAll(async () => {
    copy = join(directory, 'copy')
    await cp(store, copy, { recursive: true })
  })

  test('fails verification with the position', async () => {
    await using log = await openEmbeddedLog({ directory: copy })
    const changed = await log.kysely
      .updateTable('envelope')
      .set({ actor: 'somebody else' })
      .where('position', '=', 17)
      .where('tenant', '=', 'default')
      .executeTakeFirst()
    expect(changed.numUpdatedRows).toBeGreaterThan(0n)
    await log.close()

    const verified = await colloquy(['verify', '--all', '--db', copy])
    expect(verified.code).toBe(3)
    expect(verified.stdout).toMatch(new RegExp(`^${id}\\tbroken\\t16\\t.*position 17: `, 'm'))
    const replayed = await colloquy(['replay', id, '--verify', '--json', '--db', copy])
    expect(replayed.code).toBe(3)
    expect(JSON.parse(replayed.stdout)).toMatchObject({ verdict: 'log_changed', chain: { ok: false, problem: { position: 17 } } })
  })

  test('is left alone when a newer version has migrated it', async () => {
    await using log = await openEmbeddedLog({ directory: copy })
    await log.kysely
      .insertInto('colloquy_migration')
      .values({ name: '9999_future', timestamp: new Date().toISOString() })
      .execute()
    await log.close()
    const { code, stdout, stderr } = await colloquy(['list', '--json', '--db', copy])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(JSON.parse(stderr)).toMatchObject({ code: 'schema_newer', details: { found: '9999_future' } })
  })
})

describe('a conversation whose last envelope was taken, and its head moved back', () => {
  let cut: string
  let seen: string

  beforeAll(async () => {
    cut = join(directory, 'cut')
    await cp(store, cut, { recursive: true })
    await using log = await openEmbeddedLog({ directory: cut })
    const key = { tenant: 'default', conversationId: id }
    const hashes: Uint8Array[] = []
    for await (const page of log.read(key, { from: head - 1 })) hashes.push(...page.map(({ hash }) => hash))
    seen = `${head}:${Buffer.from(hashes[1] as Uint8Array).toString('hex')}`
    const { conversation_no: number } = await log.kysely
      .selectFrom('conversation')
      .select('conversation_no')
      .where('conversation_id', '=', id)
      .executeTakeFirstOrThrow()
    await log.kysely.deleteFrom('envelope').where('conversation_no', '=', number).where('position', '=', head).execute()
    await log.kysely
      .updateTable('conversation')
      .set({ head_position: head - 1, head_hash: hashes[0] as Uint8Array })
      .where('conversation_id', '=', id)
      .execute()
  })

  test('is told by the state that was kept, by the feed, and by who holds the hash', async () => {
    const behind = { position: head, text: `the log ends at position ${head - 1}, and a state was kept at position ${head}` }
    const one = await colloquy(['verify', id, '--json', '--db', cut])
    expect({ code: one.code, found: JSON.parse(one.stdout) }).toMatchObject({ code: 3, found: [{ ok: false, problem: behind }] })
    const replayed = await colloquy(['replay', id, '--verify', '--json', '--db', cut])
    expect(replayed.code).toBe(3)
    expect(JSON.parse(replayed.stdout)).toMatchObject({ verdict: 'log_changed', chain: { problem: behind } })

    await using log = await openEmbeddedLog({ directory: cut })
    await log.kysely.deleteFrom('snapshot').execute()
    await log.close()
    const silent = await colloquy(['verify', id, '--db', cut])
    expect(silent).toMatchObject({ code: 0, stderr: expect.stringContaining(`${id} is whole.`) })
    const all = await colloquy(['verify', '--all', '--db', cut])
    expect(all).toMatchObject({ code: 3, stderr: expect.stringMatching(/^feed_hole: Partition 0 has no feed position \d+/m) })
    const held = await colloquy(['verify', id, '--seen', seen, '--db', cut])
    expect(held).toMatchObject({ code: 3, stdout: expect.stringContaining(`position ${head} was seen`) })
    expect((await colloquy(['verify', id, '--seen', seen, '--db', store])).code).toBe(0)
  })
})

describe('a store that is not there', () => {
  test('is not created by reading', async () => {
    const db = join(directory, 'none')
    expect(await colloquy(['list', '--json', '--db', db])).toMatchObject({ code: 0, stdout: '[]\n' })
    expect(await colloquy(['show', id, '--db', db])).toMatchObject({ code: 4, stdout: '' })
    expect(await readdir(directory)).not.toContain('none')
  })

  test('does not pass verification or the doctor', async () => {
    const db = join(directory, 'none')
    const verified = await colloquy(['verify', '--all', '--json', '--quiet', '--db', db])
    expect(verified).toMatchObject({ code: 1, stdout: '' })
    expect(JSON.parse(verified.stderr)).toMatchObject({ code: 'store_missing' })
    expect(await colloquy(['doctor', '--db', db])).toMatchObject({ code: 1, stdout: expect.stringContaining('fail') })
  })

  test('on a server is reported without the password', async () => {
    // Nobody listens on port 1.
    const url = 'postgres://ann:hush-hush@127.0.0.1:1/talks?password=hush-hush'
    for (const command of [['list', '--debug'], ['doctor'], ['migrate']]) {
      const { code, stdout, stderr } = await colloquy([...command, '--db', url])
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/^database_unreachable: /)
      expect(stderr).not.toContain('hush-hush')
    }
  })
})

test('migrate and doctor speak about an embedded store', async () => {
  expect(await read('migrate')).toEqual({ id: store, applied: [] })
  const checks = await read('doctor')
  expect(checks).toContainEqual({ id: 'fsync', status: 'warn', found: 'off', advice: expect.any(String) })
  expect(checks.filter(({ status }: { status: string }) => status === 'fail')).toEqual([])
})

test('Ctrl-C ends with 130 and gives the directory back', async () => {
  const db = join(directory, 'interrupted')
  const { code } = await colloquy(['import', '-', '--db', db], {
    // The first words come when the command has begun; then it waits for a stdin that says nothing.
    onStart: (child) => child.stderr?.once('data', () => child.kill('SIGINT')),
  })
  expect(code).toBe(130)
  expect((await readdir(db)).filter((file) => file.startsWith('lock'))).toEqual([])
})

test('a transcript comes in through stdin', async () => {
  const content = await readFile(sample)
  const { code, stdout } = await colloquy(['import', '-', '--db', 'memory:', '--id', 'mine', '--json'], {
    onStart: (child) => child.stdin?.end(content),
  })
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject([{ id: 'stdin', conversations: [{ id: 'mine', position: head }, {}] }])
})

test.skipIf(process.platform !== 'linux')('what cannot be written to stdout is told, and does not end with 0', async () => {
  for (const command of ['--help', `list --db ${store}`, 'formats']) {
    const line = `"$0" --conditions=@colloquy/source "$1" ${command} > /dev/full`
    await expect(promisify(execFile)('bash', ['-c', line, process.execPath, main])).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^(.*\n)*ENOSPC: no space left on device, write\n$/),
    })
  }
})

describe('the demo', () => {
  test('shows everything, on a store that it removes again', async () => {
    const { code, stdout, stderr } = await colloquy(['demo'], { env: { TMPDIR: directory } })
    expect(code).toBe(0)
    expect(stderr).not.toMatch(/warning/i)
    // Import, state, dispatch, turn, compaction, refusal, replay, proof: each with what it found.
    expect(stdout).toMatch(/session of \d+ records became [1-9]\d* actions/)
    const dispatched = Number(/dispatched +messageAdded, stored at position (\d+)/.exec(stdout)?.[1])
    expect(stdout).toMatch(new RegExp(`heard +${dispatched} messageAdded`))
    expect(stdout).toMatch(/refused +budget_exceeded: .*5000/)
    expect(stdout).toMatch(/retried +\d+ errorRecorded rate_limit/)
    expect(stdout).toMatch(/answered +2 model calls, 1 retry; 2 tools/)
    expect(stdout).toMatch(/compacted +\d+ messages by chronological: \d+ to \d+ tokens/)
    const undone = Number(/taken back +at position (\d+)/.exec(stdout)?.[1])
    expect(stdout).toMatch(new RegExp(`stored +${undone + 1} budgetRefused`))
    const [before, after] = [...stdout.matchAll(/(?:before|after) +position (\d+): (\d+) messages?, (\d+) tokens/g)].map(
      (match) => match.slice(1).map(Number),
    )
    expect(after?.[0]).toBe((before?.[0] ?? 0) + 1)
    expect(after?.[1]).toBeLessThan(before?.[1] ?? 0)
    expect(stdout).toContain(`whole: ${undone + 1} envelopes`)
    expect(stdout).toMatch(/replay +same: every kept state hash \([1-9]/)
    // Node keeps its compile cache there too.
    expect((await readdir(directory)).filter((name) => name.startsWith('colloquy-demo-'))).toEqual([])
  })

  test('keeps the store that --db names, and the commands that it ends with work there', async () => {
    const db = join(directory, 'kept')
    await cp(store, db, { recursive: true })
    const { code, stdout } = await colloquy(['demo', '--db', db])
    expect(code).toBe(0)
    expect(stdout).toContain('twice is once')
    const commands = [...stdout.matchAll(/^ {2}colloquy (.*)$/gm)].map(([, command]) => command?.split(' ') ?? [])
    expect(commands.map(([name]) => name)).toEqual(['list', 'show', 'replay'])
    for (const command of commands) expect(await colloquy(command)).toMatchObject({ code: 0 })
  })
})

describe('the start of the command', () => {
  /** Tells on stderr which packages are resolved. */
  const spy = `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module'
    registerHooks({ resolve(specifier, context, next) {
      const found = next(specifier, context)
      const name = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(found.url)
      if (name) process.stderr.write('LOADED ' + name[1] + '\\n')
      return found
    } })
  `)}`
  const loaded = async (...given: string[]) => {
    const { stderr } = await colloquy(given, { nodeArguments: [`--import=${spy}`] })
    return [...new Set([...stderr.matchAll(/^LOADED (.*)$/gm)].map(([, name]) => name))]
  }

  test('loads nothing but the parser for --version and --help', async () => {
    expect(await loaded('--version')).toEqual(['commander'])
    expect(await loaded('--help')).toEqual(['commander'])
    expect(await loaded('show', '--help')).toEqual(['commander'])
  })

  test('loads a database only for a command that needs one', async () => {
    const packages = await loaded('list', '--db', 'memory:')
    expect(packages).toContain('zod')
    expect(packages).not.toContain('kysely')
  })
})
