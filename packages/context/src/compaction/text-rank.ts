/** Which sentences say most of what a text says, without a model. */
import { wordsIn } from './words.ts'

/** Fixed, so that every process splits alike; ICU finds the words of every script in it. */
const sentences = new Intl.Segmenter('en', { granularity: 'sentence' })

/** Beyond so many sentences the newest count: the ranking is quadratic. */
const mostSentences = 150
const damping = 0.85
const rounds = 20

/** Sentences of a text, lines kept apart, without white space around them. */
export function sentencesIn(text: string): readonly string[] {
  return text
    .split(/\n+/)
    .flatMap((line) => [...sentences.segment(line)].map(({ segment }) => segment.trim()).filter((sentence) => sentence !== ''))
}

/**
 * Sentences with their weight, in the order they came in: TextRank (Mihalcea and Tarau, "TextRank: Bringing Order into Texts",
 * 2004), which is PageRank over sentences that share words.
 */
export function rankSentences(all: readonly string[]): readonly { readonly sentence: string; readonly weight: number }[] {
  const list = [...new Set(all)].slice(-mostSentences)
  const bags = list.map(wordsIn)
  const links = list.map(() => [] as { to: number; weight: number }[])
  for (let a = 0; a < list.length; a++) {
    for (let b = a + 1; b < list.length; b++) {
      const weight = likeness(bags[a] as ReadonlySet<string>, bags[b] as ReadonlySet<string>)
      if (weight === 0) continue
      links[a]?.push({ to: b, weight })
      links[b]?.push({ to: a, weight })
    }
  }
  const outward = links.map((of) => of.reduce((sum, { weight }) => sum + weight, 0))
  let ranks = list.map(() => 1)
  for (let round = 0; round < rounds; round++) {
    const before = ranks
    ranks = links.map(
      (of) =>
        1 - damping + damping * of.reduce((sum, { to, weight }) => sum + ((before[to] ?? 0) * weight) / (outward[to] || 1), 0),
    )
  }
  return list.map((sentence, index) => ({ sentence, weight: ranks[index] ?? 0 }))
}

function likeness(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  if (a.size < 2 || b.size < 2) return 0
  const [few, many] = a.size < b.size ? [a, b] : [b, a]
  let common = 0
  for (const word of few) if (many.has(word)) common += 1
  return common / (Math.log(a.size) + Math.log(b.size))
}
