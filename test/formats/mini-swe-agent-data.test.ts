/** Over real trajectories, which are not part of the repository: without them every test here is skipped and says so. */
import { expect, test } from 'vitest'
import { foldImported } from './imported.ts'
import { missingLeaves } from './missing-leaves.ts'
import { describeRealFiles } from './real-files.ts'

interface Message {
  readonly role: string
  readonly tool_calls?: readonly unknown[]
  readonly extra?: {
    readonly response?: { readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number } }
  }
}
interface Trajectory {
  readonly messages: readonly Message[]
  readonly info?: { readonly model_stats: { readonly instance_cost: number; readonly api_calls: number } }
}

const trajectoryOf = (value: unknown): Trajectory =>
  Array.isArray(value) ? { messages: value as Message[] } : (value as Trajectory)
const usagesIn = ({ messages }: Trajectory) => messages.flatMap(({ extra }) => (extra?.response ? [extra.response.usage] : []))

describeRealFiles(
  'mini-swe-agent',
  'mini-swe-agent',
  4,
  (value) => {
    const trajectory = trajectoryOf(value)
    const { messages, info } = trajectory
    const calls = messages.reduce((sum, { tool_calls: list }) => sum + (list?.length ?? 0), 0)
    return {
      records: messages.length + (info ? 1 : 0),
      conversations: 1,
      messages: messages.filter(({ role }) => role !== 'exit').length,
      calls,
      unanswered: calls - messages.filter(({ role }) => role === 'tool').length,
      input: usagesIn(trajectory).reduce((sum, used) => sum + used.prompt_tokens, 0),
      output: usagesIn(trajectory).reduce((sum, used) => sum + used.completion_tokens, 0),
    }
  },
  (_, read) => {
    test('is one turn that ended, with as many model calls and the costs that the file says', () => {
      const { imported, value } = read()
      const { info } = trajectoryOf(value)
      const { turn, usage } = foldImported(imported.conversations[0]).state
      expect(turn).toMatchObject({ started: 1, current: null, last: { outcome: 'ended' } })
      expect(usage.calls).toBe(info?.model_stats.api_calls ?? 0)
      expect(usage.costMicros / 1_000_000).toBeCloseTo(info?.model_stats.instance_cost ?? 0, 4)
    })

    test('nothing that was said is missing', () => {
      const { imported, value } = read()
      expect(missingLeaves(value, imported)).toEqual([])
    })
  },
)
