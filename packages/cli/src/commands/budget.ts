import { ledgerIdOf } from '@colloquy/context'
import {
  amountOf,
  assertId,
  type BudgetKind,
  type BudgetReservation,
  type BudgetScope,
  type BudgetState,
  budgetKinds,
  budgetReleased,
  budgetSet,
  budgetSlice,
  budgetStanding,
  ColloquyError,
} from '@colloquy/core'
import { createLedgerEngine } from '@colloquy/engine'
import { formatIsoTime } from '@colloquy/formats'
import { nameOf, parseLimits } from '../budget-settings.ts'
import type { Context } from '../context.ts'
import { budgetAmount } from '../describe-action.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'
import { type Fact, writeFacts } from '../show-state.ts'
import { headOf, openStore, type Store } from '../store.ts'

export interface BudgetOptions {
  readonly scope?: string
  readonly set?: string
  readonly setTurn?: string
  readonly release?: string
}

/** One row: what is limited, or was used. */
interface Standing {
  readonly scope: BudgetScope
  readonly kind: BudgetKind
  readonly used: number
  readonly reserved: number
  readonly soft: number | null
  readonly hard: number | null
}

/** Shows, and sets, the budget of a conversation; without an id that of the tenant, from its ledger. */
export async function budget(context: Context, id: string | undefined, options: BudgetOptions): Promise<ExitCode> {
  const { output } = context
  if (id !== undefined && options.scope !== undefined)
    throw new ColloquyError('usage_invalid', { problem: '--scope names a budget of the tenant, which has no conversation id' })
  if (options.scope !== undefined) assertScope(options.scope)
  if (id === undefined && options.setTurn !== undefined)
    throw new ColloquyError('usage_invalid', { problem: '--set-turn needs a conversation: a tenant has no turns' })
  const limits = options.set === undefined ? undefined : parseLimits('--set', options.set)
  const turnLimits = options.setTurn === undefined ? undefined : parseLimits('--set-turn', options.setTurn)
  const actions = [
    ...(limits === undefined ? [] : [budgetSet({ scope: 'conversation', limits })]),
    ...(turnLimits === undefined ? [] : [budgetSet({ scope: 'turn', limits: turnLimits })]),
    ...(options.release === undefined
      ? []
      : [budgetReleased({ reservationId: options.release, reason: 'released by colloquy budget' })]),
  ]

  // A tenant may have a limit before it has anything else; all other changes are to what is there.
  const isLimitOfTenant = id === undefined && limits !== undefined
  await using store = await openStore(context, isLimitOfTenant ? 'create' : actions.length > 0 ? 'append' : 'read')
  const stream = id ?? ledgerIdOf(options.scope ?? 'tenant')
  // A ledger begins with its first limit, a conversation is begun elsewhere.
  if (id !== undefined) await headOf(store, id)
  await using engine = id === undefined ? ledgerEngine(store) : undefined
  const conversation = await (engine ?? store.engine).open(stream)
  if (actions.length > 0) await conversation.dispatch(actions)
  const state = conversation.getState().budget
  const now = Date.now() * 1_000
  const rows = standingsOf(state, now)
  if (output.json) await output.document(documentOf(stream, conversation.position, state, rows))
  else {
    await writeFacts(output, factsOf(id, stream, store.tenant, conversation.position, state))
    if (output.isTerminal) await output.write('\n')
    await output.list(standingListing, [rows])
    if (state.reservations.length > 0) {
      if (output.isTerminal) await output.write('\n')
      await output.list(reservationListing(now), [state.reservations])
    }
  }
  const ledger = conversation.position > 0 ? [['verify', stream]] : []
  if (id === undefined) output.next(['budget', '--set', 'tokens=1000000,cost=25'], ...ledger)
  else output.next(['budget', id, '--set', 'tokens=100000,cost=2.50'], ['show', id])
  return exitCodes.ok
}

/** The ledger is called after the scope. @throws `id_invalid`, `usage_invalid` */
function assertScope(scope: string): void {
  assertId('scope', scope)
  if (scope.includes('~'))
    throw new ColloquyError('usage_invalid', {
      problem: `--scope takes a name without "~", which is kept for forks, not "${scope}"`,
    })
}

