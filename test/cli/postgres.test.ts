import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { startPostgres } from '../support/postgres-server.ts'
import { colloquy, repository } from './run-command.ts'

const sample = join(repository, 'packages/cli/samples/claude-code.jsonl')

const server = await startPostgres()
afterAll(() => server?.stop())

describe.skipIf(server === undefined)('on a server, named by COLLOQUY_DB', () => {
  test('the way from an empty database to a verified conversation', async () => {
    const env = { COLLOQUY_DB: (await server?.createDatabase()) ?? '' }
    const read = async (...given: string[]) => {
      const { code, stdout, stderr } = await colloquy([...given, '--json'], { env })
      expect(stderr).not.toContain('test@')
      return { code, data: JSON.parse(stdout || stderr.split('\n')[0] || 'null') }
    }
    expect(await read('list')).toMatchObject({ code: 1, data: { code: 'schema_missing' } })
    expect(await read('doctor')).toMatchObject({
      code: 1,
      data: expect.arrayContaining([expect.objectContaining({ status: 'fail' })]),
    })
    expect(await read('migrate')).toMatchObject({
      code: 0,
      data: { id: expect.stringMatching(/^postgres:\/\/127\./), applied: ['0001_log', '0002_access', '0003_recall'] },
    })
    expect(await read('migrate')).toMatchObject({ code: 0, data: { applied: [] } })
    expect(await read('doctor')).toMatchObject({ code: 0 })
    const { data } = await read('import', sample)
    const [{ id, position }] = data[0].conversations
    expect(await read('verify', '--all')).toMatchObject({ code: 0, data: [{ ok: true, positions: position }, { ok: true }] })
    expect(await read('replay', id, '--verify')).toMatchObject({ code: 0, data: { verdict: 'same', positions: position } })
  })

  test('what weakens the promises of the server is told in one line, and not to who wants quiet', async () => {
    const env = { COLLOQUY_DB: (await server?.createDatabase()) ?? '' }
    await colloquy(['migrate'], { env })
    const { stderr } = await colloquy(['list'], { env })
    expect(stderr).toMatch(/^The log at 127[^\n]* is used as \w+, a superuser, [^\n]*\. See "colloquy doctor"\.\n/)
    expect(stderr).not.toContain('--trace-warnings')
    expect(await colloquy(['list', '--quiet', '--json'], { env })).toEqual({ code: 0, stdout: '[]\n', stderr: '' })
  })

  test('migrate says which roles it gave rights, and which of them cannot log in yet', async () => {
    const env = { COLLOQUY_DB: (await server?.createDatabase()) ?? '' }
    const [app, worker] = ['app', 'worker'].map((kind) => `${kind}_${randomUUID().slice(0, 8)}`)
    expect(await colloquy(['migrate'], { env })).toMatchObject({ code: 0, stderr: expect.not.stringContaining('login') })
    const first = await colloquy(['migrate', '--roles', `app=${app}`], { env })
    expect(first.stderr).toContain(`Rights were given: app to ${app}.`)
    expect(first.stderr).toContain(`without a login: ${app}. Give each one (alter role "${app}" login password '...')`)
    const both = `app=${app},worker=${worker}`
    const second = await colloquy(['migrate', '--roles', both, '--json'], { env })
    expect(JSON.parse(second.stdout)).toMatchObject({ applied: [], roles: { app, worker }, createdRoles: [worker] })
    const third = await colloquy(['migrate', '--roles', both], { env })
    expect(third.stderr).toContain(`app to ${app}, worker to ${worker}.`)
    expect(third.stderr).not.toContain('login')
  })
})
