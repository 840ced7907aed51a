import type { Message } from '@colloquy/core'
import { headOf } from '../graphemes.ts'
import { messageText, spokenText } from './message-text.ts'
import { referencesIn } from './references.ts'
import { sentencesIn } from './text-rank.ts'

const longestEntry = 200
/** Of each kind: a record of a compaction is read by people. */
const mostOfAKind = 10
/** Characters, newest first, that questions are looked for in. */
const spokenCharacters = 20_000

/**
 * What of these messages must not get lost: questions that nobody answered after them, errors, and the references mentioned most often. Bounded;
 * newest questions and errors first kept.
 */
export function criticalContext(messages: readonly Message[]): readonly string[] {
  return [...openQuestions(messages), ...errors(messages), ...frequentReferences(messages)]
}

/** Sentences that end in a question mark (of any script) in the last word that either side had. */
export function openQuestions(messages: readonly Message[]): readonly string[] {
  const last = messages.findLast(
    ({ role, parts }) => (role === 'user' || role === 'assistant') && parts.some(({ type }) => type === 'text'),
  )
  if (last === undefined) return []
  return sentencesIn(spokenText(last).slice(-spokenCharacters))
    .filter((sentence) => /[?？؟;]["')\]]*$/u.test(sentence) && !sentence.endsWith(';'))
    .slice(-mostOfAKind)
    .map((sentence) => headOf(sentence, longestEntry))
}

/** The first line of results that are errors. */
export function errors(messages: readonly Message[]): readonly string[] {
  const found = messages.flatMap(({ parts }) =>
    parts.flatMap((part) => {
      if (part.type !== 'tool_result' || part.status === 'ok') return []
      const text = part.content.flatMap((inner) => (inner.type === 'text' ? [inner.text] : [])).join('\n')
      const line = text.split('\n').find((each) => each.trim() !== '')
      return line === undefined ? [] : [headOf(line.trim(), longestEntry)]
    }),
  )
  return [...new Set(found)].slice(-mostOfAKind)
}

/** The references that most messages mention, most first. */
export function frequentReferences(messages: readonly Message[]): readonly string[] {
  const counts = new Map<string, number>()
  for (const message of messages) {
    for (const reference of referencesIn(messageText(message))) counts.set(reference, (counts.get(reference) ?? 0) + 1)
  }
  return [...counts]
    .filter(([, count]) => count > 1)
    .sort(([, a], [, b]) => b - a)
    .slice(0, mostOfAKind)
    .map(([reference]) => reference)
}
