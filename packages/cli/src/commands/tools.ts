import { createToolRegistry, type Tool } from '@colloquy/agent'
import { openMemoryLog } from '@colloquy/engine'
import { chatTools } from '../chat/chat-tools.ts'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'

/** The tools that `chat` gives to a model. */
export async function listTools({ output }: Context): Promise<ExitCode> {
  await output.list(listing, [createToolRegistry(chatTools(openMemoryLog(), process.cwd())).list()])
  output.next(['chat'])
  return exitCodes.ok
}

const listing: Listing<Tool> = {
  columns: [
    { title: 'TOOL', value: ({ name, argumentHint }) => (argumentHint === undefined ? name : `${name} ${argumentHint}`) },
    { title: 'KIND', value: ({ kind = 'local' }) => kind },
    { title: 'ASKS FIRST', value: ({ needsApproval = false }) => (needsApproval === false ? 'no' : 'yes') },
    { title: 'WHAT IT DOES', value: ({ description = '' }) => description, isRest: true },
  ],
  json: ({ name, description, kind = 'local', needsApproval = false, idempotent = false, timeoutMs = 30_000 }) => ({
    id: name,
    description,
    kind,
    asksFirst: needsApproval !== false,
    idempotent,
    timeoutMs,
  }),
}
