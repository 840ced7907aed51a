/**
 * A summary without a model: what was asked, what was said and done, in the words it was said in, and an index of the references
 * that would be lost. Deterministic; a summary over a summary takes its lines and its index along.
 */
import type { Message, Summariser, SummaryRequest } from '@colloquy/core'
import { headOf } from '../graphemes.ts'
import { estimateCounter } from '../tokens/estimate-counter.ts'
import type { TokenCounter } from '../tokens/token-counter.ts'
import { callSubject, messageText, spokenText } from './message-text.ts'
import {
  emptyIndex,
  fileOfCall,
  indexMessage,
  mention,
  type ReferenceIndex,
  rankedReferences,
  readIndex,
  renderIndex,
} from './reference-index.ts'
import { referencesIn } from './references.ts'
import { hasPart, structureOf, type ToolExchange } from './structure.ts'
import { rankSentences, sentencesIn } from './text-rank.ts'

export interface ExtractiveOptions {
  /** Holds the text within `maxTokens`. Name the counter that the compaction counts with. Default: the estimate. */
  readonly counter?: TokenCounter
}

const titles = { asked: 'Asked by the user:', said: 'Said by the assistant:', done: 'Done:' } as const
type Section = keyof typeof titles
/** Of the room, at most; what a section leaves is the index's. */
const shares: Record<Section, number> = { asked: 0.045, said: 0.03, done: 0.045 }
/** Characters of a line. The rest of a sentence is rarely what is looked for. */
const longestLine = { asked: 280, said: 220, done: 140 }
/** A result at the end that takes more than this share of the room left because it is too long; the model may not have seen it yet. */
const largeResult = 0.5
/** Of the room, for its beginning and its end. */
const excerptShare = 0.1
const excerptTitle = 'The last result, shortened:'
/** Characters of spoken text, newest first, that sentences are looked for in: segmenting is the slowest step. */
const spokenCharacters = 40_000

/** @returns a summariser that is free, instant and cannot fail */
export function extractiveSummariser({ counter = estimateCounter }: ExtractiveOptions = {}): Summariser {
  return {
    id: 'extractive',
    version: '1',
    summarise: (request) => Promise.resolve({ text: extractSummary(request, counter) }),
  }
}

/** The text of the summary: at most `maxTokens` by `counter`; empty where not even its heading fits. */
function extractSummary({ messages, maxTokens, instructions }: SummaryRequest, counter: TokenCounter): string {
  const index = emptyIndex()
  const earlier: Record<Section, string[]> = { asked: [], said: [], done: [] }
  const { calls } = structureOf({ messages, pinned: new Set(), openCalls: [] })
  const files = new Map<string, string | null>()
  const fresh: Message[] = []
  let covered = 0
  for (const message of messages) {
    const count = summarisedMessages(message)
    if (count === null) {
      covered += 1
      fresh.push(message)
      for (const part of message.parts) if (part.type === 'tool_call') files.set(part.callId, fileOfCall(part))
      indexMessage(index, message, (callId) => files.get(callId) ?? null)
      continue
    }
    covered += count
    const lines = readIndex(index, messageText(message))
    // An excerpt is not quoted again; what it names goes where it would have stood.
    for (const line of lines) if (line.startsWith('> ')) mention(index, referencesIn(line), { isUsed: false, file: null })
    // Somebody who quotes a summary of ours may add words to it.
    const added = lines.slice(1).filter((line) => line.trim() !== '' && !isOurs(line))
    if (added.length > 0) fresh.push({ ...message, parts: [{ type: 'text', text: added.join(' ') }] })
    mention(index, added.flatMap(referencesIn), { isUsed: true, file: null })
    for (const [section, line] of sectionLines(lines)) {
      earlier[section].push(line)
      mention(index, referencesIn(line), { isUsed: true, file: null })
    }
  }

  const lines: Record<Section, readonly string[]> = {
    asked: askedLines(earlier.asked, fresh, counter, maxTokens * shares.asked),
    said: saidLines(earlier.said, fresh, instructions, counter, maxTokens * shares.said),
    done: doneLines(earlier.done, calls, counter, maxTokens * shares.done),
  }
  const head = [heading(covered)]
  for (const section of ['asked', 'said', 'done'] as const) {
    if (lines[section].length > 0) head.push(titles[section], ...lines[section])
  }
  head.push(...excerptLines(messages.at(-1), counter, maxTokens))
  return withIndex(head, index, counter, maxTokens)
}

