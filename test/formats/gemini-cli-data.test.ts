/** Over real sessions, which are not part of the repository: without them every test here is skipped and says so. */
import { expect, test } from 'vitest'
import { foldImported } from './imported.ts'
import { missingLeaves } from './missing-leaves.ts'
import { describeRealFiles } from './real-files.ts'

interface Tokens {
  readonly input: number
  readonly total: number
  readonly cached: number
  readonly thoughts: number
}
interface Session {
  readonly lastUpdated: string
  readonly messages: readonly {
    readonly type: string
    readonly tokens?: Tokens
    readonly toolCalls?: readonly { readonly status: 'success' | 'error' | 'cancelled' }[]
  }[]
}

const callsIn = ({ messages }: Session) => messages.flatMap(({ toolCalls }) => toolCalls ?? [])
const sumOf = ({ messages }: Session, pick: (tokens: Tokens) => number): number =>
  messages.reduce((all, { tokens }) => all + (tokens ? pick(tokens) : 0), 0)

describeRealFiles(
  'gemini-cli',
  'gemini-cli',
  4,
  (value) => {
    const session = value as Session
    const withTools = session.messages.filter(({ toolCalls }) => toolCalls !== undefined)
    return {
      records: session.messages.length + 1,
      conversations: 1,
      messages: session.messages.length + withTools.length,
      calls: callsIn(session).length,
      unanswered: 0,
      input: sumOf(session, ({ input }) => input),
      output: sumOf(session, ({ total, input }) => total - input),
    }
  },
  (_, read) => {
    test('calls ended as their status says, and what was cached and thought adds up', () => {
      const { imported, value } = read()
      const session = value as Session
      const ended = (status: string) => callsIn(session).filter((call) => call.status === status).length
      const { tools, usage, turn } = foldImported(imported.conversations[0]).state
      expect([tools.succeeded, tools.failed, tools.cancelled]).toEqual([ended('success'), ended('error'), ended('cancelled')])
      expect([usage.cacheRead, usage.reasoning]).toEqual([
        sumOf(session, ({ cached }) => cached),
        sumOf(session, ({ thoughts }) => thoughts),
      ])
      expect(turn.started).toBe(session.messages.filter(({ type }) => type === 'user').length)
    })

    test('nothing that was said is missing but the time of the last write', () => {
      const { imported, value } = read()
      const { lastUpdated: _, ...session } = value as Session
      expect(imported.remarks).toMatchObject([{ remark: expect.stringContaining('lastUpdated') }])
      expect(missingLeaves(session, imported)).toEqual([])
    })
  },
)
