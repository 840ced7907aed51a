import type { JsonObject } from '@colloquy/core'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { given } from '../../../../test/support/given.ts'
import { scriptedModel } from '../providers/scripted.ts'
import { defineTool } from '../tools/tool.ts'
import { createToolRegistry } from '../tools/tool-registry.ts'
import type { TurnPart } from './delta-lane.ts'
import { runTurn } from './run-turn.ts'

test('calls without an id, with a long one, or with that of another call are all run, and answered under ids of their own', async () => {
  const { conversation } = await given()
  const echo = defineTool({ name: 'echo', input: z.strictObject({ n: z.int() }), execute: ({ n }) => `answer ${n}` })
  const fromModel = ['x', '', 'x', 'y'.repeat(300), '', 'x_2', 'y'.repeat(300)]
  const calls = fromModel.map((callId, n) => ({ name: 'echo', args: { n }, callId }))
  let sent: JsonObject = {}
  const model = scriptedModel({
    scripts: (body, call) => {
      sent = body
      return call === 1 ? { calls } : { text: 'Done.' }
    },
  })
  const turn = runTurn(conversation, 'Go.', { model, tools: createToolRegistry([echo]) })
  const told: TurnPart[] = []
  turn.parts$.subscribe((part) => void told.push(part))
  const { outcome, state } = await turn.done
  expect(outcome).toBe('answered')

  const long = 'y'.repeat(190)
  const ids = ['x', 'call', 'x_2', long, 'call_2', 'x_2_2', `${long}_2`]
  const parts = state.messages.slice().flatMap((message) => message.parts)
  expect(parts.flatMap((part) => (part.type === 'tool_call' ? [part.callId] : []))).toEqual(ids)
  const results = parts.flatMap((part) => (part.type === 'tool_result' ? [part] : []))
  expect(results.map(({ callId }) => callId)).toEqual(ids)
  expect(results.map(({ content }) => content)).toEqual(ids.map((_, n) => [{ type: 'text', text: `answer ${n}` }]))
  expect(told.flatMap((part) => (part.type === 'partStarted' ? [part.callId] : []))).toEqual([...ids, undefined])
  // An API may want other ids still; what answers a call has the same one.
  const blocks = (sent['messages'] as unknown as { content: { id?: string; tool_use_id?: string }[] }[]).flatMap(
    (one) => one.content,
  )
  const called = blocks.flatMap(({ id }) => id ?? [])
  expect(called).toHaveLength(ids.length)
  expect(blocks.flatMap(({ tool_use_id }) => tool_use_id ?? [])).toEqual(called)
})
