/**
 * Which messages of a request are known already. Requests resend all that was said, in forms that differ: without ids, with other
 * white space in arguments, without thoughts, in the terms of another provider. So what is compared is what a part says: words by
 * who said them, calls and results by the id of the call. Thoughts are not compared; they belong to what follows them.
 */
import { canonicalJson, type Message, type Part } from '@colloquy/core'

/** Something that was said, after all that was said before it. */
export interface SaidNode {
  readonly children: Map<string, SaidNode>
  readonly messageId: string | undefined
  /** Of the conversation in which it was said; undefined for the beginning of all. */
  readonly conversationId: string | undefined
}

export const beginning = (): SaidNode => ({ children: new Map(), messageId: undefined, conversationId: undefined })

export function extend(node: SaidNode, key: string, conversationId: string, messageId: string): SaidNode {
  const known = node.children.get(key)
  if (known !== undefined) return known
  const child: SaidNode = { children: new Map(), messageId, conversationId }
  node.children.set(key, child)
  return child
}

/** Whether its message says nothing behind it. */
export function isEndOfMessage({ children, conversationId, messageId }: SaidNode): boolean {
  return ![...children.values()].some((next) => next.conversationId === conversationId && next.messageId === messageId)
}

/** What a part says, to be compared; undefined for thoughts. */
export function saidBy({ role }: Pick<Message, 'role'>, part: Part): string | undefined {
  switch (part.type) {
    case 'reasoning':
      return undefined
    case 'tool_call':
      return `call:${part.callId}`
    case 'tool_result':
      return `result:${part.callId}`
    case 'text':
    case 'refusal':
      return `${role}:${part.text}`
    case 'compaction':
      return `compaction:${part.opaque ?? part.content ?? ''}`
    default:
      return `${role}:${canonicalJson(part)}`
  }
}

export interface KnownPrefix {
  readonly node: SaidNode
  /** What is new of each message, with the thoughts that lead to it. */
  readonly rest: readonly Message[]
}

export function followKnown(from: SaidNode, messages: readonly Message[]): KnownPrefix {
  let node = from
  for (const [index, message] of messages.entries()) {
    for (const [place, part] of message.parts.entries()) {
      const key = saidBy(message, part)
      const next = key === undefined ? undefined : node.children.get(key)
      if (next !== undefined) node = next
      else if (key !== undefined) {
        const known = message.parts.findLastIndex((each, at) => at < place && saidBy(message, each) !== undefined)
        return { node, rest: [{ ...message, parts: message.parts.slice(known + 1) }, ...messages.slice(index + 1)] }
      }
    }
  }
  return { node, rest: [] }
}
