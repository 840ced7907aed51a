/** What the events of all versions have in common. */
import type { Json, Part } from '@colloquy/core'
import { parseIsoTime } from '../../iso-time.ts'
import { asList, asObject, asString } from '../fields.ts'
import type { FileRecord } from '../file-records.ts'
import type { MediaShelf } from '../media-shelf.ts'
import { imagePart } from '../messages/openai-chat-message.ts'

export const format = 'openhands'

export type ToolResult = Extract<Part, { type: 'tool_result' }>
export type ResultPart = ToolResult['content'][number]

/** Local time of a machine that does not say where it is: most are in UTC. */
export function timeOf({ fields }: FileRecord): number | undefined {
  return parseIsoTime(fields.timestamp) ?? parseIsoTime(`${asString(fields.timestamp) ?? ''}Z`)
}

/** A text, or blocks of text and pictures. */
export function contentParts(content: Json | undefined, media: MediaShelf): ResultPart[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  return (asList(content) ?? []).flatMap((block): ResultPart[] => {
    const fields = asObject(block)
    if (fields?.type === 'text' && typeof fields.text === 'string')
      return fields.text === '' ? [] : [{ type: 'text', text: fields.text }]
    const pictures = fields?.type === 'image' ? pictureParts(fields.image_urls, media) : []
    if (pictures.length > 0) return pictures
    return [{ type: 'custom', kind: `openhands.${asString(fields?.type) ?? 'unknown'}`, payload: media.replaceIn(block) }]
  })
}

export function pictureParts(urls: Json | undefined, media: MediaShelf): ResultPart[] {
  return (asList(urls) ?? []).flatMap((url) => (typeof url === 'string' ? [imagePart(url, media)] : []))
}

/** How a command ended. -1 stands for one that was left running, or of which the shell did not say. */
export function statusOfExit(exitCode: Json | undefined): ToolResult['status'] {
  if (typeof exitCode !== 'number' || exitCode === 0) return 'ok'
  return exitCode < 0 ? 'unknown' : 'error'
}
