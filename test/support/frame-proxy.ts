/**
 * A proxy that reads the client's side of the Postgres protocol message by message, and attacks where a test wants it: what a client
 * sends up to a Sync is one batch, however it was cut into packets.
 */
import { type AddressInfo, connect as connectTo, createServer, type Socket } from 'node:net'

/**
 * `before`: the batch never arrives. `middle`: half of it does. `after`: it arrives, and the line is cut. `late`: the line is cut, and
 * the batch arrives 300 ms later. `silent`: it arrives, and nothing comes back. `aborted`: the transaction fails before its COMMIT.
 */
export type Attack = 'before' | 'middle' | 'after' | 'late' | 'silent' | 'aborted'

export interface Batch {
  /** Names of the prepared statements that it runs. */
  readonly statements: readonly string[]
  /** Texts of simple queries. */
  readonly texts: readonly string[]
}

export interface FrameProxy {
  readonly url: string
  readonly close: () => Promise<void>
}

const lateMs = 300

export async function startFrameProxy(serverUrl: string, attack: (batch: Batch) => Attack | undefined): Promise<FrameProxy> {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const server = connectTo(Number(target.port), target.hostname)
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    join(client, server, attack)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const url = new URL(serverUrl)
  url.port = String((proxy.address() as AddressInfo).port)
  return {
    url: url.href,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => proxy.close(resolve))
    },
  }
}

function join(client: Socket, server: Socket, attack: (batch: Batch) => Attack | undefined): void {
  let isDeaf = false
  let ignored = 0
  let outlivesClient = false
  client.on('close', () => {
    if (!outlivesClient) server.destroy()
  })
  server.on('close', () => {
    // A silent line stays open: the client must notice by itself.
    if (!isDeaf) client.destroy()
  })

  const answers = messagesOf(0, (type, message) => {
    if (ignored > 0) {
      if (type === 'Z') ignored -= 1
      return
    }
    if (!isDeaf && !client.destroyed) client.write(message)
  })
  server.on('data', answers)

  function pass(bytes: Buffer, batch: Batch): void {
    const kind = attack(batch)
    switch (kind) {
      case undefined:
        server.write(bytes)
        return
      case 'before':
        client.destroy()
        return
      case 'middle':
        outlivesClient = true
        server.end(bytes.subarray(0, bytes.length >> 1))
        client.destroy()
        return
      case 'after':
        outlivesClient = true
        server.end(bytes)
        client.destroy()
        return
      case 'late':
        outlivesClient = true
        setTimeout(() => server.end(bytes), lateMs)
        client.destroy()
        return
      case 'silent':
        isDeaf = true
        server.write(bytes)
        return
      case 'aborted':
        ignored += 1
        server.write(simpleQuery('select 1 / 0'))
        server.write(bytes)
        return
      default:
        kind satisfies never
    }
  }

  let parts: Buffer[] = []
  let statements: string[] = []
  let texts: string[] = []
  // The first message of a client has no type.
  client.on(
    'data',
    messagesOf(1, (type, message) => {
      parts.push(message)
      if (type === 'B') statements.push(statementOf(message))
      if (type === 'Q') texts.push(message.toString('utf8', 5, message.length - 1))
      const isOpen = ['P', 'B', 'D', 'E', 'C', 'H'].includes(type)
      if (isOpen) return
      const batch = { statements, texts }
      const bytes = Buffer.concat(parts)
      parts = []
      statements = []
      texts = []
      pass(bytes, batch)
    }),
  )
}

/** Cuts a stream into messages: a type byte, a length that counts itself, the rest. The first `untyped` have no type byte. */
function messagesOf(untyped: number, use: (type: string, message: Buffer) => void): (chunk: Buffer) => void {
  let pending: Buffer = Buffer.alloc(0)
  let left = untyped
  return (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    for (;;) {
      const before = left > 0 ? 0 : 1
      if (pending.length < before + 4) return
      const size = before + pending.readInt32BE(before)
      if (pending.length < size) return
      const message = pending.subarray(0, size)
      pending = pending.subarray(size)
      use(before === 0 ? '' : String.fromCharCode(message[0] ?? 0), message)
      if (left > 0) left -= 1
    }
  }
}

/** Of a Bind message: the portal's name, then the statement's. */
function statementOf(bind: Buffer): string {
  const start = bind.indexOf(0, 5) + 1
  return bind.toString('utf8', start, bind.indexOf(0, start))
}

function simpleQuery(text: string): Buffer {
  const body = Buffer.from(`${text}\0`)
  const head = Buffer.alloc(5)
  head.write('Q')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
