import { defaultLimits, type Json, type Media, type Message, type Part, type Sha256, type Usage } from '@colloquy/core'
import type { ProviderError } from './errors.ts'

type Of<T extends Part['type']> = Extract<Part, { type: T }>
export type Citation = NonNullable<Of<'text'>['citations']>[number]
export type Stop = NonNullable<NonNullable<Message['model']>['stop']>

/** What came to a part. The texts of one kind, put together, are that text of the part (`input`: a text inside the arguments). */
export type PartDelta =
  | { readonly kind: 'text' | 'refusal'; readonly text: string; readonly logprobs?: Json }
  | { readonly kind: 'reasoning' | 'arguments' | 'input' | 'compaction'; readonly text: string }
  | { readonly kind: 'summary'; readonly text: string; readonly index: number }
  | { readonly kind: 'citation'; readonly citation: Citation }
  | { readonly kind: 'signature'; readonly signature: string }

/**
 * What a decoder tells while answers arrive. Of one answer: `answerStarted` first and `answerEnded` last, once each; of one part:
 * `partStarted`, its deltas, `partDone`. Answers of one response (`n` choices) interleave.
 */
export type StreamEvent =
  | {
      readonly type: 'answerStarted'
      readonly messageId: string
      readonly provider: string
      readonly api: string
      readonly model?: string
      readonly responseId?: string
      /** Which of the `n` answers that were asked for. */
      readonly choice: number
    }
  | {
      readonly type: 'partStarted'
      readonly messageId: string
      /** Counts the parts of an answer as they begin; in the message they stand in the provider's order. */
      readonly part: number
      readonly kind: Part['type']
      readonly callId?: string
      readonly name?: string
    }
  | { readonly type: 'partDelta'; readonly messageId: string; readonly part: number; readonly delta: PartDelta }
  | { readonly type: 'partDone'; readonly messageId: string; readonly part: number; readonly value: Part }
  /** The whole usage as it is known now: it replaces what was reported before, and is never added to it. */
  | { readonly type: 'usageReported'; readonly messageId: string; readonly usage: Usage }
  | { readonly type: 'answerStopped'; readonly messageId: string; readonly stop: Stop }
  | { readonly type: 'errorReported'; readonly messageId?: string; readonly error: ProviderError }
  | {
      readonly type: 'answerEnded'
      readonly messageId: string
      readonly message: Message
      /** The files that its parts name by hash; to be put before the message is stored. */
      readonly media: readonly Media[]
      /** The stream was cut, or failed: the message holds what arrived. */
      readonly interrupted?: true
    }
  /** What is in no part of a message, so that nothing goes missing in silence. */
  | { readonly type: 'noticed'; readonly notice: Notice }

export interface Notice {
  /**
   * `unknown`: an event or field that we do not know. `unreadable`: no JSON, or JSON that the log cannot hold; `raw` is its text.
   * `replaced_bytes`: the text holds U+FFFD, which stands for bytes that were not UTF-8. `repeated`: it was received before.
   * `contradiction`: the provider's whole text is not the sum of its deltas; the whole one was taken.
   */
  readonly kind: 'unknown' | 'unreadable' | 'replaced_bytes' | 'repeated' | 'contradiction'
  readonly problem: string
  readonly raw: Json
}

export interface StreamOptions {
  readonly sha256: Sha256
  /** Goes into `model.provider` and `origin`; default: the company that made the API. */
  readonly provider?: string
  /** Names the message of an answer; default: by its response id, else by its number. */
  readonly ids?: (answer: { readonly responseId: string | undefined; readonly choice: number; readonly number: number }) => string
  readonly limits?: Partial<StreamLimits>
}

/** Beyond them the decoder reports an error of kind `stream_limit`, ends what is open as interrupted, and reads no more. */
export interface StreamLimits {
  /** UTF-16 units of one event. An image comes in one, as base64. */
  readonly eventChars: number
  /** UTF-16 units kept for the answers that are open at one time. */
  readonly answerChars: number
  /** Open answers and their parts together: a message of more parts than this could not be stored. */
  readonly answerParts: number
}

export const defaultStreamLimits: StreamLimits = {
  eventChars: 16_777_216,
  answerChars: 67_108_864,
  answerParts: defaultLimits.keys,
}

/** Bytes in, events out. Chunks may be split anywhere; no input makes it throw. */
export interface StreamDecoder {
  readonly push: (chunk: Uint8Array | string) => StreamEvent[]
  /** The connection is over. Answers that the provider did not end are ended as interrupted. */
  readonly end: () => StreamEvent[]
  /** Another connection continues the answer (`starting_after`): its bytes follow, and events that were received are dropped. */
  readonly reopen: () => void
}
