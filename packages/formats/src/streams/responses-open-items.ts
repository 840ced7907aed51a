/** The output items of a response while their events arrive. */
import type { Json, JsonObject, Part } from '@colloquy/core'
import { asCount, asList, asObject, asString } from '../codecs/fields.ts'
import type { Answer, OpenPart, TextKind } from './answer.ts'
import { asText, lookUp } from './fields.ts'
import { citationOf, headOfItem, type ItemContext, partsOfItem } from './responses-items.ts'

export interface Items {
  readonly answer: Answer
  readonly open: Map<number, OpenItem>
  /** Ids of the items that are done, by `output_index`. */
  readonly done: Map<number, Json | undefined>
  hasClientCalls: boolean
  hasApprovals: boolean
  hasRefusal: boolean
}

/** An output item while it arrives. Its ids change from event to event at some gateways; `output_index` does not. */
interface OpenItem {
  readonly index: number
  item: JsonObject
  /** Of a message, by `content_index`; of any other item, under 0. */
  readonly parts: Map<number, OpenPart>
  /** Of a message, by `content_index`. */
  readonly annotations: Map<number, Json[]>
  readonly summary: Map<number, string>
}

export function openItems(answer: Answer): Items {
  return { answer, open: new Map(), done: new Map(), hasClientCalls: false, hasApprovals: false, hasRefusal: false }
}

/** Events that bring a piece of a text, or say the whole of it again. False: it is another event, or not of its item. */
export function takeText(items: Items, type: string, payload: JsonObject): boolean {
  const [, subject, verb] = /^response\.(.+)\.(delta|done|added)$/.exec(type) ?? []
  const known = lookUp(textEvents, subject)
  if (known === undefined || verb === undefined) return false
  const index = indexOf(items, payload)
  if (items.done.has(index)) return true
  const content = known.item === 'message' ? (asCount(payload.content_index) ?? 0) : 0
  const item = items.open.get(index) ?? openItem(items, index, { type: known.item })
  if (item.item.type !== known.item) return false
  const part = item.parts.get(content) ?? openContentPart(items, item, content, known.kind === 'refusal' ? 'refusal' : 'text')
  if (known.item === 'message' && part.kind !== known.kind) return false
  if (subject === 'output_text.annotation') {
    const { annotation } = payload
    if (annotation === undefined) return true
    item.annotations.get(content)?.push(annotation)
    part.append({ kind: 'citation', citation: citationOf(annotation) })
  } else if (known.kind === 'summary') {
    takeSummary(item, part, asCount(payload.summary_index) ?? 0, verb, payload)
  } else if (verb === 'delta') {
    const text = asText(payload.delta)
    const logprobs = asList(payload.logprobs) ?? []
    if (text !== undefined) part.append({ kind: known.kind, text, ...(logprobs.length > 0 && { logprobs }) })
  } else {
    const whole = asString(payload[known.whole])
    if (whole !== undefined) part.complete(known.kind, whole)
  }
  return true
}

function takeSummary(item: OpenItem, part: OpenPart, index: number, verb: string, payload: JsonObject): void {
  const before = item.summary.get(index) ?? ''
  const whole = asString(payload.text) ?? ''
  const text = verb === 'delta' ? (asString(payload.delta) ?? '') : whole.startsWith(before) ? whole.slice(before.length) : ''
  item.summary.set(index, before + text)
  if (text !== '') part.append({ kind: 'summary', text, index })
}

export function openItem(items: Items, index: number, item: JsonObject): OpenItem {
  const before = items.open.get(index)
  if (before !== undefined) {
    // Its deltas came first.
    if (item.type === before.item.type) before.item = item
    return before
  }
  const opened: OpenItem = { index, item, parts: new Map(), annotations: new Map(), summary: new Map() }
  items.open.set(index, opened)
  items.answer.hold(JSON.stringify(item).length)
  const head = headOfItem(item, contextOf(items, index, false))
  if (head !== undefined) opened.parts.set(0, openHead(items, index, head))
  return opened
}

function openHead({ answer }: Items, index: number, head: Part): OpenPart {
  const call = head.type === 'tool_call' ? { callId: head.callId, name: head.name } : {}
  return answer.open(head.type, { place: index, ...call })
}

export function openContent(items: Items, payload: JsonObject, { type }: JsonObject): void {
  const index = indexOf(items, payload)
  if (items.done.has(index)) return
  const item = items.open.get(index) ?? openItem(items, index, { type: type === 'reasoning_text' ? 'reasoning' : 'message' })
  const content = asCount(payload.content_index) ?? 0
  // Only messages have several contents; the text of a reasoning item is its one part.
  const kind = type === 'output_text' ? 'text' : type === 'refusal' ? 'refusal' : undefined
  if (item.item.type === 'message' && kind !== undefined && !item.parts.has(content)) openContentPart(items, item, content, kind)
}

