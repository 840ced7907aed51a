/** What is left to do when a provider says that a request is too long: results are cut, the largest first. */
import type { Message, Part } from '@colloquy/core'
import { headOf, tailOf } from '../graphemes.ts'
import { countMessage } from '../tokens/count-message.ts'
import type { TokenCounter } from '../tokens/token-counter.ts'

export interface Reduced {
  /** The same objects where nothing was cut. */
  readonly messages: readonly Message[]
  readonly cut: readonly {
    readonly messageId: string
    readonly callId: string
    readonly tokensBefore: number
    readonly tokensAfter: number
  }[]
  readonly tokens: number
  readonly isWithinLimit: boolean
}

export interface ReduceOptions {
  readonly limitTokens: number
  readonly counter: TokenCounter
  /** Ids of messages that are never cut. */
  readonly pinned?: ReadonlySet<string>
}

/** Characters that stay at either end of a text: as much as Strands keeps. */
const keptCharacters = 200
/** Cutting less than that would save nothing. */
const leastCut = 50

/**
 * Cuts tool results, the largest first and no more of them than it takes, on the borders of what a reader sees as one character. What was cut
 * already is left alone, so a second pass changes nothing; status and ids stay as they are; media and data are replaced whole.
 * Changes the request only: the log and the working set keep the whole result.
 */
export function reduceContext(
  messages: readonly Message[],
  { limitTokens, counter, pinned = new Set() }: ReduceOptions,
): Reduced {
  let tokens = messages.reduce((sum, message) => sum + countMessage(counter, message), 0)
  const results = messages.flatMap((message, index) =>
    pinned.has(message.id)
      ? []
      : message.parts.flatMap((part, place) => (part.type === 'tool_result' ? [{ index, place, size: sizeOf(part) }] : [])),
  )
  const reduced = messages.slice()
  const cut: Reduced['cut'][number][] = []
  for (const { index, place } of results.sort((a, b) => b.size - a.size || a.index - b.index)) {
    if (tokens <= limitTokens) break
    const message = reduced[index] as Message
    const part = message.parts[place]
    if (part?.type !== 'tool_result') continue
    const content = part.content.map(cutPart)
    if (content.every((inner, at) => inner === part.content[at])) continue
    const { raw: _raw, ...rest } = part
    const shorter: Message = { ...message, parts: message.parts.with(place, { ...rest, content }) }
    const [tokensBefore, tokensAfter] = [countMessage(counter, message), countMessage(counter, shorter)]
    if (tokensAfter >= tokensBefore) continue
    reduced[index] = shorter
    tokens += tokensAfter - tokensBefore
    cut.push({ messageId: message.id, callId: part.callId, tokensBefore, tokensAfter })
  }
  return { messages: reduced, cut, tokens, isWithinLimit: tokens <= limitTokens }
}

type ResultPart = Extract<Part, { type: 'tool_result' }>['content'][number]

const marker = (characters: number): string => `\n[${characters} characters cut from the middle]\n`
const markerPattern = /\n\[\d+ characters cut from the middle\]\n/

function cutPart(part: ResultPart): ResultPart {
  switch (part.type) {
    case 'text': {
      const { text } = part
      if (text.length <= 2 * keptCharacters + leastCut || markerPattern.test(text)) return part
      const [head, tail] = [headOf(text, keptCharacters), tailOf(text, keptCharacters)]
      return { type: 'text', text: `${head}${marker(text.length - head.length - tail.length)}${tail}` }
    }
    case 'media': {
      const size = part.source.kind === 'hash' ? `, ${part.source.bytes} bytes` : ''
      return { type: 'text', text: `[${part.kind}: ${part.mediaType}${size}]` }
    }
    case 'custom': {
      // Half of a JSON value is none.
      const { length } = JSON.stringify(part.payload)
      return length <= 2 * keptCharacters + leastCut
        ? part
        : { type: 'text', text: `[${part.kind}: ${length} characters of JSON]` }
    }
    default:
      part satisfies never
      return part
  }
}

function sizeOf(part: Extract<Part, { type: 'tool_result' }>): number {
  return part.content.reduce((sum, inner) => {
    if (inner.type === 'text') return sum + inner.text.length
    if (inner.type === 'custom') return sum + JSON.stringify(inner.payload).length
    return sum + (inner.source.kind === 'hash' ? inner.source.bytes : 4_000)
  }, 0)
}
