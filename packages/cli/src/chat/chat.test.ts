import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type Model, scriptedModel } from '@colloquy/agent'
import { createEngine, openMemoryLog } from '@colloquy/engine'
import { describe, expect, test, vi } from 'vitest'
import { capturedIo } from '../../../../test/cli/captured-io.ts'
import { storedIn } from '../../../../test/support/given.ts'
import { run } from '../program.ts'
import { chatTools } from './chat-tools.ts'

/** Talks, line by line: the next line comes when the one before was dealt with. */
async function chat(
  lines: readonly string[],
  options: { readonly log?: ReturnType<typeof openMemoryLog>; readonly model?: Model; readonly given?: string[] } = {},
) {
  const { log = openMemoryLog(), model, given = ['chat', 'c'] } = options
  let interrupt: (() => void) | undefined
  const io = {
    ...capturedIo({ log }),
    stdin: Readable.from(lines.map((line) => `${line}\n`)),
    onInterrupt: (listener: () => void) => {
      interrupt = listener
      return () => {}
    },
    ...(model && { openModel: async () => model }),
  }
  const finished = run(given, io)
  return { log, io, finished, interrupt: () => interrupt?.() }
}

/** Line by line, as somebody types them. */
function talk(model: Model) {
  const log = openMemoryLog()
  const io = capturedIo({ log })
  const stdin = new Readable({ read() {} })
  let listener = (): void => {}
  const finished = run(['chat', 'c'], {
    ...io,
    stdin,
    openModel: async () => model,
    onInterrupt: (given) => {
      listener = given
      return () => {}
    },
  })
  return { log, io, finished, line: (text: string) => stdin.push(`${text}\n`), interrupt: () => listener() }
}

/** A stream that fails before it says anything. */
function failing(error: Error): AsyncIterable<never> {
  const next = async (): Promise<never> => {
    throw error
  }
  return { [Symbol.asyncIterator]: () => ({ next }) }
}

