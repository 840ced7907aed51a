import { readFile, realpath, stat } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import { defineTool, type Tool } from '@colloquy/agent'
import { type EventLog, messageAdded, openEnvelope } from '@colloquy/core'
import { z } from 'zod'
import { describeMessage } from '../describe-action.ts'

const limitBytes = 64 * 1024

/** The tools of `chat`: small, local, and none of them writes. */
export function chatTools(log: Pick<EventLog, 'read'>, directory: string): readonly Tool[] {
  return [
    defineTool({
      name: 'now',
      description: 'The date and time, in UTC.',
      input: z.strictObject({}),
      idempotent: true,
      execute: () => new Date().toISOString(),
    }),
    defineTool({
      name: 'search_transcript',
      description: 'Looks for words in all messages of this conversation, those that were compacted away too.',
      input: z.strictObject({ words: z.string().min(1) }),
      argumentHint: '<words>',
      idempotent: true,
      async execute({ words }, { conversation, signal }) {
        const found: string[] = []
        for await (const page of log.read({ tenant: conversation.tenant, conversationId: conversation.id })) {
          signal.throwIfAborted()
          for (const { action, position } of page.map(openEnvelope)) {
            if (!messageAdded.match(action)) continue
            const { message } = action.payload
            const text = describeMessage(message)
            if (text.toLowerCase().includes(words.toLowerCase())) found.push(`${position} ${message.role}: ${text}`)
          }
        }
        return found.length === 0 ? `Nothing holds "${words}".` : found.slice(-10).join('\n')
      },
    }),
    defineTool({
      name: 'read_file',
      description: 'Reads a text file below the directory in which the chat was started. The user is asked first.',
      input: z.strictObject({ path: z.string().min(1) }),
      argumentHint: '<path>',
      idempotent: true,
      needsApproval: true,
      recovery: 'Ask the user for the path, relative to the directory of the chat.',
      execute: ({ path }) => readBelow(directory, path),
    }),
  ]
}

/** Links are followed before it is looked where the file lies. @throws what reading throws, and for a file elsewhere or too large */
async function readBelow(directory: string, path: string): Promise<string> {
  const root = await realpath(directory)
  const file = await realpath(resolve(root, path))
  if (relative(root, file).startsWith('..')) throw new Error(`${path} lies outside of the directory of the chat.`)
  const { size } = await stat(file)
  if (size > limitBytes) throw new Error(`${path} has ${size} bytes, more than ${limitBytes}.`)
  return readFile(file, 'utf8')
}
