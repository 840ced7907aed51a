import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createGuardedFetch, isPublic } from './egress.ts'

const signal = new AbortController().signal
let server: Server
let port: number
let connections = 0

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === '/to-metadata') response.writeHead(302, { location: 'http://169.254.169.254/latest' }).end()
    else if (request.url === '/to-file') response.writeHead(302, { location: 'file:///etc/passwd' }).end()
    else if (request.url === '/round') response.writeHead(302, { location: '/round' }).end()
    else if (request.url === '/other') response.writeHead(307, { location: `http://other.test:${port}/echo` }).end()
    else if (request.url === '/see') response.writeHead(303, { location: '/echo' }).end()
    else if (request.url === '/large') response.end('x'.repeat(5_000))
    else
      response.end(
        JSON.stringify({ method: request.method, url: request.url, authorization: request.headers.authorization ?? null }),
      )
  })
  server.on('connection', () => {
    connections += 1
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => server.close())

const at = (...addresses: string[]) => ({
  resolve: async () => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
})
describe('no connection is made', () => {
  const refused: readonly [url: string, addresses?: readonly string[]][] = [
    ['http://127.0.0.1'],
    ['http://0x7f.1'],
    ['http://0x7f000001'],
    ['http://2130706433'],
    ['http://017700000001'],
    ['http://127.1'],
    ['http://localhost', ['127.0.0.1']],
    ['http://localhost.', ['127.0.0.1']],
    ['http://LOCALHOST', ['::1']],
    ['http://[::1]'],
    ['http://[::]'],
    ['http://[::ffff:127.0.0.1]'],
    ['http://[64:ff9b::7f00:1]'],
    ['http://[2002:7f00:1::]'],
    ['http://[2001::1]'],
    ['http://[2001:db8::1]'],
    ['http://[100::1]'],
    ['http://[fe80::1]'],
    ['http://[fc00::1]'],
    ['http://[fd12:3456::1]'],
    ['http://[ff02::1]'],
    ['http://169.254.169.254/latest/meta-data'],
    ['http://metadata.google.internal', ['169.254.169.254']],
    ['http://10.1.2.3'],
    ['http://172.16.0.1'],
    ['http://172.31.255.255'],
    ['http://192.168.1.1'],
    ['http://100.64.0.1'],
    ['http://0.0.0.0'],
    ['http://198.18.0.1'],
    ['http://192.0.0.8'],
    ['http://192.0.2.1'],
    ['http://198.51.100.7'],
    ['http://203.0.113.9'],
    ['http://224.0.0.1'],
    ['http://240.0.0.1'],
    ['http://255.255.255.255'],
    ['http://10.0.0.1.nip.io', ['10.0.0.1']],
    ['http://alias.test', ['93.184.216.34', '127.0.0.1']],
    ['http://alias.test', ['2606:4700::1111', '::1']],
    ['http://alias.test', []],
    ['https://user:secret@alias.test', ['93.184.216.34']],
    ['file:///etc/passwd'],
    ['ftp://alias.test', ['93.184.216.34']],
    ['gopher://127.0.0.1:6379/_FLUSHALL'],
  ]

  test.each(refused)('to %s', async (url, addresses = []) => {
    const before = connections
    const guarded = createGuardedFetch({ hosts: ['*'] }, at(...addresses))
    await expect(guarded(url, undefined, signal)).rejects.toMatchObject({ code: 'egress_refused' })
    expect(connections).toBe(before)
  })

  test.each(['http://not-listed.test', 'http://evil-alias.test', 'http://alias.test.evil.test', 'http://nip.io'])(
    'to %s, which is not on the list',
    async (url) => {
      const guarded = createGuardedFetch({ hosts: ['alias.test', '*.nip.io'] }, at('93.184.216.34'))
      await expect(guarded(url, undefined, signal)).rejects.toMatchObject({ code: 'egress_refused' })
    },
  )

  test('without rules, to anywhere', async () => {
    const guarded = createGuardedFetch(undefined, at('93.184.216.34'))
    await expect(guarded('https://example.org', undefined, signal)).rejects.toMatchObject({ code: 'egress_refused' })
  })
})

describe('where it may go', () => {
  const rules = { hosts: ['api.test', '*.wide.test', 'other.test'], allowPrivate: true, limitBytes: 1_000 }
  const guarded = createGuardedFetch(rules, at('127.0.0.1'))
  const get = (path: string, init = {}) => guarded(`http://api.test:${port}${path}`, init, signal)

  test('the answer comes from the address that was looked at, whatever DNS would say next', async () => {
    let asked = 0
    const rebinding = createGuardedFetch(rules, {
      resolve: async () => [{ address: ++asked === 1 ? '127.0.0.1' : '127.0.0.2', family: 4 }],
    })
    const answer = await rebinding(`http://api.test:${port}/echo`, { method: 'POST', body: 'x' }, signal)
    expect(await answer.json()).toMatchObject({ method: 'POST', url: '/echo' })
    expect(asked).toBe(1)
    expect((await guarded(`http://deep.wide.test:${port}/`, {}, signal)).status).toBe(200)
  })

  test('a redirect is looked at like any other address', async () => {
    const strict = createGuardedFetch({ hosts: ['api.test'], allowPrivate: true }, at('127.0.0.1'))
    for (const path of ['/to-metadata', '/to-file', '/other']) {
      await expect(strict(`http://api.test:${port}${path}`, {}, signal)).rejects.toMatchObject({ code: 'egress_refused' })
    }
    await expect(get('/round')).rejects.toMatchObject({
      code: 'egress_refused',
      details: { problem: expect.stringContaining('5 times') },
    })
  })

  test('another origin gets no credentials, and a POST that is sent elsewhere becomes a GET', async () => {
    const headers = { Authorization: 'Bearer secret' }
    expect(await (await get('/echo', { headers })).json()).toMatchObject({ authorization: 'Bearer secret' })
    expect(await (await get('/other', { headers, method: 'POST' })).json()).toMatchObject({ authorization: null, method: 'POST' })
    expect(await (await get('/see', { headers, method: 'POST' })).json()).toMatchObject({ method: 'GET' })
  })

  test('an answer of more bytes than allowed is left', async () => {
    await expect(get('/large')).rejects.toMatchObject({ code: 'egress_refused' })
  })

  test('an abort ends it', async () => {
    await expect(guarded(`http://api.test:${port}/`, {}, AbortSignal.abort())).rejects.toThrow(/abort/i)
  })
})

test.each(['1.1.1.1', '93.184.216.34', '172.32.0.1', '2606:4700:4700::1111', '2a00:1450::1'])('%s is public', (address) => {
  expect(isPublic(address)).toBe(true)
})
test.each(['', 'example.org', '127.0.0.1', '::ffff:1.1.1.1'])('%s is not', (address) => {
  expect(isPublic(address)).toBe(false)
})
