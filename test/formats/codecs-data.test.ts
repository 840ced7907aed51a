/** Over real messages, which are not part of the repository: without them every test here is skipped and says so. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { messageAdded, message as messageSchema } from '@colloquy/core'
import { importFile } from '@colloquy/formats'
import { afterAll, describe, expect, test } from 'vitest'
import { aiSdkModel } from '../../packages/formats/src/codecs/ai-sdk-model.ts'
import { aiSdkUi } from '../../packages/formats/src/codecs/ai-sdk-ui.ts'
import { anthropicMessages } from '../../packages/formats/src/codecs/anthropic-messages.ts'
import type { Codec } from '../../packages/formats/src/codecs/codec.ts'
import { geminiContents } from '../../packages/formats/src/codecs/gemini-contents.ts'
import { langChain } from '../../packages/formats/src/codecs/langchain-messages.ts'
import { openaiChat } from '../../packages/formats/src/codecs/openai-chat.ts'
import { openaiResponses } from '../../packages/formats/src/codecs/openai-responses.ts'
import { sha256 } from '../support/core-log.ts'
import { checks } from './codecs-acceptable.ts'

type Fields = Record<string, unknown>

interface RealRequest {
  readonly name: string
  readonly codec: Codec<unknown>
  readonly foreign: Fields
  /** The provider took it, so it must go out as it came in. */
  readonly wasTaken: boolean
}

const data = new URL('../../../shared/data/', import.meta.url)
const isMissing = !existsSync(data)
const targets: readonly Codec<unknown>[] = [
  anthropicMessages,
  openaiChat,
  openaiResponses,
  geminiContents,
  aiSdkModel,
  aiSdkUi,
  langChain,
]
const requests = isMissing ? [] : realRequests()
const table = new Map<string, Fields>()

describe.skipIf(isMissing)(`real messages${isMissing ? ' (skipped: ../shared/data is not beside this checkout)' : ''}`, () => {
  afterAll(() => console.table([...table.values()]))

  test('there are as many as were counted', () => {
    expect(requests).toHaveLength(91)
    expect(requests.filter(({ wasTaken }) => wasTaken)).toHaveLength(44)
  })

  test.each(requests)('$name comes back as it was', ({ name, codec, foreign, wasTaken }) => {
    const { messages, media, settings } = decode(codec, foreign)
    const lookup = (hash: string) => media.find((each) => each.hash === hash)?.bytes
    for (const message of messages) expect(messageSchema.safeParse(message).error).toBeUndefined()

    const transcript = codec.encode(messages, { purpose: 'transcript', media: lookup })
    expect({ ...settings, ...(transcript.body as Fields) }).toEqual(foreign)
    expect(transcript.losses).toEqual([])
    // A transcript that was never sent as it is may be changed into a request.
    const request = wasTaken ? codec.encode(messages, { media: lookup }) : transcript
    expect({ ...settings, ...(request.body as Fields) }).toEqual(foreign)
    expect(request.losses).toEqual([])

    const parts = messages.flatMap((message) => message.parts)
    const unknown = parts.flatMap((part) => (part.type === 'custom' ? [part.kind] : []))
    expect(unknown.filter((kind) => kind.endsWith('.message'))).toEqual([])
    const row = {
      codec: codec.id,
      messages: 0,
      parts: 0,
      kept: 0,
      'bytes kept': 0,
      bytes: 0,
      custom: '',
      ...table.get(fileOf(name)),
    }
    const keptOf = parts.map(({ raw, providerMetadata }) => ({ ...(raw !== undefined && { raw }), ...providerMetadata }))
    const kept = [...keptOf, ...messages.map(({ raw }) => ({ ...(raw as object) }))].filter(
      (each) => Object.keys(each).length > 0,
    )
    table.set(fileOf(name), {
      file: fileOf(name),
      ...row,
      messages: row.messages + messages.length,
      parts: row.parts + parts.length,
      kept: row.kept + kept.length,
      'bytes kept': row['bytes kept'] + JSON.stringify(kept).length,
      bytes: row.bytes + JSON.stringify(foreign).length,
      custom: [...new Set([row.custom, ...unknown])].filter((kind) => kind !== '').join(' '),
    })
  })

  test.each(requests)('$name would be taken by everyone else', ({ name, codec, foreign }) => {
    const { messages, media } = decode(codec, foreign)
    const lookup = (hash: string) => media.find((each) => each.hash === hash)?.bytes
    for (const target of targets) {
      const { body, losses } = target.encode(messages, { media: lookup })
      expect(checks[target.id]?.(body as Fields), `as ${target.id}`).toEqual([])
      const row = table.get(fileOf(name))
      if (row) row[`-> ${target.id}`] = Number(row[`-> ${target.id}`] ?? 0) + losses.length
    }
  })

  test('imported Claude Code sessions would be taken by everyone', () => {
    const directory = new URL('transcripts/claude-code/', data)
    let sessions = 0
    for (const file of readdirSync(directory).toSorted()) {
      const { conversations } = importFile({ source: file, content: readFileSync(new URL(file, directory)), sha256 })
      for (const { commands, media } of conversations) {
        const actions = commands.flatMap((command) => command.actions)
        const messages = actions.filter(messageAdded.match).map(({ payload }) => payload.message)
        const lookup = (hash: string) => media.find((each) => each.hash === hash)?.bytes
        sessions++
        for (const target of targets) {
          const { body } = target.encode(messages, { media: lookup })
          expect(checks[target.id]?.(body as Fields), `${file} as ${target.id}`).toEqual([])
        }
      }
    }
    expect(sessions).toBe(17)
  })

  test('signed and encrypted blocks come back byte for byte', () => {
    let opaque = 0
    for (const { codec, foreign } of requests) {
      const { messages, media, settings } = decode(codec, foreign)
      const lookup = (hash: string) => media.find((each) => each.hash === hash)?.bytes
      const { body } = codec.encode(messages, { purpose: 'transcript', media: lookup })
      const before = opaqueIn(foreign)
      expect(opaqueIn({ ...settings, ...(body as Fields) })).toEqual(before)
      opaque += before.length
    }
    expect(opaque).toBe(85)
  })
})

