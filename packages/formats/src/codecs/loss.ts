import type { Message } from '@colloquy/core'

/** Everything that encoding may lose or change. Closed: what is not here is carried over. */
export const lossKinds = {
  reasoning_dropped: 'Reasoning that only its own provider may see again, or that has nothing left to lead to.',
  opaque_dropped: 'A signature, or encrypted or compacted content, that only its own provider can read.',
  server_tool_dropped: "A call of a provider's own tool, with its result, that the target does not have or would refuse.",
  call_closed: 'A call without a result got one that says so.',
  result_dropped: 'A result without an open call, or the second result of a call.',
  result_moved: 'A result was moved to directly after its call.',
  call_id_changed: 'A call id was not legal or not unique for the target; its result was changed with it.',
  tool_name_changed: 'A tool name was not legal for the target.',
  arguments_changed: 'Arguments that are no JSON object were put into one.',
  status_dropped: 'A result that is not ok is marked by the words of its content only.',
  approval_dropped: 'A question for approval, or its answer; a denied call gets a result that says so.',
  media_replaced: 'Media that the target does not take there became a line of text.',
  media_missing: 'Media whose bytes were not handed in became a line of text.',
  converted_to_text: 'Something the target has no block for became text.',
  citations_dropped: 'Citations and sources.',
  part_dropped: 'A part that only its own format knows.',
  empty_dropped: 'Text, or a message, without anything in it.',
  text_trimmed: 'White space at the end of the last answer.',
  text_repaired: 'Half of a surrogate pair became U+FFFD.',
  role_changed: 'Instructions that the target does not take where they stood.',
  messages_merged: 'Two messages in a row became one.',
  message_split: 'One message became several.',
  filler_added: 'A first user message was put before an answer.',
  author_dropped: 'The name of who wrote the message.',
  cache_hint_dropped: 'A hint where to cache the prompt.',
} as const

export type LossKind = keyof typeof lossKinds

export interface Loss {
  readonly kind: LossKind
  readonly messageId: string
  /** Index in the message's `parts`; absent when it is the message, or an addition. */
  readonly part?: number
}

/** Where something stands, as far as losses name it. */
interface Place {
  readonly message: Message
  readonly index?: number
}

export type Report = (kind: LossKind, at: Place) => void

/** Losses in the order in which they were found, each named once. */
export function lossList(): { readonly report: Report; readonly all: readonly Loss[] } {
  const all: Loss[] = []
  const seen = new Set<string>()
  const report: Report = (kind, { message, index }) => {
    const key = `${kind} ${index ?? ''} ${message.id}`
    if (seen.has(key)) return
    seen.add(key)
    all.push({ kind, messageId: message.id, ...(index !== undefined && { part: index }) })
  }
  return { report, all }
}
