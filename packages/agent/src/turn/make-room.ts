/** Results for which a budget has no room. Their tools have run, and nothing takes that back: what the model is told of it is cut. */
import { type Action, isColloquyError } from '@colloquy/core'
import { cutContent } from '../tools/tool-result.ts'
import type { BatchPorts, ToolBatch } from './tool-batch.ts'

/** Of the room, since a cut text is counted only when it is stored. */
const filledRatio = 0.8

/**
 * Stores what `actionsOf` makes of the batch. Where a budget refuses its messages, the results are cut to what there is room for, then each
 * to a word that says so. @throws what the last try throws
 */
export async function storeWithRoom(
  batch: ToolBatch,
  store: BatchPorts['store'],
  actionsOf: () => readonly Action[],
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await store(actionsOf())
      return
    } catch (error) {
      const ratio = roomRatio(error)
      if (ratio === undefined || tries === 3) throw error
      cutResults(batch, tries === 1 ? ratio * filledRatio : 0)
    }
  }
}

/** How much of what was asked for would have been taken; undefined where a smaller message would be refused as well. */
function roomRatio(error: unknown): number | undefined {
  if (isColloquyError(error, 'token_limit')) return error.details.limitTokens / error.details.requestedTokens
  if (!isColloquyError(error, 'budget_exceeded') || error.details.kind !== 'messageTokens') return undefined
  const { limit, used, reserved, requested } = error.details
  return Math.max(0, limit - used - reserved) / requested
}

function cutResults({ calls }: ToolBatch, ratio: number): void {
  for (const call of calls) {
    if (call.end === undefined) continue
    const { result } = call.end
    call.end = { ...call.end, result: { ...result, content: cutContent(result.content, ratio) } }
  }
}
