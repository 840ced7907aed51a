import type { Json, Message, Part } from '@colloquy/core'
import { mapStrings } from './fields.ts'
import { hasAllMedia, type MediaLookup } from './inline-media.ts'
import type { Report } from './loss.ts'
import { mediaLine, type ResultPart, textPart } from './parts.ts'

interface Preparing {
  readonly isRequest: boolean
  readonly media: MediaLookup
  readonly report: Report
}

/**
 * Messages ready to be written, part for part: media without bytes become a line of text, and in a request, which goes out as
 * UTF-8, half surrogate pairs are replaced.
 */
export function prepare(messages: readonly Message[], preparing: Preparing): readonly Message[] {
  return messages.map((message) => {
    const parts = message.parts.map((part, index) => preparePart(part, { message, index }, preparing))
    return parts.every((part, i) => part === message.parts[i]) ? message : { ...message, parts }
  })
}

function preparePart(part: Part, at: { message: Message; index: number }, { isRequest, media, report }: Preparing): Part {
  let ready = withMedia(part, media)
  if (ready !== part) report('media_missing', at)
  if (isRequest) {
    const repaired = mapStrings(ready as Json, (text) => (text.isWellFormed() ? text : text.toWellFormed())) as unknown as Part
    if (repaired !== ready) report('text_repaired', at)
    ready = repaired
  }
  return ready
}

function withMedia(part: Part, media: MediaLookup): Part {
  if (part.type === 'media') return part.source.kind === 'hash' && !media(part.source.hash) ? textPart(mediaLine(part)) : part
  if (part.type === 'custom') {
    return hasAllMedia(part.payload, media) ? part : textPart(`[${part.kind}, not sent: its media are missing]`)
  }
  const whole = part.type === 'tool_result' ? withResultMedia(part, media) : part
  return hasAllMedia([whole.raw ?? null, whole.providerMetadata ?? null], media) ? whole : withoutOriginal(whole)
}

function withResultMedia(part: Extract<Part, { type: 'tool_result' }>, media: MediaLookup): Part {
  const content = part.content.map((inner) => withMedia(inner, media) as ResultPart)
  return content.every((inner, i) => inner === part.content[i]) ? part : { ...part, content }
}

function withoutOriginal(part: Part): Part {
  const copy = { ...part }
  delete copy.raw
  delete copy.providerMetadata
  return copy
}
