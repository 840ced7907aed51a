/**
 * How many tokens a text is, without a vocabulary: it is parted as o200k parts it before it looks anything up (words at each change from
 * small to capital letters or to digits, digits by three, runs of marks, white space), and each part costs what such parts cost on average.
 * That is why it holds for what is no language: base64, hashes, ids.
 *
 * The constants are averages over parts of this repository's sources and README, transcripts of agents and chats (1.0 M tokens), random
 * base64, hex, letters and marks, and the messages of zod (30 languages) and TypeScript (13), counted with o200k (gpt-tokenizer 4,
 * 2026-11-28).
 */

// What a character is, each a bit.
const foreign = 0
const lower = 1
const upper = 2
const digit = 4
const blank = 8
const newline = 16
const mark = 32
const alphanumeric = lower | upper | digit
const white = blank | newline
/** Of ASCII. */
const kinds = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code)
  if (/[a-z]/.test(character)) return lower
  if (/[A-Z]/.test(character)) return upper
  if (/\d/.test(character)) return digit
  if (/[\r\n]/.test(character)) return newline
  return /\s/.test(character) ? blank : mark
})

/** Linear in the text; 0 for nothing only. */
export function estimateTokens(text: string): number {
  let tokens = 0
  for (let at = 0; at < text.length; ) {
    const kind = kindAt(text, at)
    const start = at
    if ((kind & alphanumeric) !== 0) {
      at = endOfRun(text, at, alphanumeric)
      tokens += tokensOfName(text, start, at)
    } else if ((kind & white) !== 0) {
      at = endOfRun(text, at, white)
      tokens += tokensOfWhite(text, start, at)
    } else if (kind === mark) {
      at = endOfRun(text, at, mark)
      tokens += tokensOfMarks(text, start, at)
      // Line ends belong to the marks before them.
      at = endOfRun(text, at, newline)
    } else {
      at = endOfForeign(text, at)
      tokens += tokensOfForeign(text, start, at)
    }
  }
  return text === '' ? 0 : Math.max(1, Math.round(tokens))
}

/** `foreign` also outside of the text, so that every run ends there. */
function kindAt(text: string, at: number): number {
  const code = text.charCodeAt(at)
  return code < 128 ? (kinds[code] ?? foreign) : foreign
}

function endOfRun(text: string, at: number, kindsInRun: number): number {
  let end = at
  while ((kindAt(text, end) & kindsInRun) !== 0) end += 1
  return end
}

/** Of ASCII letters and digits without anything between: a word, `camelCase`, a number, a hash. */
function tokensOfName(text: string, start: number, end: number): number {
  let tokens = 0
  let parts = 0
  let hasCapitals = false
  for (let at = start; at < end; parts++) {
    const from = at
    if (kindAt(text, at) === digit) {
      while (at < end && kindAt(text, at) === digit) at += 1
      tokens += Math.ceil((at - from) / 3)
      continue
    }
    while (at < end && kindAt(text, at) === upper) at += 1
    const capitals = at - from
    while (at < end && kindAt(text, at) === lower) at += 1
    hasCapitals ||= capitals > 0
    tokens += tokensOfWord(at - from, capitals, kindAt(text, from - 1) === blank)
  }
  // Nobody's name changes that often: base64, whose words are none.
  const isRandom = hasCapitals && end - start >= 16 && parts * 3.5 > end - start
  return isRandom ? tokens * 1.15 : tokens
}

/** A word takes the blank before it along, and is more likely a token with it. Past 16 letters it is none: two letters are a token there. */
function tokensOfWord(length: number, capitals: number, isAfterBlank: boolean): number {
  const beyond = 0.5 * Math.max(0, length - 16)
  if (capitals > 1 && capitals < length) return Math.min(4, 0.5 + 0.5 * length) + beyond
  if (capitals > 1) return length <= 8 ? 1 + 0.12 * (length - 2) : 1.72 + 0.5 * (length - 8)
  const letters = Math.min(length, 16)
  if (isAfterBlank) return 1.02 + 0.06 * Math.max(0, letters - 7) + beyond
  return (letters <= 2 ? 1.02 : 1.1 + 0.07 * (letters - 3)) + beyond
}

