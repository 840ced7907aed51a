import type { OpenedEnvelope } from '@colloquy/core'
import type { MediaLookup } from '../codecs/inline-media.ts'
import { exportAnthropicMessages } from './export-anthropic-messages.ts'
import { chatBotFileName, exportChatBot } from './export-chat-bot.ts'
import { exportHtml } from './export-html.ts'
import { exportMarkdown } from './export-markdown.ts'
import { exportOpenAiChat } from './export-openai-chat.ts'
import { exportShareGpt } from './export-share-gpt.ts'
import { exportTranscriptJson } from './export-transcript-json.ts'

export interface ExportOptions {
  /** Bytes of media by hash, for the formats that hold files. */
  readonly media?: MediaLookup
}

/** One way to write a conversation out for others. Pure: envelopes in, text out. */
export interface Exporter {
  readonly id: string
  /** Of a file with one conversation, without the dot. */
  readonly extension: string
  /** What it is for and what it does not hold, in one sentence. */
  readonly describe: string
  readonly export: (envelopes: Iterable<OpenedEnvelope>, options?: ExportOptions) => string
  /** Where the format itself says what a file is called. */
  readonly fileName?: (envelopes: Iterable<OpenedEnvelope>) => string
}

/** All transcripts; the log itself, byte for byte, is `exportJsonLine`. */
export const exporters: readonly Exporter[] = [
  {
    id: 'markdown',
    extension: 'md',
    describe: 'for people, as text: messages, calls, reasoning and compactions; no bytes of files',
    export: exportMarkdown,
  },
  {
    id: 'html',
    extension: 'html',
    describe: 'for people, as one page without scripts: messages, calls with their results, reasoning, compactions, pictures',
    export: exportHtml,
  },
  {
    id: 'json',
    extension: 'json',
    describe: 'for programs: the transcript in our message model, whole but for redacted and erased words and the bytes of files',
    export: exportTranscriptJson,
  },
  {
    id: 'openai-chat',
    extension: 'json',
    describe: 'messages for the Chat Completions API; without reasoning, compactions, usage and times',
    export: exportOpenAiChat,
  },
  {
    id: 'anthropic-messages',
    extension: 'json',
    describe: "messages for Anthropic's Messages API; without reasoning of others, compactions, usage and times",
    export: exportAnthropicMessages,
  },
  {
    id: 'sharegpt',
    extension: 'jsonl',
    describe: 'one line of training data; words, readable reasoning, answered calls and their results, nothing else',
    export: exportShareGpt,
  },
  {
    id: 'chat-bot',
    extension: 'json',
    describe: 'the JSON of a chat bot of a Discord-style service; one that was imported comes out as it was',
    export: exportChatBot,
    fileName: chatBotFileName,
  },
]