/** As the ledger of a tenant is opened to look at it, without a holder of chunks. */
function ledgerEngine({ log, tenant }: Store) {
  return createLedgerEngine({ log, tenant, slices: [budgetSlice] as const })
}

/** Kinds that are limited, used or reserved. */
function standingsOf(state: BudgetState, now: number): Standing[] {
  return (['conversation', 'turn'] as const).flatMap((scope) =>
    budgetKinds.flatMap((kind): Standing[] => {
      const { soft = null, hard = null } = state.limits[scope][kind] ?? {}
      const { used, reserved } = budgetStanding(state, scope, kind, now)
      // A turn's amounts are shown where something limits them: without, they are a part of the conversation's.
      const isShown = soft !== null || hard !== null || (scope === 'conversation' && used + reserved > 0)
      return isShown ? [{ scope, kind, used, reserved, soft, hard }] : []
    }),
  )
}

function documentOf(id: string, position: number, state: BudgetState, rows: readonly Standing[]) {
  const { limits, reservations, refusals, warnings, lastRefusal } = state
  const standing = rows.map((row) => ({ ...row, left: leftOf(row) }))
  return { id, position, limits, standing, reservations, refusals, warnings, lastRefusal }
}

function factsOf(id: string | undefined, stream: string, tenant: string, position: number, state: BudgetState): Fact[] {
  const { turn, refusals, warnings, lastRefusal } = state
  const facts: (Fact | false)[] = [
    id === undefined ? ['tenant', `${tenant}, ledger ${stream}`] : ['conversation', id],
    ['position', String(position)],
    turn.number > 0 && ['turn', `${turn.number}, ${turn.runningSince === null ? 'ended' : `${turn.turnId} is running`}`],
    ['warnings', String(warnings)],
    [
      'refusals',
      lastRefusal === null
        ? String(refusals)
        : `${refusals}, the last at position ${lastRefusal.position}: ${lastRefusal.actionType} needed ${lastRefusal.requested ?? 'an unknown amount'}, and ${lastRefusal.used} of ${budgetAmount(lastRefusal.kind, lastRefusal.limit)} were used`,
    ],
  ]
  return facts.filter((fact) => fact !== false)
}

const leftOf = ({ hard, used, reserved }: Standing): number | null => (hard === null ? null : Math.max(0, hard - used - reserved))

const standingListing: Listing<Standing> = {
  columns: [
    { title: 'SCOPE', value: ({ scope }) => scope },
    { title: 'KIND', value: ({ kind }) => nameOf(kind), style: () => 'cyan' },
    { title: 'USED', value: ({ used }) => used, align: 'right' },
    { title: 'RESERVED', value: ({ reserved }) => reserved, align: 'right' },
    { title: 'WARNS FROM', value: ({ soft }) => soft ?? '', align: 'right' },
    { title: 'LIMIT', value: ({ hard }) => hard ?? '', align: 'right' },
    {
      title: 'LEFT',
      value: (row) => leftOf(row) ?? '',
      align: 'right',
      style: (row) => (leftOf(row) === 0 ? 'red' : undefined),
    },
  ],
  json: (row) => ({ id: `${row.scope}/${row.kind}`, ...row }),
}

const reservationListing = (now: number): Listing<BudgetReservation> => ({
  columns: [
    { title: 'RESERVATION', value: ({ reservationId }) => reservationId, style: () => 'cyan' },
    { title: 'FOR', value: ({ purpose }) => purpose ?? '' },
    { title: 'HOLDER', value: ({ holder }) => holder ?? '' },
    {
      title: 'EXPIRES',
      value: ({ expiresAt }) => formatIsoTime(expiresAt),
      style: ({ expiresAt }) => (expiresAt <= now ? 'red' : undefined),
    },
    {
      title: 'AMOUNTS',
      value: ({ amounts }) =>
        budgetKinds
          .filter((kind) => kind !== 'tokens' && amountOf(amounts, kind) !== undefined)
          .map((kind) => budgetAmount(kind, amountOf(amounts, kind) ?? 0))
          .join(', '),
      isRest: true,
    },
  ],
  json: (reservation) => ({ id: reservation.reservationId, ...reservation }),
})
