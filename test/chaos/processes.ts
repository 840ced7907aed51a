/** Worker processes: they write down what they were told, and the oracle believes nothing but these files. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Mutant, type MutantName, mutants } from './mutants.ts'

export type Role =
  | 'dispatch'
  | 'same-command'
  | 'interleavings'
  | 'roll-back'
  | 'read-feed'
  | 'embedded'
  | 'clocks'
  | 'slow-reader'
  | 'history'
  | 'feed-list'

export interface WorkerProcess<Entry> {
  readonly name: string
  readonly pid: number
  /** The worker is set up and waits for `go`. */
  readonly ready: Promise<void>
  go(): void
  /** Asks it to end. */
  stop(): void
  kill(): void
  /** @returns what was wrong about how it ended, if anything. @throws when its mutant did not fit */
  readonly ended: Promise<string | undefined>
  entries(): Entry[]
}

export interface WorkerOptions {
  readonly directory: string
  readonly mutant: MutantName | undefined
}

const misfit = 97
const loader = new URL('./mutating-loader.ts', import.meta.url)

/** Starts test/chaos/workers/<role>.ts with a job. */
export function startWorker<Entry>(role: Role, name: string, job: object, options: WorkerOptions): WorkerProcess<Entry> {
  const file = join(options.directory, `${name}.jsonl`)
  const mutant: Mutant = options.mutant === undefined ? {} : mutants[options.mutant]
  const isMutated = mutant.patches !== undefined
  const child = spawn(
    process.execPath,
    [
      '--conditions=@colloquy/source',
      '--disable-warning=COLLOQUY_DATABASE',
      ...(isMutated ? ['--import', loader.href] : []),
      fileURLToPath(new URL(`./workers/${role}.ts`, import.meta.url)),
      file,
      JSON.stringify({ ...job, name }),
    ],
    {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Most of a short worker's time is the loading of its code.
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: join(tmpdir(), 'colloquy-compile-cache'),
        ...(isMutated && { COLLOQUY_CHAOS_MUTANT: options.mutant }),
      },
    },
  )
  let said = ''
  let isKilled = false
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4_000)
  })
  const ended = new Promise<string | undefined>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === misfit) reject(new Error(said))
      else if (code === 0 || isKilled) resolve(undefined)
      else resolve(`process ${name} ended with ${signal ?? code}: ${said.trim().split('\n').slice(0, 24).join(' | ')}`)
    })
  })
  const ready = new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve())
    ended.then((problem) => reject(new Error(problem ?? `process ${name} ended before it was ready`)), reject)
  })
  // Whoever waits hears of it; a row that failed elsewhere must not end the run by this one.
  ready.catch(() => {})
  ended.catch(() => {})
  // One that is just ending hears nothing, and needs not: `ended` says how.
  const tell = (word: string) => void (child.connected && child.send(word, () => {}))
  return {
    name,
    pid: child.pid as number,
    ready,
    go: () => tell('go'),
    stop: () => tell('stop'),
    kill() {
      isKilled = true
      child.kill('SIGKILL')
    },
    ended,
    entries: () => entriesIn<Entry>(file),
  }
}

/** Lines that are whole: a killed process may leave half of one. */
function entriesIn<Entry>(file: string): Entry[] {
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Entry)
}

/** Lets all begin together. */
export async function goTogether(workers: readonly WorkerProcess<unknown>[]): Promise<void> {
  await Promise.all(workers.map(({ ready }) => ready))
  for (const worker of workers) worker.go()
}

/** Waits for all, and ends none before its time. @returns what was wrong about how they ended */
export async function endOf(workers: readonly WorkerProcess<unknown>[]): Promise<string[]> {
  const problems = await Promise.all(workers.map(({ ended }) => ended))
  return problems.filter((problem) => problem !== undefined)
}
