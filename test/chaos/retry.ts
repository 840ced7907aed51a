/** What a careful caller does: the same command id again until the log has answered. */
import { isColloquyError } from '@colloquy/core'
import type { Conversation, DispatchResult } from '@colloquy/engine'
import { sleep } from './worker.ts'

export interface Tries {
  tries: number
  /** How often the outcome was unknown. */
  unknown: number
}

/** Does `work` until it does not fail with what may be tried again. @throws after `deadlineMs`, and what may not be tried again */
export async function untilDone<T>(
  work: () => Promise<T>,
  random: () => number,
  counted: Tries = { tries: 0, unknown: 0 },
  deadlineMs = 120_000,
): Promise<T> {
  const deadline = performance.now() + deadlineMs
  for (;;) {
    counted.tries += 1
    try {
      return await work()
    } catch (error) {
      if (isColloquyError(error, 'append_outcome_unknown')) counted.unknown += 1
      if (!isColloquyError(error) || !error.retryable || performance.now() > deadline) throw error
      await sleep(20 + random() * 200)
    }
  }
}

/** What an acknowledgement says about the first envelope of a command. */
export function acknowledgement(
  conversation: Pick<Conversation<unknown>, 'id'>,
  commandId: string,
  { envelopes, duplicate }: Pick<DispatchResult<unknown>, 'envelopes' | 'duplicate'>,
) {
  const [first] = envelopes
  return {
    conversationId: conversation.id,
    commandId,
    position: first?.position ?? 0,
    hash: Buffer.from(first?.hash ?? []).toString('hex'),
    duplicate,
  }
}
