import type { RequestEncoder } from '@colloquy/context'
import type { Json } from '@colloquy/core'

/** A provider's request, as small as one can be: system prompt beside the messages, files inline. */
export const plainEncoder: RequestEncoder = {
  id: 'plain-chat@1',
  encode: ({ system, tools, messages, config }, media) => ({
    ...config,
    ...(system !== null && { system }),
    ...(tools.length > 0 && { tools: tools.map(({ name, inputSchema }) => ({ name, schema: inputSchema })) }),
    messages: messages.map(({ role, parts }) => ({
      role,
      content: parts.map((part): Json => {
        if (part.type === 'text') return { text: part.text }
        if (part.type === 'media' && part.source.kind === 'hash') {
          const bytes = media?.(part.source.hash)
          return { file: bytes === undefined ? null : Buffer.from(bytes).toString('base64') }
        }
        return JSON.parse(JSON.stringify(part)) as Json
      }),
    })),
  }),
}
