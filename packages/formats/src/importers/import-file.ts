import { type ImportedConversation, type ImportedFile } from '@colloquy/core'
import { anthropicMessages } from './anthropic-messages.ts'
import { chatBot } from './chat-bot.ts'
import { chatgpt } from './chatgpt/chatgpt.ts'
import { claudeCode } from './claude-code/claude-code.ts'
import { claudeCodeSdk } from './claude-code-sdk.ts'
import { codex } from './codex/codex.ts'
import { exchanges } from './exchanges/exchanges.ts'
import { geminiCli } from './gemini-cli.ts'
import { inspect } from './inspect.ts'
import { langgraph } from './langgraph.ts'
import { miniSweAgent } from './mini-swe-agent.ts'
import { openaiChat } from './openai-chat.ts'
import { openHands } from './openhands/openhands.ts'
import { pi } from './pi.ts'
import { refusal, refusingAt } from './refusal.ts'
import { sharegpt } from './sharegpt.ts'
import { type HeldInput, type ImportInput, openSource, type SourceFile, type TranscriptFormat } from './source-file.ts'
import { type ByteSource, openStreamed, readWhole } from './streamed-file.ts'
import { sweAgent } from './swe-agent.ts'

/** The first that matches imports, so the one with the sharper test stands first. */
export const formats: readonly TranscriptFormat[] = [
  claudeCode,
  claudeCodeSdk,
  codex,
  pi,
  geminiCli,
  openHands,
  sweAgent,
  miniSweAgent,
  chatgpt,
  exchanges,
  inspect,
  chatBot,
  langgraph,
  sharegpt,
  anthropicMessages,
  openaiChat,
]

/** JSON lines of these formats may be of any length. */
const heldBytes = 2 ** 23
/** Everything else is read whole, which takes some ten times as many bytes of memory. */
const longestDocument = 2 ** 26
/** What is looked at of a long file to know its format. */
const headBytes = 2 ** 21

/** A file whose format is known, or known to be none of ours. */
export interface OpenedTranscript {
  readonly format: TranscriptFormat | undefined
  /** Of a file of no known format: what is wrong with it, in a few words. */
  readonly problem?: string
  /** @throws `import_refused` for a file of no known format, or that is damaged */
  import(): ImportedFile<ImportedConversation>
}

/**
 * Imports a transcript of any format that we know. What is given as a `ByteSource` and is too large to be held is read twice for
 * the import, and again each time the commands are walked; only formats that stream (see `TranscriptFormat`) can be larger than
 * 64 MiB.
 * @throws `import_refused` for a file that is empty, no text, of no known format, damaged, or too large
 */
export function importFile(input: HeldInput): ImportedFile
export function importFile(input: ImportInput): ImportedFile<ImportedConversation>
export function importFile(input: ImportInput): ImportedFile<ImportedConversation> {
  return openTranscript(input).import()
}

/** Looks what a file is, without importing it. @throws `import_refused` for a file that is empty, no text, or too large */
export function openTranscript(input: ImportInput): OpenedTranscript {
  const { source, content, sha256, options } = input
  const more = { source, sha256, ...(options && { options }) }
  if (typeof content === 'string' || content instanceof Uint8Array) return opened(openSource({ ...more, content }))
  if (content.size > (options?.heldBytes ?? heldBytes)) {
    const format = streamedFormat({ ...more, content })
    if (format !== undefined)
      return { format, import: () => refusingAt(source, 1, () => format.importFile(openStreamed({ ...more, content }))) }
  }
  if (content.size > longestDocument) {
    const streaming = formats.filter(({ streams }) => streams).map(({ id }) => id)
    const problem = `the file has ${content.size} bytes and begins as none of those that may have more than ${longestDocument}`
    throw refusal(source, 1, `${problem} (JSON lines of ${streaming.join(', ')}). Split it`)
  }
  return opened(openSource({ ...more, content: readWhole(source, content) }))
}

/** The format of a long file, by its first lines. */
function streamedFormat({ content, ...more }: ImportInput & { readonly content: ByteSource }): TranscriptFormat | undefined {
  const head = readWhole(more.source, content, Math.min(content.size, headBytes))
  const whole = head.subarray(0, head.lastIndexOf(0x0a) + 1)
  // Of a list each line may be a record too, with a comma behind it.
  const isList = head.find((byte) => byte > 0x20 && byte < 0x80) === 0x5b
  if (whole.length === 0 || isList) return undefined
  const file = openSource({ ...more, content: whole })
  return formats.find((format) => format.streams && format.matches(file))
}

function opened(file: SourceFile): OpenedTranscript {
  const format = formats.find((candidate) => candidate.matches(file))
  // Each importer says where it was; this is for what it did not foresee.
  if (format) return { format, import: () => refusingAt(file.source, 1, () => format.importFile(file)) }
  const { line, problem } = strangeness(file)
  return {
    format,
    problem,
    import() {
      const known = formats.map(({ id }) => id).join(', ')
      throw refusal(file.source, line, `${problem}. Give a transcript as its program wrote it (${known})`)
    },
  }
}

/** Why a file is of no format, and where that is seen. */
function strangeness(file: SourceFile): { readonly line: number; readonly problem: string } {
  const { records, bad } = file.jsonLines()
  const [first] = bad
  const unknown = 'is of a format that can be imported'
  // Lines of which the first is no JSON are no JSON lines, but may be one value that is damaged.
  const isOneValue = first !== undefined && (records[0] === undefined || first.line <= records[0].line)
  const damage = isOneValue ? file.damage() : undefined
  if (damage) return damage
  if (first && records.length === 0)
    return { line: first.line, problem: `${first.problem}, and nothing else in the file ${unknown}` }
  const text = keptAsTextIn(file)
  if (text) return { line: text.line, problem: `${text.path} holds ${text.problem}, and nothing else in the file ${unknown}` }
  return { line: first?.line ?? 1, problem: `nothing in the file ${unknown}` }
}

/** The first value of a file that JSON here would change, so that nobody looks into it. */
function keptAsTextIn(file: SourceFile) {
  const document = file.jsonDocument()?.problems[0]
  if (document) return { line: 1, ...document }
  for (const { line, problems } of file.jsonLines().records) if (problems[0]) return { line, ...problems[0] }
  return undefined
}
