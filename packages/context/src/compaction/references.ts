/**
 * References: what a later message needs letter by letter and cannot guess. Identifiers with a capital, an underscore or a dot in
 * them, paths, urls, ids, numbers of three digits and more; plain words are none.
 */

const candidate = /[A-Za-z_][\w./:-]{3,}\w|\d{3,}/g
const looksMade = /[\d_/.:-]|[a-z][A-Z]/
/** Longer ones are data (hashes in a row, minified code), and nobody writes them again. */
const longest = 80

/** The references in a text, each once, in the order of their first occurrence. */
export function referencesIn(text: string): readonly string[] {
  const found = new Set<string>()
  for (const [reference] of text.matchAll(candidate)) {
    if (reference.length <= longest && looksMade.test(reference)) found.add(reference)
  }
  return [...found]
}

/**
 * References in JSON that stand behind the escape of a line break or a tab, with the escape: as code is written in arguments, `\\tthis.ui`.
 */
export function escapedReferencesIn(json: string): readonly string[] {
  const found = new Set<string>()
  for (const [escaped] of json.matchAll(/\\[A-Za-z_][\w./:-]{3,}\w/g)) {
    const [reference] = referencesIn(escaped)
    if (reference !== undefined && reference.length === escaped.length - 1) found.add(escaped)
  }
  return [...found]
}
