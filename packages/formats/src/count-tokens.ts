import type { Part } from '@colloquy/core'

/** Names the estimate below in `messageAdded.tokenCounter`. */
export const tokenCounter = 'chars4@1'

/** What a picture or file weighs: providers scale them to about a megapixel, which Anthropic counts as some 1,500 tokens. */
const mediaTokens = 1500

/** Four characters are about one token of English or code. Files are not asked: what they recorded is often far too low. */
export function countTokens(parts: readonly Part[]): number {
  return Math.ceil(parts.reduce((sum, part) => sum + characters(part), 0) / 4)
}

function characters(part: Part): number {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return part.text.length
    case 'reasoning':
      return (part.text ?? '').length + (part.summary ?? []).join('').length
    case 'tool_call':
      return part.name.length + part.args.raw.length
    case 'tool_result':
      return part.content.reduce((sum, inner) => sum + characters(inner), 0)
    case 'media':
      return part.source.kind === 'text' ? part.source.text.length : mediaTokens * 4
    case 'compaction':
      return (part.content ?? part.opaque ?? '').length
    case 'custom':
    case 'control':
      return part.payload === undefined ? 0 : JSON.stringify(part.payload).length
    case 'tool_change':
      return JSON.stringify(part.ref).length
    case 'approval':
    case 'citation_source':
      return 0
    default:
      part satisfies never
      return 0
  }
}
