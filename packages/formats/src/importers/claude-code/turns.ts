import type { SessionRecord } from './record.ts'
import { isAnswer, isApiErrorMessage, isSynthetic, type Unit } from './units.ts'

/** How the turns of a conversation end, by the index of the unit after or at which they do. */
export interface TurnEnds {
  /** After this unit, the final answer. */
  readonly after: ReadonlyMap<number, { readonly turnId: string; readonly isFailed: boolean }>
  /** At this unit: an interruption, or a prompt that came before a final answer. */
  readonly at: ReadonlyMap<number, { readonly turnId: string; readonly reason: string }>
}

/**
 * A turn runs from a prompt to the last answer before the next one, when that calls no tool; else it was interrupted. The turn at
 * the end of the file is still running unless its last record is such an answer.
 */
export function turnEnds(units: readonly Unit[], turnIdOf: (unit: Unit) => string): TurnEnds {
  const after = new Map<number, { turnId: string; isFailed: boolean }>()
  const at = new Map<number, { turnId: string; reason: string }>()
  let turnId: string | undefined
  let last = -1
  const endAfterFinalAnswer = (): boolean => {
    const unit = units[last]
    if (turnId === undefined || !isAnswer(unit) || !isFinal(unit.records)) return false
    after.set(last, { turnId, isFailed: isApiErrorMessage(unit.records) })
    return true
  }
  for (const [index, unit] of units.entries()) {
    const interruptedBy = unit.kind === 'user' ? unit.records[0].facts.interruption : undefined
    if (interruptedBy !== undefined) {
      if (turnId !== undefined) at.set(index, { turnId, reason: interruptedBy })
      turnId = undefined
    }
    if (isAnswer(unit)) {
      if (!isFiller(unit.records)) last = index
    } else if (unit.kind === 'user' && unit.speech === 'tool_results') {
      last = index
    } else if (unit.kind === 'user' && unit.speech === 'prompt') {
      if (turnId !== undefined && !endAfterFinalAnswer()) {
        at.set(index, { turnId, reason: 'the next prompt came before a final answer' })
      }
      turnId = turnIdOf(unit)
      last = -1
    }
  }
  endAfterFinalAnswer()
  return { after, at }
}

/** "No response requested.": put in when a session is resumed, to keep the roles alternating; no answer to anything. */
const isFiller = (records: readonly SessionRecord[]): boolean => isSynthetic(records) && !isApiErrorMessage(records)

function isFinal(records: readonly SessionRecord[]): boolean {
  return records.some(({ facts }) => facts.hasText) && !records.some(({ facts }) => facts.callsTools)
}
