/** What a tool answered, as a model is shown it: bounded, and never an exception. */
import { defaultLimits, isColloquyError, ownJson, part as partSchema, type ToolResultPart } from '@colloquy/core'
import { asToolParts, type Tool } from './tool.ts'

/** UTF-16 units of one result; a model reads no more with profit, and a window holds few such. */
const resultChars = 65_536
const problemChars = 2_000
const resultParts = 100

type Content = ToolResultPart['content']

/** Levels that an action puts around the content: itself, payload, message, parts, the part. */
const levelsAround = 5

/** Total: what the log could not hold as it is, is an error that says so. */
export function contentOf(answer: unknown): { readonly content: Content; readonly isError: boolean } {
  try {
    const parts = asToolParts(answer)
    if (parts === undefined) return { content: bounded([{ type: 'text', text: jsonOf(answer) }]), isError: false }
    return { content: bounded(storable(parts.content)), isError: parts.isError }
  } catch (error) {
    return { content: problemContent(`It answered with what cannot be kept: ${problemOf(error)}`, undefined), isError: true }
  }
}

/** What a tool is typed to answer and what it does are two things. */
function storable(content: unknown): Content {
  const owned = ownJson(content, defaultLimits, '$.content', levelsAround)
  const parsed = partSchema.safeParse({ type: 'tool_result', callId: 'any', status: 'ok', content: owned })
  if (parsed.success) return owned as unknown as Content
  const [issue] = parsed.error.issues
  throw new TypeError(`${issue?.path.join('.') ?? 'content'}: ${issue?.message ?? 'it is no part'}`)
}

/** The text among it. */
export const wordsOf = (content: Content): string =>
  content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join(' ')

/** The words that a model is told when a call did not succeed: what happened, then what to do. */
export function problemContent(problem: string, tool: Pick<Tool, 'recovery'> | undefined): Content {
  const next = tool?.recovery ?? 'Check the arguments, try another way, or tell the user what is missing.'
  const sentence = /[.!?…]$/u.test(problem) ? problem : `${problem}.`
  return [{ type: 'text', text: `${sentence} ${next}` }]
}

/** In one line, without a stack. Total: anything can be thrown. */
export function problemOf(error: unknown): string {
  return cut(textOf(error).replace(/\s+/g, ' ').trim() || 'It failed without saying why.', problemChars)
}

/** Our own errors end with the next step already. */
export const saysNextStep = (error: unknown): boolean => isColloquyError(error)

/** @throws for a circle, or a bigint inside of it */
function jsonOf(answer: unknown): string {
  if (typeof answer === 'string') return answer
  if (typeof answer === 'bigint') return String(answer)
  return JSON.stringify(answer) ?? String(answer)
}

function textOf(thrown: unknown): string {
  try {
    return jsonOf(thrown instanceof Error ? thrown.message || thrown.name : thrown)
  } catch {
    return Object.prototype.toString.call(thrown)
  }
}

/** Below that nothing of a result is worth keeping. */
const leastChars = 200

/** So much of a result; where that is next to nothing, a word in its place. */
export function cutContent(content: Content, ratio: number): Content {
  const chars = content.reduce((sum, part) => sum + charsOf(part), 0)
  const limit = Math.floor(chars * ratio)
  if (limit >= leastChars) return bounded(content, limit)
  const text = `[${chars} characters are left out: there is no room for them]`
  return chars <= text.length ? content : [{ type: 'text', text }]
}

const charsOf = (part: Content[number]): number => (part.type === 'text' ? part.text.length : JSON.stringify(part).length)

function bounded(content: Content, limit = resultChars): Content {
  let left = limit
  const kept: Content = []
  for (const part of content.slice(0, resultParts)) {
    const chars = charsOf(part)
    if (chars <= left) kept.push(part)
    else if (part.type === 'text') kept.push({ ...part, text: cut(part.text, left) })
    else kept.push({ type: 'text', text: `[a part of ${chars} characters is left out]` })
    left = Math.max(0, left - chars)
  }
  if (content.length > resultParts) kept.push({ type: 'text', text: `[${content.length - resultParts} parts are left out]` })
  return kept
}

/** Beginning and end: what matters in an output stands at either. */
function cut(text: string, limit: number): string {
  if (text.length <= limit) return text
  const half = Math.max(0, Math.floor(limit / 2) - 40)
  const left = text.length - 2 * half
  return `${text.slice(0, half)}\n[... ${left} characters are left out ...]\n${half === 0 ? '' : text.slice(-half)}`.toWellFormed()
}
