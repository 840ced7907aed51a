/**
 * How a message comes back the way it was written.
 *
 * A codec decodes a block into a part, encodes that part again, and keeps what came out differently: the fields that the part does
 * not say (`fields`), and which of several ways of writing was used (`form`). Where that is not enough the block itself is kept, in
 * `raw`. So going back to the origin is right because it was tried, for every block that was ever decoded, and nothing is kept
 * twice. A frame of a part is in `providerMetadata`, one of a message in `raw`, both under the id of the codec that may use it.
 */
import type { Json, JsonObject, Message, Part } from '@colloquy/core'
import { rehearsal, type Writing } from './codec.ts'
import { asObject, asString, sameJson } from './fields.ts'
import type { Entry } from './parts.ts'

export interface Frame {
  /** Which of the ways of writing; absent: the codec's first. */
  readonly form?: string
  readonly fields?: JsonObject
}

/** The frame in which `build` gives `block` again, with the least in it; undefined when there is none. */
export function frameOf<Form extends string>(
  block: JsonObject,
  forms: readonly [Form, ...Form[]],
  build: (form: Form) => Json | undefined,
): Frame | undefined {
  let best: Frame | undefined
  let bestSize = Number.POSITIVE_INFINITY
  for (const form of forms) {
    const built = asObject(build(form))
    if (built === undefined || !Object.keys(built).every((key) => Object.hasOwn(block, key))) continue
    const fields = Object.entries(block).filter(([key, value]) => !sameJson(built[key], value))
    const frame = {
      ...(form !== forms[0] && { form }),
      ...(fields.length > 0 && { fields: Object.fromEntries(fields) }),
    }
    const size = JSON.stringify(frame).length
    if (size < bestSize) [best, bestSize] = [frame, size]
  }
  return best
}

export function framed(built: JsonObject, frame: Frame | undefined): JsonObject {
  return frame?.fields === undefined ? built : { ...built, ...frame.fields }
}

export function partFrame(part: Part, codec: string): Frame | undefined {
  return readFrame(part.providerMetadata?.[codec])
}

export function messageFrame(message: Message, codec: string): Frame | undefined {
  return readFrame(asObject(message.raw)?.[codec])
}

export function withPartFrame<P extends Part>(part: P, codec: string, frame: Frame): P {
  return isEmpty(frame) ? part : { ...part, providerMetadata: { ...part.providerMetadata, [codec]: frame as JsonObject } }
}

export function withMessageFrame(message: Message, codec: string, frame: Frame): Message {
  return isEmpty(frame) ? message : { ...message, raw: { [codec]: frame as JsonObject } }
}

/** Who may be given `part.raw`. */
export interface Origin {
  readonly provider: string
  readonly api: string
}

/** How a codec makes blocks of parts. `build` reads the form from the part's frame; undefined: the codec has no block for it. */
export interface BlockFormat {
  readonly codec: string
  readonly origin: Origin
  readonly build: (entry: Entry, writing: Writing) => Json | undefined
}

/** `part`, with what brings `block` back out of it: a frame when one fits, else the block. */
export function keepBlock<P extends Part>(
  part: P,
  block: Json,
  { codec, origin, build }: BlockFormat,
  forms: readonly [string, ...string[]] = ['plain'],
): P {
  const fields = asObject(block)
  const frame =
    fields &&
    frameOf(fields, forms, (form) => {
      const written = form === forms[0] ? part : withPartFrame(part, codec, { form })
      return build({ part: written, message: nowhere }, rehearsal)
    })
  return frame === undefined ? { ...part, origin, raw: block } : withPartFrame(part, codec, frame)
}

const nowhere: Message = { v: 1, id: 'none', role: 'assistant', parts: [] }

/** The block of a part: as it was kept, or as `build` makes it. */
export function blockOf(entry: Entry, writing: Writing, { codec, origin, build }: BlockFormat): Json | undefined {
  if (entry.part.raw !== undefined && isFrom(entry.part, origin)) return entry.part.raw
  const built = build(entry, writing)
  const fields = asObject(built)
  return fields === undefined ? built : framed(fields, partFrame(entry.part, codec))
}

export function isFrom(part: Part, { provider, api }: Origin): boolean {
  return part.origin?.provider === provider && (part.origin.api ?? api) === api
}

function readFrame(value: Json | undefined): Frame | undefined {
  const frame = asObject(value)
  if (frame === undefined) return undefined
  const [form, fields] = [asString(frame.form), asObject(frame.fields)]
  return { ...(form !== undefined && { form }), ...(fields !== undefined && { fields }) }
}

function isEmpty(frame: Frame): boolean {
  return frame.form === undefined && frame.fields === undefined
}
