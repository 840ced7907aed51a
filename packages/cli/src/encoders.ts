/** The requests that this command can write again: the codecs of `formats` as encoders. */
import type { ModelRequest, RequestEncoder } from '@colloquy/context'
import { type Json, type JsonObject, textMessage } from '@colloquy/core'
import { anthropicMessages, type Codec, geminiContents, openaiChat, openaiResponses } from '@colloquy/formats'

type Tool = ModelRequest['tools'][number]

/** `config` goes into the body as it is: by the names of the API. */
function encoderOf<Body extends object>(
  id: string,
  codec: Codec<Body>,
  toolsOf: (tools: readonly Tool[]) => Json,
): RequestEncoder {
  return {
    id,
    encode({ system, tools, messages, config }, media) {
      const all = system === null ? messages : [textMessage('system', 'system', system), ...messages]
      const { body } = codec.encode(all, { purpose: 'request', ...(media && { media }) })
      return { ...config, ...(tools.length > 0 && { tools: toolsOf(tools) }), ...(body as JsonObject) }
    },
  }
}

const described = ({ name, description }: Tool) => ({ name, ...(description !== undefined && { description }) })

export const encoders: readonly RequestEncoder[] = [
  encoderOf('anthropic-messages@1', anthropicMessages, (tools) =>
    tools.map((tool) => ({ ...described(tool), input_schema: tool.inputSchema })),
  ),
  encoderOf('openai-chat@1', openaiChat, (tools) =>
    tools.map((tool) => ({ type: 'function', function: { ...described(tool), parameters: tool.inputSchema } })),
  ),
  encoderOf('openai-responses@1', openaiResponses, (tools) =>
    tools.map((tool) => ({ type: 'function', ...described(tool), parameters: tool.inputSchema })),
  ),
  encoderOf('gemini@1', geminiContents, (tools) => [
    { functionDeclarations: tools.map((tool) => ({ ...described(tool), parametersJsonSchema: tool.inputSchema })) },
  ]),
]

/** An encoder by its id, or by the name of its API, then the newest. */
export const encoderNamed = (name: string): RequestEncoder | undefined =>
  encoders.findLast(({ id }) => id === name || id.slice(0, id.lastIndexOf('@')) === name)
