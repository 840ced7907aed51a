import {
  type Action,
  type BudgetAmounts,
  budgetReleased,
  budgetReserved,
  budgetSettled,
  type ConversationState,
  toHex,
  toUtf8,
} from '@colloquy/core'
import { type Conversation, type DispatchResult, sha256, systemClock, uuidv7 } from '@colloquy/engine'

/** An amount that is held. It counts as reserved until it expires, and as spent from then on, until one of these is called. */
export interface Reservation<State extends ConversationState = ConversationState> {
  readonly reservationId: string
  readonly amounts: BudgetAmounts
  /** Microseconds since 1970. */
  readonly expiresAt: number
  /**
   * It happened, and took `actual`; kinds that it does not name count as reserved. `along` is stored with it or not at all: the answer,
   * or `usageRecorded` with this `reservationId`. Calling it again with the same is calling it once.
   * @throws `reservation_not_open` and what `dispatch` throws
   */
  settle(actual?: BudgetAmounts, along?: readonly Action[]): Promise<DispatchResult<State>>
  /** It did not happen, surely: where a call may have left, settle it. @throws `reservation_not_open` and what `dispatch` throws */
  release(reason?: string): Promise<DispatchResult<State>>
}

export interface ReserveOptions {
  /** Default a new one. After a crash, `reservation(conversation, id)` settles what was reserved under it. */
  readonly reservationId?: string
  readonly purpose?: 'model_call' | 'tool_call'
  readonly holder?: string
  /** Milliseconds. Default 600,000: longer than a model call should take. */
  readonly expiresInMs?: number
  /** Microseconds since 1970. Default the system's. */
  readonly clock?: () => number
}

/**
 * Holds `amounts` against the budgets of a conversation before something happens. When it resolves the reservation is in the log: so
 * many callers in any number of processes never take more than a hard limit together. A rebase reserves once, since the reservation's
 * id is made before.
 *
 * @throws `budget_exceeded`, `budget_unavailable`, `reservation_already_open` and what `dispatch` throws: nothing may be called then
 */
export async function reserve<State extends ConversationState>(
  conversation: Conversation<State>,
  amounts: BudgetAmounts,
  options: ReserveOptions = {},
): Promise<Reservation<State>> {
  const { reservationId = uuidv7(), purpose, holder, expiresInMs = 600_000, clock = systemClock } = options
  const expiresAt = clock() + Math.round(expiresInMs * 1_000)
  await conversation.dispatch(
    budgetReserved({
      reservationId,
      amounts,
      expiresAt,
      ...(purpose !== undefined && { purpose }),
      ...(holder !== undefined && { holder }),
    }),
  )
  return held(conversation, { reservationId, amounts, expiresAt })
}

/** A reservation that somebody made before, perhaps in another process; undefined when none is open under the id. */
export function reservation<State extends ConversationState>(
  conversation: Conversation<State>,
  reservationId: string,
): Reservation<State> | undefined {
  const open = conversation.getState().budget.reservations.find((each) => each.reservationId === reservationId)
  return open && held(conversation, open)
}

function held<State extends ConversationState>(
  conversation: Conversation<State>,
  { reservationId, amounts, expiresAt }: Pick<Reservation, 'reservationId' | 'amounts' | 'expiresAt'>,
): Reservation<State> {
  return {
    reservationId,
    amounts,
    expiresAt,
    // A command id: what an answer was lost of may be said again.
    settle: (actual = {}, along = []) =>
      conversation.dispatch([budgetSettled({ reservationId, amounts: actual }), ...along], {
        commandId: commandIdOf(reservationId),
      }),
    release: (reason) =>
      conversation.dispatch(budgetReleased({ reservationId, ...(reason !== undefined && { reason }) }), {
        commandId: commandIdOf(reservationId),
      }),
  }
}

/** Of its end, of which there is one. An id takes 200 characters: the last ones of a long one must not be lost. */
function commandIdOf(reservationId: string): string {
  const commandId = `end:${reservationId}`
  return commandId.length <= 200 ? commandId : `end:${toHex(sha256(toUtf8(reservationId)))}`
}
