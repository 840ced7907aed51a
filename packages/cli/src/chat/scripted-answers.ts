import { type Model, type Script, scriptedModel } from '@colloquy/agent'
import { estimateCounter } from '@colloquy/context'
import type { JsonObject } from '@colloquy/core'

/**
 * A model without a network, for trying things out. A question makes it call two tools at once and tell what they found; everything else
 * it acknowledges. It answers by what it is sent alone, so a conversation goes on with it after a restart.
 */
export function scriptedAnswers(beforeEvent?: () => Promise<void>): Model {
  return scriptedModel({
    scripts: (body) => answerTo(body),
    ...(beforeEvent && { beforeEvent }),
  })
}

function answerTo(body: JsonObject): Script {
  const messages = (body['messages'] ?? []) as readonly { readonly role: string; readonly content: unknown }[]
  const last = messages.at(-1)
  const results = blocksOf(last?.content).filter(({ type }) => type === 'tool_result')
  const usage = { input: estimateCounter.count(JSON.stringify(body)), output: 20 }
  if (results.length > 0) {
    const told = results.map(({ content }) => `- ${textOf(content)}`).join('\n')
    return { text: `I have asked my tools, and this is what they say:\n${told}\n`, usage }
  }
  const said = textOf(last?.content).trim()
  if (said.endsWith('?')) {
    const word = said.match(/[\p{L}\p{N}_-]{4,}/gu)?.toSorted((a, b) => b.length - a.length)[0] ?? said
    const calls = [
      { name: 'now', args: {} },
      { name: 'search_transcript', args: { words: word } },
    ]
    return { reasoning: `A question: I look for "${word}" and for the time, both at once.`, calls, usage }
  }
  const words = said.split(/\s+/).length
  return { text: `I am a scripted model, without a network. You said ${words} ${words === 1 ? 'word' : 'words'}.`, usage }
}

interface Block {
  readonly type?: string
  readonly text?: string
  readonly content?: unknown
}

const blocksOf = (content: unknown): readonly Block[] => (Array.isArray(content) ? (content as Block[]) : [])

function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  return blocksOf(content)
    .map(({ text, content: inner }) => text ?? textOf(inner))
    .join(' ')
}
