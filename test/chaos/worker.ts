/** Processes of a run. What they say they did is read from files, never from them: they may be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Worker {
  readonly process: ChildProcess
  /** Null when it was killed. */
  readonly ended: Promise<number | null>
  /** The lines that it wrote and finished. */
  readonly told: () => unknown[]
}

let started = 0

/** Starts `workers/<name>.worker.ts` with a task, in a process like this one. */
export function startWorker(name: string, directory: string, task: object): Worker {
  const file = join(directory, `${name}-${++started}.jsonl`)
  closeSync(openSync(file, 'w'))
  const script = fileURLToPath(new URL(`./workers/${name}.worker.ts`, import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script], {
    stdio: ['pipe', 'inherit', 'pipe'],
    env: { ...process.env, COLLOQUY_TASK: JSON.stringify(task), COLLOQUY_TOLD: file },
  })
  let complaints = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    complaints = (complaints + chunk.toString()).slice(-4_000)
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      if (code !== 0 && code !== null) process.stderr.write(`${name} worker ${child.pid} ended with ${code}:\n${complaints}\n`)
      resolve(code)
    })
  })
  return { process: child, ended, told: () => readTold(file) }
}

function readTold(file: string): unknown[] {
  const lines = readFileSync(file, 'utf8').split('\n')
  // The last one is empty, or was cut short with its process.
  return lines.slice(0, -1).map((line) => JSON.parse(line) as unknown)
}

/** In a worker: its task. */
export function readTask<Task>(): Task {
  return JSON.parse(process.env['COLLOQUY_TASK'] ?? '{}') as Task
}

/** In a worker: writes a line before it goes on, whatever happens to the process afterwards. */
export function teller(): (line: object) => void {
  const file = openSync(process.env['COLLOQUY_TOLD'] as string, 'a')
  return (line) => void writeSync(file, `${JSON.stringify(line)}\n`)
}

/** In a worker: says that it is ready and waits until all are. */
export async function atTheStart(tell: (line: object) => void): Promise<void> {
  tell({ ready: true })
  await new Promise((resolve) => process.stdin.once('data', resolve))
  process.stdin.unref()
}

/** Waits until all of them are ready, and lets them go at once. */
export async function startTogether(workers: readonly Worker[]): Promise<void> {
  for (const worker of workers) {
    while (worker.told().length === 0) {
      if (worker.process.exitCode !== null) throw new Error('A worker ended before the start.')
      await sleep(20)
    }
  }
  for (const worker of workers) worker.process.stdin?.end('go\n')
}

/** How many of them did not end by themselves and with 0. */
export async function failedOf(workers: readonly Worker[]): Promise<number> {
  const codes = await Promise.all(workers.map(({ ended }) => ended))
  return codes.filter((code) => code !== 0).length
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))
