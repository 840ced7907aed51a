import { type AddressInfo, connect as connectTo, createServer, type Socket } from 'node:net'

/** Stands between a client and a server and cuts the line where a test wants it. */
export interface CuttingProxy {
  readonly url: string
  /** `before`: the next thing the client says never arrives. `after`: it arrives, but the answer is lost. */
  readonly cutOnce: (when: 'before' | 'after') => void
  readonly close: () => Promise<void>
}

export async function startCuttingProxy(serverUrl: string): Promise<CuttingProxy> {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  let cut: 'before' | 'after' | undefined
  const proxy = createServer((client) => {
    const server = connectTo(Number(target.port), target.hostname)
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        server.destroy()
      })
    }
    const pass = (when: 'before' | 'after', to: Socket) => (chunk: Buffer) => {
      if (cut === when) {
        cut = undefined
        client.destroy()
        return
      }
      to.write(chunk)
    }
    client.on('data', pass('before', server))
    server.on('data', pass('after', client))
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const url = new URL(serverUrl)
  url.port = String((proxy.address() as AddressInfo).port)
  return {
    url: url.href,
    cutOnce: (when) => {
      cut = when
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => proxy.close(resolve))
    },
  }
}
