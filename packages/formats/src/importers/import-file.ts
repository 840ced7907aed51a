import type { ImportedFile } from '@colloquy/core'
import { chatBot } from './chat-bot.ts'
import { chatgpt } from './chatgpt/chatgpt.ts'
import { claudeCode } from './claude-code/claude-code.ts'
import { claudeCodeSdk } from './claude-code-sdk.ts'
import { codex } from './codex/codex.ts'
import { exchanges } from './exchanges/exchanges.ts'
import { geminiCli } from './gemini-cli.ts'
import { inspect } from './inspect.ts'
import { refusal } from './json-lines.ts'
import { langgraph } from './langgraph.ts'
import { miniSweAgent } from './mini-swe-agent.ts'
import { openaiChat } from './openai-chat.ts'
import { openHands } from './openhands/openhands.ts'
import { pi } from './pi.ts'
import { sharegpt } from './sharegpt.ts'
import { type ImportInput, openSource, type TranscriptFormat } from './source-file.ts'
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
  openaiChat,
]

/**
 * Imports a transcript of any format that we know.
 * @throws `import_refused` for a file that is empty, no text, of no known format, or damaged
 */
export function importFile(input: ImportInput): ImportedFile {
  const file = openSource(input)
  const format = formats.find((candidate) => candidate.matches(file))
  if (format !== undefined) return format.importFile(file)
  const { records, bad } = file.jsonLines()
  const known = formats.map(({ id }) => id).join(', ')
  const found = records.length === 0 && bad[0] ? `${bad[0].problem}, and nothing else in the file is` : 'the content'
  throw refusal(
    file.source,
    bad[0]?.line ?? 1,
    `${found} of a format that can be imported (${known}). Give a transcript as its program wrote it`,
  )
}
