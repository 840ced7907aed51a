/**
 * What is different between two states, in their own terms: by slice, messages and other things by their id, and numbers as
 * `before -> after`. A patch of JSON would list 2,000 moved array items for one compaction.
 */
import { canonicalJson, type Json, Vector } from '@colloquy/core'

/** A value that is no list of things: a counter, a title, the last compaction. */
export interface FieldChange {
  /** Inside the slice, for example `open.limit`; empty for the slice itself. */
  readonly path: string
  /** Undefined: was not there. */
  readonly before?: Json
  /** Undefined: is not there any more. */
  readonly after?: Json
}

/** A thing that is known by an id. */
export interface Thing {
  readonly id: string
  readonly value: Json
}

interface ThingChange {
  readonly id: string
  readonly fields: readonly FieldChange[]
}

export interface SliceDifference {
  /** The slice's name. */
  readonly id: string
  readonly added: readonly Thing[]
  readonly removed: readonly Thing[]
  readonly changed: readonly ThingChange[]
  readonly fields: readonly FieldChange[]
}

/** Slices that differ, by name; none when the states are equal. */
export function stateDifference(before: object, after: object): SliceDifference[] {
  const [from, to] = [before as Record<string, unknown>, after as Record<string, unknown>]
  const names = [...new Set([...Object.keys(from), ...Object.keys(to)])]
  return names
    .filter((name) => from[name] !== to[name])
    .map((name) => sliceDifference(name, plain(from[name]), plain(to[name])))
    .filter(({ added, removed, changed, fields }) => added.length + removed.length + changed.length + fields.length > 0)
}

function sliceDifference(name: string, before: Json | undefined, after: Json | undefined): SliceDifference {
  const things = { added: [] as Thing[], removed: [] as Thing[], changed: [] as ThingChange[] }
  const fields: FieldChange[] = []
  compare('', before, after, fields, things)
  return { id: name, ...things, fields }
}

interface Things {
  readonly added: Thing[]
  readonly removed: Thing[]
  readonly changed: ThingChange[]
}

function compare(path: string, before: Json | undefined, after: Json | undefined, fields: FieldChange[], things: Things): void {
  if (isThings(before) && isThings(after)) {
    compareThings(before, after, things)
  } else if (isRecord(before) && isRecord(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(path === '' ? key : `${path}.${key}`, before[key], after[key], fields, things)
    }
  } else if (!isSame(before, after)) {
    fields.push({ path, ...(before !== undefined && { before }), ...(after !== undefined && { after }) })
  }
}

function compareThings(before: readonly Json[], after: readonly Json[], things: Things): void {
  const [old, young] = [byId(before), byId(after)]
  for (const [id, value] of old) if (!young.has(id)) things.removed.push({ id, value })
  for (const [id, value] of young) {
    const was = old.get(id)
    if (was === undefined) things.added.push({ id, value })
    else if (!isSame(was, value)) things.changed.push({ id, fields: changedFields(was, value) })
  }
}

/** Inside a thing a list is a value: nobody reads a difference of differences. */
function changedFields(before: Json, after: Json): FieldChange[] {
  if (!isRecord(before) || !isRecord(after)) return [{ path: '', before, after }]
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((key) => !isSame(before[key], after[key]))
    .map((path) => {
      const [was, is] = [before[path], after[path]]
      return { path, ...(was !== undefined && { before: was }), ...(is !== undefined && { after: is }) }
    })
}

/** Two things under one id (a file may repeat a message) stay two. */
function byId(list: readonly Json[]): Map<string, Json> {
  const found = new Map<string, Json>()
  for (const item of list) {
    const id = idOf(item) as string
    let unique = id
    for (let n = 2; found.has(unique); n++) unique = `${id} (${n})`
    found.set(unique, item)
  }
  return found
}

/** An `id`, or what our open tool calls are known by. */
function idOf(item: Json): string | undefined {
  if (!isRecord(item)) return undefined
  const { id, messageId, callId } = item
  if (typeof id === 'string') return id
  return typeof messageId === 'string' && typeof callId === 'string' ? `${messageId}/${callId}` : undefined
}

function plain(value: unknown): Json | undefined {
  return (Vector.isVector(value) ? value.slice() : value) as Json | undefined
}

function isSame(a: Json | undefined, b: Json | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && canonicalJson(a) === canonicalJson(b))
}

/** A list whose items are known by ids; every other list is a value. */
function isThings(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value) && value.every((item: Json) => idOf(item) !== undefined)
}

function isRecord(value: Json | undefined): value is Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
