/** The requests that this command can write again: those of all models of `agent`. What is stored under an id stays in this list. */
import { aiSdkEncoder, anthropicEncoder, langChainEncoder, openaiChatEncoder, openaiResponsesEncoder } from '@colloquy/agent'
import type { RequestEncoder } from '@colloquy/context'

/** From the oldest to the newest of each API. */
export const encoders: readonly RequestEncoder[] = [
  anthropicEncoder,
  openaiResponsesEncoder,
  openaiChatEncoder,
  aiSdkEncoder,
  langChainEncoder,
]

/** An encoder by its id, or by the name of its API alone (`anthropic-messages` is `anthropic.messages`), then the newest. */
export function encoderNamed(name: string): RequestEncoder | undefined {
  const plain = (text: string) => text.replaceAll('.', '-')
  return encoders.findLast(({ id }) => [id, id.slice(0, id.lastIndexOf('@'))].map(plain).includes(plain(name)))
}
