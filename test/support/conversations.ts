/** Messages for tests of the context: short to write, and whole conversations at random. */

import { charactersCounter, countMessage } from '@colloquy/context'
import type { Message, Part, WorkingMessage } from '@colloquy/core'
import fc from 'fast-check'

type Content = string | readonly Part[]

export const said = (id: string, role: Message['role'], content: Content): Message => ({
  v: 1,
  id,
  role,
  parts: typeof content === 'string' ? [{ type: 'text', text: content }] : [...content],
})

export const call = (callId: string, args: object = {}, name = 'read'): Part => ({
  type: 'tool_call',
  callId,
  name,
  args: { raw: JSON.stringify(args), json: JSON.parse(JSON.stringify(args)), valid: true },
  executor: { kind: 'client' },
})

export const result = (callId: string, text = 'ok', status: 'ok' | 'error' = 'ok'): Part => ({
  type: 'tool_result',
  callId,
  status,
  content: [{ type: 'text', text }],
})

export const signed = (signature = 'c2lnbmVk'): Part => ({ type: 'reasoning', text: 'thinking', signature, redacted: false })

/** As they are in a state: with positions, counted, frozen. `tokens` overrides the count for all. */
export function working(messages: readonly Message[], tokens?: number): readonly WorkingMessage[] {
  return messages.map((message, index) =>
    deepFreeze({ ...message, position: index + 1, tokenCount: tokens ?? countMessage(charactersCounter, message) }),
  )
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const field of Object.values(value)) deepFreeze(field)
  }
  return value
}

/** One step of a conversation, as it is generated. */
type Step =
  | { kind: 'user'; size: number }
  | { kind: 'assistant'; size: number }
  | { kind: 'developer' }
  | { kind: 'orphan'; id: number }
  | {
      kind: 'calls'
      ids: number[]
      signed: boolean
      sizes: number[]
      order: boolean
      apart: boolean
      answered: number
      split: boolean
    }
  | { kind: 'approval'; id: number; answered: boolean }
  | { kind: 'providerCompaction' }

const size = fc.integer({ min: 1, max: 900 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('user' as const), size }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('assistant' as const), size }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('developer' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('orphan' as const), id: fc.nat(3) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('calls' as const),
      // From a handful, so that ids repeat.
      ids: fc.uniqueArray(fc.nat(5), { minLength: 1, maxLength: 4 }),
      signed: fc.boolean(),
      sizes: fc.array(size, { minLength: 4, maxLength: 4 }),
      order: fc.boolean(),
      apart: fc.boolean(),
      answered: fc.constantFrom(4, 4, 4, 2, 0),
      split: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('approval' as const), id: fc.nat(3), answered: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('providerCompaction' as const) }) },
)

/** Conversations with everything that must not be parted: batches, late results, repeated ids, loops, approvals, orphans. */
export const anyConversation: fc.Arbitrary<readonly Message[]> = fc
  .tuple(fc.boolean(), fc.array(step, { maxLength: 30, size: 'max' }))
  .map(([hasSystem, steps]) => {
    const messages: Message[] = hasSystem ? [said('system', 'system', 'Be exact.')] : []
    const add = (role: Message['role'], content: Content): void => void messages.push(said(`m${messages.length}`, role, content))
    const text = (length: number): string => `see src/file-${length}.ts `.repeat(Math.ceil(length / 20)).slice(0, length)
    for (const [number, each] of steps.entries()) {
      switch (each.kind) {
        case 'user':
        case 'assistant':
          add(each.kind, text(each.size))
          break
        case 'developer':
          add('developer', 'Keep to it.')
          break
        case 'orphan':
          add('tool', [result(`nobody-${each.id}`)])
          break
        case 'providerCompaction':
          add('assistant', [{ type: 'compaction', opaque: 'b3BhcXVl', origin: { provider: 'openai' } }])
          break
        case 'approval':
          add('assistant', [call(`a${each.id}`), { type: 'approval', approvalId: `p${number}`, callId: `a${each.id}` }])
          if (each.answered) {
            add('user', [{ type: 'approval', approvalId: `p${number}`, callId: `a${each.id}`, decision: 'approved' }])
            add('tool', [result(`a${each.id}`)])
          }
          break
        case 'calls': {
          const ids = each.ids.map((id) => `c${id}`)
          const batchId = `b${number}`
          const calls = ids.map((id) => ({ ...call(id, { path: `src/${id}.ts` }), batchId }) as Part)
          const reasoning = each.signed ? [signed()] : []
          if (each.split) {
            add('assistant', [...reasoning, ...calls.slice(0, 1)])
            if (calls.length > 1) add('assistant', calls.slice(1))
          } else add('assistant', [...reasoning, ...calls])
          const answered = (each.order ? ids : ids.toReversed()).slice(0, each.answered)
          const results = answered.map((id, index) => result(id, text(each.sizes[index] ?? 10)))
          if (each.apart) for (const one of results) add('tool', [one])
          else if (results.length > 0) add('tool', results)
        }
      }
    }
    return messages
  })
