/**
 * The order in which providers want a conversation: who speaks, and each call followed by its result.
 *
 * The recorded refusals are the reasons (`No tool output found for tool call call-a`, a `reasoning` item `without its required
 * following item`), and the ones that every user of these APIs knows: `tool_use ids were found without tool_result blocks
 * immediately after`, `number of function response parts is equal to the number of function call parts`.
 */
import type { Message } from '@colloquy/core'
import { legalNames, type NameRules } from './legal-names.ts'
import type { Report } from './loss.ts'
import { type Pairs, pairCalls } from './pair-calls.ts'
import { type Approval, type Entry, isApproval, isCall, isResult, type ToolCall, type ToolResult } from './parts.ts'

/** Parts that go out together. A `tool` step has nothing but results, and answers about approval where those are kept. */
export interface Step {
  readonly role: Message['role']
  readonly message: Message
  readonly entries: readonly Entry[]
  /** Whether these are all parts of the message, so that its frame fits. */
  readonly isWhole: boolean
}

export interface ArrangeRules {
  readonly names: NameRules
  /** Calls of the provider's own tools that it takes back. */
  readonly keepsProviderCall: (call: ToolCall) => boolean
  /** Where the results of those stand: in the answer itself, where the last may still be missing, or in a message after it. */
  readonly providerResults: 'in the answer' | 'after it'
  /** Whether a message may go on after a call, before the result. */
  readonly goesOnAfterCalls: boolean
  /** Approvals that have a place: the question in the answer, the reply after it. A call with a reply may stay without a result. */
  readonly keepsApproval: (approval: Entry<Approval>) => boolean
}

/** The steps of a request: every client call has its result in the step after it, every result its call. */
export function arrange(messages: readonly Message[], rules: ArrangeRules, report: Report): Step[] {
  const pairs = pairCalls(messages)
  const places = placesOf(pairs)
  const placeOf = (entry: Entry): EntryPlace => places.get(entry) ?? added
  const lastAnswer = messages.findLast(({ role }) => role === 'assistant')
  const steps: Step[] = []

  /** Calls that stay out, and their results with them. */
  const isLeftOut = (call: Entry<ToolCall>): boolean => {
    if (call.message.role !== 'assistant') return true
    if (isClientCall(call)) return false
    if (!rules.keepsProviderCall(call.part)) return true
    const result = pairs.resultOf(call)
    if (rules.providerResults === 'after it') return result === undefined
    // A provider goes on with its own call only where it stopped.
    return result === undefined ? call.message !== lastAnswer : result.message.role !== 'assistant'
  }

  const approvals = placeApprovals(pairs, (entry) => rules.keepsApproval(entry) && !(entry.call && isLeftOut(entry.call)))

  const answerOf = (call: Entry<ToolCall>): Entry[] => {
    const result = pairs.resultOf(call)
    if (result !== undefined) return [result]
    if (approvals.replied.has(call)) return []
    report('call_closed', call)
    return [closing(call, approvals.lastOf.get(call))]
  }

  const addAnswer = (message: Message, entries: readonly Entry[], isWhole: boolean): void => {
    steps.push({ role: 'assistant', message, entries, isWhole })
    const answers = entries.filter(isCall).filter(isClientCall).flatMap(answerOf)
    answers.sort((a, b) => placeOf(a).order - placeOf(b).order)
    const said = Math.max(...entries.filter((entry) => places.has(entry)).map((entry) => placeOf(entry).said))
    for (const answer of answers) if (places.has(answer) && placeOf(answer).said > said) report('result_moved', answer)
    for (const run of runsByMessage(answers)) {
      steps.push({ role: 'tool', message: run[0].message, entries: run, isWhole: isAllOf(run) })
    }
  }

  const arrangeAnswer = (message: Message, entries: readonly Entry[]): void => {
    let segment: Entry[] = []
    const segments = [segment]
    const replies: Entry[] = []
    let isAnswered = false
    for (const entry of entries) {
      if (isResult(entry)) {
        if (entry.call === undefined) report('result_dropped', entry)
        else if (isClientCall(entry.call)) isAnswered ||= segment.includes(entry.call)
        else if (isLeftOut(entry.call)) report('server_tool_dropped', entry)
        else segment.push(entry)
      } else if (isCall(entry) && isLeftOut(entry)) report('server_tool_dropped', entry)
      else if (isApproval(entry)) {
        if (approvals.questions.has(entry)) segment.push({ ...entry, part: questionOf(entry.part) })
        if (approvals.replies.has(entry)) replies.push(entry)
        else if (!approvals.questions.has(entry)) report('approval_dropped', entry)
      } else {
        const isAfterCall = segment.some((earlier) => isCall(earlier) && isClientCall(earlier))
        const goesOn = rules.goesOnAfterCalls || !isAfterCall || isCall(entry)
        if (isAnswered || !goesOn) segments.push((segment = []))
        isAnswered = false
        segment.push(entry)
      }
    }
    if (segments.length > 1) report('message_split', { message })
    const kept = segments.filter(({ length }) => length > 0)
    if (entries.length === 0) addAnswer(message, [], true)
    for (const each of kept) addAnswer(message, each, each.length === entries.length)
    if (replies.length > 0) addToResults(steps, message, replies)
  }

  const arrangeOther = (message: Message, entries: readonly Entry[]): void => {
    const said: Entry[] = []
    const answered: Entry[] = []
    for (const entry of entries) {
      if (isResult(entry)) {
        if (entry.call === undefined) report('result_dropped', entry)
        else if (isLeftOut(entry.call)) report('server_tool_dropped', entry)
        else if (!isClientCall(entry.call)) answered.push(entry)
      } else if (isCall(entry)) report('part_dropped', entry)
      else if (!isApproval(entry)) said.push(entry)
      else if (approvals.replies.has(entry)) answered.push(entry)
      else report('approval_dropped', entry)
    }
    if (answered.length > 0) addToResults(steps, message, answered)
    if (said.length === 0 && entries.length > 0) return
    const role = message.role === 'tool' ? 'user' : message.role
    steps.push({ role, message, entries: said, isWhole: said.length === entries.length })
  }

  for (const [i, message] of messages.entries()) {
    const entries = pairs.entries[i] ?? []
    if (message.role === 'assistant') arrangeAnswer(message, entries)
    else arrangeOther(message, entries)
  }
  const names = legalNames(rules.names, report)
  return steps.map((step) => ({ ...step, entries: names.step(step.entries) }))
}

