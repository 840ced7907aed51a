/**
 * Conversations of ChatGPT: the list of an official export, or the one object that exporters in the browser write.
 *
 * A conversation is a tree: an edited question or a regenerated answer is a second child. What was said first is the conversation,
 * each later child begins a fork, which has what came before from its parent. Where the app showed another branch than the first, `activeConversation` in the metadata names it.
 *
 * One conversation is exported again and again, by programs that write more or fewer fields, after it was renamed and went on. So
 * a message is under its own id (`chatgpt:<id>`) and holds nothing but what was said; all else that the record says is kept raw
 * beside it, under an id made from that content (`chatgpt:<id>:fields:<hash>`), as are the title and the fields of the
 * conversation. Importing another export then adds what is new in it, and every message stays one.
 */
import {
  type ConversationAction,
  conversationTitled,
  defaultLimits,
  foreignRecordKept,
  forkIdOf,
  type HeldConversation,
  type ImportedFile,
  type ImportedFork,
  type ImportRemark,
  type Json,
  type JsonObject,
  type Message,
  metadataChanged,
  type Part,
} from '@colloquy/core'
import { asConversationId, contentId, conversationIds } from '../content-id.ts'
import { asList, asObject, asString } from '../fields.ts'
import { badLineEntry, fileValues, valuesIn } from '../file-values.ts'
import { type BadLine } from '../json-lines.ts'
import { type MediaShelf, mediaShelf } from '../media-shelf.ts'
import { refusal } from '../refusal.ts'
import type { SourceFile, TranscriptFormat } from '../source-file.ts'
import { argumentsFromText } from '../tool-arguments.ts'
import { storable, withoutWords, wordsOf } from '../without-words.ts'
import { type ThreadEntry, writeThread } from '../write-thread.ts'
import { contentParts, contentText, reasoningParts } from './content.ts'
import { type Branch, branchesOf, nodeId, type TreeNode } from './tree.ts'

const format = 'chatgpt'

export const chatgpt: TranscriptFormat = {
  id: format,
  describe: 'the data export of ChatGPT; a branch is a conversation of its own',
  files: ['json'],
  matches: (file) => valuesIn(file).some(({ value }) => isConversation(value)),
  importFile,
}

function isConversation(value: Json): boolean {
  const nodes = Object.values(asObject(asObject(value)?.mapping) ?? {})
  return nodes.some((node) => asList(asObject(node)?.children) !== undefined)
}

/** @throws `import_refused` with the number of the conversation, and the field that is not what it must be */
function importFile(file: SourceFile): ImportedFile {
  const { values, remarks: read, badLines, skipped } = fileValues(file)
  const nextId = conversationIds(file.options)
  const conversations: HeldConversation[] = []
  const remarks: ImportRemark[] = [...read]
  let records = skipped.length + badLines.length
  for (const { line, path, value } of values) {
    const fields = asObject(value)
    const mapping = asObject(fields?.mapping)
    if (fields === undefined || mapping === undefined) {
      throw refusal(file.source, line, `${path}.mapping is not an object, so this is no conversation. Take it out of the file`)
    }
    for (const [key, node] of Object.entries(mapping)) {
      if (asObject(node) === undefined) throw refusal(file.source, line, `${path}.mapping.${key} is not an object. Correct it`)
    }
    const written = importTree(file, line, fields, mapping, nextId, conversations.length === 0 ? badLines : [])
    conversations.push(...written.conversations)
    remarks.push(...written.remarks)
    records += 1 + Object.keys(mapping).length
  }
  return { format, records, conversations, skipped, remarks }
}

