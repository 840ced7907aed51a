import { describe, expect, test } from 'vitest'
import {
  actionOf,
  changedByGrowth,
  commandIdsOf,
  importLines,
  importValue,
  messagesIn,
  payloadsOf,
  recordsOf,
  refusal,
  stateOf,
  told,
} from '../../../../../test/formats/told.ts'

const text = (words: string) => ({ type: 'text', text: words })
const stamp = (at: number) => new Date(Date.UTC(2025, 0, 27, 22, 0, at)).toISOString().replace('Z', '')
const timeOf = (at: number) => Date.UTC(2025, 0, 27, 22, 0, at) * 1000

describe('events of 2025', () => {
  const event = (id: number, source: string, fields: object) => ({ id, timestamp: stamp(id), source, message: '', ...fields })
  const task = event(0, 'user', { action: 'message', args: { content: 'Make it', image_urls: null, wait_for_response: false } })
  const toolCall = (id: string, args: object, name = 'execute_bash') => ({
    index: 1,
    id,
    type: 'function',
    function: { name, arguments: JSON.stringify(args) },
  })
  const completion = (id: string, content: string, calls: readonly object[]) => ({
    id,
    model: 'claude-test',
    choices: [{ finish_reason: 'tool_calls', index: 0, message: { role: 'assistant', content, tool_calls: calls } }],
    usage: {
      completion_tokens: 9,
      prompt_tokens: 100,
      prompt_tokens_details: { cached_tokens: 60 },
      cache_creation_input_tokens: 30,
    },
  })
  const metadata = (callId: string, response: object, name = 'execute_bash') => ({
    tool_call_metadata: { function_name: name, tool_call_id: callId, model_response: response, total_calls_in_response: 1 },
  })
  const run = (id: number, callId: string, response: object) =>
    event(id, 'agent', { action: 'run', args: { command: 'ls', thought: 'Look.' }, ...metadata(callId, response) })
  const ran = (id: number, cause: number, content: string, exitCode = 0) =>
    event(id, 'agent', { cause, observation: 'run', content, extras: { command: 'ls', metadata: { exit_code: exitCode } } })
  const state = (id: number, name: string, more: object = {}) =>
    event(id, 'environment', { observation: 'agent_state_changed', content: '', extras: { agent_state: name, ...more } })
  const one = completion('r1', 'I look at what is there.', [toolCall('c1', { command: 'ls' })])
  const finish = event(9, 'agent', {
    action: 'finish',
    args: { thought: 'Done.' },
    ...metadata('c9', completion('r9', 'Done.', [toolCall('c9', {}, 'finish')]), 'finish'),
  })

  test('become these actions and nothing else', () => {
    const file = importValue([
      task,
      event(2, 'user', { cause: 0, observation: 'null', content: '', extras: {} }),
      run(3, 'c1', one),
      ran(4, 3, 'a.ts'),
      finish,
    ])
    expect(file).toMatchObject({ format: 'openhands', records: 5, remarks: [] })
    expect(file.skipped).toEqual([{ line: 2, recordType: 'null', reason: 'it says only that event 0 gave nothing to observe' }])
    expect(file.conversations[0]?.commands.map(({ commandId, occurredAt }) => [commandId, occurredAt])).toEqual([
      ['openhands:started', timeOf(0)],
      ['openhands:event:0', timeOf(0)],
      ['openhands:event:3', timeOf(3)],
      ['openhands:event:4', timeOf(4)],
      ['openhands:event:9', timeOf(9)],
    ])
    expect(told(file)).toMatchObject([
      ['turnStarted', { turnId: 'event:0' }],
      ['messageAdded', { message: { role: 'user', author: { id: 'user' }, parts: [text('Make it')], createdAt: timeOf(0) } }],
      [
        'messageAdded',
        {
          message: {
            id: 'event:3',
            role: 'assistant',
            author: { id: 'claude-test' },
            model: {
              provider: 'litellm',
              api: 'chat',
              id: 'claude-test',
              responseId: 'r1',
              stop: { unified: 'tool_calls', raw: 'tool_calls' },
            },
            parts: [
              text('I look at what is there.'),
              {
                type: 'tool_call',
                callId: 'c1',
                name: 'execute_bash',
                args: { raw: '{"command":"ls"}', json: { command: 'ls' } },
              },
            ],
          },
        },
      ],
      ['toolRequested', { messageId: 'event:3', callId: 'c1', name: 'execute_bash' }],
      ['usageRecorded', { usage: { input: 10, output: 9, cacheRead: 60, cacheWrite: { other: 30 } }, messageId: 'event:3' }],
      [
        'messageAdded',
        { message: { role: 'tool', parts: [{ callId: 'c1', callMessageId: 'event:3', status: 'ok', content: [text('a.ts')] }] } },
      ],
      ['toolSucceeded', { messageId: 'event:3', callId: 'c1', resultMessageId: 'event:4' }],
      ['messageAdded', { message: { id: 'event:9' } }],
      ['toolRequested', { callId: 'c9', name: 'finish' }],
      ['usageRecorded', { messageId: 'event:9' }],
      ['turnEnded', { turnId: 'event:0', reason: 'finish' }],
    ])
  })

  test('of one completion are one message, counted once, and what results repeat of it is a pointer', () => {
    const two = completion('r1', 'I look at both of these places at once now.', [
      toolCall('c1', { n: 1 }),
      toolCall('c2', { n: 2 }),
    ])
    const file = importValue([
      task,
      run(3, 'c1', two),
      { ...ran(4, 3, 'one'), ...metadata('c1', two) },
      run(5, 'c2', two),
      { ...ran(6, 5, 'two'), ...metadata('c2', two) },
    ])
    expect(messagesIn(file).map(({ id }) => id)).toEqual(['event:0', 'event:3', 'event:4', 'event:6'])
    expect(payloadsOf(file, 'usageRecorded')).toHaveLength(1)
    expect(stateOf(file).tools).toMatchObject({ requested: 2, succeeded: 2, open: [] })
    const kept = file.conversations[0]?.commands.flatMap(({ actions }) => actions).filter(({ type }) => type === 'messageAdded')
    expect(kept?.[1]?.meta).toMatchObject({ records: [{ line: 2 }, { line: 4 }] })
    expect(JSON.stringify(kept?.[2]?.meta)).toContain('{"$message":"event:3/parts/0/text"}')
    expect(JSON.stringify(kept?.[2]?.meta)).not.toContain('places at once')
  })

  test.each([
    ['an exit code', { observation: 'run', extras: { metadata: { exit_code: 2 } } }, 'error'],
    ['no exit code yet', { observation: 'run', extras: { metadata: { exit_code: -1 } } }, 'unknown'],
    ['an error', { observation: 'error', extras: {} }, 'error'],
    ['a refusal', { observation: 'user_rejected', extras: {} }, 'denied'],
  ])('an observation with %s says how the call ended', (_, fields, status) => {
    const file = importValue([task, run(3, 'c1', one), event(4, 'agent', { cause: 3, content: 'x', ...fields })])
    expect(messagesIn(file)[2]?.parts).toMatchObject([{ callId: 'c1', status }])
    expect(stateOf(file).tools.open).toEqual([])
  })

  test('of agents that call tools in text are calls of their own, under the number of the event', () => {
    const action = event(3, 'agent', { action: 'read', args: { path: 'a.ts', thought: 'Look.' } })
    const file = importValue([task, action, event(4, 'agent', { cause: 3, observation: 'read', content: 'x', extras: {} })])
    expect(messagesIn(file)[1]?.parts).toMatchObject([
      text('Look.'),
      { type: 'tool_call', callId: 'event:3', name: 'read', args: { json: { path: 'a.ts' } } },
    ])
    expect(stateOf(file).tools).toMatchObject({ succeeded: 1, open: [] })
  })

  test('that change the state of the agent are metadata, and end turns', () => {
    const states = (...names: readonly string[]) => {
      const file = importValue([task, ...names.map((name, index) => state(index + 1, name, { reason: 'why' }))])
      return told(file).slice(2)
    }
    expect(states('running', 'awaiting_user_input')).toEqual([
      ['metadataChanged', { set: { agentState: 'running' } }],
      ['metadataChanged', { set: { agentState: 'awaiting_user_input' } }],
      ['turnEnded', { turnId: 'event:0', reason: 'awaiting_user_input' }],
    ])
    expect(states('stopped').at(-1)).toEqual(['turnInterrupted', { turnId: 'event:0', reason: 'stopped' }])
    expect(states('error').slice(1)).toEqual([
      ['errorRecorded', { kind: 'agent_error', problem: 'why' }],
      ['turnInterrupted', { turnId: 'event:0', reason: 'the agent failed' }],
    ])
  })

  test('that say something are messages: of the system, of the agent that waits, of a person with a picture', () => {
    const picture = `data:image/png;base64,${Buffer.from('not really a picture').toString('base64')}`
    const file = importValue([
      event(0, 'agent', { action: 'system', args: { content: 'Rules', tools: [] } }),
      event(1, 'user', { action: 'message', args: { content: 'See', image_urls: [picture] } }),
      event(2, 'agent', { action: 'message', args: { content: 'Seen. And now?', wait_for_response: true } }),
    ])
    expect(messagesIn(file)).toMatchObject([
      { role: 'system', parts: [text('Rules')] },
      { role: 'user', parts: [text('See'), { type: 'media', source: { kind: 'hash' } }] },
      { role: 'assistant', parts: [text('Seen. And now?')] },
    ])
    expect(told(file).at(-1)).toEqual(['turnEnded', { turnId: 'event:1' }])
    expect(JSON.stringify(file.conversations[0]?.commands)).not.toContain(picture.slice(30))
  })

  test('a condensation covers the messages of the events that it forgets', () => {
    const condense = (args: object) => event(8, 'agent', { action: 'condensation', args })
    const lines = [task, run(3, 'c1', one), ran(4, 3, 'a.ts'), event(5, 'user', { action: 'message', args: { content: 'On' } })]
    const file = importValue([...lines, condense({ forgotten_event_ids: [3, 4], summary: 'It was listed.' })])
    expect(payloadsOf(file, 'contextCompacted')).toMatchObject([
      {
        covered: { messageIds: ['event:3', 'event:4'] },
        summary: { message: { parts: [{ type: 'compaction', content: 'It was listed.' }] } },
      },
    ])
    expect([...stateOf(file).messages].map(({ id }) => id)).toEqual(['event:0', 'event:8', 'event:5'])
    const ranged = importValue([...lines, condense({ forgotten_events_start_id: 1, forgotten_events_end_id: 4 })])
    expect([...stateOf(ranged).messages].map(({ id }) => id)).toEqual(['event:0', 'event:5'])
    expect(told(importValue([...lines, condense({ forgotten_event_ids: [77] })])).at(-1)?.[0]).toBe('foreignRecordKept')
  })

  test.each([
    [
      'an observation of nothing in the file',
      event(4, 'agent', { cause: 3, observation: 'run', content: 'x', extras: {} }),
      'run',
    ],
    ['an action that does nothing', event(4, 'agent', { action: 'null', args: {} }), 'null'],
    ['a request for a state', event(4, 'environment', { action: 'change_agent_state', args: {} }), 'change_agent_state'],
    ['an action of the program', event(4, 'user', { action: 'recall', args: {} }), 'recall'],
    ['what is neither', event(4, 'agent', {}), 'unknown'],
  ])('%s is kept raw', (_, record, recordType) => {
    expect(told(importValue([task, record])).at(-1)).toEqual([
      'foreignRecordKept',
      { format: 'openhands', recordType, line: 2, reason: expect.any(String), record },
    ])
  })

  test('an error that nothing caused is an error', () => {
    const file = importValue([task, event(3, 'environment', { observation: 'error', content: 'no budget left', extras: {} })])
    expect(payloadsOf(file, 'errorRecorded')).toEqual([{ kind: 'openhands_error', problem: 'no budget left' }])
  })

  test('that have grown give the commands they gave before, and then more', () => {
    expect(
      changedByGrowth([
        task,
        run(3, 'c1', one),
        ran(4, 3, 'x'),
        state(5, 'awaiting_user_input'),
        event(6, 'user', { action: 'message', args: { content: 'More' } }),
        finish,
      ]),
    ).toEqual([])
  })
})