/** The messages as they are. With `splitsResults`, results stand in steps of their own. */
export function inOrder(messages: readonly Message[], { splitsResults }: { splitsResults: boolean }): Step[] {
  const pairs = pairCalls(messages)
  return messages.flatMap((message, i) => {
    const entries = pairs.entries[i] ?? []
    const runs = splitsResults ? runsOfResults(entries) : [entries]
    return runs.map((run): Step => {
      const role = splitsResults && run.some(isResult) ? 'tool' : message.role
      return { role, message, entries: run, isWhole: runs.length === 1 }
    })
  })
}

/** A message by itself. */
export function wholeStep(message: Message): Step {
  const entries = message.parts.map((part, index): Entry => ({ part, message, index }))
  return { role: message.role, message, entries, isWhole: true }
}

/** Two messages in a row of one role become one, for targets that want roles to take turns. */
export interface Turn<Block> {
  readonly role: string
  readonly message: Message
  readonly blocks: readonly Block[]
}

export function takeTurns<T extends Turn<unknown>>(turns: readonly T[], report: Report): T[] {
  const merged: T[] = []
  for (const turn of turns) {
    const last = merged.at(-1)
    if (last === undefined || last.role !== turn.role) merged.push(turn)
    else {
      if (last.message !== turn.message) report('messages_merged', turn)
      merged[merged.length - 1] = { ...last, blocks: [...last.blocks, ...turn.blocks] }
    }
  }
  return merged
}

/** Said by a person when an answer comes first and the target wants a question. */
export const firstWords = 'The conversation begins with the answer below.'

