/** Over real trajectories, which are not part of the repository: without them every test here is skipped and says so. */
import { expect, test } from 'vitest'
import { foldImported, messagesOf } from './imported.ts'
import { missingLeaves } from './missing-leaves.ts'
import { describeRealFiles, textOf } from './real-files.ts'

interface Trajectory {
  readonly history: readonly {
    readonly role: string
    readonly content: string
    readonly tool_calls?: readonly unknown[]
    readonly tool_call_ids?: readonly unknown[]
  }[]
  readonly trajectory?: readonly unknown[]
  readonly info?: { readonly exit_status: string; readonly model_stats: { readonly api_calls: number } }
}

const countIn = ({ history }: Trajectory, field: 'tool_calls' | 'tool_call_ids'): number =>
  history.reduce((sum, message) => sum + (message[field]?.length ?? 0), 0)

describeRealFiles(
  'swe-agent',
  'swe-agent',
  6,
  (value) => {
    const file = value as Trajectory
    return {
      records: file.history.length + (file.trajectory?.length ?? 0) + (file.info ? 1 : 0),
      conversations: 1,
      messages: file.history.length,
      calls: countIn(file, 'tool_calls'),
      unanswered: countIn(file, 'tool_calls') - countIn(file, 'tool_call_ids'),
      // Demonstrations are replayed without a model.
      input: 0,
      output: 0,
    }
  },
  (_, read) => {
    test('messages are those of the history, in its words, and the end is what the file says', () => {
      const { imported, value } = read()
      const { history, info } = value as Trajectory
      const messages = messagesOf(imported.conversations[0])
      expect(messages.map(({ role }) => role)).toEqual(history.map(({ role }) => role))
      const isSaid = ({ role }: { readonly role: string }) => role !== 'tool'
      expect(messages.filter(isSaid).map(textOf)).toEqual(history.filter(isSaid).map(({ content }) => content))
      const { metadata, turn } = foldImported(imported.conversations[0]).state
      expect(metadata).toMatchObject(info ? { exitStatus: info.exit_status, modelCalls: info.model_stats.api_calls } : {})
      expect(turn.last?.outcome).toBe(info ? 'ended' : undefined)
    })

    test('nothing that was said is missing, and the steps say nothing twice', () => {
      const { imported, value } = read()
      expect(missingLeaves(value, imported)).toEqual([])
      const stored = JSON.stringify(imported.conversations[0]?.commands)
      const { history } = value as Trajectory
      for (const { content } of history.filter(({ content }) => content.length > 100)) {
        expect(stored.split(JSON.stringify(content).slice(1, -1)).length - 1).toBe(
          history.filter((message) => message.content === content).length,
        )
      }
    })
  },
)