const headingPattern = /^Summary of (\d+) earlier messages, extracted without a model/
const heading = (messages: number): string =>
  `Summary of ${messages} earlier messages, extracted without a model; the messages themselves are in the log.`

/** How many messages an earlier summary of ours stands for; null for any other message. */
function summarisedMessages(message: Message): number | null {
  if (message.role !== 'user') return null
  const found = headingPattern.exec(messageText(message))
  return found ? Number(found[1]) : null
}

const isOurs = (line: string): boolean =>
  /^[->] /.test(line) || line === excerptTitle || Object.values<string>(titles).includes(line)

function* sectionLines(lines: readonly string[]): Generator<[Section, string]> {
  let section: Section | undefined
  for (const line of lines) {
    const titled = (Object.keys(titles) as Section[]).find((name) => titles[name] === line)
    if (titled) section = titled
    else if (section && line.startsWith('- ')) yield [section, line]
  }
}

/** As many references as fit, the most wanted first; where even the head does not fit, its last lines leave. */
function withIndex(head: readonly string[], index: ReferenceIndex, counter: TokenCounter, maxTokens: number): string {
  const kept = head.slice()
  while (kept.length > 0 && counter.count(kept.join('\n')) > maxTokens) kept.pop()
  if (kept.length === 0) return ''
  const shown = new Set(referencesIn(kept.join('\n')))
  // A path heads its line, whether it was named above or not.
  const paths = new Set([...index.paths.values()].flat())
  // None takes less than a token.
  const wanted = rankedReferences(index)
    .filter((reference) => paths.has(reference) || !shown.has(reference))
    .slice(0, maxTokens)
  const textWith = (references: number): string => {
    const rendered = renderIndex(index, wanted.slice(0, references))
    return rendered === '' ? kept.join('\n') : `${kept.join('\n')}\n${rendered}`
  }
  let [fits, tooMany] = [0, wanted.length + 1]
  while (tooMany - fits > 1) {
    const middle = (fits + tooMany) >> 1
    if (counter.count(textWith(middle)) <= maxTokens) fits = middle
    else tooMany = middle
  }
  return textWith(fits)
}

/** The first and the last lines of a result that was too long to stay. */
function excerptLines(last: Message | undefined, counter: TokenCounter, maxTokens: number): readonly string[] {
  if (last === undefined || !hasPart(last, 'tool_result')) return []
  const text = messageText(last)
  if (counter.count(text) <= maxTokens * largeResult) return []
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const half = (maxTokens * excerptShare) / 2
  const quoted = lines.map((line) => `> ${clipped(line.trimEnd(), longestLine.said)}`)
  const tail = newestThatFit(quoted, counter, half)
  const head = newestThatFit(quoted.slice(0, quoted.length - tail.length).toReversed(), counter, half).toReversed()
  return head.length + tail.length === 0
    ? []
    : [excerptTitle, ...head, ...(head.length + tail.length < lines.length ? ['> …'] : []), ...tail]
}

/** The first request and the newest ones. */
function askedLines(
  earlier: readonly string[],
  fresh: readonly Message[],
  counter: TokenCounter,
  room: number,
): readonly string[] {
  const asked = fresh.filter(({ role }) => role === 'user').map(spokenText)
  const lines = [...earlier, ...asked.filter((text) => text.trim() !== '').map((text) => lineOf(text, longestLine.asked))]
  const [first, ...later] = [...new Set(lines)]
  if (first === undefined) return []
  return [first, ...newestThatFit(later, counter, room - counter.count(first))]
}

