/** What tests of importers say of a file: its actions as type and payload, and the states that they fold into. */
import { isDeepStrictEqual } from 'node:util'
import type { Action, ConversationState, ImportedFile } from '@colloquy/core'
import { type ImportOptions, importFile } from '@colloquy/formats'
import { expect } from 'vitest'
import { sha256 } from '../support/core-log.ts'
import { actionsOf, foldImported, recordsIn } from './imported.ts'

/** Imports records as JSON lines; a string is a line as it is. */
export const importLines = (lines: readonly unknown[], options?: ImportOptions): ImportedFile =>
  importText(lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'), options)

/** Imports a value as a file of its own. */
export const importValue = (value: unknown, options?: ImportOptions): ImportedFile =>
  importText(JSON.stringify(value, null, 2), options)

export const importText = (content: string, options?: ImportOptions): ImportedFile =>
  importFile({ source: 'file', content, sha256, ...(options && { options }) })

/** Of one conversation, without its first action and without the joining of participants. */
export const told = (file: ImportedFile, conversation = 0): [string, unknown][] =>
  actionsOf(file.conversations[conversation])
    .filter(({ type }) => type !== 'conversationStarted' && type !== 'participantJoined')
    .map(({ type, payload }) => [type, payload])

export const typesOf = (file: ImportedFile, conversation = 0): string[] => told(file, conversation).map(([type]) => type)

export const payloadsOf = (file: ImportedFile, type: string, conversation = 0): unknown[] =>
  told(file, conversation).flatMap(([of, payload]) => (of === type ? [payload] : []))

export const messagesIn = (file: ImportedFile, conversation = 0) =>
  payloadsOf(file, 'messageAdded', conversation).map((payload) => (payload as { message: Record<string, unknown> }).message)

export const stateOf = (file: ImportedFile, conversation = 0): ConversationState => {
  const { state, unappliedCount } = foldImported(file.conversations[conversation])
  expect(unappliedCount).toBe(0)
  return state
}

export const commandIdsOf = (file: ImportedFile, conversation = 0): string[] =>
  (file.conversations[conversation]?.commands ?? []).map(({ commandId }) => commandId)

export const actionOf = (file: ImportedFile, type: string): Action | undefined =>
  file.conversations.flatMap(actionsOf).find((action) => action.type === type)

/** What the first action of a type was made of. */
export const recordsOf = (file: ImportedFile, type: string): readonly { readonly record: Record<string, unknown> }[] => {
  const action = actionOf(file, type)
  return action ? recordsIn(action) : []
}

/** The error of a file that is not imported. */
export const refusal = (line: number, problem: unknown = expect.any(String)) =>
  expect.objectContaining({ code: 'import_refused', details: { source: 'file', line, problem } })

/** After how many of the records the commands are not those that the whole gives: a file that only grows gives none. */
export function changedByGrowth(records: readonly unknown[]): number[] {
  const whole = importLines(records).conversations
  return records.flatMap((_, index) => {
    const { conversations } = importLines(records.slice(0, index + 1))
    const isPrefix = conversations.every(({ commands }, n) =>
      isDeepStrictEqual(commands, whole[n]?.commands.slice(0, commands.length)),
    )
    return isPrefix ? [] : [index + 1]
  })
}
