import type { JsonObject, Part } from '@colloquy/core'
import { parseExactly } from './payload.ts'

type ToolCall = Extract<Part, { type: 'tool_call' }>

/**
 * What a model wrote as the arguments of a call. `valid` promises a value that can be used: text that is cut, that is no JSON, or
 * that JavaScript would read as another value (an integer beyond 2^53, a key twice) stays text.
 *
 * @param isWhole the provider said that the text ends here: nothing at all then means a tool without arguments
 */
export function toolArguments(text: string, isWhole: boolean): ToolCall['args'] {
  if (text.trim() === '') return isWhole ? { raw: '{}', json: {}, valid: true } : { raw: text, valid: false }
  const json = parseExactly(text)
  return json === undefined ? { raw: text, valid: false } : { raw: text, json, valid: true }
}

/** Arguments that came as a value; how the model wrote them is not known. */
export function givenArguments(value: JsonObject): ToolCall['args'] {
  return { raw: JSON.stringify(value), json: value, valid: true }
}