describe('chat', () => {
  test('answers each line, shows the tools that run side by side, and stores everything', async () => {
    const { log, io, finished } = await chat(['Hello there', 'Which day is it?'])
    expect(await finished).toBe(0)
    const said = io.stdout.text
    expect(said).toContain('You said 2 words.')
    expect(said).toMatch(/\[1\] now \{\}\n[^]*\[2\] search_transcript \{"words":"Which"\}\n/)
    expect(said).toMatch(/\[1\] done, \d/)
    expect(said).toContain('user: Which day is it?')
    const types = (await storedIn(log, 'c')).map(({ type }) => type)
    expect(types.filter((type) => type === 'turnEnded')).toHaveLength(2)
    expect(types.filter((type) => type === 'toolSucceeded')).toHaveLength(2)
  })

  test('goes on with a conversation that it left', async () => {
    const { log, finished } = await chat(['Hello'])
    await finished
    const again = await chat(['What did I say about Hello?'], { log })
    expect(await again.finished).toBe(0)
    expect((await storedIn(log, 'c')).filter(({ type }) => type === 'conversationStarted')).toHaveLength(1)
  })

  test('obeys its commands, and goes on after one that it does not know', async () => {
    const { io, finished } = await chat([
      'one',
      'two',
      '/context',
      '/budget',
      '/compact',
      '/fork 4',
      'three',
      '/nope',
      '/fork x',
      '/help',
    ])
    expect(await finished).toBe(0)
    expect(io.stdout.text).toMatch(/tokens\t\d+ of 50000\n/)
    expect(io.stdout.text).toMatch(/usage\t2 model calls/)
    expect(io.stdout.text).toMatch(/now in c~/)
    expect(io.stdout.text).toContain('/quit')
    expect(io.stderr.text).toMatch(/usage_invalid: There is no command \/nope/)
    expect(io.stderr.text).toMatch(/usage_invalid: .*\/fork/)
    // At position 4 the first turn had no answer yet: the fork begins with two messages of the user.
    expect(io.stdout.text.match(/You said 1 word\./g)).toHaveLength(2)
    expect(io.stdout.text).toContain('You said 2 words.')
  })

  test('Ctrl-C ends the turn and keeps what had arrived; when no turn runs, it leaves', async () => {
    let isTalking = (): void => {}
    const talking = new Promise<void>((resolve) => {
      isTalking = resolve
    })
    const model = scriptedModel({
      scripts: [{ text: 'The beginning of an answer that nobody wants to hear to its end.' }],
      async beforeEvent(event, signal) {
        if (event.type !== 'partDelta') return
        isTalking()
        await new Promise<void>((resolve) => {
          const pause = setTimeout(resolve, 20)
          signal.addEventListener('abort', () => {
            clearTimeout(pause)
            resolve()
          })
        })
      },
    })
    const log = openMemoryLog()
    const io = { ...capturedIo({ log }), stdin: endless('Talk to me'), openModel: async () => model }
    let interrupt = (): void => {}
    const finished = run(['chat', 'c'], {
      ...io,
      onInterrupt: (listener) => {
        interrupt = listener
        return () => {}
      },
    })
    await talking
    interrupt()
    await expect.poll(async () => (await storedIn(log, 'c')).at(-1)?.type).toBe('turnInterrupted')
    await expect.poll(() => io.stdout.text).toContain('interrupted')
    interrupt()
    expect(await finished).toBe(0)
    const answers = (await storedIn(log, 'c')).flatMap(({ action }) =>
      action.type === 'messageAdded' ? [JSON.stringify(action.payload)] : [],
    )
    expect(answers.join()).toContain('The beginning')
  })

  test('a tool that asks first runs when the user allows it', async () => {
    const path = 'package.json'
    const model = () =>
      scriptedModel({ scripts: [{ calls: [{ name: 'read_file', args: { path } }] }, { text: 'I have seen it.' }] })
    const yes = await chat(['Read it', 'y'], { model: model() })
    expect(await yes.finished).toBe(0)
    expect((await storedIn(yes.log, 'c')).map(({ type }) => type)).toContain('toolSucceeded')
    const no = await chat(['Read it', 'n'], { model: model() })
    expect(await no.finished).toBe(0)
    expect((await storedIn(no.log, 'c')).find(({ type }) => type === 'toolFailed')?.action.payload).toMatchObject({
      kind: 'denied',
    })
    expect(no.io.stdout.text).toContain('I have seen it.')
  })

  test('Ctrl-C at an approval ends the turn, and the next line is said to the model', async () => {
    const model = scriptedModel({
      scripts: [{ calls: [{ name: 'read_file', args: { path: 'package.json' } }] }, { text: 'I hear you.' }],
    })
    const { log, io, line, interrupt, finished } = talk(model)
    line('Read it')
    await expect.poll(() => io.stderr.text).toContain('may it run?')
    interrupt()
    await expect.poll(() => io.stdout.text).toContain('interrupted: Ctrl-C')
    line('Then not')
    await expect.poll(() => io.stdout.text).toContain('I hear you.')
    line('/quit')
    expect(await finished).toBe(0)
    const stored = await storedIn(log, 'c')
    expect(stored.filter(({ type }) => type === 'approvalDecided')).toEqual([])
    expect(JSON.stringify(stored.map(({ action }) => action))).toContain('Then not')
  })

  test('two tools that ask first are asked about one after the other', async () => {
    const call = { name: 'read_file', args: { path: 'package.json' } }
    const model = scriptedModel({ scripts: [{ calls: [call, call] }, { text: 'Seen.' }] })
    const { log, io, line, finished } = talk(model)
    const questions = (): number => io.stderr.text.split('may it run?').length - 1
    line('Read both')
    await expect.poll(questions).toBe(1)
    line('y')
    await expect.poll(questions).toBe(2)
    line('n')
    await expect.poll(() => io.stdout.text).toContain('Seen.')
    line('/quit')
    expect(await finished).toBe(0)
    const types = (await storedIn(log, 'c')).map(({ type }) => type)
    expect(types.filter((type) => type === 'toolSucceeded' || type === 'toolFailed').toSorted()).toEqual([
      'toolFailed',
      'toolSucceeded',
    ])
  })

  test('Ctrl-C twice leaves, and what had arrived is kept', async () => {
    let isTalking = (): void => {}
    const talking = new Promise<void>((resolve) => {
      isTalking = resolve
    })
    let hear = (): void => {}
    const heard = new Promise<void>((resolve) => {
      hear = resolve
    })
    const model = scriptedModel({
      scripts: [{ text: 'The beginning.' }],
      async beforeEvent(event) {
        if (event.type !== 'partDone') return
        isTalking()
        await heard
      },
    })
    const { log, line, interrupt, finished } = talk(model)
    line('Talk to me')
    await talking
    interrupt()
    interrupt()
    hear()
    expect(await finished).toBe(0)
    expect((await storedIn(log, 'c')).at(-1)?.type).toBe('turnInterrupted')
  })

  test('a model that cannot be had is replaced by its fallback, and is left alone when it fails time and again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      let asked = 0
      const away: Model = {
        ...scriptedModel({ scripts: [] }),
        provider: 'away',
        stream: () => {
          asked += 1
          return failing(Object.assign(new Error('Overloaded'), { status: 529 }))
        },
      }
      const there: Model = { ...scriptedModel({ scripts: () => ({ text: 'I am here.' }) }), id: 'small' }
      const log = openMemoryLog()
      const io = capturedIo({ log })
      const finished = run(['chat', 'c', '--model', 'away:big', '--fallback', 'there:small'], {
        ...io,
        stdin: Readable.from(['one\n', 'two\n']),
        openModel: async (name) => (name === 'away:big' ? away : there),
      })
      let isOver = false
      void finished.finally(() => {
        isOver = true
      })
      while (!isOver) await vi.advanceTimersByTimeAsync(1_000)
      expect(await finished).toBe(0)
      expect(io.stdout.text).toMatch(/overloaded, again in \d+\.\d s: Overloaded/)
      expect(io.stdout.text).toContain('overloaded, small is asked instead: Overloaded')
      expect(io.stdout.text.split('I am here.')).toHaveLength(3)
      // Five times in the first turn; in the second it is not asked.
      expect(asked).toBe(5)
      expect(io.stdout.text).toContain('circuit_open, small is asked instead: ')
    } finally {
      vi.useRealTimers()
    }
  })

  test('what a provider refuses is told with its kind and the next step, and the chat goes on', async () => {
    const refusing: Model = {
      ...scriptedModel({ scripts: () => ({ text: 'Never.' }) }),
      provider: 'somebody',
      id: 'big',
      stream: () => failing(Object.assign(new Error('401 invalid key'), { status: 401 })),
    }
    const { io, finished } = await chat(['one', '/budget'], { model: refusing })
    expect(await finished).toBe(0)
    expect(io.stdout.text).toContain('authentication: 401 invalid key')
    expect(io.stderr.text).toContain('model_failed: somebody failed while big answered (authentication): 401 invalid key. ')
  })

  test('what a model says cannot move the cursor of a terminal', async () => {
    const { io, finished } = await chat(['x'], { model: scriptedModel({ scripts: [{ text: 'a\u001b[2Jb' }] }) })
    await finished
    expect(io.stdout.text).not.toContain('\u001b')
    expect(io.stdout.text).toContain('a\\e[2Jb')
  })

  test.each([
    ['gpt-x', 'none of them'],
    ['anthropic:', 'none of them'],
    ['anthropic:claude', 'ANTHROPIC_API_KEY'],
    ['openai:gpt', 'OPENAI_API_KEY'],
  ])('a model "%s" that cannot be had is refused before anything is opened', async (model, problem) => {
    const { io, finished } = await chat([], { given: ['chat', '--model', model] })
    expect(await finished).toBe(2)
    expect(io.stderr.text).toMatch(new RegExp(`usage_invalid: .*${problem}`))
  })

  test('tools lists what a model is given', async () => {
    const { io, finished } = await chat([], { given: ['tools', '--json'] })
    expect(await finished).toBe(0)
    expect(JSON.parse(io.stdout.text)).toMatchObject([
      { id: 'now', asksFirst: false },
      { id: 'read_file', asksFirst: true },
      { id: 'search_transcript', idempotent: true },
    ])
  })
})

test('read_file gives no file that lies elsewhere, by path or by link', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'colloquy-chat-'))
  try {
    const directory = join(parent, 'here')
    await mkdir(directory)
    await writeFile(join(parent, 'secret'), 'secret')
    await writeFile(join(directory, 'open'), 'open')
    await writeFile(join(directory, 'large'), 'x'.repeat(100_000))
    await symlink(join(parent, 'secret'), join(directory, 'link'))
    const log = openMemoryLog()
    await using engine = createEngine({ log })
    const context = { conversation: await engine.open('c') } as never
    const tool = chatTools(log, directory).find(({ name }) => name === 'read_file')
    const read = async (path: string) => tool?.execute({ path } as never, context)
    expect(await read('open')).toBe('open')
    for (const path of ['../secret', join(parent, 'secret'), 'link']) await expect(read(path)).rejects.toThrow('outside')
    await expect(read('large')).rejects.toThrow('100000 bytes')
    await expect(read('none')).rejects.toThrow('ENOENT')
  } finally {
    await rm(parent, { recursive: true })
  }
})

/** One line, and then silence. */
function endless(line: string): Readable {
  const stream = new Readable({ read() {} })
  stream.push(`${line}\n`)
  return stream
}
