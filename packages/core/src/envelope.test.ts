import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { anyAction, anyHeader, anyObject } from '../../../test/support/core-arbitraries.ts'
import { envelopesOf, saltAt, sha256, testKey, timeAt } from '../../../test/support/core-log.ts'
import { defineAction } from './action.ts'
import { toHex } from './bytes.ts'
import { messageAdded } from './conversation/messages.ts'
import {
  canonicalInput,
  type Envelope,
  type EnvelopeHeader,
  encodeBody,
  envelopeProblem,
  forkHash,
  genesisHash,
  isSameInput,
  openEnvelope,
  type StoredEnvelope,
  stamp,
} from './envelope.ts'
import { canonicalJson, stateHash } from './state-hash.ts'

const say = (text: string) =>
  messageAdded({ message: { v: 1, id: 'm1', role: 'user', parts: [{ type: 'text', text }] }, tokenCount: 1 })
const limitBytes = 1_048_576

const header: EnvelopeHeader = {
  ...testKey,
  position: 1,
  type: 'messageAdded',
  schemaVersion: 1,
  occurredAt: timeAt(1),
  commandId: 'command',
  commandIndex: 0,
  actor: 'ada',
  cause: 'import:test',
  keyId: 'key 1',
}
const previousHash = genesisHash(testKey, sha256)
const stampWith = (changed: Partial<EnvelopeHeader>, body = encodeBody(say('hi'), limitBytes)) =>
  stamp({ ...header, ...changed }, body, { previousHash, salt: saltAt(1), input: 'input' }, sha256)
const problemOf = (envelope: Envelope) => envelopeProblem(envelope, { position: envelope.position, previousHash }, sha256)
/** JSON with an object around the rest of the levels. */
const nested = (levels: number) => `{"payload":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`
const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte, index) => (index === 0 ? byte ^ 1 : byte))