describe('the output of the resolver of 2024', () => {
  const history = [
    { action: 'message', content: 'Add a licence', images_urls: null, wait_for_response: false, action_risk: null },
    {
      action: 'run',
      command: 'touch LICENSE',
      thought: 'I begin.',
      keep_prompt: true,
      is_confirmed: 'confirmed',
      action_risk: null,
    },
    { observation: 'run', content: 'done', command: 'touch LICENSE', exit_code: 0 },
    { action: 'run_ipython', code: '1/0', thought: '' },
    { observation: 'run_ipython', content: 'ZeroDivisionError', code: '1/0' },
    { action: 'message', content: 'Is that right?' },
    { action: 'message', content: 'Please go on' },
    { action: 'finish', outputs: {}, thought: 'All done.' },
  ]
  const output = (fields: object = {}) => ({
    issue: { owner: 'o', repo: 'r', number: 5, title: 'Add a licence' },
    instruction: 'Add a licence',
    git_patch: 'diff --git a/LICENSE b/LICENSE',
    history,
    metrics: { accumulated_cost: 0.07, costs: [0.03, 0.04] },
    success: true,
    error: null,
    ...fields,
  })

  test('is a conversation for each line, whose events answer each other in order', () => {
    const file = importLines([output(), output({ success: false, error: 'it crashed' })])
    expect(file).toMatchObject({ format: 'openhands', records: 18, skipped: [], remarks: [] })
    expect(file.conversations).toHaveLength(2)
    expect(commandIdsOf(file).slice(0, 4)).toEqual([
      'openhands:started',
      'openhands:run',
      'openhands:history:1',
      'openhands:history:2',
    ])
    expect(stateOf(file)).toMatchObject({
      lifecycle: { title: 'Add a licence' },
      metadata: { accumulatedCostUsd: 0.07, success: true },
      tools: { requested: 3, succeeded: 2, open: [{ callId: 'history:8', name: 'finish' }] },
    })
    expect(messagesIn(file)).toMatchObject([
      { role: 'user', author: { id: 'user' } },
      {
        role: 'assistant',
        parts: [
          text('I begin.'),
          { type: 'tool_call', name: 'run', args: { json: { command: 'touch LICENSE', keep_prompt: true } } },
        ],
      },
      { role: 'tool', parts: [{ callId: 'history:2', status: 'ok' }] },
      { role: 'assistant', parts: [{ type: 'tool_call', name: 'run_ipython' }] },
      { role: 'tool', parts: [{ callId: 'history:4' }] },
      { role: 'assistant', parts: [text('Is that right?')] },
      { role: 'user', parts: [text('Please go on')] },
      { role: 'assistant', parts: [text('All done.'), { name: 'finish' }] },
    ])
    expect(told(file, 1).at(-1)).toEqual(['errorRecorded', { kind: 'run_failed', problem: 'it crashed' }])
    const { history: _, ...header } = output()
    expect(actionOf(file, 'metadataChanged')?.meta).toEqual({ records: [{ line: 1, record: header }] })
  })

  test('tells lines of the file where it has several, and else the number in the history', () => {
    const late = output({ history: [...history, { observation: 'null', content: '' }, { observation: 'null', content: '' }] })
    const alone = importLines([late]).skipped.map(({ line }) => line)
    expect(alone.length).toBeGreaterThan(0)
    expect(alone.every((line) => line > history.length)).toBe(true)
    expect(importLines([output(), late]).skipped.map(({ line }) => line)).toEqual(alone.map(() => 2))
  })

  test('without a history that is a list is refused with its line', () => {
    expect(() => importLines([output(), output({ history: 'none' })])).toThrow(
      refusal(2, expect.stringContaining('$.history is not a list')),
    )
  })
})

