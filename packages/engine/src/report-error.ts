import { inspect } from 'node:util'
import type { ErrorListener } from './guarded-observable.ts'

/** The listener as everything here may call it: what it throws itself is warned of, and ends neither a dispatch nor the process. */
export function guarded(listener: ErrorListener = warn): ErrorListener {
  return (error, where) => {
    try {
      listener(error, where)
    } catch (thrown) {
      warn(error, where)
      warn(thrown, 'onError')
    }
  }
}

/** Not `console.error`: a warning can be silenced, counted or turned into a failure by the usual means of Node. */
function warn(error: unknown, where: string): void {
  const text = error instanceof Error && error.stack !== undefined ? error.stack : inspect(error)
  process.emitWarning(`${where}: ${text}`, 'ColloquyWarning')
}