describe('stamp', () => {
  test('gives these bytes, in every version to come', () => {
    const envelope = stampWith({})
    expect({
      genesis: toHex(previousHash),
      fork: toHex(forkHash(previousHash, 7, { tenant: 'default', conversationId: 'c1~f' }, sha256)),
      commit: toHex(envelope.commit),
      hash: toHex(envelope.hash),
      inputHash: toHex(envelope.inputHash ?? new Uint8Array()),
      body: new TextDecoder().decode(envelope.body),
    }).toMatchInlineSnapshot(`
      {
        "body": "{"payload":{"message":{"v":1,"id":"m1","role":"user","parts":[{"type":"text","text":"hi"}]},"tokenCount":1}}",
        "commit": "2d20b5d9dd87ca930e82b00664702fea62006240edad895d41d4950c100fbea9",
        "fork": "4a05a937487d9fca14845055fb7a408ab75f8f78b7070a908bb56580e867679c",
        "genesis": "4fc00284e86a40fd9725bd409dab4abdadbd595da4a9501e715e56d1f2d7944e",
        "hash": "feed2ab6b541b7d6673a782567e9e65970b2244d8292b11315f5bdd4d6ed671c",
        "inputHash": "7c7050798ff1fbb49b40e97345eee947488694d13c11b298dc19d1296a55041b",
      }
    `)
  })

  test('makes an envelope in which nothing is wrong, for any header and body', () => {
    fc.assert(
      fc.property(anyHeader, anyAction, (someHeader, action) => {
        const envelope = stamp(someHeader, encodeBody(action, limitBytes), { previousHash, salt: saltAt(2) }, sha256)
        expect(problemOf(envelope)).toBeUndefined()
        expect(envelope.inputHash).toBeNull()
      }),
    )
  })

  test('salts: the same body twice has two commitments', () => {
    const body = encodeBody(say('yes'), limitBytes)
    const commits = [1, 2].map((n) => stamp(header, body, { previousHash, salt: saltAt(n) }, sha256).commit)
    expect(commits[0]).not.toEqual(commits[1])
  })

  test('writes headers injectively: two have one hash only if they are equal', () => {
    const body = encodeBody(say('hi'), limitBytes)
    const hashOf = (someHeader: EnvelopeHeader) => toHex(stamp(someHeader, body, { previousHash, salt: saltAt(1) }, sha256).hash)
    const canonical = (someHeader: EnvelopeHeader) => canonicalJson(someHeader)
    fc.assert(
      fc.property(anyHeader, anyHeader, fc.array(fc.constantFrom(...Object.keys(header)), { maxLength: 11 }), (a, b, shared) => {
        // Some fields alike, so that differences lie next to each other.
        const other = { ...b, ...Object.fromEntries(shared.map((name) => [name, a[name as keyof EnvelopeHeader]])) }
        expect(hashOf(a) === hashOf(other)).toBe(canonical(a) === canonical(other))
      }),
      {
        numRuns: 500,
        examples: [
          [{ ...header, tenant: 'a', conversationId: 'bc' }, { ...header, tenant: 'ab', conversationId: 'c' }, []],
          [{ ...header, commandId: null }, { ...header, commandId: '' }, []],
          [{ ...header, commandIndex: null }, { ...header, commandIndex: 0 }, []],
          [{ ...header, actor: 'x', cause: null }, { ...header, actor: null, cause: 'x' }, []],
          [{ ...header, position: 2 ** 32 + 1 }, { ...header, position: 1 }, []],
          [{ ...header, occurredAt: -1 }, { ...header, occurredAt: 0xffffffff }, []],
        ],
      },
    )
  })

  test.each<[string, Partial<EnvelopeHeader>]>([
    ['commandId holds half of a surrogate pair', { commandId: '\ud800' }],
    ['tenant holds half of a surrogate pair', { tenant: 'a\udc00' }],
    ['cause holds half of a surrogate pair', { cause: '\udc00\ud800' }],
    ['position is 1.5', { position: 1.5 }],
    ['position is 0', { position: 0 }],
    ['occurredAt is NaN', { occurredAt: Number.NaN }],
    ['occurredAt is 9007199254740992', { occurredAt: 2 ** 53 }],
    ['schemaVersion is 4294967297', { schemaVersion: 2 ** 32 + 1 }],
    ['commandIndex is -1', { commandIndex: -1 }],
  ])("refuses a header of which the hash would be another one's too: %s", (problem, changed) => {
    expect(() => stampWith(changed)).toThrow(
      expect.objectContaining({ code: 'id_invalid', details: { kind: 'envelope header', problem } }),
    )
    expect(problemOf({ ...stampWith({}), ...changed })).toBe(problem)
  })

  test('refuses a salt that is not 16 bytes long', () => {
    const body = encodeBody(say('hi'), limitBytes)
    expect(() => stamp(header, body, { previousHash, salt: new Uint8Array(15) }, sha256)).toThrow(/15 bytes, not 16/)
  })
})

describe('envelopeProblem finds', () => {
  const chain = envelopesOf([say('one'), say('two'), say('three')])
  const [first, second] = chain as [StoredEnvelope, StoredEnvelope, StoredEnvelope]
  const expected = { position: 2, previousHash: first.hash }
  const problem = (changed: Partial<Envelope>) => envelopeProblem({ ...second, ...changed }, expected, sha256)

  test('nothing in a chain that is whole', () => {
    let hash = previousHash
    for (const envelope of chain) {
      expect(envelopeProblem(envelope, { position: envelope.position, previousHash: hash }, sha256)).toBeUndefined()
      hash = envelope.hash
    }
  })

  test.each<[keyof EnvelopeHeader, EnvelopeHeader[keyof EnvelopeHeader]]>([
    ['tenant', 'other'],
    ['conversationId', 'c2'],
    ['type', 'messageadded'],
    ['schemaVersion', 2],
    ['occurredAt', timeAt(2) + 1],
    ['commandId', 'command 3'],
    ['commandId', null],
    ['commandId', ''],
    ['commandIndex', 1],
    ['commandIndex', null],
    ['actor', 'somebody'],
    ['actor', null],
    ['cause', 'effect:x:1'],
    ['cause', ''],
    ['keyId', 'k'],
    ['keyId', ''],
  ])('%s changed to %j', (name, value) => {
    expect(problem({ [name]: value })).toBe('the hash does not follow from the header, the commitment and the envelope before')
  })

  test('a changed body, salt, commitment or hash', () => {
    const notTheBody = 'the body is not the one that was committed to'
    expect(problem({ body: encodeBody(say('lies'), limitBytes) })).toBe(notTheBody)
    expect(problem({ body: new Uint8Array() })).toBe(notTheBody)
    expect(problem({ salt: saltAt(9) })).toBe(notTheBody)
    expect(problem({ commit: flipped(second.commit) })).toBe(notTheBody)
    expect(problem({ hash: flipped(second.hash) })).toMatch(/the hash does not follow/)
    expect(problem({ hash: second.hash.subarray(0, 31) })).toMatch(/the hash does not follow/)
  })

  test('a byte that moved from the salt to the body', () => {
    const salt = second.salt as Uint8Array
    const body = Uint8Array.of(salt[15] as number, ...second.body)
    expect(problem({ salt: salt.subarray(0, 15), body })).toBe('the salt has 15 bytes, not 16')
  })

  test('an envelope at another place or after another one', () => {
    expect(envelopeProblem(second, { ...expected, position: 3 }, sha256)).toBe('the envelope has position 2, not 3')
    expect(envelopeProblem(second, { position: 2, previousHash: second.hash }, sha256)).toMatch(/the hash does not follow/)
    expect(envelopeProblem({ ...second, position: 3 }, { ...expected, position: 3 }, sha256)).toMatch(/the hash does not follow/)
  })

  test('nothing in an envelope of which the body was erased, but a changed commitment', () => {
    expect(problem({ body: new Uint8Array(), salt: null })).toBeUndefined()
    expect(problem({ body: new Uint8Array(), salt: null, commit: flipped(second.commit) })).toMatch(/the hash does not follow/)
  })
})

