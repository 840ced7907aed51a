import { Client, InMemoryTransport, type JSONRPCMessage } from '@modelcontextprotocol/client'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { given } from '../../../../test/support/given.ts'
import { scriptedModel } from '../providers/scripted.ts'
import { runTurn } from '../turn/run-turn.ts'
import { mcpTools } from './mcp.ts'
import { createPermits } from './permits.ts'
import { defineTool, type Tool, toolParts } from './tool.ts'
import { createToolRegistry } from './tool-registry.ts'
import { contentOf, problemContent, problemOf } from './tool-result.ts'

const conversation = { id: 'c', tenant: 't', getState: () => ({}) as never }

test('a registry tells models of what is enabled and not hidden, sorted, as JSON schema', async () => {
  const registry = createToolRegistry([
    defineTool({ name: 'b', description: 'B', input: z.strictObject({ n: z.int().default(3) }), execute: () => 1 }),
    { name: 'a', input: { type: 'object', properties: { s: { type: 'string' } }, required: ['s'] }, execute: () => 1 },
    { name: 'hidden', input: {}, hidden: true, execute: () => 1 },
    { name: 'off', input: {}, isEnabled: async () => false, execute: () => 1 },
  ])
  expect(await registry.schemas(conversation)).toEqual([
    { name: 'a', inputSchema: { type: 'object', properties: { s: { type: 'string' } }, required: ['s'] } },
    {
      name: 'b',
      description: 'B',
      inputSchema: {
        type: 'object',
        additionalProperties: false,
        properties: { n: expect.objectContaining({ type: 'integer', default: 3 }) },
      },
    },
  ])
  expect(registry.list().map(({ name }) => name)).toEqual(['a', 'b', 'hidden', 'off'])
  const { parse } = await registry.resolve('b', conversation)
  expect(parse({})).toEqual({ n: 3 })
  expect((await registry.resolve('hidden', conversation)).tool.name).toBe('hidden')
  await expect(registry.resolve('off', conversation)).rejects.toMatchObject({ code: 'tool_disabled' })
  await expect(registry.resolve('none', conversation)).rejects.toMatchObject({ code: 'tool_not_found', details: { known: 4 } })
  const { parse: byJsonSchema } = await registry.resolve('a', conversation)
  expect(() => byJsonSchema({ s: 1 })).toThrow(expect.objectContaining({ code: 'tool_arguments_invalid' }))
  expect(byJsonSchema({ s: 'x' })).toEqual({ s: 'x' })
})

test('a tool that could never run is refused when it is registered, with the field', () => {
  const tool = { name: 'a', input: {}, execute: () => 1 }
  const unusable: [object, string][] = [
    [{ timeoutMs: 0 }, 'timeoutMs of the tool "a"'],
    [{ timeoutMs: Number.NaN }, 'timeoutMs of the tool "a"'],
    [{ concurrency: 0 }, 'concurrency of the tool "a"'],
    [{ input: { not: { type: 'string' } } }, 'input of the tool "a"'],
  ]
  for (const [field, named] of unusable) {
    expect(() => createToolRegistry([{ ...tool, ...field }])).toThrow(
      expect.objectContaining({ code: 'settings_invalid', details: expect.objectContaining({ field: named }) }),
    )
  }
  expect(() => createToolRegistry([tool, tool])).toThrow(/two tools have it/)
  const registry = createToolRegistry([tool])
  registry.add([{ ...tool, description: 'another' }])
  expect(registry.list()).toMatchObject([{ description: 'another' }])
})

test('what cannot be checked here is checked by the server of a remote tool', async () => {
  const input = { type: 'object', properties: { a: { not: { type: 'string' } } } }
  const registry = createToolRegistry([{ name: 'a', kind: 'remote', input, execute: () => 1 }])
  expect(await registry.schemas(conversation)).toEqual([{ name: 'a', inputSchema: input }])
  const { parse } = await registry.resolve('a', conversation)
  expect(parse({ a: 'x' })).toEqual({ a: 'x' })
  expect(() => parse('x')).toThrow(expect.objectContaining({ code: 'tool_arguments_invalid' }))
})

test('what is added can be taken out, and what came in its place stays', async () => {
  const registry = createToolRegistry()
  const tool = (description: string) => ({ name: 'a', description, input: {}, execute: () => 1 })
  const first = registry.add([tool('first')])
  const second = registry.add([tool('second')])
  first()
  expect(registry.list()[0]?.description).toBe('second')
  second()
  expect(registry.list()).toEqual([])
})

