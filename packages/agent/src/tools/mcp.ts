import type { JsonObject, ToolResultPart } from '@colloquy/core'
import type { CallToolResult, Client } from '@modelcontextprotocol/client'
import { type ExecutionContext, type Tool, toolParts } from './tool.ts'

export interface McpToolsOptions {
  /** Put before each name, with `__`: two servers may have tools of one name. Default: nothing. */
  readonly prefix?: string
  /** Which tools are wanted. Default: all. */
  readonly filter?: (name: string) => boolean
  /** What a server says of its tools (`idempotentHint`, `readOnlyHint`) is believed only where this is true: then they may be run again. */
  readonly trustHints?: boolean
  /** For each tool, instead of ours. */
  readonly override?: (name: string) => Partial<Omit<Tool, 'name' | 'input' | 'execute'>>
}

/**
 * The tools of an MCP server, as they are listed now, page by page; listen to `notifications/tools/list_changed` and put them into the
 * registry again. The client is connected already, and stays the caller's.
 */
export async function mcpTools(client: Pick<Client, 'listTools' | 'callTool'>, options: McpToolsOptions = {}): Promise<Tool[]> {
  const { prefix, filter = () => true, trustHints = false, override = () => ({}) } = options
  const tools: Tool[] = []
  let cursor: string | undefined
  do {
    const page = await client.listTools(cursor === undefined ? undefined : { cursor })
    for (const { name, title, description = title, inputSchema, annotations } of page.tools) {
      if (!filter(name)) continue
      const isSafe = trustHints && (annotations?.idempotentHint === true || annotations?.readOnlyHint === true)
      tools.push({
        name: prefix === undefined ? name : `${prefix}__${name}`,
        ...(description !== undefined && { description }),
        input: inputSchema as unknown as JsonObject,
        kind: 'remote',
        idempotent: isSafe,
        ...override(name),
        execute: async (args: JsonObject, context: ExecutionContext) => {
          const result = await client.callTool(
            { name, arguments: args },
            {
              signal: context.signal,
              // Time is the turn's: its signal aborts.
              timeout: 2 ** 31 - 1,
              onprogress: ({ progress, total, message }) =>
                context.progress(total === undefined ? undefined : Math.min(1, progress / total), message),
            },
          )
          return toolParts(await partsOf(result, context), { isError: result.isError === true })
        },
      })
    }
    cursor = page.nextCursor
  } while (cursor !== undefined)
  return tools
}

type Piece = ToolResultPart['content'][number]

async function partsOf({ content, structuredContent }: CallToolResult, context: ExecutionContext): Promise<Piece[]> {
  const parts: Piece[] = []
  for (const block of content) parts.push(await pieceOf(block, context))
  // A server that answers by a schema says the same in words, by the protocol; some do not.
  if (parts.length > 0 || structuredContent === undefined) return parts
  return [{ type: 'text', text: JSON.stringify(structuredContent) }]
}

async function pieceOf(block: CallToolResult['content'][number], { putMedia }: ExecutionContext): Promise<Piece> {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: block.text }
    case 'resource_link':
      return { type: 'text', text: `${block.title ?? block.name}: ${block.uri}` }
    case 'resource': {
      const { resource } = block
      if ('text' in resource) return { type: 'text', text: resource.text }
      return media('file', resource.mimeType ?? 'application/octet-stream', resource.blob)
    }
    case 'image':
    case 'audio':
      return media(block.type, block.mimeType, block.data)
    default:
      block satisfies never
      return { type: 'text', text: JSON.stringify(block) }
  }

  async function media(kind: 'image' | 'audio' | 'file', mediaType: string, base64: string): Promise<Piece> {
    const source = { kind: 'hash' as const, ...(await putMedia(mediaType, Buffer.from(base64, 'base64'))) }
    return { type: 'media', kind, mediaType, source }
  }
}
