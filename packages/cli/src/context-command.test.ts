import { runTurn, scriptedModel } from '@colloquy/agent'
import { recordModelCall } from '@colloquy/context'
import { conversationStarted, messageRedacted, toHex } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256 } from '@colloquy/engine'
import { expect, test } from 'vitest'
import { capturedIo } from '../../../test/cli/captured-io.ts'
import { fixedClock, say } from '../../../test/support/given.ts'
import { encoderNamed } from './encoders.ts'
import { exitCodes } from './exit.ts'
import { run } from './program.ts'

const encoder = encoderNamed('anthropic-messages') ?? expect.fail('no encoder')

async function recorded() {
  const log = openMemoryLog()
  const engine = createEngine({ log, clock: fixedClock() })
  const chat = await engine.open('chat')
  const call = async (callId: string) =>
    recordModelCall(engine, chat, {
      callId,
      encoder,
      request: {
        system: 'Be brief.',
        tools: [{ name: 'search', description: 'Looks things up', inputSchema: { type: 'object' } }],
        messages: chat.getState().messages.slice(),
        config: { model: 'small-1', maxTokens: 100 },
      },
    })
  await chat.dispatch(say('m1', 'What is the capital of Peru?', 7))
  const first = await call('one')
  await chat.dispatch([say('m2', 'Lima.', 2, 'assistant'), say('m3', 'And of Chile?', 4)])
  const second = await call('two')
  const colloquy = async (...words: string[]) => {
    const io = capturedIo({ log })
    return { code: await run([...words, '--tenant', 'default'], io), stdout: io.stdout.text, stderr: io.stderr.text }
  }
  const json = async (...words: string[]) => JSON.parse((await colloquy(...words, '--json')).stdout)
  return { log, engine, chat, first, second, colloquy, json }
}

test('context shows what the model saw in the last call at or before a position, with tokens, proof and what was as before', async () => {
  const { colloquy, json, first, second } = await recorded()
  const seen = await json('context', 'chat')
  expect(seen).toMatchObject({
    callId: 'two',
    verdict: 'proved',
    system: 'Be brief.',
    tools: [{ name: 'search' }],
    request: { hash: toHex(sha256(second.bytes)) },
    unchanged: { messages: 1 },
    messages: [
      { id: 'm1', position: 1, role: 'user', tokens: 7 },
      { id: 'm2', position: 3, role: 'assistant', tokens: 2 },
      { id: 'm3', position: 4, role: 'user', tokens: 4 },
    ],
  })
  expect(seen.prefixShare).toBeCloseTo(first.manifest.content.bytes / second.manifest.content.bytes)
  expect(await json('context', 'chat', '--at', '3')).toMatchObject({ callId: 'one', position: 2 })
  expect(await json('context', 'chat', '--call', 'one')).toMatchObject({ callId: 'one', messages: [{ id: 'm1' }] })
  const { stdout, code } = await colloquy('context', 'chat')
  expect(code).toBe(exitCodes.ok)
  expect(stdout).toMatch(/^proof\tproved: /m)
  expect(stdout).toMatch(/^unchanged\t\d+ % since the call before: 1 messages/m)
  expect((await colloquy('show', 'chat')).stdout).toMatch(/^manifests\t2 model calls recorded, the last at position 5 \(two\)$/m)
  expect(stdout).toMatch(/^budget\t13 of 50,000 tokens/m)
  expect((await colloquy('context', 'chat', '--budget', '20')).stdout).toMatch(/^budget\t13 of 20 tokens/m)
  expect(stdout).toMatch(/^4\tuser\t4\tAnd of Chile\?$/m)
})

test('context compares with the limit of the conversation where that is lower, and with --budget before all', async () => {
  const { engine, json } = await recorded()
  const small = await engine.open('small')
  await small.dispatch([conversationStarted({ contextLimitTokens: 15 }), say('m1', 'Hello', 7)])
  expect(await json('context', 'small')).toMatchObject({ budgetTokens: 15 })
  expect(await json('context', 'small', '--budget', '20')).toMatchObject({ budgetTokens: 20 })
})

test('context --calls lists the calls, and --api prints exactly what was sent', async () => {
  const { colloquy, json, second } = await recorded()
  expect(await json('context', 'chat', '--calls')).toMatchObject([
    { id: 'one', prefixShare: 0 },
    { id: 'two', unchanged: { messages: 1 } },
  ])
  const { stdout } = await colloquy('context', 'chat', '--api', 'anthropic-messages')
  expect(stdout).toBe(`${new TextDecoder().decode(second.bytes)}\n`)
  const other = await colloquy('context', 'chat', '--api', 'openai-chat@1')
  expect(JSON.parse(other.stdout)).toMatchObject({ model: 'small-1', messages: [{ role: 'system' }, {}, {}, {}] })
  expect(other.stderr).toContain('not the bytes of a call')
  expect(await colloquy('context', 'chat', '--api', 'telegraph')).toMatchObject({ code: exitCodes.usage })
})

test('words that were redacted since are not printed, unless they are asked for', async () => {
  const { chat, colloquy } = await recorded()
  await chat.dispatch(messageRedacted({ messageId: 'm1' }))
  for (const words of [
    ['context', 'chat'],
    ['context', 'chat', '--json'],
    ['context', 'chat', '--api', 'anthropic-messages'],
  ]) {
    const { stdout, stderr } = await colloquy(...words)
    expect(stdout + stderr).not.toContain('Peru')
    expect(stdout + stderr).toMatch(/redacted/)
  }
  expect((await colloquy('context', 'chat', '--redacted')).stdout).toContain('Peru')
})

test('where no call is recorded, the working set is shown and said to be not proved; a call that is not there is not found', async () => {
  const { engine, colloquy, json } = await recorded()
  await (await engine.open('imported')).dispatch([say('a', 'Hello', 3), say('b', 'Hi', 2)])
  expect(await json('context', 'imported', '--at', '1')).toMatchObject({
    verdict: 'not_recorded',
    callId: null,
    messages: [{ id: 'a', tokens: 3 }],
  })
  const { code, stdout, stderr } = await colloquy('context', 'imported')
  expect({ code, stdout }).toMatchObject({ code: exitCodes.ok, stdout: expect.stringMatching(/^proof\tnone: .*\n?/m) })
  expect(stderr).toContain('Not proved')
  expect(await colloquy('context', 'imported', '--call', 'x')).toMatchObject({
    code: exitCodes.notFound,
    stderr: expect.stringContaining('model_call_not_found'),
  })
  expect(await colloquy('context', 'nobody')).toMatchObject({ code: exitCodes.notFound })
})

test('what a turn sent to a model is proved, call by call', async () => {
  const { engine, json } = await recorded()
  const talk = await engine.open('talk')
  const model = scriptedModel({ scripts: [{ text: 'Lima.' }, { text: 'Santiago.' }] })
  for (const input of ['What is the capital of Peru?', 'And of Chile?'])
    await runTurn(talk, input, { model, system: 'Be brief.' }).done
  const calls = await json('context', 'talk', '--calls')
  expect(calls).toMatchObject([{ unchanged: { messages: 0 } }, { unchanged: { messages: 1 } }])
  for (const { id } of calls) {
    expect(await json('context', 'talk', '--call', id)).toMatchObject({
      callId: id,
      verdict: 'proved',
      encoder: 'anthropic.messages@1',
      system: 'Be brief.',
    })
  }
})
