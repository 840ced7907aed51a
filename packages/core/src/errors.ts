import { budgetUnit } from './conversation/budget-unit.ts'

interface ErrorRow {
  readonly retryable: boolean
  readonly message: (details: never) => string
}

const row = <Details>(message: (d: Details) => string, options: { retryable?: boolean } = {}) => ({
  retryable: options.retryable ?? false,
  message,
})

function remedyOf(scope: string): string {
  if (scope === 'turn') return 'Raise the budget with budgetSet, or go on in a new turn.'
  if (scope === 'tenant') return 'Raise the budget of the tenant, or wait until something is given back.'
  return 'Raise the budget with budgetSet, or start a new conversation.'
}

/**
 * Every way Colloquy refuses or fails. Closed: a new failure is a new row. Each text says what happened, with the numbers, and
 * then the next step. `retryable` means that the same call may succeed later without being changed.
 */
const errorTable = {
  // What an action may be
  action_unknown: row<{ type: string; known: number }>(
    (d) =>
      `No slice of this engine defines the action "${d.type}" (${d.known} are known). Add its slice to createEngine({ slices }), or correct the type.`,
  ),
  action_invalid: row<{ type: string; path: string; problem: string }>(
    (d) => `Action "${d.type}" does not match its schema at ${d.path}: ${d.problem}. Correct that field and dispatch again.`,
  ),
  json_invalid: row<{ path: string; found: string }>(
    (d) =>
      `${d.path} is ${d.found}, which JSON cannot hold without changing it. Convert it (for example to a string) before dispatching.`,
  ),
  json_too_deep: row<{ path: string; limitDepth: number }>(
    (d) => `${d.path} is nested deeper than ${d.limitDepth} levels. Flatten it, or raise limits.depth.`,
  ),
  json_too_wide: row<{ path: string; keys: number; limitKeys: number }>(
    (d) => `${d.path} has ${d.keys} entries, more than ${d.limitKeys}. Split it, or raise limits.keys.`,
  ),
  /** `path`: the innermost value that has most of the bytes. */
  envelope_too_large: row<{ type: string; path: string; bytes: number; limitBytes: number }>(
    (d) =>
      `Action "${d.type}" takes ${d.bytes} bytes, more than ${d.limitBytes}; ${d.path} has most of them. Put large content into media, or raise limits.envelopeBytes.`,
  ),
  id_invalid: row<{ kind: string; problem: string }>((d) => `The ${d.kind} is not usable: ${d.problem}. Choose another one.`),

  // What a guard may refuse
  conversation_archived: row<{ conversationId: string; position: number }>(
    (d) =>
      `Conversation ${d.conversationId} was archived at position ${d.position} and takes no more actions. Start a new conversation.`,
  ),
  conversation_already_started: row<{ startedAtPosition: number }>(
    (d) => `The conversation was started at position ${d.startedAtPosition} already. Leave conversationStarted out.`,
  ),
  message_not_found: row<{ messageId: string; workingSet: number }>(
    (d) =>
      `Message ${d.messageId} is not among the ${d.workingSet} messages of the working set. Check the id, or whether a compaction covers it.`,
  ),
  tool_not_open: row<{ messageId: string; callId: string; openCalls: number }>(
    (d) =>
      `Tool call ${d.callId} of message ${d.messageId} is not open (${d.openCalls} calls are). Dispatch toolRequested first, and end a call only once.`,
  ),
  tool_already_open: row<{ messageId: string; callId: string; requestedAtPosition: number }>(
    (d) =>
      `Tool call ${d.callId} of message ${d.messageId} is open since position ${d.requestedAtPosition}. End it before requesting it again.`,
  ),
  turn_not_open: row<{ turnId: string; openTurnId: string | null }>(
    (d) =>
      `Turn ${d.turnId} is not running (running: ${d.openTurnId ?? 'none'}). Dispatch turnStarted first, and end a turn only once.`,
  ),
  turn_already_open: row<{ turnId: string; openTurnId: string }>(
    (d) => `Turn ${d.openTurnId} is still running, so ${d.turnId} cannot start. End or interrupt the running turn first.`,
  ),
  participant_not_found: row<{ participantId: string; participants: number }>(
    (d) => `Participant ${d.participantId} is not among the ${d.participants} who are here. Check the id.`,
  ),
  compaction_stale: row<{ missing: number; changed: number; covered: number }>(
    (d) =>
      `Of the ${d.covered} messages to be covered ${d.missing} have left the working set, and ${d.changed} were redacted or pinned since. Plan the compaction again from the present state.`,
  ),
  compaction_parts_call: row<{ messageId: string; callId: string }>(
    (d) =>
      `The compaction would part tool call ${d.callId} of message ${d.messageId} from its result, its approval or its batch. Cover all of them or none.`,
  ),
  manifest_stale: row<{ basePosition: number | null; lastPosition: number | null }>(
    (d) =>
      `The manifest differs from the one at position ${d.basePosition ?? 'none'}, but the last one is at position ${d.lastPosition ?? 'none'}: another model call was recorded first. Describe the request again.`,
    { retryable: true },
  ),
  compaction_failed: row<{ strategy: string; reason: string; problem: string }>(
    (d) =>
      `The strategy "${d.strategy}" compacted nothing (${d.reason}): ${d.problem}. The working set is what it was; try another strategy, budget or summariser.`,
  ),
  compaction_not_found: row<{ position: number | null }>(
    (d) =>
      `The working set holds no compaction${d.position === null ? '' : ` made at position ${d.position}`}. Look up the position in context.lastCompaction or in the log.`,
  ),
  budget_exceeded: row<{ scope: string; kind: string; limit: number; used: number; reserved: number; requested: number }>(
    (d) =>
      `The action needs ${d.requested} ${budgetUnit(d.kind)}, but ${d.used} of ${d.limit} are used${d.reserved > 0 ? ` and ${d.reserved} reserved` : ''}${d.scope === 'conversation' ? '' : ` in this ${d.scope}`}. ${remedyOf(d.scope)}`,
  ),
  budget_unavailable: row<{ scope: string; problem: string }>(
    (d) =>
      `The budget of the ${d.scope} could not be asked, so nothing is allowed: ${d.problem}. Remove the cause, then dispatch again.`,
    { retryable: true },
  ),
  token_limit: row<{ actionType: string; limitTokens: number; requestedTokens: number }>(
    (d) =>
      `The ${d.actionType} has ${d.requestedTokens} tokens, more than the ${d.limitTokens} that one may have. Shorten or split it, or raise the limit.`,
  ),
  reservation_not_open: row<{ reservationId: string; openReservations: number }>(
    (d) =>
      `Reservation ${d.reservationId} is not open (${d.openReservations} are). Reserve first, and settle or release a reservation only once.`,
  ),
  reservation_already_open: row<{ reservationId: string; position: number }>(
    (d) =>
      `Reservation ${d.reservationId} is open since position ${d.position}. Settle or release it before reserving under this id again.`,
  ),

  // Dispatch
  position_conflict: row<{ conversationId: string; expectedPosition: number; actualPosition: number }>(
    (d) =>
      `Conversation ${d.conversationId} is at position ${d.actualPosition}, not ${d.expectedPosition}: another writer appended first. Look at the new state, then dispatch again.`,
    { retryable: true },
  ),
  rebase_limit_reached: row<{ conversationId: string; attempts: number }>(
    (d) =>
      `Conversation ${d.conversationId} changed under each of ${d.attempts} attempts. Dispatch again, or lower the number of writers.`,
    { retryable: true },
  ),
  command_id_reused: row<{ commandId: string; position: number }>(
    (d) => `Command id ${d.commandId} was used at position ${d.position} for another input. Use a new id for a new input.`,
  ),
  append_outcome_unknown: row<{ conversationId: string; position: number; hash: string }>(
    (d) =>
      `The connection was lost while position ${d.position} of conversation ${d.conversationId} was being appended: it may or may not be stored. Dispatch again with the same commandId, or look for hash ${d.hash} at that position.`,
    { retryable: true },
  ),
  history_rewound: row<
    | { readonly conversationId: string; readonly heldPosition: number; readonly headPosition: number }
    | { readonly partition: number; readonly heldPosition: number; readonly headPosition: number }
  >((d) =>
    'partition' in d
      ? `The feed of partition ${d.partition} ends at ${d.headPosition}, and a reader was at ${d.heldPosition}: the cursor is another database's, or a fail-over lost what was acknowledged after ${d.headPosition}. Compare with what you kept, then read again from an older cursor.`
      : `Position ${d.heldPosition} of conversation ${d.conversationId}, as it was acknowledged, is no longer in the log, which ends at ${d.headPosition}: ${d.headPosition < d.heldPosition ? `what came after position ${d.headPosition} is gone` : 'it was replaced'}, as after a fail-over. Nothing was stored now; dispatch again on the reloaded conversation, and compare it with what you kept.`,
  ),
  reducer_failed: row<{ type: string; slice: string; problem: string }>(
    (d) => `The reducer of slice "${d.slice}" threw on "${d.type}": ${d.problem}. Nothing was stored; correct the reducer.`,
  ),
  middleware_failed: row<{ type: string; problem: string }>(
    (d) => `A middleware broke its contract on "${d.type}": ${d.problem}. Correct the middleware.`,
  ),
  engine_closed: row<{ conversationId: string }>(
    (d) => `The engine is closed, so conversation ${d.conversationId} takes no actions. Create a new engine.`,
  ),
  model_call_not_found: row<{ conversationId: string; call: string | number }>(
    (d) =>
      `No model call of conversation ${d.conversationId} is recorded under ${typeof d.call === 'number' ? `position ${d.call} or before it` : d.call}. Record calls with recordModelCall; imported conversations have none.`,
  ),
  conversation_not_found: row<{ conversationId: string }>(
    (d) =>
      `There is no conversation ${d.conversationId}. List the conversations to see which exist${d.conversationId.includes('~') ? '; "~" in an id is kept for forks, which engine.fork makes' : ''}.`,
  ),
  position_not_found: row<{ conversationId: string; position: number; headPosition: number }>(
    (d) =>
      `Conversation ${d.conversationId} ends at position ${d.headPosition}; there is no position ${d.position}. Ask for 1 to ${d.headPosition}.`,
  ),

  // Configuration
  settings_invalid: row<{ field: string; problem: string }>(
    (d) => `The setting ${d.field} cannot be used: ${d.problem}. Correct it, or leave it out for the default.`,
  ),
  slice_invalid: row<{ slice: string; problem: string }>(
    (d) => `Slice "${d.slice}" cannot be used: ${d.problem}. Correct its definition.`,
  ),

  // The log
  log_corrupt: row<{ conversationId: string; position: number; problem: string }>(
    (d) =>
      `Conversation ${d.conversationId} is damaged at position ${d.position}: ${d.problem}. Run "colloquy verify" and restore from a copy that passes.`,
  ),
  snapshot_differs: row<{ conversationId: string; position: number; problem: string }>(
    (d) =>
      `The snapshot of conversation ${d.conversationId} at position ${d.position} is not used any more: ${d.problem}. Nothing is lost, its log was replayed instead; run "colloquy replay --verify" to see whether log or code changed.`,
  ),
  /** With a `place`: the process is one of another machine or container, as far as the lock in `file` says. */
  directory_locked: row<
    | { readonly directory: string; readonly pid: number; readonly since: string }
    | { readonly directory: string; readonly pid: number; readonly since: string; readonly place: string; readonly file: string }
  >(
    (d) =>
      'place' in d
        ? `${d.directory} is in use since ${d.since} by process ${d.pid} of another machine or container (${d.place}), which cannot be asked from here. If it runs no more, remove ${d.file}.`
        : `${d.directory} is in use by process ${d.pid} since ${d.since}. An embedded store serves one process: stop that one, or use Postgres.`,
    { retryable: true },
  ),
  store_missing: row<{ directory: string }>(
    (d) => `There is no store in ${d.directory}. Import a conversation to create one, or name another with --db.`,
  ),
  database_unreachable: row<{ target: string; problem: string }>(
    (d) =>
      `The database at ${d.target} cannot be reached: ${d.problem}. Check that it runs and that address, user and password are right.`,
    { retryable: true },
  ),
  log_closed: row<{ target: string }>((d) => `The log in ${d.target} was closed by this process. Open it again.`),
  storage_full: row<{ target: string }>(
    (d) =>
      `The disk of the database at ${d.target} is full, so nothing more is stored; reading goes on. Make room on it, then dispatch again.`,
    { retryable: true },
  ),
  append_queue_full: row<{ waitingEnvelopes: number; limitEnvelopes: number; waitingBytes: number; limitBytes: number }>(
    (d) =>
      `${d.waitingEnvelopes} envelopes (limit ${d.limitEnvelopes}) of ${d.waitingBytes} bytes (limit ${d.limitBytes}) wait to be appended already. Dispatch again later, or raise the limits of the queue.`,
    { retryable: true },
  ),
  transaction_aborted: row<{ target: string }>(
    (d) =>
      `The database at ${d.target} answered COMMIT with ROLLBACK, because a statement of the transaction had failed and the failure was swallowed: nothing was stored. Let the failure pass, then try again.`,
  ),
  database_failed: row<{ operation: string; sqlState: string | null; problem: string }>(
    (d) => `The database refused to ${d.operation} (SQLSTATE ${d.sqlState ?? 'none'}): ${d.problem}. Run "colloquy doctor".`,
  ),
  durability_off: row<{ target: string; setting: string }>(
    (d) =>
      `The database at ${d.target} runs with ${d.setting}=off, so a crash loses appends that were acknowledged. Turn it on, or open the log with allowFsyncOff where nothing is to be kept.`,
  ),
  tenant_missing: row<{ role: string; operation: string }>(
    (d) =>
      `Role ${d.role} sees one tenant at a time, and nothing names the tenant to ${d.operation} of. Name one, or connect as a role that sees every tenant (colloquy migrate --roles).`,
  ),
  log_read_only: row<{ operation: string; target: string }>(
    (d) =>
      `The database at ${d.target} takes reads only, so it could not ${d.operation}: it is a standby, or was set so. Nothing was stored; connect to the primary.`,
    { retryable: true },
  ),
  citus_unfit: row<{ problems: string }>((d) => `Nothing was distributed: ${d.problems}. Correct that, then migrate again.`),
  schema_newer: row<{ found: string; known: string }>(
    (d) =>
      `The database has migration ${d.found}, newer than the ${d.known} this version knows. Upgrade Colloquy; the data were not touched.`,
  ),
  schema_missing: row<{ found: string | null; needed: string }>(
    (d) => `The database is at migration ${d.found ?? 'none'}, but ${d.needed} is needed. Run "colloquy migrate".`,
  ),
  partitions_differ: row<{ found: number; asked: number }>(
    (d) =>
      `The database was created with ${d.found} partitions, not ${d.asked}. Leave the option out; to change it, export and import into a new database.`,
  ),

  // The feed
  cursor_invalid: row<{ problem: string }>(
    (d) =>
      `The cursor is not one of this log: ${d.problem}. Use a cursor that this database gave out, or leave it out to begin at the beginning.`,
  ),
  feed_hole: row<{ partition: number; expected: number; found: number }>(
    (d) =>
      `Partition ${d.partition} has no feed position ${d.expected}; ${d.found} comes next. Feed positions have no holes, so envelopes were taken out. Run "colloquy verify --all" to see what else is not whole, and restore from a copy that passes.`,
  ),
  subscription_stopped: row<{ name: string; partition: number; feedPosition: number; problem: string }>(
    (d) =>
      `Subscription "${d.name}" stands still in partition ${d.partition} behind feed position ${d.feedPosition}: ${d.problem}. Remove the cause and subscribe again, or subscribe with onPoison: 'park'.`,
  ),
  subscription_closed: row<{ name: string }>(
    (d) => `Subscription "${d.name}" was closed by this process, or forgotten. Subscribe again.`,
  ),
  dead_letter_not_found: row<{ name: string; partition: number; feedPosition: number }>(
    (d) =>
      `Subscription "${d.name}" has no dead letter at feed position ${d.feedPosition} of partition ${d.partition}. List them to see which there are.`,
  ),

  // A turn
  tool_not_found: row<{ name: string; known: number }>(
    (d) => `There is no tool "${d.name}" (${d.known} are registered). Use one of the tools that the request lists.`,
  ),
  tool_disabled: row<{ name: string }>(
    (d) => `The tool "${d.name}" is switched off for this conversation. Go on without it, or switch it on.`,
  ),
  tool_arguments_invalid: row<{ name: string; problem: string }>(
    (d) => `The arguments of "${d.name}" do not match its schema: ${d.problem}. Correct them and call it again.`,
  ),
  tool_timed_out: row<{ name: string; timeoutMs: number }>(
    (d) =>
      `The tool "${d.name}" did not end within ${d.timeoutMs} ms, and was told to stop. Ask for less at a time, or raise its timeoutMs.`,
    { retryable: true },
  ),
  egress_refused: row<{ host: string; problem: string }>(
    (d) => `No connection was made to ${d.host}: ${d.problem}. Add the host to the tool's allow list if it is to be reached.`,
  ),
  model_failed: row<{ provider: string; model: string; kind: string; problem: string }>(
    (d) =>
      `${d.provider} failed while ${d.model} answered (${d.kind}): ${d.problem}. What had arrived is stored; start another turn, or look at the provider's status.`,
    { retryable: true },
  ),

  // Import
  /** `line` counts from 1; 0: it is about the file as a whole. */
  import_refused: row<{ source: string; line: number; problem: string }>(
    (d) =>
      `${d.source} was not imported; ${d.line > 0 ? `line ${d.line}: ` : ''}${d.problem}. Nothing of it was stored: correct the file, then import it again.`,
  ),
  import_conflict: row<{ conversationId: string; position: number }>(
    (d) =>
      `Conversation ${d.conversationId} already holds other content at position ${d.position} than the file. Import it under another id.`,
  ),

  // Providers
  circuit_open: row<{ circuit: string; failures: number; retryInMs: number }>(
    (d) =>
      `${d.circuit} failed ${d.failures} times in a row and is left alone; the next try is let through in ${d.retryInMs} ms. Wait so long, or use another model.`,
    { retryable: true },
  ),

  // The command line
  cache_error: row<{ problem: string }>((d) => `The cache of answers cannot be used: ${d.problem} Until then, ask the model.`),
  file_unwritable: row<{ file: string; problem: string }>(
    (d) => `${d.file} was not written: ${d.problem}. What was there before is still there: give another file, or - for stdout.`,
  ),
  usage_invalid: row<{ problem: string }>((d) => `${d.problem}. See "colloquy --help".`),
} as const satisfies Record<string, ErrorRow>

