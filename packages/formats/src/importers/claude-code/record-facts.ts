/** What has to be known of every record of a session at once, gathered when it is read: a session need not fit into memory. */
import type { Json, JsonObject } from '@colloquy/core'
import { asId, asObject, asString } from '../fields.ts'

/** Who speaks in a user record: a person, a program that writes in the person's place, or the tools. */
export type Speech = 'prompt' | 'context' | 'local_command' | 'interruption' | 'tool_results'

export interface RecordFacts {
  /** There is content that could be read. */
  readonly hasBlocks: boolean
  readonly speech: Speech
  readonly hasText: boolean
  readonly callsTools: boolean
  /** "[Request interrupted by user]", as the whole message or beside others: results of calls that were stopped, the next prompt. */
  readonly interruption: string | undefined
  /** The id of the API's message. */
  readonly answerId: string | undefined
  /** Written by Claude Code itself in the model's place. */
  readonly isSynthetic: boolean
  readonly isApiErrorMessage: boolean
  /** What a compaction put in the place of what was before it. */
  readonly isSummary: boolean
  readonly agentId: string | undefined
  /** Of a title: the record that it is the title of. */
  readonly leafUuid: string | undefined
}

export function factsOf(fields: JsonObject, message: JsonObject | undefined): RecordFacts {
  const blocks = blocksIn(message)
  const types = (blocks ?? []).map((block) => asObject(block)?.type)
  const interruption = fields.isMeta === true ? undefined : interruptionIn(blocks ?? [])
  return {
    hasBlocks: blocks !== undefined,
    speech: speechOf(fields, blocks ?? [], interruption),
    hasText: types.includes('text'),
    callsTools: types.includes('tool_use'),
    interruption,
    answerId: asId(message?.id),
    isSynthetic: message?.model === '<synthetic>',
    isApiErrorMessage: fields.isApiErrorMessage === true,
    isSummary: fields.isCompactSummary === true,
    agentId: asId(fields.agentId),
    leafUuid: typeof fields.summary === 'string' ? asString(fields.leafUuid) : undefined,
  }
}

/** The blocks of a message; a string is one text block. Undefined: there is no content that could be read. */
export function blocksIn(message: JsonObject | undefined): readonly Json[] | undefined {
  const content = message?.content
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return Array.isArray(content) ? (content as readonly Json[]) : undefined
}

/** The text of blocks that are nothing but text. */
export function plainText(blocks: readonly Json[] | undefined): string | undefined {
  const texts = blocks?.map((block) => (asObject(block)?.type === 'text' ? asString(asObject(block)?.text) : undefined))
  return texts === undefined || texts.length === 0 || texts.includes(undefined) ? undefined : texts.join('\n')
}

const interruptionText = '[Request interrupted by user'
/** What Claude Code writes as the user's text when a command of its own or of the shell was run; the model is not asked. */
const localCommand = /^<(command-name|local-command-(stdout|stderr|caveat)|bash-(input|stdout|stderr))>/

function speechOf(fields: JsonObject, blocks: readonly Json[], interruption: string | undefined): Speech {
  if (blocks.some((block) => asObject(block)?.type === 'tool_result')) return 'tool_results'
  if (fields.isMeta === true) return 'context'
  // With words of the user's own beside it, it is the next prompt.
  if (interruption !== undefined && blocks.length === 1) return 'interruption'
  // Commands that prompt the model begin with <command-message>, those that do not with <command-name>.
  return localCommand.test(plainText(blocks)?.trimStart() ?? '') ? 'local_command' : 'prompt'
}

function interruptionIn(blocks: readonly Json[]): string | undefined {
  const texts = blocks.map((block) => asString(asObject(block)?.text)?.trim())
  return texts.find((text) => text?.startsWith(interruptionText))
}