function importTree(
  file: SourceFile,
  line: number,
  fields: JsonObject,
  mapping: JsonObject,
  nextId: (wanted: string) => string,
  badLines: readonly BadLine[],
) {
  const hash = (value: Json): string => contentId(value, file.sha256)
  const branches = branchesOf(mapping)
  const givenId = asConversationId(fields.conversation_id) ?? asConversationId(fields.id)
  const firstNode = branches[0]?.nodes[0]
  const conversationId = nextId(givenId ?? `chatgpt-${hash([firstNode?.key ?? null, fields.create_time ?? null])}`)
  const idOfBranch = new Map<Branch, string>()
  const branchOf = new Map<TreeNode, Branch>()
  for (const [index, branch] of branches.entries()) {
    const [first] = branch.nodes
    idOfBranch.set(branch, index === 0 || !first ? conversationId : forkIdOf(conversationId, branchName(first, hash)))
    for (const node of branch.nodes) branchOf.set(node, branch)
  }
  const said = new Set<string>()
  const active = typeof fields.current_node === 'string' ? branches.find(endsWith(fields.current_node)) : undefined
  const written = (branches.length > 0 ? branches : [{ after: undefined, nodes: [] }]).map((branch, index) => {
    const media = mediaShelf(file.sha256)
    const entries = branch.nodes.flatMap((node, place) => entriesOf(node, place + 1, { line, branch, media, hash }))
    for (const entry of entries) if (entry.kind === 'message') said.add(entry.id)
    return writeThread({
      source: file.source,
      format,
      conversationId: idOfBranch.get(branch) ?? conversationId,
      started: index === 0 ? { source: { format, ...(givenId !== undefined && { id: givenId }) } } : forkPoint(branch),
      entries: [
        ...(index === 0 ? aboutConversation(line, fields, active && idOfBranch.get(active), branches.length, hash) : []),
        ...(index === 0 ? badLines.map((bad) => badLineEntry(format, bad)) : []),
        ...entries,
      ],
      media,
      envelopeBytes: file.options.envelopeBytes ?? defaultLimits.envelopeBytes,
    })
  })
  return {
    conversations: written.map(({ conversation }) => conversation),
    remarks: written.flatMap(({ remarks }) => remarks),
  }

  /** Behind the last message that the parent has at the node which the branch leaves, or behind its beginning. */
  function forkPoint({ after }: Branch): ImportedFork {
    const parentBranch = after && branchOf.get(after)
    const parentId = (parentBranch && idOfBranch.get(parentBranch)) ?? conversationId
    for (let node = after; node !== undefined && branchOf.get(node) === parentBranch; node = node.parent) {
      const messageId = nodeId(node, hash)
      if (said.has(messageId)) return { parentId, afterCommandId: `${format}:${messageId}`, messageId }
    }
    return { parentId, afterCommandId: parentId === conversationId ? `${format}:started` : 'forked' }
  }
}

/** "~" parts a fork's id, so no part of it may have one. */
function branchName(first: TreeNode, hash: (value: Json) => string): string {
  const name = nodeId(first, hash)
  return name.includes('~') ? hash(name) : name
}

const endsWith = (key: string) => (branch: Branch) => branch.nodes.some((node) => node.key === key)

/** The title and all other fields of the conversation, which change from export to export. */
function aboutConversation(
  line: number,
  conversation: JsonObject,
  activeConversation: string | undefined,
  branches: number,
  hash: (value: Json) => string,
): ThreadEntry[] {
  const { mapping: _, ...fields } = conversation
  const occurredAt = microseconds(fields.create_time)
  const about = (id: string, action: ConversationAction): ThreadEntry => ({
    kind: 'actions',
    line,
    id,
    occurredAt,
    actions: [action],
  })
  const title = asString(fields.title)
  const record = storable(fields)
  return [
    ...(title ? [about(`title:${hash(title)}`, conversationTitled({ title }))] : []),
    about(`conversation:${hash(record)}`, kept('conversation', 1, 'the fields of the conversation beside its messages', record)),
    ...(branches > 1 && activeConversation !== undefined
      ? [about(`active:${hash(activeConversation)}`, metadataChanged({ set: { activeConversation } }))]
      : []),
  ]
}

const kept = (recordType: string, line: number, reason: string, record: Json): ConversationAction =>
  foreignRecordKept({ format, recordType, line, reason, record })

interface Place {
  readonly line: number
  readonly branch: Branch
  readonly media: MediaShelf
  readonly hash: (value: Json) => string
}

