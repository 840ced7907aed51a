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
    throw refusal(source, line, isColloquyError(error, 'envelope_too_large') ? tooLarge(error) : withoutEnd(error), error)
  }
}

/** What is told of the file goes on behind it. */
const withoutEnd = ({ message }: ColloquyError): string => message.replace(/\.$/, '')

/** What the error advises is for those who make actions, and nobody can do it to a file. */
function tooLarge({ details }: ColloquyError<'envelope_too_large'>): string {
  const { type, path, bytes, limitBytes } = details
  const found = `it becomes a ${type} of ${bytes} bytes, more than ${limitBytes}; ${path} has most of them`
  return `${found}. Shorten that in the file, or call importFile with larger envelopeBytes`
}
