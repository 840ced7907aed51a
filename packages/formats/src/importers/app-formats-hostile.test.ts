import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  chatBotText,
  exchangeList,
  gptTree,
  inspectLog,
  langChainList,
  langGraphThread,
  messagesRequest,
  openHandsLog,
  shareGptList,
  tau2Run,
  tauRun,
} from '../../../../test/formats/app-fixtures.ts'
import { hostileTexts, problemsWith } from '../../../../test/formats/hostile.ts'

const families: Readonly<Record<string, readonly [documents: readonly unknown[], ...words: readonly unknown[]]>> = {
  chatgpt: [
    [gptTree, [gptTree]],
    'u1',
    'a1',
    'root',
    'tool',
    'multimodal_text',
    'thoughts',
    { content_type: 'text', parts: ['x'] },
  ],
  'openai-chat': [[tauRun, tau2Run, openHandsLog], 'tool', 'call_1', 'data:image/png;base64,AAAA', [{ type: 'image_url' }]],
  exchanges: [
    [exchangeList, exchangeList[0], exchangeList.toReversed()],
    'toolu_1',
    'msg_1',
    'event: message_start\ndata: {"type":"message_start"}\n\n',
    [{ type: 'compaction' }],
  ],
  'anthropic-messages': [
    [messagesRequest, [messagesRequest, messagesRequest]],
    'toolu_1',
    'assistant',
    [{ type: 'tool_result', tool_use_id: 'toolu_1' }],
    { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
  ],
  langgraph: [[langGraphThread, langChainList, langGraphThread.values], 'ai', 'tool', 'write:0', [{ type: 'tool_use', id: 'x' }]],
  sharegpt: [
    [shareGptList, shareGptList[0], shareGptList[2]],
    'gpt',
    'observation',
    'function_call',
    '{"name":"f"}',
    '[{"content":1}]',
  ],
  inspect: [[inspectLog], 'm3', 'tool', 'attachment://aaaa', 'model'],
  'chat-bot': [[JSON.parse(chatBotText)], 'tool_call', 'tool_call_response', 'thinking', '42'],
}

describe('10,000 files with fields changed, cut or broken are imported whole or refused with import_refused', () => {
  test.each(Object.entries(families))('%s', (_, [documents, ...words]) => {
    fc.assert(
      fc.property(hostileTexts(documents, ...words), (text) => {
        expect(problemsWith(text)).toEqual([])
      }),
      { numRuns: 10_000 },
    )
  })
})

describe('files that are meant to take long or to grow', () => {
  test('a tree of 20,000 nodes in one line, with a second answer to each, is imported once', () => {
    const mapping: Record<string, unknown> = {}
    for (let n = 0; n < 10_000; n++) {
      mapping[`n${n}`] = { parent: n === 0 ? null : `n${n - 1}`, children: [`n${n + 1}`, `x${n}`] }
      mapping[`x${n}`] = { parent: `n${n}`, children: [] }
    }
    expect(problemsWith(JSON.stringify({ id: 'deep', title: 'deep', mapping }))).toEqual([])
  })

  test('text that is nested 100,000 levels deep is refused or kept, and overflows nothing', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    expect(problemsWith(`{"messages":[{"role":"user","content":${deep}}]}`)).toEqual([])
    expect(problemsWith(deep)).toEqual([])
  })
})
