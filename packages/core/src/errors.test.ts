import { describe, expect, test } from 'vitest'
import { ColloquyError, type ErrorCode, type ErrorDetails, errorCodes, isColloquyError } from './errors.ts'

/** Details as they could really be, one set for every code. */
const samples: { readonly [C in ErrorCode]: ErrorDetails<C> } = {
  action_unknown: { type: 'orderPlaced', known: 29 },
  action_invalid: { type: 'messageAdded', path: '$.payload.message.id', problem: 'expected string' },
  json_invalid: { path: '$.payload.at', found: 'an instance of Date' },
  json_too_deep: { path: '$.payload.tree', limitDepth: 64 },
  json_too_wide: { path: '$.payload.list', keys: 10_001, limitKeys: 10_000 },
  envelope_too_large: {
    type: 'messageAdded',
    path: '$.payload.message.parts[0].text',
    bytes: 1_048_577,
    limitBytes: 1_048_576,
  },
  id_invalid: { kind: 'tenant', problem: 'it has 0 characters, not 1 to 200' },
  conversation_archived: { conversationId: 'c1', position: 12 },
  conversation_already_started: { startedAtPosition: 1 },
  message_not_found: { messageId: 'm7', workingSet: 4 },
  tool_not_open: { messageId: 'm7', callId: 'call 1', openCalls: 2 },
  tool_already_open: { messageId: 'm7', callId: 'call 1', requestedAtPosition: 9 },
  turn_not_open: { turnId: 't2', openTurnId: null },
  turn_already_open: { turnId: 't2', openTurnId: 't1' },
  participant_not_found: { participantId: 'ada', participants: 3 },
  compaction_stale: { missing: 2, changed: 1, covered: 10 },
  compaction_parts_call: { messageId: 'm7', callId: 'call 1' },
  compaction_failed: { strategy: 'summarizing', reason: 'summariser_failed', problem: 'the model is overloaded' },
  compaction_not_found: { position: 31 },
  manifest_stale: { basePosition: null, lastPosition: 17 },
  budget_exceeded: { scope: 'conversation', kind: 'tokens', limit: 50_000, used: 49_000, reserved: 700, requested: 1500 },
  budget_unavailable: { scope: 'tenant', problem: 'the database at localhost:5432 cannot be reached' },
  token_limit: { actionType: 'messageAdded', limitTokens: 8_000, requestedTokens: 9_200 },
  reservation_not_open: { reservationId: 'r7', openReservations: 2 },
  reservation_already_open: { reservationId: 'r7', position: 12 },
  position_conflict: { conversationId: 'c1', expectedPosition: 4, actualPosition: 6 },
  rebase_limit_reached: { conversationId: 'c1', attempts: 64 },
  command_id_reused: { commandId: 'command 1', position: 4 },
  append_outcome_unknown: { conversationId: 'c1', position: 5, hash: 'a1b2' },
  history_rewound: { conversationId: 'c1', heldPosition: 9, headPosition: 6 },
  reducer_failed: { type: 'todoAdded', slice: 'todos', problem: 'x is not a function' },
  middleware_failed: { type: 'messageAdded', problem: 'next was called twice' },
  engine_closed: { conversationId: 'c1' },
  model_call_not_found: { conversationId: 'c1', call: 12 },
  conversation_not_found: { conversationId: 'c1' },
  position_not_found: { conversationId: 'c1', position: 9, headPosition: 6 },
  settings_invalid: { field: 'thresholds.targetRatio', problem: '2 is not at most 1' },
  slice_invalid: { slice: 'todos', problem: 'another slice has this name' },
  log_corrupt: { conversationId: 'c1', position: 3, problem: 'the body is not JSON' },
  snapshot_differs: { conversationId: 'c-1', position: 200, problem: 'the state in it cannot be read' },
  directory_locked: { directory: '/data/colloquy', pid: 4711, since: '2026-01-01T00:00:00Z' },
  store_missing: { directory: '/data/colloquy' },
  database_unreachable: { target: 'localhost:5432', problem: 'connection refused' },
  log_closed: { target: 'localhost:5432/talk' },
  storage_full: { target: 'db.example:5432/talk' },
  append_queue_full: { waitingEnvelopes: 20_000, limitEnvelopes: 20_000, waitingBytes: 9_000_000, limitBytes: 67_108_864 },
  transaction_aborted: { target: 'db.example:5432/talk' },
  database_failed: { operation: 'append', sqlState: '42501', problem: 'permission denied' },
  durability_off: { target: 'localhost:5432/talk', setting: 'fsync' },
  tenant_missing: { role: 'colloquy_app', operation: 'give the feed of partition 3' },
  log_read_only: { operation: 'append to 2 conversations', target: 'localhost:5432/talk' },
  citus_unfit: { problems: 'the extension citus is not installed; wal_level is replica' },
  schema_newer: { found: '0007_x', known: '0003_y' },
  schema_missing: { found: null, needed: '0001_log' },
  partitions_differ: { found: 64, asked: 128 },
  cursor_invalid: { problem: 'it is for 8 partitions, and this log has 64' },
  feed_hole: { partition: 3, expected: 41, found: 43 },
  subscription_stopped: { name: 'totals', partition: 3, feedPosition: 40, problem: 'no such account' },
  subscription_closed: { name: 'totals' },
  dead_letter_not_found: { name: 'totals', partition: 3, feedPosition: 41 },
  tool_not_found: { name: 'serach', known: 3 },
  tool_disabled: { name: 'shell' },
  tool_arguments_invalid: { name: 'forecast', problem: '$.days: expected number' },
  tool_timed_out: { name: 'forecast', timeoutMs: 30_000 },
  egress_refused: { host: '169.254.169.254', problem: 'it is a private address' },
  model_failed: { provider: 'anthropic', model: 'claude', kind: 'overloaded', problem: 'Overloaded' },
  import_refused: { source: 'session.jsonl', line: 3, problem: 'the line is cut off' },
  import_conflict: { conversationId: 'c1', position: 3 },
  circuit_open: { circuit: 'anthropic/stream', failures: 5, retryInMs: 48_000 },
  cache_error: { problem: 'The cache was closed. Make a new one.' },
  file_unwritable: { file: 'out.html', problem: 'ENOSPC: no space left on device, write' },
  usage_invalid: { problem: 'There is no command "replya"' },
}

