/** Manifests over real transcripts: one call before each answer, in the words of four APIs, made again byte for byte. */
import { modelCalls, modelInput, prefixShare, type RequestEncoder, recordModelCall } from '@colloquy/context'
import { messageAdded, modelCalled } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256 } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { afterAll, describe, expect, test } from 'vitest'
import { encoders } from '../../packages/cli/src/encoders.ts'
import { actionsOf } from '../formats/imported.ts'
import { readReal, realFolders, realNames } from '../formats/real-files.ts'

const paths = realFolders().flatMap((folder) => realNames(folder).map((name) => `${folder}/${name}`))
const notice = paths.length === 0 ? ' (skipped: ../shared/data is not beside this checkout)' : ''

/** Calls of one transcript that are recorded, and of those the ones that are proved: encoding and proving take the whole request each. */
const [recordedLimit, provedLimit] = [60, 6]

describe.skipIf(paths.length === 0)(`real transcripts${notice}`, () => {
  const table: object[] = []
  afterAll(() => console.table(table))

  test.each(paths)('%s: what each model call was sent is proved', async (path) => {
    const file = importFile({ source: path, content: readReal(path) ?? '', sha256 })
    const [conversation] = file.conversations
    const log = openMemoryLog()
    await using engine = createEngine({ log })
    const key = { tenant: 'default', conversationId: 'c' }
    await log.putMedia(key, conversation?.media ?? [])
    const chat = await engine.open('c')
    const encoder = encoders[paths.indexOf(path) % encoders.length] as RequestEncoder
    const sent = new Map<string, Uint8Array>()
    const messages = actionsOf(conversation).filter(messageAdded.match)
    const answers = messages.filter(({ payload }) => payload.message.role === 'assistant').length
    const every = Math.max(1, Math.ceil(answers / recordedLimit))
    let answered = 0
    for (const action of messages) {
      const { role } = action.payload.message
      if (role === 'assistant' && answered++ % every === 0) {
        const request = {
          system: 'Be brief.',
          tools: [{ name: 'search', inputSchema: { type: 'object' } }],
          messages: chat.getState().messages.slice(),
          config: { model: 'small-1' },
        }
        const callId = `call-${answered}`
        sent.set(callId, (await recordModelCall(engine, chat, { request, encoder, callId })).bytes)
      }
      await chat.dispatch(messageAdded(action.payload))
    }
    const calls = []
    for await (const page of modelCalls(log, key)) calls.push(...page)
    expect(calls).toHaveLength(sent.size)
    const step = Math.max(1, Math.ceil(sent.size / provedLimit))
    for (const [callId, bytes] of [...sent].filter((_, index) => index % step === 0)) {
      const seen = await modelInput(engine, 'c', callId, { encoders })
      expect([callId, seen.verdict, seen.problems]).toEqual([callId, 'proved', []])
      expect(Buffer.compare(seen.bytes ?? new Uint8Array(), bytes)).toBe(0)
    }
    // Nothing is ever changed behind: all but the new messages is as it was.
    for (const [index, call] of calls.entries()) expect(call.unchanged.messages).toBe(calls[index - 1]?.content.messages ?? 0)
    let manifestBytes = 0
    for await (const page of log.read(key))
      for (const { type, body } of page) if (type === modelCalled.type) manifestBytes += body.length
    table.push({
      path,
      encoder: encoder.id,
      messages: messages.length,
      calls: calls.length,
      'request bytes': calls.reduce((sum, { request }) => sum + request.bytes, 0),
      'manifest bytes': manifestBytes,
      'prefix share': (calls.reduce((sum, call) => sum + prefixShare(call), 0) / Math.max(1, calls.length)).toFixed(3),
    })
  })
})
