/** One request for each codec with every block that it knows, and some that nobody does. */
const png = 'iVBORw0KGgo='
const dataUrl = `data:image/png;base64,${png}`

export const samples: Record<string, { readonly listKey: string; readonly request: Record<string, unknown> }> = {
  'anthropic.messages': {
    listKey: 'messages',
    request: {
      model: 'claude',
      max_tokens: 10,
      system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral', ttl: '1h' } }],
      messages: [
        { role: 'user', content: 'Hello' },
        { role: 'system', content: 'Be brief.' },
        { role: 'system', content: [{ type: 'text', text: 'Really.' }] },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', signature: 'c2ln' },
            { type: 'redacted_thinking', data: 'opaque' },
            {
              type: 'text',
              text: 'I look.',
              citations: [{ type: 'char_location', cited_text: 'x', document_title: 't', start_char_index: 0 }],
            },
            { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'q' }, caller: { type: 'direct' } },
            {
              type: 'web_search_tool_result',
              tool_use_id: 'srvtoolu_1',
              content: [{ type: 'web_search_result', url: 'https://e.org', encrypted_content: 'enc' }],
            },
            { type: 'mcp_tool_use', id: 'mcp_1', name: 'm', server_name: 's', input: {} },
            { type: 'mcp_tool_result', tool_use_id: 'mcp_1', is_error: false, content: [{ type: 'text', text: 'r' }] },
            { type: 'tool_use', id: 'toolu_1', name: 'look', input: { type: 'base64', media_type: 'image/png', data: png } },
            { type: 'tool_use', id: 'toolu_2', name: 'look', input: {}, cache_control: { type: 'ephemeral' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: 'seen', is_error: true },
            {
              type: 'tool_result',
              tool_use_id: 'toolu_2',
              content: [
                { type: 'text', text: 'a' },
                { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } },
                { type: 'search_result', source: 's', title: 't', content: [] },
              ],
            },
            {
              type: 'document',
              title: 'd',
              context: 'c',
              citations: { enabled: true },
              source: { type: 'base64', media_type: 'application/pdf', data: png },
            },
            { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'plain words' } },
            { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'c' }] } },
            { type: 'image', source: { type: 'url', url: 'https://e.org/i.png' } },
            { type: 'image', source: { type: 'file', file_id: 'file_1' } },
            { type: 'container_upload', file_id: 'f' },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'compaction', content: null, encrypted_content: 'e' },
            { text: 'Done.', type: 'text' },
          ],
        },
      ],
    },
  },
  'openai.chat': {
    listKey: 'messages',
    request: {
      model: 'gpt',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'developer', content: [{ type: 'text', text: 'Really.' }] },
        {
          role: 'user',
          name: 'ann',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image_url', image_url: { url: dataUrl, detail: 'low' } },
            { type: 'image_url', image_url: { url: 'https://e.org/i.png' } },
            { type: 'input_audio', input_audio: { data: png, format: 'wav' } },
            { type: 'file', file: { file_data: `data:application/pdf;base64,${png}`, filename: 'a.pdf' } },
            { type: 'file', file: { file_id: 'file_1' } },
          ],
        },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'hm',
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"a": 1}' } },
            { id: 'call_2', type: 'custom', custom: { name: 'patch', input: '*** Begin' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call_1', content: '', name: 'look' },
        { role: 'tool', tool_call_id: 'call_2', content: [{ type: 'text', text: 'r' }] },
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'No' },
            { type: 'refusal', refusal: 'I will not' },
          ],
          refusal: null,
        },
        { role: 'assistant', content: '', refusal: 'I cannot', audio: { id: 'audio_1' }, annotations: [] },
      ],
    },
  },
  'openai.responses': {
    listKey: 'input',
    request: {
      model: 'gpt',
      instructions: 'Be brief.',
      input: [
        { role: 'developer', content: 'Really.' },
        {
          type: 'message',
          role: 'user',
          content: [
            { type: 'input_text', text: 'Look' },
            { type: 'input_image', image_url: dataUrl, detail: 'auto' },
            { type: 'input_image', file_id: 'file_1' },
            { type: 'input_file', filename: 'a.pdf', file_data: `data:application/pdf;base64,${png}` },
            { type: 'input_file', file_url: 'https://e.org/a.pdf' },
          ],
        },
        { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 's' }], content: [], encrypted_content: 'gAAA' },
        {
          type: 'message',
          id: 'msg_1',
          role: 'assistant',
          status: 'completed',
          phase: 'commentary',
          content: [
            {
              type: 'output_text',
              text: 'I look.',
              annotations: [{ type: 'url_citation', url: 'https://e.org', title: 't', start_index: 0, end_index: 1 }],
              logprobs: [],
            },
            { type: 'output_text', text: 'Now.', annotations: [] },
          ],
        },
        { type: 'web_search_call', id: 'ws_1', status: 'completed', action: { type: 'search', query: 'q' } },
        { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'look', arguments: '{"a": 1}', status: 'completed' },
        { type: 'custom_tool_call', call_id: 'call_2', name: 'patch', input: '*** Begin' },
        { type: 'computer_call', id: 'cu_1', call_id: 'call_3', action: { type: 'screenshot' }, pending_safety_checks: [] },
        { type: 'function_call_output', call_id: 'call_1', output: 'r' },
        { type: 'custom_tool_call_output', call_id: 'call_2', output: [{ type: 'input_text', text: 'ok' }] },
        { type: 'computer_call_output', call_id: 'call_3', output: { type: 'computer_screenshot', image_url: dataUrl } },
        { role: 'assistant', content: 'Done.' },
        { type: 'mcp_approval_request', id: 'mcpr_1', name: 'm', arguments: '{}', server_label: 's' },
        { type: 'mcp_approval_response', approval_request_id: 'mcpr_1', approve: false, reason: 'no' },
        { type: 'compaction', id: 'cmp_1', encrypted_content: 'gBBB' },
        { type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: 'I will not' }] },
      ],
    },
  },
  'gemini.contents': {
    listKey: 'contents',
    request: {
      systemInstruction: { parts: [{ text: 'Be brief.' }] },
      generationConfig: { temperature: 0 },
      contents: [
        {
          role: 'user',
          parts: [
            { text: 'Look' },
            { inlineData: { mimeType: 'image/png', data: png } },
            { fileData: { mimeType: 'video/mp4', fileUri: 'https://e.org/v' } },
          ],
        },
        {
          role: 'model',
          parts: [
            { text: 'hm', thought: true },
            { text: 'I look.', thoughtSignature: 'c2ln' },
            { functionCall: { name: 'look', args: { a: 1 } }, thoughtSignature: 'c2ln' },
            { functionCall: { name: 'look' } },
            { functionCall: { id: 'f1', name: 'see', args: {} } },
            { executableCode: { language: 'PYTHON', code: '1' } },
            { codeExecutionResult: { outcome: 'OUTCOME_OK', output: '1' } },
          ],
        },
        {
          role: 'user',
          parts: [
            { functionResponse: { name: 'look', response: { output: 'r' } } },
            { functionResponse: { name: 'look', response: { error: 'bad' } } },
            { functionResponse: { id: 'f1', name: 'see', response: { rows: [1] } } },
          ],
        },
        { role: 'model', parts: [{ text: 'Done.' }, { text: '', thoughtSignature: 'c2ln' }] },
      ],
    },
  },
  'ai-sdk.model': {
    listKey: 'messages',
    request: {
      messages: [
        { role: 'system', content: 'Be brief.', providerOptions: { anthropic: { cacheControl: { type: 'ephemeral' } } } },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image', image: png, mediaType: 'image/png' },
            { type: 'file', data: png, mediaType: 'application/pdf', filename: 'a.pdf' },
            { type: 'file', data: 'https://e.org/v', mediaType: 'video/mp4' },
            { type: 'file', data: { type: 'reference', reference: { openai: 'file_1' } }, mediaType: 'application/pdf' },
            { type: 'file', data: { type: 'data', data: png }, mediaType: 'image/png' },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'reasoning', text: 'hm', providerOptions: { anthropic: { signature: 'c2ln' } } },
            { type: 'text', text: 'I look.' },
            { type: 'tool-call', toolCallId: 'a', toolName: 'look', input: { a: 1 } },
            { type: 'tool-call', toolCallId: 'b', toolName: 'web', input: {}, providerExecuted: true },
            { type: 'tool-result', toolCallId: 'b', toolName: 'web', output: { type: 'json', value: [1] } },
            { type: 'tool-call', toolCallId: 'c', toolName: 'rm', input: {} },
            { type: 'tool-approval-request', approvalId: 'p1', toolCallId: 'c' },
            { type: 'custom', kind: 'openai.compaction', providerOptions: { openai: { itemId: 'cmp_1' } } },
          ],
        },
        {
          role: 'tool',
          content: [
            { type: 'tool-approval-response', approvalId: 'p1', approved: false, reason: 'no' },
            {
              type: 'tool-result',
              toolCallId: 'a',
              toolName: 'look',
              output: {
                type: 'content',
                value: [
                  { type: 'text', text: 'r' },
                  { type: 'image-data', data: png, mediaType: 'image/png' },
                ],
              },
            },
            { type: 'tool-result', toolCallId: 'c', toolName: 'rm', output: { type: 'execution-denied', reason: 'no' } },
          ],
        },
        { role: 'assistant', content: 'Done.' },
      ],
    },
  },
  'ai-sdk.ui': {
    listKey: 'messages',
    request: {
      messages: [
        {
          id: 'u1',
          role: 'user',
          metadata: { at: 1 },
          parts: [
            { type: 'text', text: 'Look' },
            { type: 'file', mediaType: 'image/png', filename: 'i.png', url: dataUrl },
          ],
        },
        {
          id: 'a1',
          role: 'assistant',
          parts: [
            { type: 'step-start' },
            { type: 'reasoning', text: 'hm', state: 'done', providerMetadata: { anthropic: { signature: 'c2ln' } } },
            { type: 'text', text: 'I look.', state: 'done' },
            { type: 'tool-look', toolCallId: 'a', state: 'output-available', input: { a: 1 }, output: { rows: [] }, title: 't' },
            {
              type: 'dynamic-tool',
              toolName: 'see',
              toolCallId: 'b',
              state: 'output-error',
              input: {},
              errorText: 'bad',
              callProviderMetadata: { x: {} },
            },
            { type: 'tool-web', toolCallId: 'c', state: 'output-available', input: {}, output: 'words', providerExecuted: true },
            {
              type: 'tool-rm',
              toolCallId: 'd',
              state: 'output-denied',
              input: {},
              approval: { id: 'p1', approved: false, reason: 'no' },
            },
            { type: 'source-url', sourceId: 's1', url: 'https://e.org', title: 't' },
            { type: 'source-document', sourceId: 's2', mediaType: 'application/pdf', title: 't' },
            { type: 'data-weather', id: 'w', data: { t: 1 } },
            { type: 'step-start' },
            { type: 'text', text: 'Done.' },
          ],
        },
        {
          id: 'a2',
          role: 'assistant',
          parts: [
            { type: 'tool-rm', toolCallId: 'e', state: 'approval-requested', input: {}, approval: { id: 'p2' } },
            { type: 'tool-rm', toolCallId: 'f', state: 'input-streaming', input: { pa: 'r' } },
          ],
        },
      ],
    },
  },
  'langchain.messages': {
    listKey: 'messages',
    request: {
      messages: [
        { type: 'system', content: 'Be brief.', id: 's1', additional_kwargs: {}, response_metadata: {} },
        {
          type: 'human',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image_url', image_url: { url: dataUrl } },
            { type: 'file', source_type: 'base64', mime_type: 'application/pdf', data: png },
            'words',
          ],
          name: null,
        },
        {
          lc: 1,
          type: 'constructor',
          id: ['langchain', 'schema', 'messages', 'AIMessage'],
          kwargs: {
            type: 'ai',
            id: 'run-1',
            content: [
              { type: 'text', text: 'I look.' },
              { type: 'tool_use', id: 't1', name: 'look', input: { a: 1 }, caller: { type: 'direct' } },
              { type: 'reasoning', reasoning: 'hm' },
            ],
            tool_calls: [{ name: 'look', args: { a: 1 }, id: 't1', type: 'tool_call' }],
            invalid_tool_calls: [{ name: 'see', args: '{"cut', id: 't2', error: 'bad', type: 'invalid_tool_call' }],
            response_metadata: { model_name: 'claude', model_provider: 'anthropic', stop_reason: 'tool_use' },
            usage_metadata: {
              input_tokens: 10,
              output_tokens: 2,
              total_tokens: 12,
              input_token_details: { cache_read: 4, cache_creation: 3 },
            },
          },
        },
        { type: 'tool', data: { content: 'r', tool_call_id: 't1', name: 'look', status: 'success', artifact: null } },
        { type: 'tool', content: [{ type: 'text', text: 'bad' }], tool_call_id: 't2', status: 'error' },
        {
          type: 'ai',
          content: 'Done.',
          additional_kwargs: { reasoning_content: 'so', x: 1 },
          tool_calls: [],
          invalid_tool_calls: [],
          usage_metadata: null,
        },
      ],
    },
  },
}