describe('every error', () => {
  test.each(errorCodes)('%s says what happened, with every number and name it was given, and what to do next', (code) => {
    const details = samples[code]
    const { message } = new ColloquyError(code, details)
    for (const value of Object.values(details)) expect(message).toContain(String(value ?? 'none'))
    // What happened, then the next step, in sentences that end.
    expect(message).toMatch(/^.+[.:;] .+\.$/s)
    expect(message).not.toMatch(/undefined|\[object|NaN/)
  })

  test('history_rewound tells a feed that got shorter from a conversation that did, and a lost position from a replaced one', () => {
    const feed = new ColloquyError('history_rewound', { partition: 3, heldPosition: 90, headPosition: 60 })
    expect(feed.message).toMatch(/partition 3 ends at 60, .* at 90: .*acknowledged after 60/)
    const lost = new ColloquyError('history_rewound', samples.history_rewound)
    expect(lost.message).toMatch(/what came after position 6 is gone/)
    const replaced = new ColloquyError('history_rewound', { conversationId: 'c1', heldPosition: 6, headPosition: 9 })
    expect(replaced.message).toMatch(/it was replaced/)
  })

  test('import_refused names no line where it is about the file as a whole', () => {
    const { message } = new ColloquyError('import_refused', { source: 'a.jsonl', line: 0, problem: 'it cannot be read' })
    expect(message).toMatch(/^a\.jsonl was not imported; it cannot be read\. /)
  })

  test.each(errorCodes)('%s has these words', (code) => {
    const { message, retryable } = new ColloquyError(code, samples[code])
    expect({ message, retryable }).toMatchSnapshot()
  })
})

describe('a ColloquyError', () => {
  const cause = new Error('why')
  const error = new ColloquyError('id_invalid', { kind: 'tenant', problem: 'it is empty' }, { cause })

  test('is an Error that keeps code, details and cause, and can be sent as JSON', () => {
    expect(error).toBeInstanceOf(Error)
    expect(error.name).toBe('ColloquyError')
    expect(error.cause).toBe(cause)
    expect(String(error)).toBe('ColloquyError: The tenant is not usable: it is empty. Choose another one.')
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      code: 'id_invalid',
      message: 'The tenant is not usable: it is empty. Choose another one.',
      details: { kind: 'tenant', problem: 'it is empty' },
      retryable: false,
    })
  })

  test('is told by its code, also when another copy of the package made it', async () => {
    // Another URL is another module, as another copy in node_modules is.
    const query = '?copy'
    const copy: typeof import('./errors.ts') = await import(/* @vite-ignore */ `./errors.ts${query}`)
    const foreign = new copy.ColloquyError('id_invalid', { kind: 'tenant', problem: 'it is empty' })
    expect(foreign).not.toBeInstanceOf(ColloquyError)
    expect(isColloquyError(foreign)).toBe(true)
    expect(isColloquyError(foreign, 'id_invalid')).toBe(true)
    expect(isColloquyError(foreign, 'usage_invalid')).toBe(false)
  })

  test('is nothing else', () => {
    const named = (code: unknown) => Object.assign(new Error('x'), { name: 'ColloquyError', code })
    for (const other of [
      new Error('x'),
      named('no_such_code'),
      named(7),
      named('toString'),
      error.toJSON(),
      null,
      'id_invalid',
    ]) {
      expect(isColloquyError(other)).toBe(false)
    }
    expect(isColloquyError(Object.assign(new Error('x'), { code: 'id_invalid' }), 'id_invalid')).toBe(false)
  })
})

test('an error that is told in another one brings no second full stop', () => {
  const inner = new ColloquyError('feed_hole', { partition: 1, expected: 2, found: 4 })
  const outer = new ColloquyError('subscription_stopped', { name: 's', partition: 1, feedPosition: 1, problem: inner.message })
  expect(outer.message).toContain('restore from a copy that passes. Remove the cause')
  expect(new ColloquyError('usage_invalid', { problem: 'It goes on...' }).message).toContain('It goes on...')
})

test('who looks for a conversation with a "~" in its id is told what that is kept for', () => {
  expect(new ColloquyError('conversation_not_found', { conversationId: 'a~b' }).message).toContain('kept for forks')
  expect(new ColloquyError('conversation_not_found', { conversationId: 'a' }).message).not.toContain('~')
})