describe('events of the SDK of 2026', () => {
  const event = (id: string, kind: string, source: string, fields: object = {}) => ({
    id,
    timestamp: stamp(Number(id.slice(1))),
    source,
    kind,
    ...fields,
  })
  const message = (id: string, source: string, role: string, words: string) =>
    event(id, 'MessageEvent', source, { llm_message: { role, content: [text(words)] } })
  const action = (id: string, callId: string, fields: object = {}) =>
    event(id, 'ActionEvent', 'agent', {
      thought: [text('Look.')],
      reasoning_content: 'Hm.',
      thinking_blocks: [],
      responses_reasoning_item: null,
      action: { command: 'ls', kind: 'TerminalAction' },
      tool_name: 'terminal',
      tool_call_id: callId,
      tool_call: { id: callId, name: 'terminal', arguments: '{"command": "ls"}', origin: 'completion' },
      llm_response_id: `r-${id}`,
      ...fields,
    })
  const observed = (id: string, callId: string, fields: object = {}) =>
    event(id, 'ObservationEvent', 'environment', {
      tool_name: 'terminal',
      tool_call_id: callId,
      action_id: 'e2',
      observation: {
        content: [text('a.ts')],
        is_error: false,
        exit_code: 0,
        timeout: false,
        kind: 'TerminalObservation',
        ...fields,
      },
    })
  const update = (id: string, key: string, value: unknown) =>
    event(id, 'ConversationStateUpdateEvent', 'environment', { key, value })
  const stats = (id: string, prompt: number, completion: number, cost = 0) => {
    const metrics = (p: number, c: number, dollars: number) => ({
      model_name: 'litellm_proxy/m-test',
      accumulated_cost: dollars,
      accumulated_token_usage: {
        prompt_tokens: p,
        completion_tokens: c,
        cache_read_tokens: 0,
        cache_write_tokens: 0,
        reasoning_tokens: 0,
      },
    })
    return update(id, 'stats', { usage_to_metrics: { default: metrics(prompt, completion, cost), condenser: metrics(0, 0, 0) } })
  }

  test('become these actions and nothing else', () => {
    const file = importLines([
      event('e0', 'SystemPromptEvent', 'agent', { system_prompt: text('Rules'), tools: [] }),
      message('e1', 'user', 'user', 'List it'),
      stats('e2', 100, 5, 0.01),
      action('e3', 'c1'),
      observed('e4', 'c1'),
      stats('e5', 100, 5, 0.01),
      stats('e6', 250, 12, 0.03),
      message('e7', 'agent', 'assistant', 'Done.'),
      update('e8', 'execution_status', 'finished'),
    ])
    expect(file).toMatchObject({ format: 'openhands', records: 9, remarks: [] })
    expect(file.skipped).toEqual([
      { line: 6, recordType: 'ConversationStateUpdateEvent/stats', reason: 'no more tokens than in line 3' },
    ])
    const model = { provider: 'litellm', id: 'litellm_proxy/m-test' }
    expect(told(file)).toMatchObject([
      ['messageAdded', { message: { role: 'system', parts: [text('Rules')] } }],
      ['turnStarted', { turnId: 'e1' }],
      ['messageAdded', { message: { role: 'user', parts: [text('List it')] } }],
      ['usageRecorded', { usage: { input: 100, output: 5, costMicros: 10_000 }, model }],
      [
        'messageAdded',
        {
          message: {
            id: 'e3',
            role: 'assistant',
            model: { ...model, api: 'chat' },
            parts: [
              { type: 'reasoning', text: 'Hm.', redacted: false },
              text('Look.'),
              { type: 'tool_call', callId: 'c1', name: 'terminal', args: { raw: '{"command": "ls"}', json: { command: 'ls' } } },
            ],
          },
        },
      ],
      ['toolRequested', { messageId: 'e3', callId: 'c1' }],
      [
        'messageAdded',
        { message: { role: 'tool', parts: [{ callId: 'c1', callMessageId: 'e3', status: 'ok', content: [text('a.ts')] }] } },
      ],
      ['toolSucceeded', { messageId: 'e3', callId: 'c1', resultMessageId: 'e4' }],
      ['usageRecorded', { usage: { input: 150, output: 7, costMicros: 20_000 } }],
      ['messageAdded', { message: { id: 'e7', role: 'assistant' } }],
      ['metadataChanged', { set: { executionStatus: 'finished' } }],
      ['turnEnded', { turnId: 'e1', reason: 'finished' }],
    ])
  })

  test('of one answer are one message; signed reasoning is kept signed, sealed reasoning sealed', () => {
    const file = importLines([
      action('e3', 'c1', {
        llm_response_id: 'r',
        thinking_blocks: [
          { type: 'thinking', thinking: 'Hm.', signature: 'c2ln' },
          { type: 'redacted_thinking', data: 'x' },
        ],
      }),
      action('e4', 'c2', {
        llm_response_id: 'r',
        thought: [],
        reasoning_content: null,
        responses_reasoning_item: { id: 'rs_1', summary: ['Short'], encrypted_content: 'y' },
      }),
    ])
    expect(messagesIn(file)).toHaveLength(1)
    expect(messagesIn(file)[0]?.parts).toMatchObject([
      { type: 'reasoning', text: 'Hm.', signature: 'c2ln', redacted: false },
      { type: 'reasoning', encrypted: 'x', redacted: true },
      text('Look.'),
      { type: 'tool_call', callId: 'c1', batchId: 'e3' },
      { type: 'reasoning', id: 'rs_1', summary: ['Short'], encrypted: 'y' },
      { type: 'tool_call', callId: 'c2', batchId: 'e3' },
    ])
    expect(recordsOf(file, 'messageAdded')).toHaveLength(2)
  })

  test.each([
    ['an exit code', observed('e4', 'c1', { exit_code: 1 }), 'error'],
    ['an error', observed('e4', 'c1', { is_error: true, exit_code: null }), 'error'],
    ['a time-out', observed('e4', 'c1', { timeout: true, exit_code: null }), 'unknown'],
    [
      'an error of the agent',
      event('e4', 'AgentErrorEvent', 'agent', { tool_name: 't', tool_call_id: 'c1', error: 'no such tool' }),
      'error',
    ],
    [
      'a refusal',
      event('e4', 'UserRejectObservation', 'environment', {
        tool_name: 't',
        tool_call_id: 'c1',
        action_id: 'e3',
        rejection_reason: 'no',
      }),
      'denied',
    ],
  ])('%s says how the call ended', (_, record, status) => {
    const file = importLines([action('e3', 'c1'), record])
    expect(messagesIn(file)[1]?.parts).toMatchObject([{ callId: 'c1', callMessageId: 'e3', status }])
    expect(stateOf(file).tools.open).toEqual([])
  })

  test('a result whose action is not in the file is kept, with a remark', () => {
    const file = importLines([observed('e4', 'lost')])
    expect(file.remarks).toEqual([{ line: 1, remark: 'the result of lost answers no open call; it is kept as a message' }])
    expect(messagesIn(file)).toHaveLength(1)
  })

  test('a condensation covers the messages of the events that it forgets', () => {
    const file = importLines([
      message('e1', 'user', 'user', 'List it'),
      action('e3', 'c1'),
      observed('e4', 'c1'),
      event('e5', 'Condensation', 'environment', {
        forgotten_event_ids: ['e3', 'e4'],
        summary: 'It was listed.',
        summary_offset: 1,
      }),
    ])
    expect([...stateOf(file).messages].map(({ id }) => id)).toEqual(['e1', 'e5'])
    expect(payloadsOf(file, 'contextCompacted')).toMatchObject([{ covered: { messageIds: ['e3', 'e4'] } }])
  })

  test('pauses and failures interrupt the turn; what nobody knows is kept raw', () => {
    const file = importLines([
      message('e1', 'user', 'user', 'Go'),
      event('e2', 'PauseEvent', 'user'),
      event('e3', 'PauseEvent', 'user'),
      event('e4', 'ConversationErrorEvent', 'environment', { code: 'LLM', detail: 'out of budget' }),
      event('e5', 'TokenEvent', 'agent', { prompt_token_ids: [1] }),
      update('e6', 'full_state', {}),
      update('e7', 'title', 'A list'),
    ])
    expect(told(file).slice(2)).toMatchObject([
      ['turnInterrupted', { turnId: 'e1', reason: 'paused' }],
      ['foreignRecordKept', { recordType: 'PauseEvent' }],
      ['errorRecorded', { kind: 'openhands_error', problem: 'out of budget' }],
      ['foreignRecordKept', { recordType: 'TokenEvent', line: 5 }],
      ['foreignRecordKept', { recordType: 'ConversationStateUpdateEvent/full_state' }],
      ['conversationTitled', { title: 'A list' }],
    ])
  })

  test('that have grown give the commands they gave before, and then more', () => {
    expect(
      changedByGrowth([
        message('e1', 'user', 'user', 'List it'),
        stats('e2', 100, 5),
        action('e3', 'c1'),
        observed('e4', 'c1'),
        update('e8', 'execution_status', 'finished'),
      ]),
    ).toEqual([])
  })
})
