import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promptCache } from '@colloquy/cache'
import { charactersCounter } from '@colloquy/context'
import { messageRedacted, type Timer } from '@colloquy/core'
import { createEngine, openMemoryLog, sha256 } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import { describe, expect, test, vi } from 'vitest'
import { fixedClock } from '../../../../test/support/given.ts'
import { type ConversationFileManager, conversationDirectory } from './conversation-file-manager.ts'
import { ConversationManager, type ConversationManagerOptions, IDLE_TIME } from './conversation-manager.ts'

/** Time passes when the test says so. */
function heldTimer() {
  const waiting = new Set<{ readonly listener: () => void; readonly ms: number }>()
  const timer: Timer = (listener, ms) => {
    const one = { listener, ms }
    waiting.add(one)
    return () => waiting.delete(one)
  }
  return {
    timer,
    waiting: () => [...waiting].map(({ ms }) => ms),
    pass() {
      for (const one of waiting) {
        waiting.delete(one)
        one.listener()
      }
    },
  }
}

function memoryFiles() {
  const written = new Map<string, string>()
  const files: ConversationFileManager = { write: async (name, text) => void written.set(name, text) }
  return { files, written }
}

function manager(options: Partial<ConversationManagerOptions> = {}) {
  const log = openMemoryLog()
  const engine = createEngine({ log, clock: fixedClock() })
  return { log, engine, manager: new ConversationManager({ engine, log, ...options }) }
}

const config = { model: 'm', temperature: 0 }

