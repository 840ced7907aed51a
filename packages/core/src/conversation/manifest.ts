/**
 * Manifests: what each model call was sent, by content hashes in order, so that the exact bytes can be made again and proved.
 *
 * The content itself is where it always was. Messages are in the log, and an entry names the position of the action that brought the
 * message; system prompt, tool schemas, config and whatever else a request holds are media, kept under their hash before the append.
 * A manifest says what differs from the one before (its base): the working set is long, and calls are many.
 */
import { z } from 'zod'
import { defineAction, type StampedActionOf } from '../action.ts'
import { ColloquyError } from '../errors.ts'
import { defineSlice } from '../slice.ts'
import { Vector } from '../vector.ts'
import { id, tokenCount } from './message.ts'

/** SHA-256 in hex, of the UTF-8 of what `JSON.stringify` writes. Not salted: an erasure follows `derivedFrom` to the manifests. */
const contentHash = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hex')

const entry = z.strictObject({
  hash: contentHash,
  /** Of the action that brought the message; null for one that the log does not have. */
  position: z.int().positive().nullable(),
  /** The content is a media of this hash, because it is not the message of the working set as it stands there. */
  kept: z.literal(true).optional(),
})

/** One message of a model call. */
export type ManifestEntry = z.infer<typeof entry>

const step = z.union([
  /** So many entries of the base, from an index on. */
  z.strictObject({ keepFrom: z.int().nonnegative(), keepCount: z.int().positive() }),
  entry,
])

/** How the messages of a manifest come out of those of its base. */
export type ManifestStep = z.infer<typeof step>

const size = z.strictObject({
  messages: z.int().nonnegative(),
  /** Of the JSON of tools, system prompt and messages in UTF-8. */
  bytes: z.int().nonnegative(),
  tokens: tokenCount.optional(),
})

/** A model is sent a request. Stored before the request leaves; what comes back is other actions. */
export const modelCalled = defineAction(
  'modelCalled',
  z.strictObject({
    callId: id,
    model: z.strictObject({ provider: z.string(), id: z.string() }).optional(),
    /** `<api>@<version>` of what wrote the request. */
    encoder: z.string().min(1),
    /** Position of the manifest that this one differs from; null: it is the first. */
    base: z.int().positive().nullable(),
    system: contentHash.nullable(),
    /** In order. Absent: those of the base. */
    tools: z.array(contentHash).optional(),
    config: contentHash,
    messages: z.array(step),
    /** Of the exact body. */
    request: z.strictObject({ hash: contentHash, bytes: z.int().nonnegative() }),
    /** What the model is given to read. */
    content: size,
    /** The part of it, from its beginning, that the call before was given too: what a provider's prompt cache can serve. */
    unchanged: size,
    /** `id@version` of what counted the tokens. */
    counter: z.string().optional(),
  }),
)

type Payload = StampedActionOf<typeof modelCalled>['payload']

/** A manifest in full. */
export interface Manifest extends Pick<Payload, 'callId' | 'encoder' | 'system' | 'config' | 'request'> {
  readonly position: number
  readonly model: { readonly provider: string; readonly id: string } | null
  readonly tools: readonly string[]
  readonly messages: Vector<ManifestEntry>
  readonly content: Payload['content']
  readonly unchanged: Payload['unchanged']
}

/** The calls of models, of which the last is known whole: the next one is told by what differs. */
export interface ManifestState {
  /** Model calls that were recorded. */
  readonly calls: number
  /** The base of the next one. */
  readonly last: Manifest | null
}

/** What the last model call was sent. */
export const manifest = defineSlice({
  name: 'manifest',
  version: 1,
  replay: 'bare',
  initial: (): ManifestState => ({ calls: 0, last: null }),
  actions: [modelCalled],
  guard(state, { payload }) {
    const { last } = state.manifest
    const lastPosition = last?.position ?? null
    if (payload.base !== lastPosition) throw new ColloquyError('manifest_stale', { basePosition: payload.base, lastPosition })
    const length = last?.messages.length ?? 0
    const wrong = payload.messages.findIndex((one) => 'keepFrom' in one && one.keepFrom + one.keepCount > length)
    if (wrong >= 0) {
      const problem = `the base has ${length} messages, and a step keeps what is not among them`
      throw new ColloquyError('action_invalid', { type: 'modelCalled', path: `$.payload.messages[${wrong}]`, problem })
    }
  },
  reduce(draft, action) {
    const { payload, position } = action
    draft.calls += 1
    const base = draft.last?.position === payload.base ? draft.last : null
    // Its base is not there: only the log can say what it was, and the next manifest stands for itself.
    if (base === null && payload.base !== null) {
      draft.last = null
      return
    }
    const { callId, encoder, system, config, model } = payload
    draft.last = {
      position,
      callId,
      model: model === undefined ? null : { ...model },
      encoder,
      system,
      config,
      request: { ...payload.request },
      tools: payload.tools === undefined ? [...(base?.tools ?? [])] : [...payload.tools],
      messages: stepped(base?.messages ?? Vector.empty<ManifestEntry>(), payload.messages),
      content: { ...payload.content },
      unchanged: { ...payload.unchanged },
    }
  },
})

/** The messages of a manifest. What its beginning shares with the base is shared in memory too. */
function stepped(base: Vector<ManifestEntry>, steps: readonly ManifestStep[]): Vector<ManifestEntry> {
  const [first] = steps
  const shared = first !== undefined && 'keepFrom' in first && first.keepFrom === 0 ? Math.min(first.keepCount, base.length) : 0
  const rest = shared === 0 ? steps : steps.slice(1)
  const following = rest.flatMap((one) =>
    'keepFrom' in one ? base.slice(one.keepFrom, one.keepFrom + one.keepCount) : [{ ...one }],
  )
  return shared === base.length
    ? following.reduce((list, one) => list.append(one), base)
    : base.splice(shared, base.length, following)
}
