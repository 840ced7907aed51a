/** For every action, a small conversation in which it means something. The action itself comes last. */
import {
  type Action,
  approvalDecided,
  approvalRequested,
  budgetRefused,
  budgetReleased,
  budgetReserved,
  budgetSet,
  budgetSettled,
  budgetWarned,
  type ConversationAction,
  circuitClosed,
  circuitOpened,
  compactionFailed,
  compactionUndone,
  contextCompacted,
  conversationArchived,
  conversationCleared,
  conversationForked,
  conversationStarted,
  conversationTitled,
  degraded,
  errorRecorded,
  foreignRecordKept,
  type Message,
  messageAdded,
  messagePinned,
  messageRedacted,
  messageUnpinned,
  metadataChanged,
  modelCalled,
  participantJoined,
  participantLeft,
  preferencesChanged,
  recovered,
  toolCancelled,
  toolEndedLate,
  toolFailed,
  toolProgressed,
  toolRequested,
  toolStarted,
  toolSucceeded,
  turnEnded,
  turnInterrupted,
  turnResumed,
  turnStarted,
  usageRecorded,
} from '@colloquy/core'

const text = (id: string, role: Message['role'], words: string, tokenCount: number) =>
  messageAdded({ message: { v: 1, id, role, parts: [{ type: 'text', text: words }] }, tokenCount, tokenCounter: 'test@1' })

const started = conversationStarted({ title: 'Weather', contextLimitTokens: 200_000 })
const question = text('m1', 'user', 'Will it rain in Zürich? ☂️', 9)

const call = { messageId: 'm2', callId: 'call-1' }
const answerWithCall = messageAdded({
  message: {
    v: 1,
    id: 'm2',
    role: 'assistant',
    parts: [
      { type: 'reasoning', text: 'I need the forecast.', signature: 'c2lnbmVk', redacted: false },
      {
        type: 'tool_call',
        callId: 'call-1',
        name: 'forecast',
        args: { raw: '{"city": "Zürich", "days": 1.50}', json: { city: 'Zürich', days: 1.5 }, valid: true },
        executor: { kind: 'client' },
        batchId: 'b1',
      },
    ],
    model: { provider: 'anthropic', id: 'claude', stop: { unified: 'tool_calls', raw: 'tool_use' } },
  },
  tokenCount: 21,
})
const toolAsked = [question, answerWithCall, toolRequested({ ...call, name: 'forecast' })]
const result = messageAdded({
  message: {
    v: 1,
    id: 'm3',
    role: 'tool',
    parts: [
      {
        type: 'tool_result',
        callId: 'call-1',
        callMessageId: 'm2',
        status: 'ok',
        content: [
          { type: 'text', text: '12 mm' },
          {
            type: 'media',
            kind: 'image',
            mediaType: 'image/png',
            source: { kind: 'hash', hash: 'a'.repeat(64), bytes: 1024 },
          },
        ],
      },
    ],
  },
  tokenCount: 30,
})

/** m1 to m4, then a compaction of m1 to m3 at position 5. */
const compacted = [
  question,
  answerWithCall,
  result,
  text('m4', 'assistant', 'Yes, take an umbrella.', 8),
  contextCompacted(
    {
      covered: {
        messageIds: ['m1', 'm2', 'm3'],
        ranges: [[1, 3]],
        tokens: 60,
      },
      summary: {
        message: {
          v: 1,
          id: 's1',
          role: 'user',
          parts: [{ type: 'compaction', content: 'Rain in Zürich: 12 mm.', covers: [[1, 3]] }],
        },
        tokenCount: 12,
      },
      strategy: 'summarizing',
      trigger: 'auto',
      before: { messages: 4, tokens: 68 },
      after: { messages: 2, tokens: 20 },
    },
    { derivedFrom: [[1, 3]] },
  ),
]

const paid = {
  usage: { input: 90, output: 6, cacheRead: 0, cacheWrite: { ttl5m: 0, ttl1h: 0, other: 0 }, reasoning: 0 },
  model: { provider: 'anthropic', id: 'claude' },
}