describe('ConversationManager', () => {
  test('keeps messages in the log, and finds them when memory has forgotten them', async () => {
    const { manager: one } = manager()
    const id = await one.startConversation({ id: 'c', title: 'Why' })
    await one.addMessage(id, { id: 'm1', role: 'user', content: 'Why?' })
    await one.addMessage(id, { role: 'assistant', content: [{ type: 'text', text: 'Because.' }] })
    expect(one.removeConversation(id)).toBe(true)
    expect(one.getStats()).toMatchObject({ conversations: 0, messages: 0 })
    expect((await one.getMessages(id)).map(({ role }) => role)).toEqual(['user', 'assistant'])
    expect((await one.getConversation(id)).getState().lifecycle.title).toBe('Why')
    expect((await one.getAllConversations()).map(({ conversationId }) => conversationId)).toEqual(['c'])
    expect(one.getStats()).toMatchObject({ conversations: 1, messages: 2, cache: null })
  })

  test('begins a conversation once, and stores a message once, however often it is told', async () => {
    const { manager: one } = manager()
    await one.startConversation({ id: 'c' })
    await one.startConversation({ id: 'c' })
    await one.addMessage('c', { id: 'm1', role: 'user', content: 'once' })
    await one.addMessage('c', { id: 'm1', role: 'user', content: 'once' })
    expect((await one.getConversation('c')).position).toBe(2)
    await expect(one.addMessage('c', { id: 'm1', role: 'user', content: 'other' })).rejects.toMatchObject({
      code: 'command_id_reused',
    })
  })

  test.each<[string, (one: ConversationManager) => Promise<unknown>]>([
    ['getConversation', (one) => one.getConversation('none')],
    ['addMessage', (one) => one.addMessage('none', { role: 'user', content: 'x' })],
    ['getMessages', (one) => one.getMessages('none', { all: true })],
    ['getContext', (one) => one.getContext('none')],
    ['clearConversation', (one) => one.clearConversation('none')],
    ['saveConversation', (one) => one.saveConversation('none')],
  ])('%s knows no conversation that nobody began', async (_name, call) => {
    const { manager: one } = manager(memoryFiles())
    await expect(call(one)).rejects.toMatchObject({ code: 'conversation_not_found' })
    expect(await one.getAllConversations()).toEqual([])
  })

  test('refuses a message that is too long, and stores nothing of it', async () => {
    const { manager: one } = manager({ limitTokens: 10, counter: charactersCounter })
    await one.startConversation({ id: 'c' })
    await expect(one.addMessage('c', { role: 'user', content: 'x'.repeat(25) })).rejects.toMatchObject({
      code: 'token_limit',
      details: { limitTokens: 10, requestedTokens: 11 },
    })
    await one.addMessage('c', { role: 'user', content: 'x'.repeat(24) })
    expect(await one.getMessages('c')).toHaveLength(1)
  })

  test('gives the working set, or all there ever was, without what was redacted', async () => {
    const { manager: one } = manager()
    await one.startConversation({ id: 'c', contextLimitTokens: 1_000 })
    await one.addMessage('c', { id: 'm1', role: 'user', content: 'secret' })
    await (await one.getConversation('c')).dispatch(messageRedacted({ messageId: 'm1' }))
    await one.clearConversation('c')
    await one.addMessage('c', { id: 'm2', role: 'user', content: 'open' })
    expect((await one.getMessages('c')).map(({ id }) => id)).toEqual(['m2'])
    const all = await one.getMessages('c', { all: true })
    expect(all.map(({ id }) => id)).toEqual(['m1', 'm2'])
    expect(JSON.stringify(all)).not.toContain('secret')
    expect(await one.getContext('c')).toMatchObject({ messages: [{ id: 'm2' }], usedTokens: 5, limitTokens: 1_000 })
  })

  test('answers from the cache what was asked before, until the conversation is cleared', async () => {
    const { manager: one } = manager({ cache: promptCache() })
    await one.startConversation({ id: 'c' })
    expect(await one.checkCachedResponse('c', 'Why?', config)).toBeUndefined()
    await one.cacheResponse('c', 'Why?', config, { text: 'Because.' })
    expect(await one.checkCachedResponse('c', 'Why?', config)).toEqual({ text: 'Because.' })
    expect(await one.checkCachedResponse('other', 'Why?', config)).toBeUndefined()
    expect(await one.checkCachedResponse('c', 'Why?', { ...config, temperature: 1 })).toBeUndefined()
    expect(one.getStats().cache).toMatchObject({ total: 1, hits: 1, misses: 3 })
    await one.clearAll()
    expect(await one.checkCachedResponse('c', 'Why?', config)).toBeUndefined()
    await one.shutdown()
    await expect(one.checkCachedResponse('c', 'Why?', config)).rejects.toMatchObject({ code: 'cache_error' })
  })

  test('saves an idle conversation and lets go of it; each message begins the wait anew', async () => {
    const { timer, waiting, pass } = heldTimer()
    const { files, written } = memoryFiles()
    const { manager: one } = manager({ timer, files })
    await one.startConversation({ id: 'c' })
    await one.addMessage('c', { role: 'user', content: 'hi' })
    await one.getMessages('c')
    expect(waiting()).toEqual([IDLE_TIME])
    pass()
    await vi.waitFor(() => expect(one.getStats().conversations).toBe(0))
    expect([...written.values()].map((text) => JSON.parse(text))).toMatchObject([{ history: [{ message_content: 'hi' }] }])
    await one.addMessage('c', { role: 'user', content: 'back' })
    expect(waiting()).toEqual([IDLE_TIME])
  })

  test('a message that comes while an idle conversation is saved keeps it in memory', async () => {
    const { timer, waiting, pass } = heldTimer()
    let finish = (): void => {}
    const saving = new Promise<void>((resolve) => {
      finish = resolve
    })
    const { manager: one } = manager({ timer, files: { write: () => saving } })
    await one.startConversation({ id: 'c' })
    pass()
    await one.addMessage('c', { role: 'user', content: 'not yet' })
    finish()
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(one.getStats().conversations).toBe(1)
    expect(waiting()).toEqual([IDLE_TIME])
  })

  test('tells when an idle conversation cannot be saved, keeps it, and tries again after another wait', async () => {
    const { timer, waiting, pass } = heldTimer()
    const errors: unknown[] = []
    const files = { write: () => Promise.reject(new Error('no room')) }
    const { manager: one } = manager({ timer, files, onError: (error) => errors.push(error) })
    await one.startConversation({ id: 'c' })
    pass()
    await vi.waitFor(() => expect(errors).toMatchObject([{ code: 'file_unwritable', details: { problem: 'no room' } }]))
    expect(one.getStats().conversations).toBe(1)
    await vi.waitFor(() => expect(waiting()).toEqual([IDLE_TIME]))
    pass()
    await vi.waitFor(() => expect(errors).toHaveLength(2))
    await expect(one.shutdown()).rejects.toMatchObject({ code: 'file_unwritable' })
  })

  test('saves the others when one cannot be saved, and says then what failed', async () => {
    const { files, written } = memoryFiles()
    const errors: unknown[] = []
    const refused: string[] = []
    const write: ConversationFileManager['write'] = async (name, text) => {
      if (!text.includes('kept')) {
        refused.push(name)
        throw new Error('no room')
      }
      await files.write(name, text)
    }
    const { manager: one } = manager({ files: { write }, onError: (error) => errors.push(error) })
    for (const [id, content] of Object.entries({ a: 'lost', b: 'kept', c: 'lost', d: 'kept' })) {
      await one.startConversation({ id })
      await one.addMessage(id, { role: 'user', content })
    }
    const thrown: unknown = await one.shutdown().catch((error: unknown) => error)
    expect(thrown).toMatchObject({ code: 'file_unwritable', details: { file: refused[0] } })
    expect(errors).toMatchObject([{ code: 'file_unwritable', details: { file: refused[1] } }])
    expect([refused.length, written.size]).toEqual([2, 2])
  })

  test('writes files that come back without loss, two of one day under two names', async () => {
    await using directory = await temporaryDirectory()
    const { manager: one } = manager({ files: conversationDirectory(join(directory.path, 'saved')) })
    for (const id of ['a', 'b']) {
      await one.startConversation({ id })
      await one.addMessage(id, { role: 'user', content: `I am ${id}` })
    }
    await one.shutdown()
    const names = await readdir(join(directory.path, 'saved'))
    expect(names).toHaveLength(2)
    for (const name of names) {
      const file = join(directory.path, 'saved', name)
      expect((await stat(file)).mode & 0o777).toBe(0o600)
      const text = await readFile(file, 'utf8')
      const { conversations } = importFile({ source: name, content: text, sha256 })
      expect(conversations).toHaveLength(1)
      expect(text).toMatch(/I am [ab]/)
    }
  })
})

async function temporaryDirectory() {
  const path = await mkdtemp(join(tmpdir(), 'colloquy-manager-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}
