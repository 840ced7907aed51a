/** Cuts of a text between what a reader sees as characters: never inside an emoji, a flag or a letter with its accents. */

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })
/**
 * UTF-16 units on either side of a cut that decide where it may be. Looked at from its beginning, a long text would cost as much as it is
 * long; longer clusters are no character that anybody reads.
 */
const reach = 64

/** At most so many UTF-16 units from the start. */
export function headOf(text: string, longest: number): string {
  return text.length <= longest ? text : text.slice(0, clusterAt(text, longest).start)
}

/** At most so many UTF-16 units from the end. */
export function tailOf(text: string, longest: number): string {
  if (text.length <= longest) return text
  if (longest === 0) return ''
  const at = text.length - longest
  const { start, end } = clusterAt(text, at)
  return text.slice(start === at ? start : end)
}

/** Never empty but for an empty text. */
export const firstCharacter = (text: string): string => text.slice(0, clusterAt(text, 0).end)

/** The character that the unit at `at` belongs to. */
function clusterAt(text: string, at: number): { readonly start: number; readonly end: number } {
  const from = Math.max(0, at - reach)
  const found = segmenter.segment(text.slice(from, at + reach)).containing(at - from)
  return found === undefined
    ? { start: at, end: at }
    : { start: from + found.index, end: from + found.index + found.segment.length }
}
