/** No bytes make a decoder throw, and whatever it makes of them is a message that can be stored. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decode, problemsWith, sse } from '../../../../test/formats/streams-decoded.ts'
import { type StreamFormat, streamFormats } from './detect-stream.ts'

const limits = { eventChars: 5_000, answerChars: 20_000, answerParts: 100 }

function problemsOf(format: StreamFormat, chunks: Uint8Array | string): string[] {
  const problems = problemsWith(decode(format, chunks, { limits }))
  return 'polluted' in {} ? [...problems, 'Object.prototype is polluted'] : problems
}

const listed = (words: string): string[] => words.trim().split(/\s+/)

/** The words of each API, so that generated events are near to real ones. */
const words: Readonly<Record<StreamFormat, { readonly types: readonly string[]; readonly fields: readonly string[] }>> = {
  anthropic: {
    types: listed(`
      message_start message_delta message_stop ping error content_block_start content_block_delta content_block_stop text thinking
      tool_use mcp_tool_result web_search_tool_result compaction redacted_thinking text_delta input_json_delta thinking_delta
      signature_delta citations_delta compaction_delta`),
    fields: listed(`
      message delta content_block content usage index id name input text thinking partial_json stop_reason model signature citation
      data tool_use_id cache_creation output_tokens input_tokens`),
  },
  'openai-chat': {
    types: listed('chat.completion.chunk text function thinking url_citation reasoning.text error'),
    fields: listed(`
      choices delta tool_calls function index id name arguments content refusal finish_reason usage prompt_tokens completion_tokens
      cost reasoning reasoning_details annotations citations message function_call error model created logprobs object
      search_results text data`),
  },
  'openai-responses': {
    types: listed(`
      response.created response.completed response.failed response.incomplete response.in_progress response.output_item.added
      response.output_item.done response.content_part.added response.output_text.delta response.output_text.done
      response.refusal.delta response.function_call_arguments.delta response.reasoning_summary_text.delta
      response.output_text.annotation.added message reasoning function_call mcp_call image_generation_call output_text
      custom_tool_call error`),
    fields: listed(`
      response item output output_index content_index summary_index sequence_number item_id id call_id delta text part content
      summary arguments input name usage status error annotation result operation action created_at encrypted_content
      input_tokens model annotations`),
  },
  gemini: {
    types: listed('STOP MAX_TOKENS'),
    fields: listed(`
      candidates content parts text thought thoughtSignature functionCall name args willContinue id partialArgs jsonPath
      stringValue numberValue inlineData mimeType data finishReason index usageMetadata promptTokenCount responseId createTime
      promptFeedback blockReason executableCode`),
  },
}

const strange = [
  '',
  '__proto__',
  'constructor',
  '\u0000',
  '\ud800',
  'x'.repeat(300),
  '{"a":',
  '{}',
  '$.a[0].b',
  '$.__proto__.polluted',
]
const numbers = [0, 1, 2, -1, 0.5, 1e300, Number.MAX_SAFE_INTEGER]

/** An event of an API's own words, put together in any way. */
function eventOf(format: StreamFormat): fc.Arbitrary<unknown> {
  const { types, fields } = words[format]
  const leaf = fc.oneof(
    fc.constantFrom<unknown>(...types, ...strange, ...numbers, null, true),
    fc.string({ maxLength: 5 }),
    fc.constant('aGVsbG8='),
  )
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      { weight: 2, arbitrary: leaf },
      tie('object'),
      fc.array(tie('value'), { maxLength: 3 }),
    ),
    object: fc
      .tuple(fc.constantFrom(...types), fc.dictionary(fc.constantFrom(...fields), tie('value'), { maxKeys: 6 }))
      .map(([type, rest]) => ({ type, ...rest })),
  }))
  return value
}

describe.each(streamFormats)('the decoder of %s', (format) => {
  test('takes arbitrary bytes and texts', () => {
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.string({ maxLength: 200 }),
      fc.json().map((json) => `data: ${json}\n\n`),
    )
    fc.assert(
      fc.property(content, (chunks) => {
        expect(problemsOf(format, chunks)).toEqual([])
      }),
      { numRuns: 5_000 },
    )
  })

  test('takes any events made of its own words', () => {
    fc.assert(
      fc.property(fc.array(eventOf(format), { maxLength: 12 }), (events) => {
        expect(problemsOf(format, sse(...events))).toEqual([])
      }),
      { numRuns: 5_000 },
    )
  })

  test('takes a flood of events without growing beyond its limits', () => {
    const { types } = words[format]
    const flood = types.flatMap((type) =>
      Array.from({ length: 200 }, (_, index) => ({ type, index, output_index: index, choices: [{ index }] })),
    )
    expect(problemsOf(format, sse(...flood))).toEqual([])
  })
})