test('permits are given in order, at most so many, and an abort gives up the place', async () => {
  const permits = createPermits(2)
  const { signal } = new AbortController()
  const [first, second] = await Promise.all([permits.take(signal), permits.take(signal)])
  expect(permits.tryTake()).toBeUndefined()
  const order: string[] = []
  const controller = new AbortController()
  const third = permits.take(controller.signal)
  const fourth = permits.take(signal).then((give) => {
    order.push('fourth')
    return give
  })
  controller.abort(new Error('no longer'))
  await expect(third).rejects.toThrow('no longer')
  first?.()
  first?.()
  await fourth
  expect(permits.tryTake()).toBeUndefined()
  second?.()
  expect(permits.tryTake()).toBeDefined()
  expect(order).toEqual(['fourth'])
})

test('results are bounded: beginning and end of a text, the number of parts, and what an error says', () => {
  const { content } = contentOf(`begin${'x'.repeat(100_000)}end`)
  const text = (content[0] as { text: string }).text
  expect(text.length).toBeLessThanOrEqual(65_536)
  expect(text).toMatch(/^beginx+\n\[\.\.\. \d+ characters are left out \.\.\.\]\nx+end$/)
  const many = contentOf(toolParts(Array.from({ length: 150 }, () => ({ type: 'text' as const, text: 'a' })))).content
  expect(many).toHaveLength(101)
  expect(contentOf({ a: [1] }).content).toEqual([{ type: 'text', text: '{"a":[1]}' }])
  const round: { self?: unknown } = {}
  round.self = round
  for (const answer of [round, { rows: 1n }]) {
    const { content: told, isError } = contentOf(answer)
    expect([isError, told]).toEqual([true, [{ type: 'text', text: expect.stringContaining('what cannot be kept') }]])
  }
  expect(contentOf(1n)).toEqual({ content: [{ type: 'text', text: '1' }], isError: false })
  expect(problemOf(new Error('x'.repeat(9_000))).length).toBeLessThanOrEqual(2_000)
  expect(problemOf(undefined)).toBe('undefined')
  expect(problemOf(new Error('two\nlines'))).toBe('two lines')
})

test('whatever is answered or thrown, a model is told of it', () => {
  const unreadable = { __proto__: null, self: {} }
  unreadable.self = unreadable
  for (const thrown of [unreadable, Object.assign(new Error(), { message: { code: 7 } }), Symbol('no'), null, 1n]) {
    expect(problemOf(thrown)).toEqual(expect.stringMatching(/./))
  }
  const malformed: unknown[] = [
    undefined,
    'a text',
    [{ type: 'text', text: 42 }],
    [{ type: 'text' }],
    [null],
    [{ type: 'tool_call', callId: 'c', name: 'nested' }],
    [{ type: 'custom', kind: 'row', payload: { id: 2 ** 60 } }],
    [{ type: 'custom', kind: 'row', payload: { at: new Date(0) } }],
  ]
  for (const content of malformed) {
    const { content: told, isError } = contentOf(toolParts(content as never))
    expect([isError, told]).toEqual([true, [{ type: 'text', text: expect.stringContaining('what cannot be kept') }]])
  }
})

test('a tool that answers with no parts, or tells of progress beyond the whole, ends its own call and nothing else', async () => {
  const { conversation, stored } = await given()
  const no = () => toolParts([{ type: 'text', text: 42 as never }])
  const tool = (name: string, more: Partial<Tool>): Tool => ({ name, input: {}, execute: no, ...more })
  const told: [number | undefined, string?][] = [[50], [Number.NaN, 'x'.repeat(9_000)], [-1], [undefined, 'half']]
  const tools = createToolRegistry([
    tool('malformed', {}),
    tool('late', {
      timeoutMs: 1,
      execute: (_: never, { signal }) => new Promise((done) => signal.addEventListener('abort', () => done(no()))),
    }),
    tool('eager', {
      execute: (_: never, { progress }) => {
        for (const one of told) progress(...one)
        return 'done'
      },
    }),
  ])
  const model = scriptedModel({
    scripts: [{ calls: ['malformed', 'late', 'eager'].map((name) => ({ name, args: {} })) }, { text: 'Done.' }],
  })
  const turn = runTurn(conversation, 'Go.', { model, tools })
  const progress: (number | undefined)[] = []
  const notes: (number | undefined)[] = []
  turn.parts$.subscribe((part) => {
    if (part.type !== 'toolProgressed') return
    progress.push(part.ratio)
    notes.push(part.note?.length)
  })
  const { outcome, state } = await turn.done
  expect(outcome).toBe('answered')
  const results = state.messages.slice().flatMap(({ parts }) => parts.flatMap((one) => (one.type === 'tool_result' ? [one] : [])))
  expect(results.map(({ status }) => status)).toEqual(['error', 'error', 'ok'])
  expect(progress).toEqual([1, undefined, 0, undefined])
  expect(notes).toEqual([undefined, 2_000, undefined, 4])
  const isLate = ({ type }: { readonly type: string }): boolean => type === 'toolEndedLate'
  await expect.poll(async () => (await stored()).find(isLate)?.action.payload).toMatchObject({ outcome: 'failed' })
})