/** The closed list of what can go wrong. */
export type ErrorCode = keyof typeof errorTable
/** The numbers and names behind an error, by its code. */
export type ErrorDetails<C extends ErrorCode> = Parameters<(typeof errorTable)[C]['message']>[0]

/** All codes, for documentation and tests. */
export const errorCodes = Object.keys(errorTable) as readonly ErrorCode[]

/**
 * The one error of Colloquy. Test by `code`, never by text or `instanceof`: two copies of a package may be loaded.
 * `details` are plain data, typed by the code; `cause` keeps what was caught.
 */
export class ColloquyError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'ColloquyError'
  readonly code: C
  readonly details: ErrorDetails<C>
  /** True when the same call may succeed later without being changed. */
  readonly retryable: boolean

  constructor(code: C, details: ErrorDetails<C>, options?: { cause?: unknown }) {
    // The row's parameter type is the intersection over C here; `details` was typed by C at the call.
    // What a detail says may be a sentence itself, that of another error for one: its full stop is the text's.
    super(errorTable[code].message(details as never).replaceAll(/(?<!\.)\.\.(?=\s|$)/g, '.'), options)
    this.code = code
    this.details = details
    this.retryable = errorTable[code].retryable
  }

  toJSON(): { code: C; message: string; details: ErrorDetails<C>; retryable: boolean } {
    return { code: this.code, message: this.message, details: this.details, retryable: this.retryable }
  }
}

/** Whether `error` is a ColloquyError, of `code` when one is given. Works across copies of this package. */
export function isColloquyError<C extends ErrorCode = ErrorCode>(error: unknown, code?: C): error is ColloquyError<C> {
  if (!(error instanceof Error) || error.name !== 'ColloquyError' || !('code' in error)) return false
  return code === undefined ? typeof error.code === 'string' && Object.hasOwn(errorTable, error.code) : error.code === code
}
