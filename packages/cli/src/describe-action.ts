/** An action, or a message, in one line. */
import {
  type Action,
  type BudgetAmounts,
  type BudgetKind,
  type BudgetLimit,
  budgetUnit,
  type ConversationAction,
  type Message,
  type Part,
  type Usage,
} from '@colloquy/core'
import { cutTo, printable } from './printable.ts'

/** Enough to recognise words by; the whole text is in `show --full` and `export`. */
const previewColumns = 160

/** One line, harmless for a terminal. An action of a slice that this command does not know is shown as its JSON. */
export function describeAction(action: Action): string {
  return cutTo(printable(oneLine(describe(action as unknown as ConversationAction))), previewColumns)
}

/** What a message says, in one line. */
export function describeMessage({ parts }: Pick<Message, 'parts'>): string {
  return cutTo(printable(oneLine(parts.map(describePart).join(' '))), previewColumns)
}

/** What a part says, whole, with its lines. */
export function describePart(part: Part): string {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return part.text
    case 'reasoning':
      return `[reasoning] ${part.text ?? part.summary?.join(' ') ?? '(hidden)'}`
    case 'tool_call':
      return `[call ${part.name} ${part.args.raw}]`
    case 'tool_result':
      return `[result ${part.status}] ${part.content.map(describePart).join(' ')}`
    case 'media':
      return `[${part.kind} ${part.mediaType}${part.filename === undefined ? '' : ` ${part.filename}`}]`
    case 'approval':
      return `[approval ${part.decision ?? 'asked'} for ${part.callId}]`
    case 'citation_source':
      return `[source ${part.title ?? part.url ?? part.sourceId}]`
    case 'compaction':
      return `[compaction] ${part.content ?? '(opaque)'}`
    case 'tool_change':
      return `[tool ${part.change}]`
    case 'control':
    case 'custom':
      return `[${part.kind}]`
    default:
      return part satisfies never
  }
}

