/** Over printed output, which is not part of the repository: without it every test here is skipped and says so. */
import { expect, test } from 'vitest'
import { foldImported } from './imported.ts'
import { missingLeaves } from './missing-leaves.ts'
import { describeRealFiles } from './real-files.ts'

interface Printed {
  readonly type: string
  readonly total_cost_usd?: number
  readonly message?: {
    readonly content: readonly { readonly type: string }[]
    readonly usage?: { readonly input_tokens: number; readonly output_tokens: number; readonly cache_read_input_tokens: number }
  }
}

const blocksIn = (records: readonly Printed[], type: string) =>
  records.flatMap(({ message }) => message?.content ?? []).filter((block) => block.type === type)
const usagesIn = (records: readonly Printed[]) => records.flatMap(({ message }) => (message?.usage ? [message.usage] : []))

describeRealFiles(
  'claude-code-sdk',
  'claude-code-sdk',
  1,
  (value) => {
    const records = value as Printed[]
    const calls = blocksIn(records, 'tool_use').length
    return {
      records: records.length,
      conversations: 1,
      messages: records.filter(({ message }) => message !== undefined).length,
      calls,
      unanswered: calls - blocksIn(records, 'tool_result').length,
      input: usagesIn(records).reduce((sum, used) => sum + used.input_tokens + used.cache_read_input_tokens, 0),
      output: usagesIn(records).reduce((sum, used) => sum + used.output_tokens, 0),
    }
  },
  (_, read) => {
    test('is a turn that ended at the cost that the result says, and nothing that was said is missing', () => {
      const { imported, value } = read()
      const { turn, metadata } = foldImported(imported.conversations[0]).state
      expect(turn).toMatchObject({ started: 1, last: { outcome: 'ended' } })
      expect(metadata.totalCostUsd).toBe((value as Printed[]).at(-1)?.total_cost_usd)
      expect(missingLeaves(value, imported)).toEqual([])
    })
  },
)
