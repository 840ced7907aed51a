import type { Message } from '@colloquy/core'

type Stop = NonNullable<NonNullable<Message['model']>['stop']>['unified']

const stops = {
  end_turn: 'end',
  max_tokens: 'length',
  stop_sequence: 'stop_sequence',
  tool_use: 'tool_calls',
  pause_turn: 'pause',
  refusal: 'refusal',
  compaction: 'compaction',
} as const

/** Why an answer of the Messages API ended, in our words. */
export const unifiedStop = (raw: string): Stop => (Object.hasOwn(stops, raw) ? stops[raw as keyof typeof stops] : 'other')
