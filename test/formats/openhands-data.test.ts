/** Over real files, which are not part of the repository: without them every test here is skipped and says so. */
import { expect, test } from 'vitest'
import { foldImported } from './imported.ts'
import { missingLeaves } from './missing-leaves.ts'
import { describeRealFiles } from './real-files.ts'

interface Used {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly cache_read_input_tokens?: number
  readonly cache_read_tokens?: number
}
interface Event {
  readonly action?: string
  readonly observation?: string
  readonly kind?: string
  readonly key?: string
  readonly value?: { readonly usage_to_metrics: { readonly default: { readonly accumulated_token_usage: Used } } }
  readonly history?: readonly Event[]
  readonly tool_call_metadata?: { readonly model_response: { readonly id: string; readonly usage: Used } }
}

/** What the model calls were counted at: each completion once, or the last sum that the SDK gives. */
function usedIn(events: readonly Event[]): readonly Used[] {
  const sums = events.flatMap(({ key, value }) =>
    key === 'stats' && value ? [value.usage_to_metrics.default.accumulated_token_usage] : [],
  )
  const completions = new Map(
    events.flatMap(({ tool_call_metadata: of }) => (of ? [[of.model_response.id, of.model_response.usage] as const] : [])),
  )
  return [...completions.values(), ...sums.slice(-1)]
}
const sumOf = (events: readonly Event[], pick: (used: Used) => number): number =>
  usedIn(events).reduce((all, used) => all + pick(used), 0)

describeRealFiles(
  'openhands',
  'openhands',
  5,
  (value) => {
    const records = value as Event[]
    const events = records.flatMap((record) => record.history ?? [record])
    const runs = records.filter(({ history }) => history !== undefined).length
    const said = events.filter(({ action, kind }) => action === 'message' || kind === 'MessageEvent')
    const calls = events.filter(
      ({ action, kind }) =>
        kind === 'ActionEvent' || (action !== undefined && action !== 'message' && action !== 'change_agent_state'),
    )
    const isResult = ({ observation, kind }: Event) =>
      kind === 'ObservationEvent' ||
      (observation !== undefined && observation !== 'null' && observation !== 'agent_state_changed')
    const results = events.filter(isResult)
    // The SDK's file begins in the middle: one result is of a call before it.
    const orphans = records.some(({ kind }) => kind !== undefined) ? 1 : 0
    return {
      records: events.length + runs,
      conversations: Math.max(1, runs),
      messages: said.length + calls.length + results.length,
      calls: calls.length,
      unanswered: calls.length - results.length + orphans,
      input: sumOf(events, (used) => used.prompt_tokens),
      output: sumOf(events, (used) => used.completion_tokens),
    }
  },
  (_, read) => {
    test('what was read from the cache adds up', () => {
      const { imported, value } = read()
      const cached = sumOf(value as Event[], (used) => used.cache_read_input_tokens ?? used.cache_read_tokens ?? 0)
      const states = imported.conversations.map((conversation) => foldImported(conversation).state)
      expect(states.reduce((all, { usage }) => all + usage.cacheRead, 0)).toBe(cached)
    })

    test('nothing that was said is missing', () => {
      const { imported, value } = read()
      const skipped = new Set(imported.skipped.map(({ line }) => line))
      expect(
        missingLeaves(
          (value as Event[]).filter((_, index) => !skipped.has(index + 1)),
          imported,
        ),
      ).toEqual([])
    })
  },
  (reason) => reason.startsWith('it says only that event') || reason.startsWith('no more tokens than'),
)