/** Lines up to the last one are one part; of the blanks behind them, the last goes with a word or mark. A token has 16 line ends or tabs, 128 spaces. */
function tokensOfWhite(text: string, start: number, end: number): number {
  let wide = 0
  let afterLines = start
  for (let at = start; at < end; at++) {
    if (text.charCodeAt(at) !== 0x20) wide += 1
    if (kindAt(text, at) === newline) afterLines = at + 1
  }
  const blanks = end - afterLines
  const next = kindAt(text, end)
  const parts =
    (afterLines > start ? 1 : 0) + (blanks > 1 || end === text.length ? 1 : 0) + (blanks > 0 && next === digit ? 1 : 0)
  // The first two of a part are in it: an empty line is no more than a line end.
  return parts + Math.max(0, wide - 2) / 16 + Math.max(0, end - start - wide - 2) / 128
}

/** One mark before a word mostly makes one token with it; of a run, what repeats is nearly free. */
function tokensOfMarks(text: string, start: number, end: number): number {
  const next = kindAt(text, end)
  if (end - start === 1 && (next === lower || next === upper) && kindAt(text, start - 1) !== blank) return 0.15
  let runs = 1
  for (let at = start + 1; at < end; at++) if (text.charCodeAt(at) !== text.charCodeAt(at - 1)) runs += 1
  return (runs < 3 ? 1 : 0.6 * (runs - 1)) + (end - start - runs) / 64
}

/** Up to `last`: what a character (UTF-16 unit) costs, and whether words of it are parted by blanks, so that each is a token at least. */
interface Script {
  readonly last: number
  readonly tokens: number
  readonly hasWords: boolean
}

const script = (last: number, tokens: number, hasWords = false): Script => ({ last, tokens, hasWords })
const scripts: readonly Script[] = [
  script(0x00bf, 1), // Latin-1 signs
  script(0x00ff, 0.5, true), // Western Latin: what has an accent; the letters beside it count 0.3
  script(0x024f, 0.7, true), // Eastern Latin
  script(0x036f, 1), // phonetics, accents
  script(0x03ff, 0.42, true), // Greek
  script(0x052f, 0.3, true), // Cyrillic
  script(0x058f, 0.42, true), // Armenian
  script(0x05ff, 0.5, true), // Hebrew
  script(0x0dff, 0.4, true), // Arabic, Syriac, the scripts of India
  script(0x0eff, 0.4, true), // Thai, Lao
  script(0x0fff, 0.7, true), // Tibetan
  script(0x10ff, 0.4, true), // Burmese, Georgian
  script(0x11ff, 1, true), // Hangul letters
  script(0x177f, 0.7, true), // Ethiopic, Cherokee, runes
  script(0x17ff, 0.6, true), // Khmer
  script(0x1dff, 0.7, true), // Mongolian and smaller ones
  script(0x1eff, 0.3, true), // Vietnamese
  script(0x1fff, 0.7, true), // Greek with breathings
  script(0x206f, 0.9), // dashes, quotes, joiners
  script(0x2e7f, 0.9), // arrows, boxes, signs
  script(0x303f, 0.8), // punctuation of Chinese and Japanese
  script(0x30ff, 0.65), // kana
  script(0x9fff, 0.8), // Chinese characters
  script(0xabff, 0.8),
  script(0xd7ff, 0.7, true), // Hangul
  script(0xdfff, 0.85), // half an emoji
  script(0xffff, 0.8),
]
/** An ASCII letter within a word that has others. */
const tokensOfLatinLetter = 0.3

/** Of all characters beyond ASCII: the index in `scripts`. */
const scriptOf = Uint8Array.from({ length: 0x10000 }, (_, code) => scripts.findIndex(({ last }) => code <= last))
const scriptAt = (text: string, at: number): Script | undefined => scripts[scriptOf[text.charCodeAt(at)] ?? scripts.length]

/** A word, with the ASCII letters in it; of scripts without words one character. */
function endOfForeign(text: string, start: number): number {
  if (scriptAt(text, start)?.hasWords !== true) return start + 1
  let end = start + 1
  for (; end < text.length; end++) {
    const kind = kindAt(text, end)
    if (kind === foreign ? scriptAt(text, end)?.hasWords !== true : kind !== lower && kind !== upper) break
  }
  return end
}

function tokensOfForeign(text: string, start: number, end: number): number {
  let tokens = 0
  for (let at = start; at < end; at++) {
    tokens += kindAt(text, at) === foreign ? (scriptAt(text, at)?.tokens ?? 1) : tokensOfLatinLetter
  }
  return scriptAt(text, start)?.hasWords === true ? Math.max(1, tokens) : tokens
}
