import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Fact } from './fact.ts'
import type { MutantName } from './mutants.ts'

export interface Order {
  readonly id: string
  readonly tier: 'quick' | 'full'
  readonly seed: number
  readonly minutes: number
}

export type Report =
  | { readonly kind: 'counted'; readonly facts: readonly Fact[] }
  | { readonly kind: 'unavailable'; readonly reason: string }
  /** The row itself could not be carried out, which is neither a promise kept nor one broken. */
  | { readonly kind: 'failed'; readonly problem: string }

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** Runs a row in a process of its own, and all that it starts, with the mutant in it. */
export function startRow(order: Order, mutant?: MutantName): Promise<Report> {
  const { COLLOQUY_MUTANT: _, ...env } = process.env
  const child = spawn(
    process.execPath,
    [
      '--conditions=@colloquy/source',
      '--expose-gc',
      '--disable-warning=COLLOQUY_DATABASE',
      ...(mutant === undefined ? [] : ['--import', path('./mutate.ts')]),
      path('./run-row.ts'),
    ],
    // What mutants make the processes complain about is expected.
    {
      stdio: ['ignore', 'inherit', mutant === undefined ? 'inherit' : 'ignore', 'ipc'],
      env: { ...env, ...(mutant !== undefined && { COLLOQUY_MUTANT: mutant }) },
    },
  )
  return new Promise((resolve, reject) => {
    let report: Report | undefined
    child.on('message', (message) => {
      report = message as Report
    })
    child.on('error', reject)
    child.on('close', (code, signal) =>
      resolve(report ?? { kind: 'failed', problem: `its process ended with ${code ?? signal}` }),
    )
    child.send(order)
  })
}
