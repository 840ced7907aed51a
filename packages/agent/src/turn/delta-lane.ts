/**
 * What a turn streams while it runs, beside the log: numbered chunks, of which the last ones are kept for who comes late. Nothing
 * here is stored; when a message ends, its envelope has all of it.
 */
import type { StreamEvent } from '@colloquy/formats'
import { Observable, Subject } from 'rxjs'

type Told = Exclude<StreamEvent, { type: 'answerEnded' | 'noticed' }>

export type TurnEvent =
  | Told
  | { readonly type: 'answerEnded'; readonly messageId: string; readonly interrupted?: true }
  /** The call failed and is made again: what was streamed of this message is void. */
  | { readonly type: 'answerWithdrawn'; readonly messageId: string }
  | {
      readonly type: 'toolProgressed'
      readonly messageId: string
      readonly callId: string
      readonly ratio?: number
      readonly note?: string
    }
  /** Chunks that the buffer has no more: read the messages of the turn from the log. */
  | { readonly type: 'missed'; readonly from: number; readonly to: number }

export type TurnPart = TurnEvent & {
  readonly conversationId: string
  readonly turnId: string
  /** 1, 2, 3 ... over the whole turn. */
  readonly chunk: number
}

export interface LaneLimits {
  /** Chunks that are kept. Default 2,000. */
  readonly chunks: number
  /** UTF-16 units of text in them. Default 1,000,000. */
  readonly chars: number
}

export interface DeltaLane {
  push(event: TurnEvent): void
  /** From chunk `from` (default the first) as far as it is kept, then live. Completes with the turn. */
  parts(from?: number): Observable<TurnPart>
  end(): void
}

export function createDeltaLane(
  { conversationId, turnId }: { readonly conversationId: string; readonly turnId: string },
  limits: Partial<LaneLimits> = {},
): DeltaLane {
  const { chunks: limitChunks = 2_000, chars: limitChars = 1_000_000 } = limits
  const live = new Subject<TurnPart>()
  /** `kept[first]` is the oldest; the head is cut off now and then, not each time. */
  let kept: TurnPart[] = []
  let first = 0
  let chars = 0
  let last = 0

  const trim = (): void => {
    while (kept.length - first > limitChunks || (chars > limitChars && kept.length - first > 1)) {
      chars -= charsOf(kept[first] as TurnPart)
      first += 1
    }
    if (first > limitChunks) {
      kept = kept.slice(first)
      first = 0
    }
  }

  return {
    push: (event) => {
      last += 1
      const part: TurnPart = { ...event, conversationId, turnId, chunk: last }
      kept.push(part)
      chars += charsOf(part)
      trim()
      live.next(part)
    },
    parts: (from = 1) =>
      new Observable((subscriber) => {
        const oldest = kept[first]?.chunk ?? last + 1
        if (from < oldest) {
          subscriber.next({ type: 'missed', from, to: oldest - 1, conversationId, turnId, chunk: oldest - 1 })
        }
        // What is pushed while the old ones are told comes behind them.
        for (let chunk = Math.max(from, oldest); chunk <= last && !subscriber.closed; chunk++) {
          const part = kept[first + chunk - (kept[first]?.chunk ?? 0)]
          if (part !== undefined) subscriber.next(part)
        }
        return live.subscribe(subscriber)
      }),
    end: () => live.complete(),
  }
}

const charsOf = (part: TurnPart): number =>
  part.type === 'partDelta' && 'text' in part.delta ? part.delta.text.length : part.type === 'partDone' ? 200 : 50