/** What the assistant said that says most; sentences that the user's instructions speak of come first. */
function saidLines(
  earlier: readonly string[],
  fresh: readonly Message[],
  instructions: string | undefined,
  counter: TokenCounter,
  room: number,
): readonly string[] {
  const texts: string[] = []
  let characters = 0
  for (const message of fresh.toReversed()) {
    if (message.role !== 'assistant' || characters >= spokenCharacters) continue
    const text = spokenText(message).slice(0, spokenCharacters - characters)
    characters += text.length
    texts.push(text)
  }
  const sentences = texts
    .toReversed()
    .flatMap(sentencesIn)
    .filter((sentence) => sentence.length >= 20)
  const wanted = instructions === undefined ? null : new Set(instructions.toLowerCase().match(/[\p{L}\p{N}]{4,}/gu) ?? [])
  const isWanted = (sentence: string): boolean =>
    wanted !== null && (sentence.toLowerCase().match(/[\p{L}\p{N}]{4,}/gu) ?? []).some((word) => wanted.has(word))
  const ranked = rankSentences([...earlier.map((line) => line.slice(2)), ...sentences])
  const order = ranked
    .map(({ sentence, weight }, place) => ({
      line: lineOf(sentence, longestLine.said),
      weight,
      place,
      first: isWanted(sentence),
    }))
    .sort((a, b) => Number(b.first) - Number(a.first) || b.weight - a.weight || b.place - a.place)
  const taken: typeof order = []
  let left = room
  for (const entry of order) {
    const cost = counter.count(`${entry.line}\n`)
    if (cost > left) continue
    left -= cost
    taken.push(entry)
  }
  return taken.sort((a, b) => a.place - b.place).map(({ line }) => line)
}

/** What was called with what, and what came out when it failed; the same call once, where it came last. */
function doneLines(
  earlier: readonly string[],
  calls: readonly ToolExchange[],
  counter: TokenCounter,
  room: number,
): readonly string[] {
  const lines = new Map<string, string>()
  const add = (key: string, line: string): void => {
    lines.delete(key)
    lines.set(key, line)
  }
  for (const line of earlier) add(line.slice(2).split(' -> ')[0] ?? line, line)
  for (const { name, call, result } of calls) {
    const what = clipped(`${name} ${callSubject(call)}`.trim(), 90)
    const outcome = outcomeOf(result)
    // What was done to a file stands in the index, unless it failed.
    if (outcome === '' && fileOfCall(call) !== null) continue
    add(what, outcome === '' ? `- ${what}` : lineOf(`${what} -> ${outcome}`, longestLine.done))
  }
  return newestThatFit([...lines.values()], counter, room)
}

function outcomeOf(result: ToolExchange['result']): string {
  if (result === null) return 'no answer'
  if (result.status === 'ok') return ''
  const line = result.content
    .flatMap((part) => (part.type === 'text' ? part.text.split('\n') : []))
    .find((text) => text.trim() !== '')
  return line === undefined ? result.status : `${result.status}: ${line.trim()}`
}

/** Of lines in order: the last ones that fit, in order. */
function newestThatFit(lines: readonly string[], counter: TokenCounter, room: number): readonly string[] {
  let left = room
  let from = lines.length
  while (from > 0) {
    left -= counter.count(`${lines[from - 1]}\n`)
    if (left < 0) break
    from -= 1
  }
  return lines.slice(from)
}

const lineOf = (text: string, longest: number): string => `- ${clipped(text.replace(/\s+/g, ' ').trim(), longest)}`

/** At most so many characters, cut between words where it can be and never inside what a reader sees as one. */
function clipped(text: string, longest: number): string {
  if (text.length <= longest) return text
  const { length } = headOf(text, longest - 1)
  const space = text.slice(0, length + 1).lastIndexOf(' ')
  // Half a path is worse than none: it looks like one.
  return `${text.slice(0, space > longest / 3 ? space : length)} …`
}