function openContentPart(
  { answer }: Items,
  { index, parts, annotations }: OpenItem,
  content: number,
  kind: 'text' | 'refusal',
): OpenPart {
  const part = answer.open(kind, { place: index })
  parts.set(content, part)
  annotations.set(content, [])
  return part
}

/** `item` is complete: its parts are what it says, whatever the deltas brought. */
export function finishItem(items: Items, index: number, item: JsonObject): void {
  if (items.done.has(index)) return
  const opened = items.open.get(index) ?? openItem(items, index, item)
  const text = opened.parts.get(0)?.text() ?? ''
  const field = lookUp(itemTexts, asString(item.type))?.field
  const isMissing = field !== undefined && text !== '' && typeof item[field] !== 'string'
  // An item that is cut by max_output_tokens is done as well.
  closeItem(items, opened, isMissing ? { ...item, [field]: text } : item, item.status !== 'incomplete')
}

/**
 * Takes from the list in `response.completed` what was not streamed, or not to its end. Of everything else it holds copies: under
 * other ids at some gateways, and at other places when the stream left indexes out.
 */
export function finishFromOutput(items: Items, output: readonly JsonObject[]): void {
  for (const { index, item } of items.open.values()) {
    const sameId = output.find(({ id }) => id !== undefined && id === item.id)
    const final = sameId ?? (output[index]?.type === item.type ? output[index] : undefined)
    if (final !== undefined) finishItem(items, index, final)
  }
  if (items.open.size + items.done.size >= output.length) return
  const known = new Set(items.done.values())
  for (const [index, item] of output.entries()) {
    if (!items.open.has(index) && !known.has(item.id)) finishItem(items, index, item)
  }
}

/** The answer ends: what is open is kept as it arrived. */
export function closeItems(items: Items): void {
  for (const opened of items.open.values()) {
    const places = inOrder(opened.parts).map(([content]) => content)
    closeItem(items, opened, arrivedItem(opened), false, places)
  }
}

/** @param places under which index the parts of the item are open, where contents may be missing between them */
function closeItem(items: Items, opened: OpenItem, item: JsonObject, isWhole: boolean, places?: readonly number[]): void {
  const { index, parts } = opened
  items.open.delete(index)
  items.done.set(index, item.id)
  const finals = partsOfItem(item, contextOf(items, index, isWhole))
  noteCalls(items, finals)
  for (const [at, final] of finals.entries()) {
    const place = places?.[at] ?? at
    const part = parts.get(place)
    if (part === undefined) items.answer.add(final, index)
    else {
      parts.delete(place)
      finishPart(opened, part, final, item)
    }
  }
  // Begun, but not in the item: it is kept as it arrived.
  for (const part of parts.values()) part.finish({ type: 'text', text: part.text() })
}

function finishPart(opened: OpenItem, part: OpenPart, final: Part, item: JsonObject): void {
  const whole = textOf(final, item)
  if (whole !== undefined) part.complete(whole.kind, whole.text)
  // It ended as another kind of item than it began.
  else if (final.type === 'tool_call' && item.type !== opened.item.type) part.complete('arguments', final.args.raw)
  const summary = final.type === 'reasoning' ? (final.summary ?? []) : []
  for (const [at, text] of summary.entries()) takeSummary(opened, part, at, 'done', { text })
  part.finish(final)
}

function noteCalls(items: Items, parts: readonly Part[]): void {
  for (const part of parts) {
    if (part.type === 'tool_call' && part.executor.kind === 'client') items.hasClientCalls = true
    if (part.type === 'approval') items.hasApprovals = true
    if (part.type === 'refusal') items.hasRefusal = true
  }
}

/** The place of the item to which an event belongs. */
function indexOf({ open }: Items, { output_index, item_id }: JsonObject): number {
  const given = asCount(output_index)
  if (given !== undefined) return given
  const items = [...open.values()]
  return (items.find(({ item }) => item_id !== undefined && item.id === item_id) ?? items.at(-1))?.index ?? 0
}

