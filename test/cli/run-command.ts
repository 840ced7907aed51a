import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const repository = fileURLToPath(new URL('../../', import.meta.url))
export const main = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CallOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly nodeArguments?: readonly string[]
  /** Told when the process runs; its stdin is open until this closes it. */
  readonly onStart?: (child: ChildProcess) => void
}

/** Calls the real command in a process of its own, with nothing of the caller's settings. */
export function colloquy(
  given: readonly string[],
  { env = {}, nodeArguments = [], onStart }: CallOptions = {},
): Promise<Finished> {
  const child = spawn(process.execPath, ['--conditions=@colloquy/source', ...nodeArguments, main, ...given], {
    cwd: repository,
    env: { PATH: process.env['PATH'], ...env },
    stdio: 'pipe',
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  if (onStart) onStart(child)
  else child.stdin.end()
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }))
  })
}
