import type { Action, EventLog, OpenedEnvelope, Slice } from '@colloquy/core'
import { messageAdded, openEnvelope } from '@colloquy/core'
import { createEngine, type EngineOptions, openMemoryLog } from '@colloquy/engine'

/** One second a call, from a fixed day on: 2026-01-01T00:00:01Z first. */
export function fixedClock(): () => number {
  let seconds = 0
  return () => 1_767_225_600_000_000 + ++seconds * 1_000_000
}

/** id-1, id-2, ... */
function fixedIds(): () => string {
  let last = 0
  return () => `id-${++last}`
}

export const say = (id: string, text = 'hi', tokenCount = 1, role: 'user' | 'assistant' = 'user') =>
  messageAdded({ message: { v: 1, id, role, parts: [{ type: 'text', text }] }, tokenCount })

/** Every envelope of a conversation, opened. */
export async function storedIn(log: EventLog, conversationId: string, tenant = 'default'): Promise<OpenedEnvelope[]> {
  const envelopes: OpenedEnvelope[] = []
  for await (const page of log.read({ tenant, conversationId })) envelopes.push(...page.map(openEnvelope))
  return envelopes
}

/** A conversation in memory that already holds `actions`; errors of subscribers and effects are collected. */
export async function given<const Slices extends readonly Slice[] = readonly []>(
  actions: readonly Action[] = [],
  options: Partial<EngineOptions<Slices>> = {},
) {
  const log = options.log ?? openMemoryLog()
  const errors: { error: unknown; where: string }[] = []
  const before = createEngine({ log, ...(options.slices && { slices: options.slices }), clock: fixedClock() })
  if (actions.length > 0) await (await before.open('c')).dispatch(actions)
  await before.close()
  const engine = createEngine<Slices>({
    log,
    clock: fixedClock(),
    ids: fixedIds(),
    onError: (error, where) => void errors.push({ error, where }),
    ...options,
  })
  const conversation = await engine.open('c')
  return {
    log,
    engine,
    conversation,
    errors,
    dispatch: conversation.dispatch.bind(conversation),
    stored: () => storedIn(log, 'c'),
  }
}