function describe(action: ConversationAction): string {
  switch (action.type) {
    case 'messageAdded':
      return `${action.payload.message.role}: ${action.payload.message.parts.map(describePart).join(' ')} (${tokens(action.payload.tokenCount)})`
    case 'messageRedacted':
    case 'messagePinned':
      return `${action.payload.messageId}${reason(action.payload)}`
    case 'conversationStarted': {
      const { title, source, parent } = action.payload
      const from = source && `from ${source.format}`
      const child = parent && `${parent.relation} of ${parent.conversationId}`
      return [title, from, child].filter((text) => text !== undefined).join(', ')
    }
    case 'conversationTitled':
      return action.payload.title
    case 'conversationForked':
      return `from ${action.payload.parentId} at ${action.payload.position}${reason(action.payload)}`
    case 'conversationArchived':
    case 'conversationCleared':
      return action.payload.reason ?? ''
    case 'foreignRecordKept':
      return `${action.payload.recordType} of line ${action.payload.line}: ${action.payload.reason}`
    case 'participantJoined':
      return `${action.payload.kind} ${action.payload.name ?? action.payload.participantId}`
    case 'participantLeft':
      return `${action.payload.participantId}${reason(action.payload)}`
    case 'preferencesChanged':
    case 'metadataChanged': {
      const set = Object.entries(action.payload.set ?? {}).map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
      return [...set, ...(action.payload.unset ?? []).map((key) => `${key} removed`)].join(', ')
    }
    case 'contextCompacted': {
      const { covered, before, after, trigger } = action.payload
      const sizes = `${tokens(before.tokens)} to ${tokens(after.tokens)}`
      return `${covered.messageIds.length} messages covered (${trigger}), ${before.messages} to ${after.messages} messages, ${sizes}`
    }
    case 'messageUnpinned':
      return action.payload.messageId
    case 'compactionFailed': {
      const { strategy, trigger, reason, problem } = action.payload
      return `${strategy} (${trigger}): ${reason}${problem === undefined ? '' : `, ${problem}`}`
    }
    case 'compactionUndone': {
      const { compactionPosition, restored } = action.payload
      return `the compaction at ${compactionPosition}, ${restored.messageIds.length} messages are back`
    }
    case 'toolRequested':
      return `${action.payload.name} ${action.payload.callId}`
    case 'toolStarted':
    case 'toolSucceeded':
      return action.payload.callId
    case 'toolProgressed': {
      const { callId, ratio, note } = action.payload
      return [callId, ratio === undefined ? undefined : `${Math.round(ratio * 100)} %`, note].filter(Boolean).join(' ')
    }
    case 'toolFailed': {
      const { callId, kind, problem } = action.payload
      return `${callId} ${kind}${problem === undefined ? '' : `: ${problem}`}`
    }
    case 'approvalRequested':
      return `${action.payload.callId}${reason(action.payload)}`
    case 'approvalDecided':
      return `${action.payload.callId} ${action.payload.decision}${reason(action.payload)}`
    case 'toolEndedLate': {
      const { callId, outcome, problem } = action.payload
      return `${callId} ${outcome}, after its call was closed${problem === undefined ? '' : `: ${problem}`}`
    }
    case 'toolCancelled':
      return `${action.payload.callId}${reason(action.payload)}`
    case 'turnStarted':
      return action.payload.turnId
    case 'turnResumed':
      return `${action.payload.turnId}, run ${action.payload.run}`
    case 'turnEnded':
    case 'turnInterrupted':
      return `${action.payload.turnId}${reason(action.payload)}`
    case 'usageRecorded':
      return describeUsage(action.payload.usage)
    case 'budgetSet':
      return `${action.payload.scope}: ${describeLimits(action.payload.limits)}`
    case 'budgetReserved':
      return `${action.payload.reservationId} ${describeAmounts(action.payload.amounts)}`
    case 'budgetSettled': {
      const { reservationId, amounts, held } = action.payload
      return `${reservationId} ${describeAmounts(amounts)}${held === undefined ? '' : `, holds ${describeAmounts(held)}`}`
    }
    case 'budgetReleased':
      return `${action.payload.reservationId}${reason(action.payload)}`
    case 'budgetWarned': {
      const { scope, kind, used, soft, hard } = action.payload
      return `${scope}: ${used} of ${budgetAmount(kind, hard ?? soft)} used${hard === null ? '' : `, warned from ${soft} on`}`
    }
    case 'budgetRefused': {
      const { actionType, kind, requested, used, reserved, limit, scope } = action.payload
      const owner = scope === 'conversation' ? '' : ` in the ${scope}`
      return `${actionType} needs ${requested ?? 'an unknown amount'}, ${used} of ${budgetAmount(kind, limit)} used${reserved > 0 ? `, ${reserved} reserved` : ''}${owner}`
    }
    case 'modelCalled': {
      const { callId, encoder, content, unchanged, request } = action.payload
      return `${callId} by ${encoder}: ${content.messages} messages, ${unchanged.messages} of them as before, ${request.bytes} bytes`
    }
    case 'errorRecorded':
      return `${action.payload.kind}: ${action.payload.problem}`
    case 'degraded':
      return `${action.payload.mode}: ${action.payload.reason}`
    case 'recovered':
      return action.payload.reason ?? ''
    case 'circuitOpened':
      return `${action.payload.circuit}: ${action.payload.failures} failures in a row`
    case 'circuitClosed':
      return action.payload.circuit
    default: {
      const unknown: Action = action satisfies never
      return JSON.stringify(unknown.payload)
    }
  }
}

function describeUsage({ input, output, cacheRead, cacheWrite }: Usage): string {
  const written = cacheWrite.ttl5m + cacheWrite.ttl1h + cacheWrite.other
  return `input ${input}, output ${output}, cache read ${cacheRead}, cache written ${written}`
}

/** `3 model calls`, `12 tokens`: an amount with its kind in words. */
export const budgetAmount = (kind: BudgetKind, amount: number): string => `${amount} ${budgetUnit(kind)}`

const describeAmounts = (amounts: BudgetAmounts): string =>
  Object.entries(amounts)
    .map(([kind, amount]) => budgetAmount(kind as BudgetKind, amount ?? 0))
    .join(', ')

function describeLimits(limits: { readonly [K in BudgetKind]?: BudgetLimit | null | undefined }): string {
  const texts = Object.entries(limits).map(([kind, limit]) => {
    if (limit === null || limit === undefined || (limit.hard === null && limit.soft === null))
      return `no limit of ${budgetUnit(kind)}`
    const hard = limit.hard === null ? [] : [`limit ${budgetAmount(kind as BudgetKind, limit.hard)}`]
    const soft = limit.soft === null ? [] : [`warns from ${budgetAmount(kind as BudgetKind, limit.soft)} on`]
    return [...hard, ...soft].join(', ')
  })
  return texts.join('; ')
}

const tokens = (count: number) => `${count} tokens`
const reason = (payload: { readonly reason?: string | undefined }) => (payload.reason === undefined ? '' : `: ${payload.reason}`)
const oneLine = (text: string) => text.replace(/\s+/g, ' ').trim()
