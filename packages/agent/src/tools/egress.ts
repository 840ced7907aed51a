/**
 * HTTP for remote tools. What a model writes decides where they go, so: only hosts that the tool lists; every address that DNS answers
 * is looked at, and the connection is made to the very addresses that were; no redirect is followed without the same look; sizes are
 * bounded. Refuses what is not public after RFC 6890 and the IANA special-purpose registries.
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { BlockList, isIP } from 'node:net'
import { ColloquyError } from '@colloquy/core'
import type { EgressRules, GuardedRequest } from './tool.ts'

const redirectLimit = 5
const defaultLimitBytes = 10 * 1024 * 1024

export interface EgressPorts {
  /** All addresses of a host. Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly LookupAddress[]>
}

export type GuardedFetch = (url: string | URL, init: GuardedRequest | undefined, signal: AbortSignal) => Promise<Response>

export function createGuardedFetch(rules: EgressRules | undefined, { resolve = systemResolve }: EgressPorts = {}): GuardedFetch {
  const { hosts = [], allowPrivate = false, limitBytes = defaultLimitBytes } = rules ?? {}

  /** @throws `egress_refused` */
  const look = async (url: URL): Promise<readonly LookupAddress[]> => {
    const host = hostOf(url)
    const refuse = (problem: string) => new ColloquyError('egress_refused', { host, problem })
    if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refuse(`${url.protocol} is not HTTP`)
    if (url.username !== '' || url.password !== '') throw refuse('the address carries a user name or password')
    if (!hosts.some((rule) => isUnder(host, rule))) throw refuse('it is not on the allow list of the tool')
    const family = isIP(host)
    const addresses = family === 0 ? await resolve(host) : [{ address: host, family }]
    if (addresses.length === 0) throw refuse('it has no address')
    const hidden = allowPrivate ? undefined : addresses.find(({ address }) => !isPublic(address))
    if (hidden !== undefined) throw refuse(`${hidden.address} is not a public address`)
    return addresses
  }

  return async (target, init = {}, signal) => {
    let url = new URL(target)
    let sent = init
    for (let hop = 0; ; hop++) {
      const addresses = await look(url)
      const answer = await send(url, sent, addresses, signal)
      const location = answer.headers.location
      const status = answer.statusCode ?? 0
      if (status < 300 || status > 399 || status === 304 || location === undefined) return responseOf(answer, url, limitBytes)
      answer.destroy()
      if (hop === redirectLimit) {
        throw new ColloquyError('egress_refused', { host: hostOf(url), problem: `it redirects more than ${redirectLimit} times` })
      }
      const next = new URL(location, url)
      sent = redirected(sent, status, next.origin === url.origin)
      url = next
    }
  }
}

/** As browsers do it (Fetch, "HTTP-redirect fetch"): a POST becomes a GET, and another origin gets no credentials. */
function redirected(init: GuardedRequest, status: number, isSameOrigin: boolean): GuardedRequest {
  const { method = 'GET', headers = {}, body } = init
  const becomesGet = status === 303 || ((status === 301 || status === 302) && method === 'POST')
  const secret = new Set(['authorization', 'cookie', 'proxy-authorization'])
  const kept = Object.entries(headers).filter(([name]) => isSameOrigin || !secret.has(name.toLowerCase()))
  const told = { headers: Object.fromEntries(kept) }
  return becomesGet ? { ...told, method: 'GET' } : { ...told, method, ...(body !== undefined && { body }) }
}

function send(
  url: URL,
  { method = 'GET', headers = {}, body }: GuardedRequest,
  addresses: readonly LookupAddress[],
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(
      url,
      {
        method,
        headers,
        signal,
        agent: false,
        // The connection is made to what was looked at: DNS is not asked a second time.
        lookup: (_host, options, callback) => {
          const [first] = addresses
          if (options.all === true) callback(null, [...addresses])
          else callback(null, first?.address ?? '', first?.family)
        },
      },
      resolve,
    )
    request.on('error', reject)
    request.end(body)
  })
}

async function responseOf(answer: IncomingMessage, url: URL, limitBytes: number): Promise<Response> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > limitBytes) {
      answer.destroy()
      throw new ColloquyError('egress_refused', { host: hostOf(url), problem: `its answer has more than ${limitBytes} bytes` })
    }
    chunks.push(chunk)
  }
  const status = answer.statusCode ?? 502
  const headers = new Headers()
  for (const [name, value] of Object.entries(answer.headersDistinct)) for (const one of value ?? []) headers.append(name, one)
  const hasBody = status !== 204 && status !== 205 && status !== 304
  return new Response(hasBody ? Buffer.concat(chunks) : null, { status: Math.max(200, status), headers })
}

/** In lower case, without the brackets of IPv6 and the dot at the end. `URL` has made numbers of all kinds (`0x7f.1`) into addresses. */
const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')

function isUnder(host: string, rule: string): boolean {
  if (rule === '*') return true
  const wanted = rule.toLowerCase()
  return wanted.startsWith('*.') ? host.endsWith(wanted.slice(1)) && host.length > wanted.length - 1 : host === wanted
}

const systemResolve = (host: string): Promise<LookupAddress[]> =>
  new Promise((resolve, reject) => {
    dnsLookup(host, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
  })

const special = new BlockList()
/** https://www.iana.org/assignments/iana-ipv4-special-registry, multicast and what is reserved. */
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  special.addSubnet(network, bits, 'ipv4')
}

const global6 = new BlockList()
global6.addSubnet('2000::', 3, 'ipv6')
const special6 = new BlockList()
/** https://www.iana.org/assignments/iana-ipv6-special-registry, inside of 2000::/3. 6to4 and Teredo carry IPv4 addresses in them. */
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  special6.addSubnet(network, bits, 'ipv6')
}

/** Whether an address is one of the public Internet. Of IPv6 only global unicast is: mapped, translated and local addresses are not. */
export function isPublic(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !special.check(address, 'ipv4')
  return family === 6 && global6.check(address, 'ipv6') && !special6.check(address, 'ipv6')
}
