/**
 * What every strategy shares: which groups may leave, how much room there is, and what a plan must be like. A strategy says only in which
 * order groups are worth keeping.
 */
import type { WorkingMessage } from '@colloquy/core'
import { messageOverheadTokens } from '../tokens/count-message.ts'
import { criticalContext } from './critical-context.ts'
import type { CompactionInput, CompactionPlan, NoCompaction } from './strategy.ts'
import { type Group, isInstruction, mayComeFirst, type Structure, structureOf } from './structure.ts'

/** The input, looked through once. */
export interface Survey {
  readonly input: CompactionInput
  readonly structure: Structure
  /** By group. */
  readonly tokensOf: readonly number[]
  readonly totalTokens: number
  /** Groups that may leave, newest first. */
  readonly removable: readonly number[]
  /** Tokens of the groups that must stay. */
  readonly stayingTokens: number
}

/**
 * Of the target, for the summary: enough for an index of what leaves. Measured on two long coding sessions at 8,000 and 16,000 tokens
 * (`npm run bench -- context`).
 */
const summaryShare = 0.8
/** More than that is no summary. An index of everything that a session of 130,000 tokens referred to takes as much. */
const mostSummaryTokens = 8_000
/** The newest group and the last request may take what a summary of this share leaves: a model must see what it just asked for. */
const leastSummaryShare = 0.55
/** Shorter ones say nothing. */
const leastSummaryTokens = 64

export function survey(input: CompactionInput): Survey {
  const structure = structureOf(input)
  const tokensOf = structure.groups.map(({ indexes }) => indexes.reduce((sum, index) => sum + tokensAt(input, index), 0))
  const numbers = structure.groups.map((_, number) => number)
  const removable = numbers
    .filter((number) => structure.groups[number]?.stays === null)
    .sort((a, b) => lastIndex(structure.groups[b]) - lastIndex(structure.groups[a]))
  const totalTokens = tokensOf.reduce((sum, tokens) => sum + tokens, 0)
  const stayingTokens = totalTokens - removable.reduce((sum, number) => sum + (tokensOf[number] ?? 0), 0)
  return { input, structure, tokensOf, totalTokens, removable, stayingTokens }
}

const tokensAt = ({ messages }: CompactionInput, index: number): number => messages[index]?.tokenCount ?? 0
const lastIndex = (group: Group | undefined): number => group?.indexes.at(-1) ?? -1

/** The last words of the user that may leave: what is being worked on. */
export function lastRequest({ input, removable, structure }: Survey): number | undefined {
  return removable.find((number) => structure.groups[number]?.indexes.some((index) => isRequest(input.messages[index])))
}

/** A summary has the user's role and is no request. */
const isRequest = (message: WorkingMessage | undefined): boolean =>
  message !== undefined && mayComeFirst(message) && message.standsAt === undefined

/** Why there is nothing to do, when there is not. */
export function nothingToDo({ input, totalTokens, removable }: Survey, leastMessages = 2): NoCompaction | null {
  if (totalTokens <= input.targetTokens) return { reason: 'within_target' }
  if (input.messages.length < leastMessages) return { reason: 'too_few_messages' }
  return removable.length === 0 ? { reason: 'nothing_removable' } : null
}

export interface Preference {
  /** Kept before all others, if a short summary still fits beside them. */
  readonly first: readonly number[]
  /** Kept as far as there is room. The first that does not fit ends its list, so that no hole arises; then the next list has its turn. */
  readonly inTurn: readonly (readonly number[])[]
}

/**
 * Keeps groups in the order of preference and has the others summarised, within the target.
 * What is kept and the summary's `maxTokens` are never more than `targetTokens` together.
 */
export function planSummary(survey: Survey, preference: Preference): CompactionPlan | NoCompaction {
  const { input, stayingTokens } = survey
  const room = input.targetTokens - stayingTokens - messageOverheadTokens
  if (room < leastSummaryTokens) return { reason: 'nothing_removable' }
  const share = (ratio: number): number =>
    Math.min(mostSummaryTokens, Math.max(leastSummaryTokens, Math.floor(input.targetTokens * ratio)))
  const isWorthIt = (messages: readonly WorkingMessage[]): boolean => messages.some((message) => message.standsAt === undefined)
  // To summarise nothing but a summary would only shorten it: then what was to come first has no more room than the rest.
  let covered = leavingFor(survey, preference, room - share(leastSummaryShare), room - share(summaryShare))
  if (!isWorthIt(covered)) covered = leavingFor(survey, preference, room - share(summaryShare), room - share(summaryShare))
  if (!isWorthIt(covered)) return { reason: 'nothing_removable' }
  const coveredTokens = covered.reduce((sum, message) => sum + message.tokenCount, 0)
  const keptTokens = survey.totalTokens - stayingTokens - coveredTokens
  // A summary that is longer than what it stands for is none.
  const maxTokens = Math.min(mostSummaryTokens, room - keptTokens, coveredTokens - messageOverheadTokens)
  if (maxTokens < leastSummaryTokens) return { reason: 'nothing_removable' }
  const { instructions } = input
  return {
    covered: covered.map(({ id }) => id),
    summary: { messages: covered, maxTokens, ...(instructions !== undefined && { instructions }) },
    preserved: criticalContext(covered),
  }
}

