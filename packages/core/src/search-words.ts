/**
 * Text as words for a full-text index. Letters and digits only, so that every index takes them alike, and parts of what is written
 * together (`src/due-date.ts`, `maxTokens`) are found.
 */

/** Of one text; beyond it nothing is found by. A text search vector of Postgres takes a megabyte. */
const wordsLimit = 20_000
/** Longer runs are no words: keys, hashes in a row, data. */
const wordLengthLimit = 64

/** In order, in lower case; a word of several humps is there whole and in parts. */
export function searchWords(text: string): string[] {
  const words: string[] = []
  for (const [run] of text.normalize('NFKC').matchAll(/[\p{L}\p{N}\p{M}]+/gu)) {
    if (words.length >= wordsLimit) break
    if (run.length > wordLengthLimit) continue
    words.push(run.toLowerCase())
    const humps = run.match(/\p{Lu}?[\p{Ll}\p{M}]+|\p{Lu}+(?!\p{Ll})|\p{N}+|[^\p{Lu}\p{Ll}\p{N}]+/gu) ?? []
    if (humps.length > 1 && /\p{Ll}\p{Lu}/u.test(run)) words.push(...humps.map((hump) => hump.toLowerCase()))
  }
  return words
}

/** A query, taken apart. */
export interface SearchTerms {
  /** Each a word, or several that must follow one another. */
  readonly wanted: readonly (readonly string[])[]
  readonly unwanted: readonly string[]
}

/** What a query asks for: `"a phrase"`, `-unwanted`, words. */
export function searchTerms(query: string): SearchTerms {
  const wanted: string[][] = []
  const unwanted: string[] = []
  for (const [, phrase, minus, word] of query.matchAll(/"([^"]*)"|(?:^|\s)(-)(?=[\p{L}\p{N}])(\S+)|[^\s"]+/gu)) {
    if (phrase !== undefined) {
      const words = phrase.normalize('NFKC').match(/[\p{L}\p{N}\p{M}]+/gu) ?? []
      if (words.length > 0) wanted.push(words.map((one) => one.toLowerCase()))
    } else if (minus !== undefined) unwanted.push(...searchWords(word ?? ''))
  }
  const rest = query.replaceAll(/"[^"]*"|(?:^|\s)-(?=[\p{L}\p{N}])\S+/gu, ' ')
  const words = [...new Set(searchWords(rest))]
  const longest = new Set(words.toSorted((a, b) => b.length - a.length).slice(0, termsLimit))
  for (const word of words) if (longest.has(word)) wanted.push([word])
  return { wanted: wanted.slice(0, 2 * termsLimit), unwanted: unwanted.slice(0, termsLimit) }
}

/**
 * A query may be a whole message, and its common words find everything. Long words are rare ones (Zipf's law of abbreviation), in any
 * language, so of many the longest are looked for.
 */
const termsLimit = 32
