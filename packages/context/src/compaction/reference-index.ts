/**
 * An index of what leaves the working set: files with what was done to them and the names met there, then the other names. So the
 * model can still write a path or a name letter by letter, and knows where it saw it.
 *
 *   /repo/src/theme.ts (read, edit 3x): ThemeColor fgAnsi | detectColorMode
 *   Other names: npm-run-all 2500 | paddingX
 *
 * It is read back from its own text when a summary is summarised again. The order is the rank there, so that an index over an index
 * forgets what was mentioned longest ago and nothing else. Before the bar stands what the user or the assistant wrote themselves, behind
 * it what only stood in a result: as in a cache that a scan does not flush (segmented LRU: Karedla, Love and Wherry, "Caching
 * strategies to improve disk system performance", 1994), one long listing must not push out what is being worked with. The figures below
 * were measured on all transcripts of at least 16,000 tokens at budgets from 2,500 to 16,000 (2026-11-27): what was used is written again
 * ten times as often while it is new and as rarely as the rest when it is old; half or double of a figure changes recall by less than 0.005.
 */
import type { Message } from '@colloquy/core'
import { callSubject, isPath, partText } from './message-text.ts'
import { escapedReferencesIn, referencesIn } from './references.ts'

interface Mentioned {
  /** Written by the user or the assistant, not only read in a result. */
  isUsed: boolean
  /** The file of the call that showed it first. */
  file: string | null
  /** The greater, the later it was last mentioned. */
  rank: number
}

export interface ReferenceIndex {
  readonly names: Map<string, Mentioned>
  /** By path: how often which tool was called with it. */
  readonly files: Map<string, Map<string, number>>
  /** By path: the references in it. */
  readonly paths: Map<string, readonly string[]>
  top: number
}

export const emptyIndex = (): ReferenceIndex => ({ names: new Map(), files: new Map(), paths: new Map(), top: 0 })

const title = 'Files and names (behind a bar: only read so far):'
const others = 'Other names'
/** Of the room, for what was only read, when there is more of both than fits. */
const seenShare = 0.3
/** After so many other references one is half as likely to be written again. */
const halfLives = { used: 100, seen: 500 }
/** A number in a result, beside a name there: line numbers and sizes are rarely spoken of. */
const numberWorth = 0.35
/**
 * A line further down, a path is worth as much as a name so many places further to the right, and a name of the line as much as so
 * many. Anything from 5 to 40 and from 0 to 20 does.
 */
const lineSteps = { path: 20, name: 10 }

/** Takes a message into the index. Messages come in order, an earlier index before them. `fileOf` knows the file of a call. */
export function indexMessage(index: ReferenceIndex, message: Message, fileOf: (callId: string) => string | null): void {
  for (const part of message.parts) {
    const isResult = part.type === 'tool_result'
    const file = isResult ? fileOf(part.callId) : part.type === 'tool_call' ? fileOfCall(part) : null
    mention(index, referencesIn(partText(part)), { isUsed: !isResult, file })
    // Told apart from the name itself: a line that was written with a tab in front is written again with it.
    if (part.type === 'tool_call') mention(index, escapedReferencesIn(part.args.raw), { isUsed: true, file })
    if (part.type === 'tool_call' && file !== null) touch(index, file, part.name, 1)
  }
}

/** References are mentioned anew: they rank above all others, the first of them highest. */
export function mention(
  index: ReferenceIndex,
  references: readonly string[],
  how: { isUsed: boolean; file: string | null },
): void {
  const { top, names } = index
  index.top += references.length
  for (const [place, reference] of references.entries()) {
    const known = names.get(reference)
    const rank = top + references.length - place
    if (known === undefined) names.set(reference, { ...how, rank })
    else {
      known.rank = rank
      known.isUsed ||= how.isUsed
      known.file ??= how.file
    }
  }
}

function touch(index: ReferenceIndex, file: string, tool: string, times: number): void {
  const tools = index.files.get(file) ?? new Map<string, number>()
  if (!index.paths.has(file)) index.paths.set(file, referencesIn(file))
  index.files.set(file, tools.set(tool, (tools.get(tool) ?? 0) + times))
}

export function fileOfCall(call: Parameters<typeof callSubject>[0]): string | null {
  const subject = callSubject(call)
  return isPath(subject) ? subject : null
}

/** The references in the order in which they are worth their room; most wanted first. */
export function rankedReferences({ names }: ReferenceIndex): readonly string[] {
  const byWorth = [...names]
    .sort(([, a], [, b]) => b.rank - a.rank)
    .map(([reference, { isUsed }], age) => ({ reference, isUsed, worth: worthOf(reference, isUsed, age) }))
    .sort((a, b) => b.worth - a.worth)
  const taken = { used: 0, seen: 0 }
  // Each list is laid out along its share of the room: any beginning of the merged list holds both in proportion.
  return byWorth
    .map(({ reference, isUsed }) => {
      const list = isUsed ? 'used' : 'seen'
      taken[list] += reference.length + 1
      return { reference, place: taken[list] / (isUsed ? 1 - seenShare : seenShare) }
    })
    .sort((a, b) => a.place - b.place)
    .map(({ reference }) => reference)
}

