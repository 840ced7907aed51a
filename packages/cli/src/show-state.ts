/** A state as people read it. */
import type { ConversationState, Folded, WorkingMessage } from '@colloquy/core'
import { formatIsoTime } from '@colloquy/formats'
import { describeMessage, describePart } from './describe-action.ts'
import type { Listing, Output, Style } from './output.ts'
import { printable, printableLines } from './printable.ts'

/** Facts first, then the messages of the working set: one line each, or in full. */
export async function showState(
  output: Output,
  id: string,
  folded: Folded<ConversationState>,
  options: { readonly full: boolean },
): Promise<void> {
  const { title } = folded.state.lifecycle
  if (output.isTerminal) await output.write(`${output.paint('bold', printable(title ?? id))}\n`)
  await writeFacts(output, factsOf(id, folded))
  if (options.full) await writeMessages(output, folded.state)
  else {
    if (output.isTerminal) await output.write('\n')
    await output.list(messageListing, [folded.state.messages.slice()])
  }
}

/** A label and what is to be said about it. */
export type Fact = readonly [label: string, text: string]

/** Labels and texts, in columns on a terminal and by tabs in a pipe. */
export async function writeFacts(output: Output, facts: readonly Fact[]): Promise<void> {
  const width = Math.max(...facts.map(([label]) => label.length))
  const lines = facts.map(([label, text]) =>
    output.isTerminal ? `${output.paint('dim', label.padEnd(width))}  ${printable(text)}` : `${label}\t${printable(text)}`,
  )
  await output.write(`${lines.join('\n')}\n`)
}

/** What there is to know about a state, without what never happened. */
export function factsOf(id: string, { state, position, occurredAt }: Folded<ConversationState>): Fact[] {
  const { lifecycle, lineage, participants, messages, context, tools, turn, usage, budget, manifest, health } = state
  const facts: (Fact | false)[] = [
    ['conversation', id],
    ['position', position === 0 ? '0' : `${position}, ${formatIsoTime(occurredAt)}`],
    lifecycle.title !== null && ['title', lifecycle.title],
    lifecycle.archived !== null && ['archived', `at position ${lifecycle.archived.position}`],
    lineage.source !== null && ['source', [lineage.source.format, lineage.source.id].filter(Boolean).join(' ')],
    lineage.parent !== null && ['parent', `${lineage.parent.relation} of ${lineage.parent.conversationId}`],
    participants.length > 0 && ['participants', participants.map(({ id, kind, name }) => `${name ?? id} (${kind})`).join(', ')],
    ['messages', `${number(messages.length)} in the working set`],
    ['context', outOf(context.usedTokens, context.limitTokens)],
    context.lastCompaction !== null && ['compactions', compactionText(context.compactions, context.lastCompaction)],
    context.failure !== null && [
      'not compacted',
      `${context.failure.inARow} times in a row, the last at position ${context.failure.position} (${context.failure.strategy}): ${context.failure.reason}`,
    ],
    tools.requested > 0 && [
      'tools',
      `${tools.requested} requested: ${tools.succeeded} succeeded, ${tools.failed} failed, ${tools.cancelled} cancelled, ${tools.open.length} open`,
    ],
    turn.started > 0 && [
      'turns',
      `${turn.started} started, ${turn.current ? `${turn.current.turnId} is running` : `the last ${turn.last?.outcome}`}`,
    ],
    usage.calls > 0 && [
      'usage',
      `${usage.calls} model calls: input ${number(usage.input)}, output ${number(usage.output)}, cache read ${number(usage.cacheRead)}, cache written ${number(usage.cacheWrite)}`,
    ],
    manifest.last !== null && [
      'manifests',
      `${number(manifest.calls)} model calls recorded, the last at position ${manifest.last.position} (${manifest.last.callId})`,
    ],
    [
      'budget',
      `${outOf(budget.used.messageTokens, budget.limits.conversation.messageTokens?.hard ?? null)}${budget.refusals > 0 ? `, ${budget.refusals} refused` : ''}`,
    ],
    health.lastError !== null && [
      'errors',
      `${health.errors}, the last at position ${health.lastError.position}: ${health.lastError.kind}, ${health.lastError.problem}`,
    ],
    health.degraded !== null && ['degraded', `${health.degraded.mode}: ${health.degraded.reason}`],
    (health.openCircuits ?? []).length > 0 && ['left alone', health.openCircuits?.map(({ circuit }) => circuit).join(', ') ?? ''],
    ...entryFacts('preferences', state.preferences),
    ...entryFacts('metadata', state.metadata),
  ]
  return facts.filter((fact) => fact !== false)
}

function entryFacts(label: string, entries: ConversationState['metadata']): Fact[] {
  return Object.keys(entries).length === 0 ? [] : [[label, JSON.stringify(entries)]]
}

function compactionText(count: number, last: NonNullable<ConversationState['context']['lastCompaction']>): string {
  const { position, coveredMessages, tokensBefore, tokensAfter, strategy } = last
  return `${count}, the last at position ${position} (${strategy}): ${coveredMessages} messages covered, ${number(tokensBefore)} to ${number(tokensAfter)} tokens`
}

const outOf = (used: number, limit: number | null) =>
  limit === null ? `${number(used)} tokens` : `${number(used)} of ${number(limit)} tokens`
const number = (value: number) => value.toLocaleString('en')

const roleStyles: Readonly<Record<WorkingMessage['role'], Style>> = {
  system: 'magenta',
  developer: 'magenta',
  user: 'green',
  assistant: 'cyan',
  tool: 'yellow',
}

const messageListing: Listing<WorkingMessage> = {
  columns: [
    { title: 'POSITION', value: ({ position }) => position, align: 'right' },
    { title: 'ROLE', value: ({ role }) => role, style: ({ role }) => roleStyles[role] },
    { title: 'TOKENS', value: ({ tokenCount }) => tokenCount, align: 'right' },
    { title: 'MESSAGE', value: (message) => describeMessage(message), isRest: true },
  ],
  json: (message) => message,
}

async function writeMessages(output: Output, { messages }: ConversationState): Promise<void> {
  for (const message of messages) {
    const heading = `#${message.position} ${message.role}, ${message.tokenCount} tokens`
    const text = message.parts.map((part) => printableLines(describePart(part))).join('\n')
    await output.write(`\n${output.paint(roleStyles[message.role], heading)}\n${text}\n`)
  }
}