describe('the first envelope', () => {
  test('follows another hash for every tenant and id, and as a fork', () => {
    const keys = [
      { tenant: 'a', conversationId: 'bc' },
      { tenant: 'ab', conversationId: 'c' },
      { tenant: 'abc', conversationId: '' },
    ]
    const genesis = keys.map((key) => toHex(genesisHash(key, sha256)))
    const forks = keys.flatMap((key) => [1, 2].map((position) => toHex(forkHash(previousHash, position, key, sha256))))
    expect(new Set([...genesis, ...forks]).size).toBe(9)
  })
})

describe('a body', () => {
  test('comes back as what was put in: payload, meta and derivedFrom of any action', () => {
    fc.assert(
      fc.property(anyAction, (action) => {
        const [stored] = envelopesOf([action])
        if (stored === undefined) throw new Error('no envelope')
        const opened = openEnvelope(stored)
        expect(opened.action).toEqual({ ...action, position: 1, occurredAt: timeAt(1), actor: 'tester' })
        const { payload, meta, derivedFrom } = opened.action
        expect(
          encodeBody({ type: action.type, payload, ...(meta && { meta }), ...(derivedFrom && { derivedFrom }) }, limitBytes),
        ).toEqual(stored.body)
        expect(Object.isFrozen(opened)).toBe(true)
        expect(Object.isFrozen(payload)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test.each(['\0', '\ud800', '\udfff', 'a\udc00\ud800b', '\u2028\u2029', '\ufeff', 'é', 'é', '😀'])(
    'keeps the text %j as it is',
    (text) => {
      const [stored] = envelopesOf([say(text)])
      if (stored === undefined) throw new Error('no envelope')
      const part = (openEnvelope(stored).action as ReturnType<typeof say>).payload.message.parts[0]
      expect(part).toEqual({ type: 'text', text })
    },
  )

  test('may be as large as the limit in bytes, not characters, and no larger', () => {
    const body = encodeBody(say('ü'), limitBytes)
    expect(encodeBody(say('ü'), body.length)).toEqual(body)
    expect(() => encodeBody(say('ü'), body.length - 1)).toThrow(
      expect.objectContaining({
        code: 'envelope_too_large',
        details: { type: 'messageAdded', path: '$.payload.message', bytes: body.length, limitBytes: body.length - 1 },
      }),
    )
  })

  test('one that is too large names the innermost value that has most of the bytes', () => {
    expect(() => encodeBody(say('x'.repeat(2000)), 1000)).toThrow(/; \$\.payload\.message\.parts\[0\]\.text has most of them\./)
    const evenly = { type: 'x', payload: { a: 'x'.repeat(1000), b: ['x'.repeat(1000)] } }
    expect(() => encodeBody(evenly, 1000)).toThrow(/; \$\.payload has most of them\./)
  })

  test.each<[string, Uint8Array, string]>([
    ['not UTF-8', Uint8Array.of(0x22, 0xff, 0x22), 'the body is not JSON'],
    ['cut off', new TextEncoder().encode('{"payload":{'), 'the body is not JSON'],
    ['empty', new Uint8Array(), 'the body is not JSON'],
    ['begun with a byte order mark', new TextEncoder().encode('\ufeff{"payload":{}}'), 'the body is not JSON'],
    ['null', new TextEncoder().encode('null'), 'the body has no payload'],
    ['a number', new TextEncoder().encode('7'), 'the body has no payload'],
    ...[1_001, 100_000].map((levels): [string, Uint8Array, string] => [
      `nested ${levels} levels deep`,
      new TextEncoder().encode(nested(levels)),
      `the body is nested ${levels} levels deep, more than 1000`,
    ]),
    ['without a payload', new TextEncoder().encode('{"meta":{}}'), 'the body has no payload'],
  ])('that is %s is reported as damage', (_, body, problem) => {
    const [stored] = envelopesOf([say('hi')])
    if (stored === undefined) throw new Error('no envelope')
    expect(() => openEnvelope({ ...stored, body })).toThrow(
      expect.objectContaining({ code: 'log_corrupt', details: { conversationId: 'c1', position: 1, problem } }),
    )
  })

  test('written past us cannot say what only the stamp and the log may say', () => {
    const [stored] = envelopesOf([say('hi')])
    if (stored === undefined) throw new Error('no envelope')
    const forged = { payload: {}, type: 'x', position: 9, occurredAt: 9, actor: 'root', resolved: [], newerSchemaVersion: 9 }
    const body = new TextEncoder().encode(JSON.stringify(forged))
    expect(openEnvelope({ ...stored, body }).action).toEqual({
      type: 'messageAdded',
      payload: {},
      position: 1,
      occurredAt: timeAt(1),
      actor: 'tester',
    })
  })
})

test('a body as deep as it may be is opened, frozen and hashed', () => {
  const [stored] = envelopesOf([say('hi')])
  if (stored === undefined) throw new Error('no envelope')
  const { payload } = openEnvelope({ ...stored, body: new TextEncoder().encode(nested(1_000)) }).action
  expect(stateHash({ payload }, sha256)).toHaveLength(32)
})

describe('the input of a command', () => {
  const noted = defineAction('noted', z.strictObject({ a: z.any().optional(), b: z.any().optional() }))
  const first = (input: string) => stamp(header, new Uint8Array(), { previousHash, salt: saltAt(1), input }, sha256)

  test('is the same whatever the order of its keys', () => {
    const one = canonicalInput([noted({ a: { x: 1, y: 2 }, b: 1 }, { meta: { m: 1, n: 2 } })])
    const two = canonicalInput([noted({ b: 1, a: { y: 2, x: 1 } }, { meta: { n: 2, m: 1 } })])
    expect(isSameInput(first(one), two, sha256)).toBe(true)
  })

  test('is another when payload, meta, derivedFrom, type, number or order of actions is', () => {
    const a = noted({ a: 1 })
    const inputs = [
      [a],
      [noted({ a: 2 })],
      [noted({ a: '1' })],
      [noted({ a: 1 }, { meta: {} })],
      [noted({ a: 1 }, { meta: { m: 1 } })],
      [noted({ a: 1 }, { derivedFrom: [] })],
      [noted({ a: 1 }, { derivedFrom: [[1, 1]] })],
      [{ ...a, type: 'denoted' }],
      [a, a],
      [a, noted({})],
      [noted({}), a],
      [],
    ].map(canonicalInput)
    for (const [i, input] of inputs.entries()) {
      for (const [j, other] of inputs.entries()) expect(isSameInput(first(input), other, sha256)).toBe(i === j)
    }
  })

  test('is known of any payload only by its content', () => {
    fc.assert(
      fc.property(anyObject, anyObject, (a, b) => {
        const equal = canonicalInput([noted({ a })]) === canonicalInput([noted({ a: b })])
        expect(isSameInput(first(canonicalInput([noted({ a })])), canonicalInput([noted({ a: b })]), sha256)).toBe(equal)
      }),
    )
  })

  test('cannot be told from another once the command is erased, or when none was kept', () => {
    expect(isSameInput({ ...first('x'), salt: null }, 'y', sha256)).toBe(true)
    expect(isSameInput({ ...first('x'), inputHash: null }, 'y', sha256)).toBe(true)
  })
})
