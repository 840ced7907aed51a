/** How the command ends: exit codes, and errors in words or as JSON. */
import { inspect } from 'node:util'
import type { ColloquyError, ErrorCode } from '@colloquy/core'
import { printable, printableJson, printableLines } from './printable.ts'

/** Documented in the help. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  verificationFailed: 3,
  notFound: 4,
  notProved: 5,
  interrupted: 130,
} as const
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

const codesOf: Partial<Record<ErrorCode, ExitCode>> = {
  usage_invalid: exitCodes.usage,
  settings_invalid: exitCodes.usage,
  // Of ids only those that are typed can be unusable here.
  id_invalid: exitCodes.usage,
  log_corrupt: exitCodes.verificationFailed,
  conversation_not_found: exitCodes.notFound,
  position_not_found: exitCodes.notFound,
  model_call_not_found: exitCodes.notFound,
  compaction_not_found: exitCodes.notFound,
  reservation_not_open: exitCodes.notFound,
}

/** Whoever read our output went away (`| head`): no error, but a reason to stop. */
export class OutputClosed extends Error {}

/** Of what a command threw. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof OutputClosed) return exitCodes.ok
  return (isColloquy(error) ? codesOf[error.code] : undefined) ?? exitCodes.failed
}

/** What went wrong: code, what happened and the next step; `file` names what it happened to, when the error does not. */
export function failureText(
  error: unknown,
  { file, ...style }: { readonly json: boolean; readonly debug: boolean; readonly file?: string },
): string {
  const { code, message, ...rest } = failureOf(error)
  if (style.json) {
    const stack = style.debug ? { stack: inspect(error) } : {}
    return printableJson(JSON.stringify({ code, ...(file !== undefined && { file }), message, ...rest, ...stack }))
  }
  const text = [code, ...(file === undefined ? [] : [file]), message].map(printable).join(': ')
  return style.debug ? `${text}\n${printableLines(inspect(error))}` : text
}

function failureOf(error: unknown): { code: string; message: string; details?: object; retryable?: boolean } {
  if (isColloquy(error)) return error.toJSON()
  const message = error instanceof Error ? error.message : String(error)
  // A failed call to the system says what and where; anything else that gets here is a mistake of ours.
  return isSystemError(error)
    ? { code: error.code, message: message.replace(`${error.code}: `, '') }
    : {
        code: 'unexpected',
        message: `${message || 'an error without words'}. Run it again with --debug and report what it shows.`,
      }
}

/** Not core's `isColloquyError`: this file is loaded for `--version` too, and core brings zod. */
function isColloquy(error: unknown): error is ColloquyError {
  return error instanceof Error && error.name === 'ColloquyError'
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException & { code: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string'
}
