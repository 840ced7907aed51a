#!/usr/bin/env node
/** The `colloquy` command: the process around `run`. */
import { enableCompileCache } from 'node:module'
import { exitCodes, failureText } from './exit.ts'
import { run } from './program.ts'

enableCompileCache()

const interruption = new AbortController()
/** A command that does something of its own on Ctrl-C. */
let takenBy: (() => void) | undefined
process.on('SIGINT', () => {
  if (takenBy) return takenBy()
  // The command stops at its next step and closes its store; who asks again does not want to wait for that.
  if (interruption.signal.aborted) process.exit(exitCodes.interrupted)
  interruption.abort()
  process.stdin.destroy()
})
// Whoever reads may go away: a command that writes on finds out by itself, the rest has nothing to lose.
process.stderr.on('error', () => {})
/** Of a write that nothing came after, such as a help to a disk that is full. */
let unwritten: NodeJS.ErrnoException | undefined
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') unwritten ??= error
})

const code = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signal: interruption.signal,
  onInterrupt: (listener) => {
    takenBy = listener
    return () => {
      takenBy = undefined
    }
  },
})
await new Promise((resolve) => process.stdout.write('', resolve))
if (code === exitCodes.ok && unwritten !== undefined) {
  const style = { json: process.argv.includes('--json'), debug: process.argv.includes('--debug') }
  process.stderr.write(`${failureText(unwritten, style)}\n`)
}
// Not `process.exit`: what is on its way to a pipe would be lost.
process.exitCode = code === exitCodes.ok && unwritten !== undefined ? exitCodes.failed : code
