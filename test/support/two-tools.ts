/** A turn with two tools, one of which may be run again and one of which must not: what the crash tests play. */
import { type Model, scriptedModel, type Tool } from '@colloquy/agent'
import type { ConversationState, Json } from '@colloquy/core'

/** Called where a process may die. */
type Step = () => unknown

export function twoTools(effect: (tool: string, key: string) => void, step: Step): Tool[] {
  return (['safe', 'unsafe'] as const).map((name) => ({
    name,
    input: {},
    idempotent: name === 'safe',
    execute: async (_: never, { idempotencyKey }) => {
      await step()
      effect(name, idempotencyKey)
      await step()
      return `${name} did it`
    },
  }))
}

/** Calls both tools, and then says how they ended: what it answers depends on nothing but what it is sent. */
export function twoToolModel(step: Step): Model {
  return scriptedModel({
    scripts: (body) => {
      const { results, called } = whatHappened(body.messages ?? null)
      const missing = ['safe', 'unsafe'].filter((name) => !called.includes(name))
      if (missing.length > 0) return { text: 'I do it.', calls: missing.map((name) => ({ name, args: {} })) }
      const [safe, unsafe] = results
      return { text: `safe: ${safe}; unsafe: ${unsafe}` }
    },
    beforeEvent: async () => {
      await step()
    },
  })
}

function whatHappened(messages: Json): { readonly results: readonly string[]; readonly called: readonly string[] } {
  interface Block {
    readonly type: string
    readonly name?: string
    readonly is_error?: boolean
    readonly content?: string | readonly { readonly text: string }[]
  }
  const blocks = (messages as unknown as { content: string | Block[] }[]).flatMap(({ content }) =>
    typeof content === 'string' ? [] : content,
  )
  const results = blocks
    .filter(({ type }) => type === 'tool_result')
    .map(({ is_error, content = '' }) => {
      const text = typeof content === 'string' ? content : content.map((part) => part.text).join('')
      return `${is_error === true ? 'failed' : 'ok'}, ${text}`
    })
  return { results, called: blocks.flatMap(({ type, name }) => (type === 'tool_use' && name !== undefined ? [name] : [])) }
}

/** What a turn came to, without what differs from run to run. */
export function finalOf(state: ConversationState) {
  const messages = state.messages.slice()
  const words = messages.at(-1)?.parts.flatMap((part) => (part.type === 'text' ? [part.text] : []))
  const results = messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'tool_result' ? [part.status] : [])))
  const { open, answered } = state.tools
  return {
    answer: words?.join(''),
    results,
    open: open.length + answered.length,
    turn: state.turn.current ? 'open' : state.turn.last?.outcome,
  }
}
