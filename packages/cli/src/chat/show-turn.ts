import type { TurnHandle, TurnPart, TurnResult } from '@colloquy/agent'
import {
  type ConversationState,
  errorRecorded,
  type OpenedEnvelope,
  toolCancelled,
  toolFailed,
  toolProgressed,
  toolRequested,
  toolStarted,
  toolSucceeded,
} from '@colloquy/core'
import type { Conversation } from '@colloquy/engine'
import type { Output } from '../output.ts'
import { cutTo, printable, printableLines } from '../printable.ts'

/**
 * Prints a turn while it runs: the answer as it arrives, and a line for what each tool does. Tools that run side by side are told apart
 * by their numbers.
 */
export async function showTurn(
  output: Output,
  conversation: Pick<Conversation<ConversationState>, 'envelopes$'>,
  handle: TurnHandle,
): Promise<TurnResult> {
  const lines = lineWriter(output)
  const numbers = new Map<string, number>()
  const labelOf = ({ messageId, callId }: { readonly messageId: string; readonly callId: string }, name?: string): string => {
    const key = JSON.stringify([messageId, callId])
    if (!numbers.has(key)) numbers.set(key, numbers.size + 1)
    return `[${numbers.get(key)}]${name === undefined ? '' : ` ${name}`}`
  }
  const tools = conversation.envelopes$.subscribe((envelope) => {
    const text = toolLine(envelope, labelOf)
    if (text !== undefined) lines.line(output.paint('cyan', cutTo(printable(text), Math.max(40, output.width))))
  })
  const parts = handle.parts$.subscribe((part) => {
    const text = wordsOf(part)
    if (text === undefined) return
    if (text.isThought) lines.words(output.paint('dim', text.words))
    else lines.words(text.words)
  })
  try {
    const result = await handle.done
    if (result.outcome === 'interrupted') lines.line(output.paint('yellow', `(interrupted: ${printable(result.reason)})`))
    if (result.outcome === 'limit_reached')
      lines.line(output.paint('yellow', `(stopped: the limit of ${result.limit} is reached)`))
    return result
  } finally {
    parts.unsubscribe()
    tools.unsubscribe()
    await lines.end()
  }
}

function wordsOf(part: TurnPart): { readonly words: string; readonly isThought: boolean } | undefined {
  if (part.type === 'answerWithdrawn') return { words: '\n(the call failed and is made again)\n', isThought: true }
  if (part.type === 'partStarted' && (part.kind === 'text' || part.kind === 'reasoning')) return { words: '\n', isThought: false }
  if (part.type !== 'partDelta') return undefined
  const { delta } = part
  if (delta.kind === 'text' || delta.kind === 'refusal') return { words: printableLines(delta.text), isThought: false }
  if (delta.kind === 'reasoning' || delta.kind === 'summary') return { words: printableLines(delta.text), isThought: true }
  return undefined
}

type LabelOf = (call: { readonly messageId: string; readonly callId: string }, name?: string) => string

function toolLine({ action }: OpenedEnvelope, labelOf: LabelOf): string | undefined {
  if (toolRequested.match(action)) return `${labelOf(action.payload, action.payload.name)} ${action.payload.args?.raw ?? ''}`
  if (toolStarted.match(action)) return `${labelOf(action.payload)} runs`
  if (toolProgressed.match(action)) {
    const { ratio, note } = action.payload
    return `${labelOf(action.payload)} ${ratio === undefined ? '' : `${Math.round(ratio * 100)} % `}${note ?? ''}`
  }
  if (toolSucceeded.match(action)) return `${labelOf(action.payload)} done${lasted(action.payload.durationMs)}`
  if (toolFailed.match(action)) return `${labelOf(action.payload)} ${action.payload.kind}: ${action.payload.problem ?? ''}`
  if (toolCancelled.match(action)) return `${labelOf(action.payload)} cancelled`
  if (errorRecorded.match(action)) {
    const { kind, problem, retryInMs, details } = action.payload
    const instead = (details as { readonly fallBackTo?: { readonly id: string } } | undefined)?.fallBackTo
    const next = instead ? `, ${instead.id} is asked instead` : retryInMs === undefined ? '' : `, again in ${seconds(retryInMs)}`
    // What a provider says may be long, and the line is cut.
    return `${kind}${next}: ${problem}`
  }
  return undefined
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
const lasted = (ms: number | undefined): string => (ms === undefined ? '' : `, ${(ms / 1_000).toFixed(2)} s`)

/** Words go on where the last ones ended; a line has its own. One after the other, however fast they come. */
function lineWriter(output: Output) {
  let written: Promise<void> = Promise.resolve()
  let isAtStart = true
  let failure: unknown
  const write = (text: string): void => {
    written = written
      .then(() => output.write(text))
      .catch((error: unknown) => {
        failure ??= error
      })
  }
  return {
    words(text: string) {
      // The blank line before a part is none when nothing was said yet on this one.
      const shown = isAtStart ? text.replace(/^\n+/, '') : text
      if (shown === '') return
      isAtStart = shown.endsWith('\n')
      write(shown)
    },
    line(text: string) {
      write(`${isAtStart ? '' : '\n'}${text}\n`)
      isAtStart = true
    },
    /** @throws what writing failed with */
    async end() {
      if (!isAtStart) write('\n')
      await written
      if (failure !== undefined) throw failure
    },
  }
}