/** The message of a node, and what else its record says. `place` counts the nodes of the branch: the file's order is not kept. */
function entriesOf(node: TreeNode, place: number, { line, branch, media, hash }: Place): ThreadEntry[] {
  const id = nodeId(node, hash)
  const raw = asObject(node.fields.message)
  const occurredAt = microseconds(raw?.create_time)
  const message = raw && messageOf(node, raw, branch, media, hash)
  const said: ThreadEntry[] = message
    ? [{ kind: 'message', line, id, occurredAt, message, records: [], isPrompt: message.role === 'user' }]
    : []
  const words = message ? wordsOf(message, id) : new Map<string, string>()
  // Children come and go with the branches; the tree is in the lineage.
  const { children: _, ...fields } = node.fields
  const record = withoutWords(media.replaceIn(fields), words)
  const reason = message ? 'what the message has no place for' : 'a node of the tree in which nothing was said'
  const beside: ThreadEntry = {
    kind: 'actions',
    line,
    id: `${id}:fields:${hash([place, record])}`,
    occurredAt,
    actions: [kept('node', place, reason, record)],
  }
  return [...said, beside]
}

const roles = { user: 'user', assistant: 'assistant', system: 'system', tool: 'tool' } as const

function messageOf(
  node: TreeNode,
  raw: JsonObject,
  branch: Branch,
  media: MediaShelf,
  hash: (value: Json) => string,
): Omit<Message, 'v' | 'id'> | undefined {
  const author = asObject(raw.author)
  const roleName = asString(author?.role) ?? ''
  const role = Object.hasOwn(roles, roleName) ? roles[roleName as keyof typeof roles] : undefined
  const content = asObject(raw.content)
  if (role === undefined || content === undefined) return undefined
  const parts = partsOf(node, role, raw, content, branch, media, hash)
  if (parts.length === 0 && role === 'system') return undefined
  const createdAt = microseconds(raw.create_time)
  const model = role === 'assistant' ? modelOf(asObject(raw.metadata)) : undefined
  return { role, parts, ...(createdAt !== undefined && { createdAt }), ...(model && { model }) }
}

function partsOf(
  node: TreeNode,
  role: Message['role'],
  raw: JsonObject,
  content: JsonObject,
  branch: Branch,
  media: MediaShelf,
  hash: (value: Json) => string,
): Part[] {
  if (role === 'assistant' && isCall(raw)) {
    const name = asString(raw.recipient) as string
    return [
      {
        type: 'tool_call',
        // The app gives calls no ids; each is a message of its own.
        callId: nodeId(node, hash),
        name,
        args: argumentsFromText(contentText(content)),
        executor: { kind: 'provider' },
      },
    ]
  }
  if (role !== 'tool') return reasoningParts(content) ?? contentParts(content, media)
  const call = callBefore(node, asString(asObject(raw.author)?.name), branch)
  const parts = contentParts(content, media)
  if (call === undefined) return parts
  return [{ type: 'tool_result', callId: nodeId(call, hash), callMessageId: nodeId(call, hash), status: 'ok', content: parts }]
}

const isCall = (raw: JsonObject): boolean => !['all', ''].includes(asString(raw.recipient) ?? 'all')

/** The call that a tool answers: no id links them. The nearest before it to that tool, else the nearest of all in the turn. */
function callBefore(node: TreeNode, name: string | undefined, branch: Branch): TreeNode | undefined {
  let nearest: TreeNode | undefined
  for (let at = node.parent; at !== undefined; at = at.parent) {
    const raw = asObject(at.fields.message)
    const role = asObject(raw?.author)?.role
    if (role === 'user') break
    if (raw === undefined || role !== 'assistant' || !isCall(raw)) continue
    if (raw.recipient === name) return at
    nearest ??= at
    if (at === branch.nodes[0]) break
  }
  return nearest
}

const stops = { stop: 'end', max_tokens: 'length', interrupted: 'interrupted', skip: 'other' } as const

function modelOf(metadata: JsonObject | undefined): Message['model'] {
  const id = asString(metadata?.model_slug)
  if (!id) return undefined
  const raw = asString(asObject(metadata?.finish_details)?.type)
  const unified = raw !== undefined && Object.hasOwn(stops, raw) ? stops[raw as keyof typeof stops] : 'other'
  return { provider: 'openai', api: 'chatgpt', id, ...(raw !== undefined && { stop: { unified, raw } }) }
}

/** Seconds with a fraction, as the app writes them. */
function microseconds(seconds: Json | undefined): number | undefined {
  if (typeof seconds !== 'number') return undefined
  const time = Math.round(seconds * 1_000_000)
  return Number.isSafeInteger(time) ? time : undefined
}
