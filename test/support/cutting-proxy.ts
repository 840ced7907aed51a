import { type AddressInfo, connect as connectTo, createServer, type Socket } from 'node:net'

/** Stands between a client and a server and cuts the line where a test wants it. */
export interface CuttingProxy {
  readonly url: string
  /**
   * `before`: the next thing the client says never arrives. `after`: it arrives, but the answer is lost. `late`: the client is cut off at
   * once, and what it said arrives when it has had time to say it again.
   */
  readonly cutOnce: (when: 'before' | 'after' | 'late') => void
  /** From now on nothing that a client says arrives, until `false`. */
  readonly cutAll: (isCut: boolean) => void
  /** From now on nothing arrives in either direction, and nobody is told: as when a cable is pulled. New connections are as before. */
  readonly silence: () => void
  /** Resolves when the server has answered what came late. */
  readonly settled: () => Promise<void>
  readonly close: () => Promise<void>
}

export async function startCuttingProxy(serverUrl: string): Promise<CuttingProxy> {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  let cut: 'before' | 'after' | 'late' | undefined
  let isAllCut = false
  let late = Promise.resolve()
  const silenced = new WeakSet<Socket>()
  const proxy = createServer((client) => {
    const server = connectTo(Number(target.port), target.hostname)
    let isLate = false
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        if (!isLate) server.destroy()
      })
    }
    const pass = (when: 'before' | 'after', to: Socket) => (chunk: Buffer) => {
      if (silenced.has(client)) return
      if (cut === when || (isAllCut && when === 'before')) {
        cut = undefined
        client.destroy()
        return
      }
      to.write(chunk)
    }
    const passBefore = pass('before', server)
    client.on('data', (chunk) => {
      if (cut !== 'late') return passBefore(chunk)
      cut = undefined
      isLate = true
      client.destroy()
      late = new Promise((resolve) => {
        setTimeout(() => server.write(chunk), 150)
        server.once('data', () => {
          resolve()
          server.destroy()
        })
      })
    })
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
    cutAll: (isCut) => {
      isAllCut = isCut
    },
    silence: () => {
      for (const socket of sockets) silenced.add(socket)
    },
    settled: () => late,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => proxy.close(resolve))
    },
  }
}
