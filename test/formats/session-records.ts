/** Records of a Claude Code session, as short as tests need them. */

export type SessionLine = Record<string, unknown>

export const sessionId = '11111111-2222-4333-8444-555555555555'

interface Place {
  readonly uuid: string
  readonly parentUuid?: string | null
  readonly isSidechain?: boolean
  /** Seconds after nine o'clock. */
  readonly at?: number
  readonly [field: string]: unknown
}

const envelope = (type: string, { uuid, parentUuid = null, isSidechain = false, at = 0, ...fields }: Place): SessionLine => ({
  parentUuid,
  isSidechain,
  sessionId,
  type,
  uuid,
  timestamp: new Date(Date.UTC(2026, 2, 1, 9, 0, at)).toISOString(),
  ...fields,
})

/** Microseconds since 1970 of `at` seconds after nine. */
export const timeOf = (at: number): number => Date.UTC(2026, 2, 1, 9, 0, at) * 1000

export const userLine = (content: unknown, place: Place): SessionLine =>
  envelope('user', { ...place, message: { role: 'user', content } })

export const resultLine = (callId: string, content: unknown, place: Place & { readonly is_error?: boolean }): SessionLine => {
  const { is_error: isError, ...rest } = place
  return userLine([{ type: 'tool_result', tool_use_id: callId, content, ...(isError && { is_error: true }) }], rest)
}

/** One line of an answer: real ones have one block each. */
export const answerLine = (
  messageId: string,
  block: unknown,
  { usage, model = 'claude-test-1', stop_reason = null, ...place }: Place & { readonly usage?: unknown; readonly model?: string },
): SessionLine =>
  envelope('assistant', {
    ...place,
    message: {
      id: messageId,
      role: 'assistant',
      model,
      content: [block],
      stop_reason,
      ...(usage !== undefined && { usage }),
    },
  })

export const systemLine = (subtype: string, place: Place): SessionLine => envelope('system', { ...place, subtype })

export const textBlock = (text: string) => ({ type: 'text', text })
export const callBlock = (id: string, name = 'Bash', input: unknown = { command: 'ls' }) => ({
  type: 'tool_use',
  id,
  name,
  input,
})

export const toFile = (...lines: readonly (SessionLine | string)[]): string =>
  lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
