/**
 * Where a conversation turns to something else. TextTiling (Hearst, "TextTiling: Segmenting Text into Multi-paragraph Subtopic Passages",
 * 1997) over messages instead of paragraphs: the words before a request are compared with those from it on, and a valley between two
 * peaks of likeness is a turn. Words count the more, the fewer messages have them, so no list of common words is needed in any language.
 */
import type { Message } from '@colloquy/core'
import { spokenText } from './message-text.ts'
import { mayComeFirst } from './structure.ts'
import { wordsIn } from './words.ts'

export interface Topic {
  /** Index of its first message. */
  readonly from: number
  /** Index behind its last. */
  readonly to: number
  /** Words that it has more often than the rest, most telling first. */
  readonly words: readonly string[]
}

/** Requests on either side that are compared. */
const reach = 2
/** Characters of a message that are looked at: what it is about is said first. */
const looked = 400
/** A valley less deep is noise, however flat the rest is. */
const leastDepth = 0.1
const mostWords = 5

/** The topics of a conversation, in order, without a gap. One when nothing changes. */
export function topicsOf(messages: readonly Message[]): readonly Topic[] {
  if (messages.length === 0) return []
  const units = unitsOf(messages)
  const frequency = new Map<string, number>()
  for (const { words } of units) for (const word of words) frequency.set(word, (frequency.get(word) ?? 0) + 1)
  const weightOf = (word: string): number => {
    const often = frequency.get(word) ?? 0
    // A word that is there once ties nothing together.
    return often > 1 ? Math.log(1 + units.length / often) : 0
  }
  const starts = [0, ...turns(units, weightOf)]
  return starts.map((start, number) => {
    const end = starts[number + 1] ?? units.length
    const from = number === 0 ? 0 : (units[start]?.from ?? 0)
    return { from, to: units[end]?.from ?? messages.length, words: tellingWords(units.slice(start, end), weightOf) }
  })
}

interface Unit {
  readonly from: number
  readonly words: ReadonlySet<string>
}

/** A request with what follows up to the next. */
function unitsOf(messages: readonly Message[]): readonly Unit[] {
  const units: { from: number; words: Set<string> }[] = []
  for (const [index, message] of messages.entries()) {
    if (units.length === 0 || mayComeFirst(message)) units.push({ from: index, words: new Set() })
    if (message.role !== 'user' && message.role !== 'assistant') continue
    for (const word of wordsIn(spokenText(message).slice(0, looked))) units.at(-1)?.words.add(word)
  }
  return units
}

function turns(units: readonly Unit[], weightOf: (word: string) => number): readonly number[] {
  const likeness = units.map((_, at) =>
    at === 0 ? 1 : cosine(joined(units.slice(Math.max(0, at - reach), at)), joined(units.slice(at, at + reach)), weightOf),
  )
  const depths = likeness.map((low, at) => (at === 0 ? 0 : peak(likeness, at, -1) - low + (peak(likeness, at, 1) - low)))
  const mean = depths.slice(1).reduce((sum, depth) => sum + depth, 0) / Math.max(1, depths.length - 1)
  const found: number[] = []
  for (let at = 1; at < units.length; at++) {
    const low = likeness[at] as number
    const isValley = low <= (likeness[at - 1] as number) && low <= (likeness[at + 1] ?? 1)
    if (isValley && (depths[at] as number) >= Math.max(mean, leastDepth)) found.push(at)
  }
  return found
}

/** How high likeness climbs from `at` in one direction before it falls again. */
function peak(likeness: readonly number[], at: number, step: 1 | -1): number {
  let height = likeness[at] as number
  for (let next = at + step; next > 0 && next < likeness.length && (likeness[next] as number) >= height; next += step) {
    height = likeness[next] as number
  }
  return height
}

function joined(units: readonly Unit[]): ReadonlySet<string> {
  const words = new Set<string>()
  for (const unit of units) for (const word of unit.words) words.add(word)
  return words
}

function cosine(a: ReadonlySet<string>, b: ReadonlySet<string>, weightOf: (word: string) => number): number {
  const norm = (words: ReadonlySet<string>): number => {
    let sum = 0
    for (const word of words) sum += weightOf(word) ** 2
    return Math.sqrt(sum)
  }
  let common = 0
  for (const word of a) if (b.has(word)) common += weightOf(word) ** 2
  return common === 0 ? 0 : common / (norm(a) * norm(b))
}

function tellingWords(units: readonly Unit[], weightOf: (word: string) => number): readonly string[] {
  const counts = new Map<string, number>()
  for (const { words } of units) for (const word of words) if (word.length > 2) counts.set(word, (counts.get(word) ?? 0) + 1)
  return [...counts]
    .map(([word, count]) => ({ word, weight: count * weightOf(word) }))
    .sort((a, b) => b.weight - a.weight || (a.word < b.word ? -1 : 1))
    .slice(0, mostWords)
    .map(({ word }) => word)
}
