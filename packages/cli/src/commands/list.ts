import { type ConversationState, type ConversationSummary, isColloquyError } from '@colloquy/core'
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
  /** What is wrong with it, when its state cannot be had. */
  readonly damage: string | null
  readonly title: string | null
  /** The conversation that it came out of, and how. */
  readonly parent: ConversationState['lineage']['parent']
  /** In the working set. */
  readonly messages: number | null
  readonly contextTokens: number | null
}

/** One page of titles means loading so many states. */
const pageSize = 50

/** Lists the conversations of a store by id. One that is damaged hides no other. */
export async function list(context: Context, options: ListOptions): Promise<ExitCode> {
  await using store = await openStore(context)
  const damaged: string[] = []
  const count = await context.output.list(listing, conversations(store, options, damaged))
  if (damaged[0] !== undefined) {
    context.output.say(`${damaged.length} of ${count} conversations ${damaged.length === 1 ? 'is' : 'are'} damaged.`)
    context.output.next(['verify', damaged[0]])
    return exitCodes.verificationFailed
  }
  if (count === 0) context.output.next(['import', '<file.jsonl>'])
  else context.output.next(['show', '<id>'], ['replay', '<id>', '--verify'])
  return exitCodes.ok
}

async function* conversations(
  store: Store,
  { limit = Infinity, after }: ListOptions,
  damaged: string[],
): AsyncIterable<ListedConversation[]> {
  let last = after
  for (let left = limit; left > 0; ) {
    const size = Math.min(pageSize, left)
    const page = await store.log.conversations({ tenant: store.tenant, limit: size, ...(last !== undefined && { after: last }) })
    const listed: ListedConversation[] = []
    for (const summary of page) listed.push(await withState(store, summary))
    damaged.push(...listed.flatMap(({ damage, conversationId }) => (damage === null ? [] : [conversationId])))
    yield listed
    left -= page.length
    last = page.at(-1)?.conversationId
    if (page.length < size) return
  }
}

async function withState(store: Store, summary: ConversationSummary): Promise<ListedConversation> {
  try {
    return { ...summary, ...(await stateOf(store, summary)), damage: null }
  } catch (error) {
    if (!isColloquyError(error, 'log_corrupt')) throw error
    return { ...summary, title: null, parent: null, messages: null, contextTokens: null, damage: error.message }
  }
}

/** From the snapshot where there is one, so the cost does not grow with the log. */
async function stateOf({ engine }: Store, { conversationId }: ConversationSummary) {
  const { lifecycle, lineage, messages, context } = (await engine.open(conversationId)).getState()
  return { title: lifecycle.title, parent: lineage.parent, messages: messages.length, contextTokens: context.usedTokens }
}

const listing: Listing<ListedConversation> = {
  columns: [
    { title: 'ID', value: ({ conversationId }) => conversationId, style: () => 'cyan' },
    { title: 'POSITION', value: ({ position }) => position, align: 'right' },
    { title: 'MESSAGES', value: ({ messages }) => messages ?? '', align: 'right' },
    { title: 'TOKENS', value: ({ contextTokens }) => contextTokens ?? '', align: 'right' },
    {
      title: 'LAST ACTIVITY',
      value: ({ occurredAt }) => formatIsoTime(occurredAt),
      shown: ({ occurredAt }) => relativeTimeOf(occurredAt, Date.now() * 1000),
    },
    {
      title: 'STATUS',
      value: ({ archived, damage }) => (damage !== null ? 'damaged' : archived ? 'archived' : 'open'),
      style: ({ damage }) => (damage === null ? undefined : 'red'),
    },
    {
      title: 'TITLE',
      value: ({ title, parent, damage }) => damage ?? title ?? (parent ? `${parent.relation} of ${parent.conversationId}` : ''),
      isRest: true,
    },
  ],
  json: ({ conversationId, position, messages, contextTokens, occurredAt, archived, title, parent, damage }) => ({
    id: conversationId,
    title,
    parentId: parent?.conversationId ?? null,
    position,
    messages,
    contextTokens,
    occurredAt: formatIsoTime(occurredAt),
    archived,
    damage,
  }),
}
