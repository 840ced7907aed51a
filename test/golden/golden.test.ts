import { createHash } from 'node:crypto'
import { conversationReducer, envelopeProblem, genesisHash, openEnvelope } from '@colloquy/core'
import { describe, expect, test } from 'vitest'
import { given, sha256, testKey } from '../support/core-log.ts'
import {
  decodeEnvelope,
  decodeLog,
  type Expectation,
  encodeEnvelope,
  expectationOf,
  expectationsOf,
  goldenFiles,
  goldenLogs,
  logFile,
  read,
  replayLog,
  sumsFile,
  unrecordedSlices,
} from './golden-files.ts'
import { scenarios } from './scenarios.ts'

// What is missing is recorded by: node --conditions=@colloquy/source test/golden/record.ts
describe('the golden files', () => {
  test('have a log of every action in its present schema version, in which it is stored', () => {
    const types = new Set(conversationReducer.slices.flatMap(({ actions }) => actions.map(({ type }) => type)))
    expect(Object.keys(scenarios).sort()).toEqual([...types].sort())
    const logs = new Set(goldenLogs())
    for (const type of types) {
      const file = logFile(type, conversationReducer.definition(type)?.schemaVersion ?? 0)
      expect(logs).toContain(file)
      expect(decodeLog(read(file)).at(-1)?.type).toBe(type)
    }
  })

  test('are as they were recorded: none edited, none removed, none beside the list', () => {
    const listed = read(sumsFile).trimEnd().split('\n').sort()
    const found = goldenFiles().map((file) => `${createHash('sha256').update(read(file)).digest('hex')}  ${file}`)
    expect(found.sort()).toEqual(listed)
  })
})

describe.each(goldenLogs())('%s', (log) => {
  const envelopes = decodeLog(read(log))

  test('is a whole chain, and reads and writes back byte for byte', () => {
    let previousHash = genesisHash(testKey, sha256)
    for (const [index, envelope] of envelopes.entries()) {
      expect(envelopeProblem(envelope, { position: index + 1, previousHash }, sha256)).toBeUndefined()
      expect(decodeEnvelope(encodeEnvelope(envelope))).toEqual(envelope)
      previousHash = envelope.hash
    }
    expect(envelopes.map((envelope) => `${encodeEnvelope(envelope)}\n`).join('')).toBe(read(log))
  })

  test('replays to the state that was recorded, slice by slice, unless the slice has a new version', async () => {
    const { state, unappliedCount } = await replayLog(envelopes)
    expect(unappliedCount).toBe(0)
    const expectations = expectationsOf(log)
    expect(unrecordedSlices(envelopes, expectations)).toEqual([])
    const now = expectationOf(state)
    for (const recorded of expectations) {
      const inBoth = Object.keys(recorded.slices).filter((slice) => Object.hasOwn(now.slices, slice))
      const pick = ({ slices }: Expectation) => Object.fromEntries(inBoth.map((slice) => [slice, slices[slice]]))
      // Another state under the same version: raise the version of the slice, then record.
      expect(pick(now)).toEqual(pick(recorded))
      expect(recorded.stateKey === now.stateKey ? now : recorded).toEqual(recorded)
    }
  })

  test('dispatched anew leads to the same state, and no guard refuses it', async () => {
    let past = given()
    for (const envelope of envelopes) {
      const { action } = openEnvelope(envelope)
      const { type, payload, meta, derivedFrom } = action
      const plain = { type, payload, ...(meta && { meta }), ...(derivedFrom && { derivedFrom }) }
      // A log of an older schema is only replayed.
      if (envelope.schemaVersion !== conversationReducer.definition(type)?.schemaVersion) return
      past.guard(plain)
      past = past.when(plain)
    }
    expect(expectationOf(past.state)).toEqual(expectationOf((await replayLog(envelopes)).state))
  })
})
