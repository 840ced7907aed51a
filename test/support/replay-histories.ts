/**
 * Replays generated logs in a world that lies about time, chance and the network, and prints one hash of all the states. Run as a
 * process of its own: `node --conditions=@colloquy/source replay-histories.ts <seed> <count>`.
 */
import { conversationReducer, replay, resolverOf, stateHash, toHex, toUtf8 } from '@colloquy/core'
import fc from 'fast-check'
import { anyHistory } from './core-arbitraries.ts'
import { envelopesOf, pagesOf, readFrom, sha256, testKey } from './core-log.ts'

const [seed, count] = process.argv.slice(2).map(Number)
const histories = fc.sample(anyHistory, { seed: seed ?? 0, numRuns: count ?? 1 }).map((actions) => envelopesOf(actions))

const refuse = (name: string) => () => {
  throw new Error(`a reducer used ${name}`)
}
Date.now = refuse('Date.now')
Math.random = refuse('Math.random')
globalThis.fetch = refuse('fetch')

let all = sha256(toUtf8('all'))
for (const envelopes of histories) {
  const resolve = resolverOf(readFrom(envelopes), testKey, conversationReducer)
  const { state } = await replay(conversationReducer, pagesOf(envelopes), { resolve })
  all = sha256(all, stateHash(state, sha256))
}
process.stdout.write(`${toHex(all)} ${new Date(0).getHours()} ${(1234.5).toLocaleString()}\n`)