const isClientCall = ({ part }: Entry<ToolCall>): boolean => part.executor.kind === 'client'
const isAllOf = (entries: readonly Entry[]): boolean => entries.length === entries[0]?.message.parts.length

interface Approvals {
  /** Said in the answer; a reply that came without its question brings one. */
  readonly questions: ReadonlySet<Entry>
  /** Said after it. */
  readonly replies: ReadonlySet<Entry>
  /** Calls with a reply. */
  readonly replied: ReadonlySet<Entry>
  /** The last word about each call, whether or not it is said. */
  readonly lastOf: ReadonlyMap<Entry, Approval>
}

function placeApprovals({ entries }: Pairs, isKept: (entry: Entry<Approval>) => boolean): Approvals {
  const [questions, replies, replied] = [new Set<Entry>(), new Set<Entry>(), new Set<Entry>()]
  const lastOf = new Map<Entry, Approval>()
  const asked = new Map<string, Entry | undefined>()
  for (const entry of entries.flat().filter(isApproval)) {
    const { call, message, part } = entry
    if (call) lastOf.set(call, part)
    if (!isKept(entry)) continue
    const isInAnswer = message.role === 'assistant'
    const isFirst = !asked.has(part.approvalId)
    if (isFirst && isInAnswer && (part.decision === undefined || call?.message === message)) {
      questions.add(entry)
      asked.set(part.approvalId, call)
    }
    const isAnswer = part.decision !== undefined && asked.has(part.approvalId) && asked.get(part.approvalId) === call
    if (!isAnswer || (call && replied.has(call))) continue
    replies.add(entry)
    if (call) replied.add(call)
  }
  return { questions, replies, replied, lastOf }
}

function questionOf(reply: Approval): Approval {
  const question = { ...reply }
  delete question.decision
  delete question.reason
  return question
}

interface EntryPlace {
  readonly order: number
  /** How much was said up to here, results and approvals apart: a result that directly follows its call has no more than it. */
  readonly said: number
}

/** What was added has no place in the conversation and comes last. */
const added: EntryPlace = { order: Number.MAX_SAFE_INTEGER, said: 0 }

function placesOf({ entries }: Pairs): Map<Entry, EntryPlace> {
  let said = 0
  return new Map(
    entries.flat().map((entry, order) => {
      if (!isResult(entry) && !isApproval(entry)) said++
      return [entry, { order, said }]
    }),
  )
}

function closing(call: Entry<ToolCall>, approval: Approval | undefined): Entry<ToolResult> {
  const isDenied = approval?.decision === 'denied'
  const text = isDenied ? `Denied${approval.reason ? `: ${approval.reason}` : '.'}` : 'No result was recorded for this call.'
  const part: ToolResult = {
    type: 'tool_result',
    callId: call.part.callId,
    status: isDenied ? 'denied' : 'unknown',
    content: [{ type: 'text', text }],
  }
  return { part, message: call.message, call }
}

/** What is not the result of a client call goes with those of the same message, else where it stands. */
function addToResults(steps: Step[], message: Message, entries: readonly Entry[]): void {
  const last = steps.at(-1)
  const together = last?.role === 'tool' && last.message === message ? [...last.entries, ...entries] : entries
  if (together !== entries) steps.pop()
  const inPlace = together.toSorted((a, b) => (a.index ?? 0) - (b.index ?? 0))
  steps.push({ role: 'tool', message, entries: inPlace, isWhole: isAllOf(inPlace) })
}

function runsByMessage(entries: readonly Entry[]): [Entry, ...Entry[]][] {
  const runs: [Entry, ...Entry[]][] = []
  for (const entry of entries) {
    const last = runs.at(-1)
    if (last?.[0].message === entry.message) last.push(entry)
    else runs.push([entry])
  }
  return runs
}

function runsOfResults(entries: readonly Entry[]): Entry[][] {
  const runs: Entry[][] = [[]]
  for (const entry of entries) {
    const last = runs.at(-1) as Entry[]
    const [first] = last
    if (first === undefined || isResult(first) === isResult(entry)) last.push(entry)
    else runs.push([entry])
  }
  return runs
}
