/** What `export` can write: the log itself, and every exporter of formats (a test compares). Here, because the help is shown without loading them. */
export const exportFormats = [
  'jsonl',
  'json',
  'markdown',
  'html',
  'openai-chat',
  'anthropic-messages',
  'sharegpt',
  'chat-bot',
] as const
export type ExportFormat = (typeof exportFormats)[number]
