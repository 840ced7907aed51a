/** Real transcripts as plain messages, with what the bench counts and looks for in them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type HeldConversation, isColloquyError, type Message, messageAdded, type Part } from '@colloquy/core'
import { sha256 } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'

export interface Transcript {
  /** `<folder>/<file>`, with the number of the conversation where a file holds several. */
  readonly name: string
  readonly messages: readonly Shown[]
  readonly tokens: number
}

/** A message as a model is shown it. */
export interface Shown {
  readonly message: Message
  readonly text: string
  readonly tokens: number
  readonly references: readonly string[]
}

export function shown(message: Message): Shown {
  const text = textOf(message)
  return { message, text, tokens: Math.ceil(text.length / 4) + 4, references: referencesIn(text) }
}

/** The folder of `COLLOQUY_BENCH_TRANSCRIPTS`, else the data beside this checkout. */
export function readTranscripts(): readonly Transcript[] {
  const folder = process.env.COLLOQUY_BENCH_TRANSCRIPTS
  const root = folder === undefined ? new URL('../../../../shared/data/transcripts/', import.meta.url).pathname : folder
  if (!existsSync(root)) {
    throw new Error(
      `This bench reads real transcripts, and ${root} is not there. Name a folder of them in COLLOQUY_BENCH_TRANSCRIPTS.`,
    )
  }
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && /\.jsonl?$/.test(entry.name),
  )
  return files.flatMap((entry): readonly Transcript[] => {
    const path = `${entry.parentPath}/${entry.name}`
    const name = path.slice(root.length).replace(/^\//, '')
    return conversationsIn(name, path).map(({ commands }, index, conversations) => {
      const messages = commands
        .flatMap(({ actions }) => actions)
        .flatMap((action) => (messageAdded.match(action) ? [shown(deepFreeze(action.payload.message))] : []))
      const tokens = messages.reduce((sum, m) => sum + m.tokens, 0)
      return { name: conversations.length === 1 ? name : `${name} ${index + 1}`, messages, tokens }
    })
  })
}

/** None in a file that is no transcript. */
function conversationsIn(name: string, path: string): readonly HeldConversation[] {
  try {
    return importFile({ source: name, content: readFileSync(path), sha256 }).conversations
  } catch (error) {
    if (isColloquyError(error, 'import_refused')) return []
    throw error
  }
}

/** Tool calls and results included, thinking left out. Arguments as they are sent: JSON. */
function textOf({ parts }: Message): string {
  return parts
    .map(partText)
    .filter((text) => text !== '')
    .join('\n')
}

function partText(part: Part): string {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return part.text
    case 'tool_call':
      return `${part.name} ${part.args.raw}`
    case 'tool_result':
      return part.content.map(partText).join('\n')
    default:
      return ''
  }
}

/** Defined by the bench, not by what it measures. */
function referencesIn(text: string): readonly string[] {
  const found = new Set<string>()
  for (const [match] of text.matchAll(/[A-Za-z_][\w./:-]{3,}\w|\d{3,}/g)) {
    if (match.length <= 80 && /[\d_/.:-]|[a-z][A-Z]/.test(match)) found.add(match)
  }
  return [...found]
}

/** As messages are in a state. */
function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const field of Object.values(value)) deepFreeze(field)
  }
  return value
}
