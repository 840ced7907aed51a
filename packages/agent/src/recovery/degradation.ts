/** What a conversation can still do when a failure is final. Decisions only: who dispatches what is returned makes them facts. */
import { degraded, type HealthState, recovered } from '@colloquy/core'
import type { Failure, FailureKind } from './classify.ts'

export type DegradedMode =
  /** The conversation does not fit the model although it was compacted: short requests, without tools. */
  | 'basic_chat'
  /** The provider lets nothing through for a while: nothing but reading until then. */
  | 'read_only'
  /** The provider cannot be asked: what needs no model goes on. */
  | 'offline'

export type Capability =
  | 'read'
  | 'ask_model'
  | 'all_tools'
  /** Those that run in this process. */
  | 'local_tools'
  | 'compact'
  | 'cached_answers'
  /** Of the conversation, without a model: what was said, asked and done. */
  | 'extractive_analysis'

const everything: readonly Capability[] = [
  'read',
  'ask_model',
  'all_tools',
  'local_tools',
  'compact',
  'cached_answers',
  'extractive_analysis',
]

const capabilities: Readonly<Record<DegradedMode, readonly Capability[]>> = {
  basic_chat: ['read', 'ask_model', 'compact', 'cached_answers', 'extractive_analysis'],
  read_only: ['read'],
  offline: ['read', 'local_tools', 'cached_answers', 'extractive_analysis'],
}

/** Null: this turn fails, and the conversation can do what it could before. */
const modes: Readonly<Record<FailureKind, DegradedMode | null>> = {
  context_overflow: 'basic_chat',
  rate_limit: 'read_only',
  network: 'offline',
  overloaded: 'offline',
  server: 'offline',
  circuit_open: 'offline',
  authentication: 'offline',
  quota: 'offline',
  aborted: null,
  refusal: null,
  tool: null,
  rejected: null,
  unknown: null,
}

/**
 * The action to dispatch after `failure` has ended all tries (an overflow: after the emergency compaction did not help, or could not be
 * done); null when there is nothing to say: the failure is the turn's alone, or the conversation is in that mode already until no earlier.
 * @param now microseconds since 1970
 */
export function degradedBy(failure: Failure, health: HealthState, now: number): ReturnType<typeof degraded> | null {
  const mode = modes[failure.kind]
  if (mode === null) return null
  const retryAt = failure.retryAfterMs === undefined ? undefined : now + Math.ceil(failure.retryAfterMs) * 1_000
  const present = health.degraded
  if (present?.mode === mode && (retryAt ?? 0) <= (present.retryAt ?? 0)) return null
  return degraded({ mode, reason: failure.kind, ...(retryAt !== undefined && { retryAt }) })
}

/**
 * The action to dispatch after something worked again; null when that changes nothing. An answer of the model ends what kept it from being
 * asked; only a compaction ends basic chat, since an answer to a short request says nothing about the whole.
 */
export function recoveredBy(success: 'answered' | 'compacted', health: HealthState): ReturnType<typeof recovered> | null {
  if (health.degraded === null) return null
  const needed = health.degraded.mode === 'basic_chat' ? 'compacted' : 'answered'
  return success === needed ? recovered({ reason: success }) : null
}

/** Everything while it is well; in a mode that this version does not know, only reading. */
export function capabilitiesOf(health: HealthState): readonly Capability[] {
  if (health.degraded === null) return everything
  const { mode } = health.degraded
  return Object.hasOwn(capabilities, mode) ? capabilities[mode as DegradedMode] : ['read']
}