function decode(codec: Codec<unknown>, foreign: unknown) {
  let made = 0
  return codec.decode(foreign, { ids: () => `m${++made}`, sha256 })
}

const fileOf = (name: string): string => name.replace(/ .*/, '')

/** Every string that only the provider can read, in order. */
function opaqueIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(opaqueIn)
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    ['signature', 'encrypted_content', 'thoughtSignature', 'encrypted_index'].includes(key) ? [String(inner)] : opaqueIn(inner),
  )
}

function realRequests(): RealRequest[] {
  const read = (path: string): unknown => JSON.parse(readFileSync(new URL(path, data), 'utf8'))
  const filesIn = (directory: string): string[] =>
    readdirSync(new URL(`transcripts/${directory}/`, data))
      .toSorted()
      .map((file) => `transcripts/${directory}/${file}`)
  const found: RealRequest[] = []
  const add = (path: string, about: string, codec: Codec<unknown>, foreign: unknown, wasTaken: boolean): void => {
    const file = path
      .split('/')
      .at(-1)
      ?.replace(/\.jsonl?$/, '')
    found.push({ name: `${file} ${about}`, codec, foreign: foreign as Fields, wasTaken })
  }

  for (const path of [...filesIn('anthropic-messages'), ...filesIn('openai-responses')]) {
    for (const [i, { uri, request, response }] of (
      read(path) as { uri: string; request: Fields; response: Fields | string }[]
    ).entries()) {
      const isAnthropic = uri.includes('anthropic')
      const [codec, key] = isAnthropic ? [anthropicMessages, 'messages'] : [openaiResponses, 'input']
      add(path, `request ${i}`, codec, request, true)
      if (typeof response === 'string') continue
      const answer = isAnthropic ? [{ role: response.role, content: response.content }] : (response.output as unknown[])
      add(path, `request ${i} with its answer`, codec, { ...request, [key]: [...(request[key] as unknown[]), ...answer] }, false)
    }
  }
  for (const path of filesIn('openai-chat')) {
    const file = read(path) as Fields | { traj: unknown[] }[]
    const lists = Array.isArray(file)
      ? file.map(({ traj }) => traj)
      : 'simulations' in file
        ? (file.simulations as Fields[]).map(({ messages }) => messages)
        : [file.messages, file.raw_messages, (file.response as { choices: Fields[] }).choices.map(({ message }) => message)]
    // What tau-bench calls a trajectory is what it sent, to the last answer; tau2 writes calls its own way.
    const wasTaken = !Array.isArray(file) && 'messages' in file
    for (const [i, messages] of lists.entries()) {
      if (Array.isArray(messages)) add(path, `list ${i}`, openaiChat, { messages }, (wasTaken && i < 2) || Array.isArray(file))
    }
  }
  for (const path of filesIn('langgraph')) {
    const file = read(path) as { values: Fields } | unknown[]
    const messages = Array.isArray(file) ? file : file.values.messages
    add(path, 'messages', langChain, { messages }, path.includes('seed'))
  }
  for (const path of filesIn('gemini-cli'))
    add(path, 'contents', geminiContents, { contents: contentsOf(read(path) as Fields) }, false)
  for (const file of readdirSync(new URL('streams/gemini/', data)).toSorted()) {
    const lines = readFileSync(new URL(`streams/gemini/${file}`, data), 'utf8')
      .trim()
      .split('\n')
    const contents = lines.flatMap(
      (line) =>
        (JSON.parse(line) as { candidates?: { content?: unknown }[] }).candidates?.flatMap(({ content }) => content ?? []) ?? [],
    )
    add(file, 'contents', geminiContents, { contents }, false)
  }
  return found
}

/** What Gemini CLI sent for a session: it keeps calls with their results inside of the answer. */
function contentsOf({ messages }: Fields): unknown[] {
  return (messages as Fields[]).flatMap(({ type, content, toolCalls = [], thoughts = [] }) => {
    if (type === 'user') return [{ role: 'user', parts: [{ text: content }] }]
    if (type !== 'gemini') return []
    const calls = toolCalls as { id: string; name: string; args: unknown; result?: unknown[] }[]
    const said = [
      ...(thoughts as Fields[]).map(({ description }) => ({ text: description, thought: true })),
      ...(content === '' ? [] : [{ text: content }]),
      ...calls.map(({ id, name, args }) => ({ functionCall: { id, name, args } })),
    ]
    const results = calls.flatMap(({ result }) => result ?? [])
    return [{ role: 'model', parts: said }, ...(results.length > 0 ? [{ role: 'user', parts: results }] : [])]
  })
}
