export { type AiSdkModelBody, aiSdkModel } from './codecs/ai-sdk-model.ts'
export { type AiSdkUiBody, aiSdkUi } from './codecs/ai-sdk-ui.ts'
export { type AnthropicBody, anthropicMessages } from './codecs/anthropic-messages.ts'
export type { Codec, DecodeContext, Decoded, Encoded, EncodeOptions, Purpose } from './codecs/codec.ts'
export { type GeminiBody, geminiContents } from './codecs/gemini-contents.ts'
export { type LangChainBody, langChain, langChainSerialized, langChainStored } from './codecs/langchain-messages.ts'
export { type Loss, type LossKind, lossKinds } from './codecs/loss.ts'
export { type OpenAiChatBody, openaiChat } from './codecs/openai-chat.ts'
export { type OpenAiResponsesBody, openaiResponses } from './codecs/openai-responses.ts'
export { countTokens, tokenCounter } from './count-tokens.ts'
export { exportAnthropicMessages } from './exporters/export-anthropic-messages.ts'
export { chatBotFileName, exportChatBot } from './exporters/export-chat-bot.ts'
export { exportHtml } from './exporters/export-html.ts'
export { exportJsonLine } from './exporters/export-json-line.ts'
export { exportMarkdown } from './exporters/export-markdown.ts'
export { exportOpenAiChat } from './exporters/export-openai-chat.ts'
export { exportShareGpt } from './exporters/export-share-gpt.ts'
export { exportTranscriptJson } from './exporters/export-transcript-json.ts'
export { type Exporter, type ExportOptions, exporters } from './exporters/exporters.ts'
export { claudeCode, importClaudeCode, isClaudeCode } from './importers/claude-code/claude-code.ts'
export { formats, importFile, type OpenedTranscript, openTranscript } from './importers/import-file.ts'
export type { HeldInput, ImportInput, ImportOptions, SourceFile, TranscriptFormat } from './importers/source-file.ts'
export type { ByteSource } from './importers/streamed-file.ts'
export { formatIsoTime, parseIsoTime } from './iso-time.ts'
export { type Answer, createSession, type OpenPart, type Session } from './streams/answer.ts'
export { createAnthropicDecoder } from './streams/anthropic.ts'
export { decodeStream } from './streams/decoder.ts'
export { createStreamDecoder, detectStream, type StreamFormat, streamFormats } from './streams/detect-stream.ts'
export { type HttpError, type ProviderError, type ProviderErrorKind, readError, readHttpError } from './streams/errors.ts'
export { createGeminiDecoder } from './streams/gemini.ts'
export { createOpenAIChatDecoder } from './streams/openai-chat.ts'
export { createOpenAIResponsesDecoder } from './streams/openai-responses.ts'
export { parseExactly } from './streams/payload.ts'
export {
  defaultStreamLimits,
  type Notice,
  type PartDelta,
  type StreamDecoder,
  type StreamEvent,
  type StreamLimits,
  type StreamOptions,
} from './streams/stream-event.ts'
export { toolArguments } from './streams/tool-arguments.ts'
