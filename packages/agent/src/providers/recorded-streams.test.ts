/** The recorded streams, which are not part of the repository, through the real clients and through a turn. */
import { readFileSync } from 'node:fs'
import Anthropic from '@anthropic-ai/sdk'
import { type Message, messageAdded, usageRecorded } from '@colloquy/core'
import type { StreamFormat } from '@colloquy/formats'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { files, isMissing, root } from '../../../../test/formats/recorded-streams.ts'
import { callsOf, decode } from '../../../../test/formats/streams-decoded.ts'
import { given } from '../../../../test/support/given.ts'
import type { Model } from '../model.ts'
import { runTurn } from '../turn/run-turn.ts'
import { anthropicModel } from './anthropic.ts'
import { openaiChatModel, openaiModel } from './openai.ts'
import { scriptedModel } from './scripted.ts'

/** A provider that answers with these bytes, in pieces that end anywhere. */
function answering(bytes: Uint8Array, requests: unknown[] = []): typeof fetch {
  return async (_url, init) => {
    requests.push(init?.body)
    let at = 0
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (at >= bytes.length) return controller.close()
        controller.enqueue(bytes.slice(at, (at += 97)))
      },
    })
    return new Response(body, { status: 200, headers: { 'content-type': 'text/event-stream' } })
  }
}

const options = { apiKey: 'none', baseURL: 'http://127.0.0.1:1', maxRetries: 7 }

/** Gemini has no client here: its streams are played by the scripted model. */
function modelFor(format: StreamFormat, bytes: Uint8Array, requests?: unknown[]): Model {
  const fetch = answering(bytes, requests)
  if (format === 'anthropic') return anthropicModel(new Anthropic({ ...options, fetch }), { id: 'claude' })
  if (format === 'openai-chat') return openaiChatModel(new OpenAI({ ...options, fetch }), { id: 'gpt' })
  if (format === 'openai-responses') return openaiModel(new OpenAI({ ...options, fetch }), { id: 'gpt' })
  return scriptedModel({ provider: 'google', id: 'gemini', scripts: [{ recorded: bytes, format }] })
}

const once = { tries: 1, baseMs: 0, factor: 1, capMs: 0 }
const recovery = { policies: { network: once, rate_limit: once, overloaded: once, server: once, tool: once, unknown: once } }

const withoutId = (message: Message): Message => ({ ...message, id: 'any' })

describe.skipIf(isMissing)(`recorded streams${isMissing ? ' (skipped: ../shared/data is not beside this checkout)' : ''}`, () => {
  test('are all there', () => {
    expect(files).toHaveLength(91)
  })

  test.each(files)('$path through its client and a turn is what it is decoded directly', async ({ path, format }) => {
    const bytes = readFileSync(new URL(path, root))
    const direct = decode(format, bytes, format === 'gemini' ? { provider: 'google' } : {})
    const { conversation, stored, errors } = await given()
    const model = modelFor(format, bytes)
    const turn = runTurn(conversation, 'Go.', { model, limits: { modelCalls: 1 }, recovery })
    // A stream that failed is told, unless a call in it had run: then the turn goes on from there.
    const isWhole = direct.errors.length === 0 && direct.ended.every(({ interrupted }) => interrupted !== true)
    if (!isWhole && !callsOf(direct).some(({ args }) => args.valid)) await expect(turn.done).rejects.toBeInstanceOf(Error)
    else await turn.done

    const actions = (await stored()).map(({ action }) => action)
    const added = actions.flatMap((action) => (messageAdded.match(action) ? [action.payload.message] : []))
    const answers = added.filter(({ role }) => role === 'assistant')
    expect(answers.map(withoutId)).toEqual(direct.messages.map(withoutId))
    expect(new Set(added.map(({ id }) => id)).size).toBe(added.length)
    const usages = direct.messages.flatMap(({ model }) => model?.usage ?? [])
    expect(actions.flatMap((action) => (usageRecorded.match(action) ? [action.payload.usage] : []))).toEqual(usages)
    expect(answers.map(({ model }) => model?.stop)).toEqual(direct.messages.map(({ model }) => model?.stop))

    // Every call of ours has its answer, and nothing is open.
    const calls = answers.flatMap(({ parts }) =>
      parts.flatMap((part) => (part.type === 'tool_call' && part.executor.kind === 'client' ? [part.callId] : [])),
    )
    const results = added.flatMap(({ parts, role }) =>
      role === 'tool' ? parts.flatMap((part) => (part.type === 'tool_result' ? [part.callId] : [])) : [],
    )
    expect(results).toEqual(calls)
    expect(conversation.getState()).toMatchObject({ tools: { open: [], answered: [] }, turn: { current: null } })
    expect(errors).toEqual([])
  })
})
