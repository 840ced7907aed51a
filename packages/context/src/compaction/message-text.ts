import type { Json, Message, Part } from '@colloquy/core'

/** What a message says, call arguments and results included, reasoning and media left out. */
export function messageText(message: Message): string {
  const known = texts.get(message)
  if (known !== undefined) return known
  const text = message.parts
    .map(partText)
    .filter((piece) => piece !== '')
    .join('\n')
  if (Object.isFrozen(message)) texts.set(message, text)
  return text
}

const texts = new WeakMap<Message, string>()

export function partText(part: Part): string {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return part.text
    case 'tool_call':
      return `${part.name} ${argumentText(part)}`
    case 'tool_result':
      return part.content
        .map(partText)
        .filter((piece) => piece !== '')
        .join('\n')
    case 'compaction':
      return part.content ?? ''
    case 'media':
      return part.source.kind === 'text' ? part.source.text : (part.filename ?? '')
    default:
      return ''
  }
}

/** Words of the message that are neither a call nor a result. */
export const spokenText = ({ parts }: Message): string =>
  parts
    .flatMap((part) => (part.type === 'text' || part.type === 'refusal' || part.type === 'compaction' ? [partText(part)] : []))
    .join('\n')

/** The arguments as they read, without JSON's escapes: a line break before a name is no part of the name. */
function argumentText({ args }: Extract<Part, { type: 'tool_call' }>): string {
  return args.json === undefined ? args.raw : leaves(args.json).join('\n')
}

/** The strings and numbers in a JSON value, keys before what they name. */
function leaves(value: Json): readonly string[] {
  if (typeof value === 'string') return [value]
  if (Array.isArray(value)) return (value as readonly Json[]).flatMap(leaves)
  if (typeof value === 'object' && value !== null) return Object.entries(value).flatMap(([key, field]) => [key, ...leaves(field)])
  return value === null ? [] : [String(value)]
}

/** What a call is about, on one line: its first argument that reads like a path, else the first of several words, else the first. */
export function callSubject({ args }: Extract<Part, { type: 'tool_call' }>): string {
  const values = (args.json === undefined ? [args.raw] : leafValues(args.json)).map((value) => value.replace(/\s+/g, ' ').trim())
  return values.find(isPath) ?? values.find((value) => value.includes(' ')) ?? values[0] ?? ''
}

function leafValues(value: Json): readonly string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return value === null ? [] : [String(value)]
  return Object.values(value).flatMap((field) => leafValues(field))
}

/** One word with a separator in it, or with an extension behind it, and nothing of a pattern or of a command. */
export const isPath = (text: string): boolean =>
  text.length <= 200 && /^[^\s*|()[\]{}^$?<>"'`;=\\]+$/.test(text) && looksLikePath.test(text)
const looksLikePath = /[\w~.-]\/[\w.@-]|\w\.\w{1,8}$/
