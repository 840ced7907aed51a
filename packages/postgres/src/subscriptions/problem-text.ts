import { textOf } from '../connections/failures.ts'

/** Nobody reads further, and a text may quote the whole body that could not be read. */
const longest = 2_000

/** What something failed with, as every column `problem` can hold it: Postgres refuses NUL in a text, which a message may well quote. */
export function problemText(error: unknown): string {
  try {
    // An error without a message still has a name.
    const text = (textOf(error) || String(error)).replaceAll('\0', '\uFFFD')
    return text.length > longest ? `${text.slice(0, longest)}…` : text
  } catch {
    // Whatever was thrown, it cannot be made a text.
    return typeof error
  }
}
