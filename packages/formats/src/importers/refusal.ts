import { ColloquyError, isColloquyError } from '@colloquy/core'

/** Why a file is not imported, to be thrown. `line` counts from 1: a line, or an element where the file has no lines. */
export function refusal(source: string, line: number, problem: string, cause?: unknown): ColloquyError<'import_refused'> {
  return new ColloquyError('import_refused', { source, line, problem }, cause === undefined ? undefined : { cause })
}

/** What `make` makes out of a line. What of it cannot be stored refuses the file there. @throws `import_refused` */
export function refusingAt<Made>(source: string, line: number, make: () => Made): Made {
  try {
    return make()
  } catch (error) {
    if (!isColloquyError(error) || error.code === 'import_refused') throw error
    // What is told of the file goes on behind it.
    throw refusal(source, line, error.message.replace(/\.$/, ''), error)
  }
}
