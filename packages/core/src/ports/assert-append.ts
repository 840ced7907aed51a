import type { AppendRequest } from './event-log.ts'

/**
 * What a log takes on trust from no caller, since it could never be mended: envelopes that leave a gap, and a command that nothing would
 * ever find again.
 * @throws RangeError
 */
export function assertAppend({ key, expected, envelopes }: AppendRequest): void {
  let next = expected.position
  for (const { position, commandId, commandIndex } of envelopes) {
    next += 1
    if (position !== next) {
      throw new RangeError(`An envelope for ${key.conversationId} has position ${position} where ${next} follows.`)
    }
    if ((commandId === null) !== (commandIndex === null)) {
      throw new RangeError(`Envelope ${position} for ${key.conversationId} has only one of commandId and commandIndex.`)
    }
  }
}