/** The place of an item that begins or, `isDone`, ends; of one that was not seen before and says no place, the next free one. */
export function placeOf({ open, done }: Items, { output_index }: JsonObject, item: JsonObject, isDone: boolean): number {
  const given = asCount(output_index)
  if (given !== undefined) return given
  const items = [...open.values()]
  const known = items.find((one) => isSame(one.item, item))
  if (known !== undefined) return known.index
  const finished = item.id === undefined ? undefined : [...done].find(([, id]) => id === item.id)
  if (finished !== undefined) return finished[0]
  // One that ends may have got other ids; one that begins was begun only where its deltas came first.
  const begun = items.find((one) => one.item.type === item.type && (isDone || Object.keys(one.item).length === 1))
  return begun?.index ?? [...open.keys(), ...done.keys()].reduce((most, index) => Math.max(most, index), -1) + 1
}

const isSame = (one: JsonObject, other: JsonObject): boolean =>
  (one.id !== undefined && one.id === other.id) || (one.call_id !== undefined && one.call_id === other.call_id)

function contextOf({ answer }: Items, index: number, isWhole: boolean): ItemContext {
  return { index, isWhole, putMedia: answer.putMedia }
}

/** What an item would be if it ended with what has arrived. */
function arrivedItem({ item, parts, annotations, summary }: OpenItem): JsonObject {
  const text = parts.get(0)?.text() ?? ''
  switch (item.type) {
    case 'message':
      return { ...item, content: inOrder(parts).map(([index, part]) => arrivedContent(part, annotations.get(index) ?? [])) }
    case 'reasoning':
      return {
        ...item,
        ...(text !== '' && { content: [{ type: 'reasoning_text', text }] }),
        summary: inOrder(summary).map(([, said]) => ({ type: 'summary_text', text: said })),
      }
    case 'apply_patch_call':
      return { ...item, operation: { ...asObject(item.operation), diff: text } }
    default: {
      const known = lookUp(itemTexts, asString(item.type))
      return known === undefined || text === '' ? item : { ...item, [known.field]: text }
    }
  }
}

function arrivedContent(part: OpenPart, annotations: readonly Json[]): JsonObject {
  const text = part.text()
  return part.kind === 'refusal' ? { type: 'refusal', refusal: text } : { type: 'output_text', text, annotations }
}

/** The text of which the deltas of a part are pieces. */
function textOf(final: Part, item: JsonObject): { readonly kind: TextKind; readonly text: string } | undefined {
  if (final.type === 'text' || final.type === 'refusal') return { kind: final.type, text: final.text }
  if (final.type === 'reasoning') return final.text === undefined ? undefined : { kind: 'reasoning', text: final.text }
  const diff = asString(asObject(item.operation)?.diff)
  if (item.type === 'apply_patch_call' && diff !== undefined) return { kind: 'input', text: diff }
  const known = lookUp(itemTexts, asString(item.type))
  const text = known && asString(item[known.field])
  return known === undefined || text === undefined ? undefined : { kind: known.kind, text }
}

const inOrder = <T>(byIndex: ReadonlyMap<number, T>): [number, T][] => [...byIndex].sort(([a], [b]) => a - b)

/** The items whose text is streamed, and the field in which they have it. */
const itemTexts: { readonly [type: string]: { readonly kind: TextKind; readonly field: string } } = {
  function_call: { kind: 'arguments', field: 'arguments' },
  mcp_call: { kind: 'arguments', field: 'arguments' },
  mcp_approval_request: { kind: 'arguments', field: 'arguments' },
  custom_tool_call: { kind: 'arguments', field: 'input' },
  code_interpreter_call: { kind: 'input', field: 'code' },
}

/** Events that bring a text, by what stands between `response.` and `.delta` or `.done`; `whole` is the field of the latter. */
const textEvents: {
  readonly [subject: string]: { readonly kind: TextKind | 'summary'; readonly item: string; readonly whole: string }
} = {
  output_text: { kind: 'text', item: 'message', whole: 'text' },
  'output_text.annotation': { kind: 'text', item: 'message', whole: '' },
  refusal: { kind: 'refusal', item: 'message', whole: 'refusal' },
  reasoning_text: { kind: 'reasoning', item: 'reasoning', whole: 'text' },
  reasoning_summary_text: { kind: 'summary', item: 'reasoning', whole: 'text' },
  function_call_arguments: { kind: 'arguments', item: 'function_call', whole: 'arguments' },
  mcp_call_arguments: { kind: 'arguments', item: 'mcp_call', whole: 'arguments' },
  'mcp_call.arguments': { kind: 'arguments', item: 'mcp_call', whole: 'arguments' },
  custom_tool_call_input: { kind: 'arguments', item: 'custom_tool_call', whole: 'input' },
  code_interpreter_call_code: { kind: 'input', item: 'code_interpreter_call', whole: 'code' },
  apply_patch_call_operation_diff: { kind: 'input', item: 'apply_patch_call', whole: 'diff' },
}