/** What leaves when the first may take `firstTokens`, and the others what is left of `tokens`. */
function leavingFor(survey: Survey, preference: Preference, firstTokens: number, tokens: number): readonly WorkingMessage[] {
  const { removable, tokensOf } = survey
  const kept = new Set<number>()
  let keptTokens = 0
  const keep = (number: number, limit: number): boolean => {
    if (kept.has(number)) return true
    if (keptTokens + (tokensOf[number] ?? 0) > limit) return false
    kept.add(number)
    keptTokens += tokensOf[number] ?? 0
    return true
  }
  for (const number of preference.first) keep(number, firstTokens)
  for (const list of preference.inTurn) for (const number of list) if (!keep(number, tokens)) break
  return coveredBy(
    survey,
    removable.filter((number) => !kept.has(number)),
  )
}

/** The messages of groups, in order, with those that would come first and may not. */
function coveredBy({ input, structure }: Survey, leaving: readonly number[]): readonly WorkingMessage[] {
  const indexes = new Set(leaving.flatMap((number) => structure.groups[number]?.indexes ?? []))
  return input.messages.filter((_, index) => indexes.has(index))
}

export interface Window {
  readonly limitTokens: number
  readonly limitMessages: number
}

/** Whether everything is in the window already. What must stay does not use up its messages: instructions are no part of the conversation. */
function isWithin({ totalTokens, removable, structure }: Survey, { limitTokens, limitMessages }: Window): boolean {
  const messages = removable.reduce((sum, number) => sum + (structure.groups[number]?.indexes.length ?? 0), 0)
  return totalTokens <= limitTokens && messages <= limitMessages
}

/**
 * A plan by which all but the newest groups leave without a summary. The last request stays with them, and what a provider does not take as
 * the first message leaves. Looked at again until nothing changes: a request that was too long for the window leaves, and then another one is
 * the last.
 */
export function planWindow(found: Survey, window: Window): CompactionPlan | NoCompaction {
  const { messages } = found.input
  const leaving = new Set<string>()
  for (let current = found; !isWithin(current, window); ) {
    const outside = outsideWindow(current, window)
    if (outside === null || outside.size === 0) break
    for (const message of coveredBy(current, [...outside])) leaving.add(message.id)
    current = survey({ ...found.input, messages: messages.filter(({ id }) => !leaving.has(id)) })
  }
  if (leaving.size === 0) return { reason: isWithin(found, window) ? 'within_target' : 'nothing_removable' }
  return { covered: messages.flatMap(({ id }) => (leaving.has(id) ? [id] : [])), summary: null, preserved: [] }
}

/** @returns what leaves; null when what must stay does not fit, or nothing would be left that a provider takes */
function outsideWindow(survey: Survey, { limitTokens, limitMessages }: Window): ReadonlySet<number> | null {
  const { input, structure, removable, tokensOf, stayingTokens } = survey
  const sizeOf = (number: number): number => structure.groups[number]?.indexes.length ?? 0
  const kept = new Set(structure.groups.flatMap(({ stays }, number) => (stays === null ? [] : [number])))
  let tokens = stayingTokens
  let messages = 0
  if (tokens > limitTokens) return null
  const keep = (number: number): boolean => {
    if (kept.has(number)) return true
    if (tokens + (tokensOf[number] ?? 0) > limitTokens || messages + sizeOf(number) > limitMessages) return false
    kept.add(number)
    tokens += tokensOf[number] ?? 0
    messages += sizeOf(number)
    return true
  }
  const request = lastRequest(survey)
  if (request !== undefined) keep(request)
  for (const number of removable) if (!keep(number)) break

  const orphans = new Set(structure.orphans)
  const asItWas = input.messages.findIndex((m) => !isInstruction(m))
  const isToolOnly = !input.messages.some(mayComeFirst)
  // Nothing but instructions is no question that a model could answer.
  let isAnything = limitMessages === 0
  for (const [at, message] of input.messages.entries()) {
    const number = structure.groupOf[at] as number
    if (isInstruction(message) || !kept.has(number)) continue
    // Where the user never said a word, a call with its result is the best beginning there is.
    const mayBegin = !orphans.has(at) && (at === asItWas || isToolOnly || mayComeFirst(message))
    if (!mayBegin && structure.groups[number]?.stays === null) {
      kept.delete(number)
      tokens -= tokensOf[number] ?? 0
      continue
    }
    isAnything = true
    if (!mayBegin) {
      // It must stay, so something has to stand before it: the nearest words of the user.
      const before = structure.groupOf[input.messages.findLastIndex((m, index) => index < at && mayComeFirst(m))]
      if (before === undefined || tokens + (tokensOf[before] ?? 0) > limitTokens) return null
      kept.add(before)
    }
    break
  }
  if (!isAnything) return null
  return new Set(removable.filter((number) => !kept.has(number)))
}
