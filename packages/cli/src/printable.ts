/**
 * Stored text is hostile: a message may hold sequences that move the cursor, retitle the window, or show words in another order
 * than they are. Nothing that was stored reaches a terminal unescaped.
 */

/** Control characters (C0, DEL, C1), marks that change direction, separators that end lines, and halves of surrogate pairs. */
const unsafe = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu
const unsafeButLines = /(?!\n)[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu
/** What `JSON.stringify` leaves as it is although a terminal acts on it. */
const unsafeInJson = /[\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\u001b': '\\e' }

/** Text as one line that a terminal only shows. */
export function printable(text: string): string {
  return text.replace(unsafe, escape)
}

/** As `printable`, with the lines of the text kept. */
export function printableLines(text: string): string {
  return text.replace(unsafeButLines, escape)
}

/** JSON text with the same value that a terminal only shows. */
export function printableJson(json: string): string {
  return json.replace(unsafeInJson, unicodeEscape)
}

/** Words as one takes them into a shell: an id out of a file must not run anything there. */
export function commandLine(words: readonly (string | number)[]): string {
  return words
    .map((word) =>
      printable(/^(?:[\w.:@/+~-]+|<[\w.]+>)$/.test(`${word}`) ? `${word}` : `'${`${word}`.replaceAll("'", `'\\''`)}'`),
    )
    .join(' ')
}

function escape(character: string): string {
  return shortEscapes[character] ?? unicodeEscape(character)
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Script=Han}/u
const narrow = /^[ -~]*$/

/** Columns that printable text takes on a terminal. */
export function displayWidth(text: string): number {
  if (narrow.test(text)) return text.length
  let width = 0
  for (const { segment } of segmenter.segment(text)) width += wide.test(segment) ? 2 : 1
  return width
}

/** At most `columns` columns of printable text; what is cut ends in an ellipsis. */
export function cutTo(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text
  let cut = ''
  let width = 0
  for (const { segment } of segmenter.segment(text)) {
    width += wide.test(segment) ? 2 : 1
    if (width >= columns) break
    cut += segment
  }
  return `${cut}…`
}