const running = [started, turnStarted({ turnId: 't1' }), question]
const joined = [
  participantJoined({ participantId: 'ada', kind: 'person', name: 'Ada', details: { locale: 'de-CH' } }),
  participantJoined({ participantId: 'claude', kind: 'model' }),
]
const limitSet = budgetSet({
  scope: 'conversation',
  limits: { messageTokens: { soft: 20, hard: 40 }, modelCalls: { soft: null, hard: 3 }, costMicros: null },
})
const reserved = budgetReserved({
  reservationId: 'r1',
  amounts: { modelCalls: 1, inputTokens: 900, outputTokens: 400, costMicros: 8_700 },
  expiresAt: 1_767_225_900_000_000,
  purpose: 'model_call',
  holder: 'host/1',
})
const limited = [limitSet, question, answerWithCall]

export const scenarios: { readonly [Type in ConversationAction['type']]: readonly Action[] } = {
  conversationStarted: [
    conversationStarted(
      {
        title: 'Weather',
        contextLimitTokens: 200_000,
        parent: { conversationId: 'c0', relation: 'sidechain', position: 7, messageId: 'm2', callId: 'call-1' },
        source: { format: 'claude-code', id: 'session-1', details: { version: '2.0.1' } },
      },
      { meta: { importedFrom: { line: 1 } } },
    ),
  ],
  conversationTitled: [started, conversationTitled({ title: 'Wetter, auf Deutsch \ud83c\udf26' })],
  conversationArchived: [started, question, conversationArchived({ reason: 'answered' })],
  conversationForked: [started, question, conversationForked({ parentId: 'weather', position: 2, reason: 'another answer' })],
  conversationCleared: [started, ...toolAsked, conversationCleared({ reason: 'a new topic' })],
  foreignRecordKept: [
    started,
    foreignRecordKept({
      format: 'claude-code',
      recordType: 'mystery',
      line: 4,
      reason: 'unknown record type',
      record: { type: 'mystery', nested: [{ 'any.key': null }, true, 1.5, ''] },
    }),
  ],
  participantJoined: joined,
  participantLeft: [...joined, participantLeft({ participantId: 'ada', reason: 'went home' })],
  preferencesChanged: [
    preferencesChanged({ set: { language: 'de', tone: { formal: true }, old: 1 } }),
    preferencesChanged({ set: { language: 'en' }, unset: ['old'] }),
  ],
  metadataChanged: [
    metadataChanged({ set: { project: 'weather', tags: ['a', 'b'], constructor: 'a key like any other' } }),
    metadataChanged({ set: { ratio: 0.1, big: 9_007_199_254_740_991, 'ä key': null }, unset: ['tags'] }),
  ],
  messageAdded: [
    question,
    answerWithCall,
    result,
    // What is hard to keep: NUL, half of a surrogate pair, two ways to write é, line separators.
    text('m4', 'assistant', 'NUL \0 half \ud800 é \u0065\u0301 \u2028 "quoted\\"', 8),
    messageAdded({
      message: {
        v: 1,
        id: 'm5',
        role: 'user',
        author: { id: 'ada', name: 'Ada' },
        createdAt: 1_767_225_600_000_000,
        meta: { client: 'web' },
        raw: { z: 1, a: [1, 1.5] },
        parts: [
          { type: 'text', text: 'Look', id: 'p1', citations: [{ kind: 'url', url: 'https://example.org', start: 0, end: 4 }] },
          {
            type: 'media',
            kind: 'document',
            mediaType: 'text/plain',
            source: { kind: 'text', text: 'notes' },
            filename: 'n.txt',
          },
          { type: 'approval', approvalId: 'a1', callId: 'call-1', decision: 'approved' },
          { type: 'refusal', text: 'no' },
          { type: 'citation_source', sourceId: 's1', title: 'Source' },
          { type: 'tool_change', change: 'add', ref: { name: 'forecast' } },
          { type: 'control', kind: 'openai.step_start' },
          { type: 'custom', kind: 'gemini.thought', payload: { text: null } },
        ],
      },
      tokenCount: 0,
    }),
  ],
  messageRedacted: [question, answerWithCall, result, messageRedacted({ messageId: 'm3', reason: 'a phone number' })],
  messagePinned: [question, answerWithCall, messagePinned({ messageId: 'm1', reason: 'the task' })],
  messageUnpinned: [question, messagePinned({ messageId: 'm1' }), messageUnpinned({ messageId: 'm1' })],
  contextCompacted: compacted,
  compactionFailed: [
    question,
    answerWithCall,
    result,
    messageRedacted({ messageId: 'm3' }),
    contextCompacted(
      {
        covered: { messageIds: ['m2', 'm3'], ranges: [[2, 3]], tokens: 51 },
        redactedIds: ['m3'],
        summary: {
          message: { v: 1, id: 's1', role: 'user', parts: [{ type: 'compaction', content: 'A forecast.', covers: [[2, 3]] }] },
          tokenCount: 6,
        },
        strategy: 'summarizing',
        trigger: 'manual',
        before: { messages: 3, tokens: 60 },
        after: { messages: 2, tokens: 15 },
        preserved: ['Zürich'],
        summarised: {
          by: 'claude@1',
          maxTokens: 20,
          instructions: 'keep places',
          requestHash: 'ab'.repeat(32),
          ...paid,
        },
      },
      { derivedFrom: [[2, 3]] },
    ),
    compactionFailed({
      strategy: 'summarizing',
      trigger: 'auto',
      reason: 'summariser_failed',
      problem: 'overloaded',
      by: 'claude@1',
      ...paid,
    }),
  ],
  compactionUndone: [
    ...compacted,
    compactionUndone(
      {
        compactionPosition: 5,
        restored: { messageIds: ['m1', 'm2', 'm3'], ranges: [[1, 3]], tokens: 60 },
        summaryTokens: 12,
        redactions: [],
      },
      { derivedFrom: [[1, 3]] },
    ),
  ],
  toolRequested: toolAsked,
  approvalRequested: [...toolAsked, approvalRequested({ ...call, approvalId: 'a1', reason: 'it writes to a file' })],
  approvalDecided: [
    ...toolAsked,
    approvalRequested({ ...call, approvalId: 'a1' }),
    approvalDecided({ ...call, approvalId: 'a1', decision: 'denied', reason: 'not today' }),
  ],
  // While the model still talks: the request has the arguments, the end has the answer, and both wait for their messages.
  toolEndedLate: [
    question,
    toolRequested({
      ...call,
      name: 'forecast',
      args: { raw: '{"days":1.50}', json: { days: 1.5 }, valid: true },
      idempotencyKey: 'k1',
    }),
    toolStarted({ ...call, attempt: 1 }),
    toolFailed({
      ...call,
      kind: 'timed_out',
      code: 'tool_timed_out',
      result: { type: 'tool_result', callId: 'call-1', callMessageId: 'm2', status: 'error', content: [] },
    }),
    toolEndedLate({ ...call, outcome: 'succeeded', durationMs: 31_000 }),
  ],
  toolStarted: [...toolAsked, toolStarted({ ...call, attempt: 1 })],
  toolProgressed: [...toolAsked, toolStarted(call), toolProgressed({ ...call, ratio: 0.25, note: 'half of half' })],
  toolSucceeded: [...toolAsked, toolStarted(call), result, toolSucceeded({ ...call, durationMs: 12.5, resultMessageId: 'm3' })],
  toolFailed: [
    ...toolAsked,
    toolStarted(call),
    toolFailed({ ...call, kind: 'outcome_unknown', problem: 'the process was killed' }),
  ],
  toolCancelled: [...toolAsked, toolCancelled({ ...call, reason: 'the user pressed stop' })],
  turnStarted: [started, turnStarted({ turnId: 't1' })],
  turnResumed: [...running, turnResumed({ turnId: 't1', run: 2 })],
  turnEnded: [...running, turnEnded({ turnId: 't1', reason: 'answered' })],
  turnInterrupted: [...running, turnInterrupted({ turnId: 't1', reason: 'stopped by the user' })],
  usageRecorded: [
    question,
    usageRecorded({
      usage: {
        input: 120,
        output: 30,
        cacheRead: 80,
        cacheWrite: { ttl5m: 5, ttl1h: 6, other: 7 },
        reasoning: 11,
        serverTools: { web_search: 1 },
        costMicros: 1234,
        raw: { input_tokens: 120 },
      },
      messageId: 'm2',
      model: { provider: 'anthropic', id: 'claude' },
    }),
  ],
  budgetSet: [limitSet],
  budgetReserved: [limitSet, turnStarted({ turnId: 't1' }), reserved],
  budgetSettled: [
    limitSet,
    reserved,
    budgetReserved({
      reservationId: 'r2',
      amounts: { toolCalls: 8 },
      expiresAt: 1_767_225_605_000_000,
      purpose: 'chunk',
    }),
    budgetSettled({ reservationId: 'r2', amounts: { toolCalls: 3 }, held: { toolCalls: 2 } }),
    budgetSettled({ reservationId: 'r1', amounts: { outputTokens: 120, cacheReadTokens: 30 } }),
  ],
  budgetReleased: [limitSet, reserved, budgetReleased({ reservationId: 'r1', reason: 'the request was never sent' })],
  budgetWarned: [...limited, budgetWarned({ scope: 'conversation', kind: 'messageTokens', soft: 20, hard: 40, used: 30 })],
  modelCalled: [
    question,
    modelCalled({
      callId: 'call-a',
      model: { provider: 'anthropic', id: 'claude' },
      encoder: 'anthropic-messages@1',
      base: null,
      system: 'a'.repeat(64),
      tools: ['b'.repeat(64), 'c'.repeat(64)],
      config: 'd'.repeat(64),
      messages: [
        { hash: '1'.repeat(64), position: null, kept: true },
        { hash: '2'.repeat(64), position: 1 },
      ],
      request: { hash: 'e'.repeat(64), bytes: 420 },
      content: { messages: 2, bytes: 300, tokens: 75 },
      unchanged: { messages: 0, bytes: 0, tokens: 0 },
      counter: 'test@1',
    }),
    text('m2', 'assistant', 'Yes.', 2),
    text('m3', 'user', 'And tomorrow?', 3),
    modelCalled(
      {
        callId: 'call-b',
        encoder: 'anthropic-messages@1',
        base: 2,
        system: null,
        config: 'd'.repeat(64),
        messages: [
          { keepFrom: 1, keepCount: 1 },
          { hash: '3'.repeat(64), position: 3 },
          { hash: '4'.repeat(64), position: 4, kept: true },
        ],
        request: { hash: 'f'.repeat(64), bytes: 512 },
        content: { messages: 3, bytes: 260 },
        unchanged: { messages: 0, bytes: 40 },
      },
      { derivedFrom: [[2, 4]] },
    ),
  ],
  budgetRefused: [
    ...limited,
    budgetRefused({
      actionType: 'messageAdded',
      scope: 'conversation',
      kind: 'messageTokens',
      limit: 40,
      used: 30,
      reserved: 0,
      requested: 30,
    }),
  ],
  errorRecorded: [
    question,
    errorRecorded({
      kind: 'provider',
      problem: 'overloaded',
      retryable: true,
      retryInMs: 1500,
      attempt: 2,
      details: { status: 529 },
    }),
  ],
  degraded: [degraded({ mode: 'no-tools', reason: 'the tool server does not answer' })],
  recovered: [degraded({ mode: 'no-tools', reason: 'the tool server does not answer' }), recovered({ reason: 'it answers' })],
  circuitOpened: [circuitOpened({ circuit: 'anthropic/stream', failures: 5, openedAt: 1_767_225_600_000_000 })],
  circuitClosed: [
    circuitOpened({ circuit: 'anthropic/stream', failures: 5, openedAt: 1_767_225_600_000_000 }),
    circuitOpened({ circuit: 'openai/stream', failures: 5, openedAt: 1_767_225_601_000_000 }),
    circuitClosed({ circuit: 'anthropic/stream' }),
  ],
}
