import type { ConversationState, ConversationSummary } from '@colloquy/core'
import { formatIsoTime } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'
import { openStore, type Store } from '../store.ts'
import { relativeTimeOf } from '../times.ts'

export interface ListOptions {
  readonly limit?: number
  readonly after?: string
}

interface ListedConversation extends ConversationSummary {
  readonly title: string | null
  /** The conversation that it came out of, and how. */
  readonly parent: ConversationState['lineage']['parent']
  /** In the working set. */
  readonly messages: number
  readonly contextTokens: number
}

/** One page of titles means loading so many states. */
const pageSize = 50

/** Lists the conversations of a store by id. */
export async function list(context: Context, options: ListOptions): Promise<ExitCode> {
  await using store = await openStore(context)
  const count = await context.output.list(listing, conversations(store, options))
  if (count === 0) context.output.next(['import', '<file.jsonl>'])
  else context.output.next(['show', '<id>'], ['replay', '<id>', '--verify'])
  return exitCodes.ok
}

async function* conversations(store: Store, { limit = Infinity, after }: ListOptions): AsyncIterable<ListedConversation[]> {
  let last = after
  for (let left = limit; left > 0; ) {
    const size = Math.min(pageSize, left)
    const page = await store.log.conversations({ tenant: store.tenant, limit: size, ...(last !== undefined && { after: last }) })
    const listed: ListedConversation[] = []
    for (const summary of page) listed.push(await withState(store, summary))
    yield listed
    left -= page.length
    last = page.at(-1)?.conversationId
    if (page.length < size) return
  }
}

/** From the snapshot where there is one, so the cost does not grow with the log. */
async function withState({ engine }: Store, summary: ConversationSummary): Promise<ListedConversation> {
  const { lifecycle, lineage, messages, context } = (await engine.open(summary.conversationId)).getState()
  return {
    ...summary,
    title: lifecycle.title,
    parent: lineage.parent,
    messages: messages.length,
    contextTokens: context.usedTokens,
  }
}

const listing: Listing<ListedConversation> = {
  columns: [
    { title: 'ID', value: ({ conversationId }) => conversationId, style: () => 'cyan' },
    { title: 'POSITION', value: ({ position }) => position, align: 'right' },
    { title: 'MESSAGES', value: ({ messages }) => messages, align: 'right' },
    { title: 'TOKENS', value: ({ contextTokens }) => contextTokens, align: 'right' },
    {
      title: 'LAST ACTIVITY',
      value: ({ occurredAt }) => formatIsoTime(occurredAt),
      shown: ({ occurredAt }) => relativeTimeOf(occurredAt, Date.now() * 1000),
    },
    { title: 'STATUS', value: ({ archived }) => (archived ? 'archived' : 'open') },
    {
      title: 'TITLE',
      value: ({ title, parent }) => title ?? (parent ? `${parent.relation} of ${parent.conversationId}` : ''),
      isRest: true,
    },
  ],
  json: ({ conversationId, position, messages, contextTokens, occurredAt, archived, title, parent }) => ({
    id: conversationId,
    title,
    parentId: parent?.conversationId ?? null,
    position,
    messages,
    contextTokens,
    occurredAt: formatIsoTime(occurredAt),
    archived,
  }),
}
