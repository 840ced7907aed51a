/** Fixed, so that every process splits alike; ICU finds the words of every script in it. */
const segmenter = new Intl.Segmenter('en', { granularity: 'word' })
/**
 * Scripts that put no space between words: Thai, Lao, Myanmar, Khmer, Kana, Han. The others need no dictionary, which is 20 times
 * slower.
 */
const unspaced = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]/

/** The words of a text in lower case, each once. */
export function wordsIn(text: string): ReadonlySet<string> {
  if (!unspaced.test(text)) return new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])
  const found = new Set<string>()
  for (const { segment, isWordLike } of segmenter.segment(text)) if (isWordLike) found.add(segment.toLowerCase())
  return found
}