/** A server that speaks just enough of the protocol; two pages of tools. */
async function mcpServer() {
  const [ours, theirs] = InMemoryTransport.createLinkedPair()
  const calls: unknown[] = []
  const inputSchema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
  const png = Buffer.from('not really a picture').toString('base64')
  const hear = (message: JSONRPCMessage) => {
    if (!('method' in message) || !('id' in message)) return
    const { id, method, params } = message
    const answer = (result: object) => void theirs.send({ jsonrpc: '2.0', id, result } as JSONRPCMessage)
    if (method === 'initialize') {
      const { protocolVersion } = params as { protocolVersion: string }
      answer({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'weather', version: '1' } })
    } else if (method === 'tools/list') {
      if ((params as { cursor?: string } | undefined)?.cursor === undefined)
        answer({
          tools: [{ name: 'forecast', description: 'Rain', inputSchema, annotations: { readOnlyHint: true } }],
          nextCursor: 'p2',
        })
      else answer({ tools: [{ name: 'map', inputSchema }] })
    } else if (method === 'tools/call') {
      calls.push(params)
      const { name } = params as { name: string }
      if (name === 'forecast') answer({ content: [{ type: 'text', text: '12 mm' }] })
      else answer({ content: [{ type: 'image', mimeType: 'image/png', data: png }], isError: true })
    }
  }
  Object.assign(theirs, { onmessage: hear })
  await theirs.start()
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(ours)
  return { client, calls }
}

test('tools of an MCP server are listed page by page, validated, called and stored like any other', async () => {
  const { client, calls } = await mcpServer()
  const tools = await mcpTools(client, { prefix: 'weather', trustHints: true })
  expect(tools.map(({ name, idempotent, kind }) => [name, idempotent, kind])).toEqual([
    ['weather__forecast', true, 'remote'],
    ['weather__map', false, 'remote'],
  ])
  expect((await mcpTools(client)).map(({ idempotent }) => idempotent)).toEqual([false, false])

  const { conversation, log } = await given()
  const model = scriptedModel({
    scripts: [
      {
        calls: [
          { name: 'weather__forecast', args: { city: 'Bern' } },
          { name: 'weather__forecast', args: { town: 'Bern' } },
          { name: 'weather__map', args: { city: 'Bern' } },
        ],
      },
      { text: 'It rains.' },
    ],
  })
  const { state } = await runTurn(conversation, 'Rain?', { model, tools: createToolRegistry(tools) }).done
  const results = state.messages
    .slice()
    .flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'tool_result' ? [part] : [])))
  expect(results.map(({ status }) => status)).toEqual(['ok', 'error', 'error'])
  expect(results[0]?.content).toEqual([{ type: 'text', text: '12 mm' }])
  expect(calls).toMatchObject([
    { name: 'forecast', arguments: { city: 'Bern' } },
    { name: 'map', arguments: { city: 'Bern' } },
  ])
  const [picture] = results[2]?.content ?? []
  const hash = picture?.type === 'media' && picture.source.kind === 'hash' ? picture.source.hash : ''
  const kept = await log.media({ tenant: 'default', conversationId: 'c' }, hash)
  expect(Buffer.from(kept?.bytes ?? []).toString()).toBe('not really a picture')
  await client.close()
})

test('what a model is told of a failure is two sentences: what happened, and what to do', () => {
  const told = (problem: string) => problemContent(problem, { recovery: 'Try again.' })
  expect(told('it is full')).toEqual([{ type: 'text', text: 'it is full. Try again.' }])
  expect(told('It is full.')).toEqual([{ type: 'text', text: 'It is full. Try again.' }])
})
