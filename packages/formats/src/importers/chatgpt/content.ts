/** The contents of ChatGPT's messages to parts of ours. A content that we do not know stays whole, as `custom`. */
import type { Json, JsonObject, Part } from '@colloquy/core'
import { asList, asObject, asString } from '../fields.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { storable } from '../without-words.ts'

export type ContentPart = Extract<Part, { type: 'text' | 'media' | 'custom' }>

/** What was said. An empty text is no part: the first system message of a conversation has nothing else. */
export function contentParts(content: JsonObject, media: MediaShelf): ContentPart[] {
  const type = asString(content.content_type)
  switch (type) {
    case 'text':
    case 'multimodal_text':
      return (asList(content.parts) ?? []).flatMap((part) => piece(part, media))
    case 'code':
    case 'execution_output':
    case 'system_error':
    case 'tether_browsing_display':
    case 'tether_quote': {
      // These have no parts: code and quotes have a text, what a browser shows has a result.
      const text = asString(content.text) ?? asString(content.result)
      if (text === undefined) break
      const [url, title] = [asString(content.url), asString(content.title)]
      const citation = url === undefined ? undefined : { kind: type, url, ...(title !== undefined && { title }) }
      return text === '' ? [] : [{ type: 'text', text, ...(citation && { citations: [citation] }) }]
    }
    default:
  }
  return [{ type: 'custom', kind: `chatgpt.${type ?? 'unknown'}`, payload: storable(media.replaceIn(content)) }]
}

/** Thoughts have a headline and a text each; other contents are no reasoning. */
export function reasoningParts(content: JsonObject): Extract<Part, { type: 'reasoning' }>[] | undefined {
  const thoughts = content.content_type === 'thoughts' ? asList(content.thoughts) : undefined
  return thoughts?.map((thought) => {
    const [summary, text] = [asString(asObject(thought)?.summary), asString(asObject(thought)?.content)]
    return { type: 'reasoning', ...(text && { text }), ...(summary && { summary: [summary] }), redacted: false }
  })
}

/** The arguments of a call are its content as text. */
export function contentText(content: JsonObject): string {
  const parts = (asList(content.parts) ?? []).filter((part) => typeof part === 'string')
  return asString(content.text) ?? parts.join('')
}

function piece(part: Json, media: MediaShelf): ContentPart[] {
  if (typeof part === 'string') return part === '' ? [] : [{ type: 'text', text: part }]
  const fields = asObject(part)
  const pointer = asString(fields?.asset_pointer)
  if (pointer !== undefined) {
    // The bytes lie beside the export, in a file that the pointer names.
    const kind = fields?.content_type === 'audio_asset_pointer' ? 'audio' : 'image'
    return [
      { type: 'media', kind, mediaType: `${kind}/*`, source: { kind: 'providerFile', provider: 'openai', fileId: pointer } },
    ]
  }
  return [
    { type: 'custom', kind: `chatgpt.${asString(fields?.content_type) ?? 'unknown'}`, payload: storable(media.replaceIn(part)) },
  ]
}