/** How likely it is to be written again, by the room that it takes. `age`: how many references were mentioned since. */
function worthOf(reference: string, isUsed: boolean, age: number): number {
  const likely = isUsed ? 1 / (1 + (age / halfLives.used) ** 1.5) : 1 / (1 + age / halfLives.seen)
  const isNumber = !isUsed && /^\d+$/.test(reference)
  return (isNumber ? likely * numberWorth : likely) / Math.sqrt(reference.length + 1)
}

/** The index as text, of these references only; empty without any. */
export function renderIndex(index: ReferenceIndex, references: readonly string[]): string {
  const chosen = new Set(references)
  const shown = references.flatMap((reference) => {
    const known = index.names.get(reference)
    return known ? [{ reference, ...known }] : []
  })
  if (shown.length === 0) return ''
  shown.sort((a, b) => b.rank - a.rank)
  // A file has a line when its path was chosen itself: then the head of the line costs nothing.
  const lines = new Map<string, typeof shown>()
  const heads = new Set<string>()
  for (const [file, path] of index.paths) {
    if (path.length === 0 || !path.every((reference) => chosen.has(reference))) continue
    lines.set(file, [])
    for (const reference of path) heads.add(reference)
  }
  const loose: typeof shown = []
  for (const entry of shown) {
    if (heads.has(entry.reference)) continue
    const line = entry.file === null ? undefined : lines.get(entry.file)
    if (line) line.push(entry)
    else loose.push(entry)
  }
  const rankOf = (file: string): number =>
    Math.max(...(index.paths.get(file) ?? []).map((reference) => index.names.get(reference)?.rank ?? 0))
  const files = [...lines].sort(([a], [b]) => rankOf(b) - rankOf(a))
  const rendered = files.map(([file, entries]) => `${file} (${toolsOf(index.files.get(file))})${namesOf(entries)}`)
  if (loose.length > 0) rendered.push(`${others}${namesOf(loose)}`)
  return [title, ...rendered].join('\n')
}

const toolsOf = (tools: ReadonlyMap<string, number> | undefined): string =>
  [...(tools ?? [])].map(([tool, times]) => (times === 1 ? tool : `${tool} ${times}x`)).join(', ')

function namesOf(entries: readonly { reference: string; isUsed: boolean }[]): string {
  const used = entries.filter(({ isUsed }) => isUsed).map(({ reference }) => reference)
  const seen = entries.filter(({ isUsed }) => !isUsed).map(({ reference }) => reference)
  if (entries.length === 0) return ''
  return `: ${[...used, ...(seen.length > 0 ? ['|', ...seen] : [])].join(' ')}`
}

const fileLine = /^(\S+) \(([^()]*)\)(?:: (.*))?$/

/** Takes the index of an earlier summary in: below everything that is mentioned afterwards. @returns the lines that are not of it */
export function readIndex(index: ReferenceIndex, text: string): readonly string[] {
  const lines = text.split('\n')
  const from = lines.indexOf(title)
  if (from < 0) return lines
  const foreign: string[] = []
  const read: { reference: string; isUsed: boolean; file: string | null; place: number }[] = []
  for (const [number, line] of lines.slice(from + 1).entries()) {
    const [, file, tools = '', inFile] = fileLine.exec(line) ?? []
    const names = file === undefined ? (line.startsWith(`${others}: `) ? line.slice(others.length + 2) : null) : (inFile ?? '')
    if (names === null) {
      foreign.push(line)
      continue
    }
    if (file !== undefined) {
      for (const tool of tools.split(', ')) {
        const [, name = tool, times = '1'] = /^(.*) (\d+)x$/.exec(tool) ?? []
        touch(index, file, name, Number(times))
      }
      for (const reference of referencesIn(file))
        read.push({ reference, isUsed: true, file: null, place: number * lineSteps.path })
    }
    let isUsed = true
    for (const [place, reference] of names.split(' ').entries()) {
      if (reference === '|') isUsed = false
      else if (reference !== '')
        read.push({ reference, isUsed, file: file ?? null, place: file === undefined ? place : place + number * lineSteps.name })
    }
  }
  // Early in its line is late in time, whichever the line. What is mentioned last ranks highest.
  for (const { reference, isUsed, file } of read.sort((a, b) => b.place - a.place)) mention(index, [reference], { isUsed, file })
  return [...lines.slice(0, from), ...foreign]
}
