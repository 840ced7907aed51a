/**
 * Stands between clients and a Postgres, follows the messages of the protocol (not the chunks, which end anywhere), and spoils an append
 * where a test wants it. Without TLS, which would hide the messages.
 */
import { once } from 'node:events'
import { type AddressInfo, connect as connectTo, createServer, type Socket } from 'node:net'

/**
 * `after`: the append arrives, the client is cut off. `before`: neither arrives. `late`: it arrives 300 ms after the client was cut off.
 * `mid-message`: half a message arrives. `half-open`: it arrives, and the answer never comes, on a connection that stays open.
 */
export type AppendCut = 'after' | 'before' | 'late' | 'mid-message' | 'half-open'

export interface FramingProxy {
  readonly url: string
  /** Appends that went by. */
  readonly appends: () => number
  readonly cuts: () => number
  /** Resolves when the server has dealt with all that came late. */
  readonly settled: () => Promise<void>
  readonly close: () => Promise<void>
}

export interface FramingOptions {
  /** Asked at each append. */
  readonly cut?: () => AppendCut | undefined
  /** Asked at each COMMIT of a client: true sends the server a ROLLBACK in its place. */
  readonly rollBack?: () => boolean
}

const lateMs = 300

export async function startFramingProxy(serverUrl: string, options: FramingOptions): Promise<FramingProxy> {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  const late: Promise<unknown>[] = []
  let appends = 0
  let cuts = 0

  function serve(client: Socket): void {
    const server = connectTo(Number(target.port), target.hostname)
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    let isMute = false
    let isCut = false
    let append: { readonly cut: AppendCut; readonly held: Buffer[] } | undefined

    const frontend = framesOf(true, (frame) => {
      if (isCut) return
      if (namesAppend(frame)) {
        if (isBind(frame)) appends += 1
        if (isBind(frame) && append === undefined) {
          const cut = options.cut?.()
          if (cut !== undefined) {
            cuts += 1
            append = { cut, held: [] }
          }
        }
      }
      if (append === undefined) {
        server.write(options.rollBack !== undefined && isCommit(frame) && options.rollBack() ? rollBackQuery() : frame)
        return
      }
      append.held.push(frame)
      // A Sync ends the append: without it the server does not commit.
      if (frame[0] === letter('S')) spoil(append.cut, Buffer.concat(append.held))
    })

    function spoil(cut: AppendCut, message: Buffer): void {
      append = undefined
      if (cut === 'half-open') {
        isMute = true
        server.write(message)
        return
      }
      isCut = true
      client.destroy()
      if (cut === 'after') server.end(message)
      else if (cut === 'mid-message') server.end(message.subarray(0, Math.floor(message.length / 2)))
      else if (cut === 'late') {
        // The server closes when it has dealt with what came before the end.
        late.push(once(server, 'close').catch(() => undefined))
        setTimeout(() => server.end(message), lateMs)
      } else server.destroy()
    }

    client.on('data', frontend)
    client.on('close', () => {
      // What was let through late or last still has to arrive.
      if (!isCut) server.end()
    })
    server.on('data', (chunk: Buffer) => {
      if (!isMute && !isCut) client.write(chunk)
    })
    server.on('close', () => client.destroy())
  }

  const proxy = createServer(serve)
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const url = new URL(serverUrl)
  url.port = String((proxy.address() as AddressInfo).port)
  return {
    url: url.href,
    appends: () => appends,
    cuts: () => cuts,
    async settled() {
      await Promise.all(late)
    },
    async close() {
      const closed = new Promise((resolve) => proxy.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Takes chunks and gives whole messages. The first one of a client has no type byte. */
function framesOf(isFrontend: boolean, take: (frame: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0)
  let isFirst = isFrontend
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    for (;;) {
      const before = isFirst ? 0 : 1
      if (rest.length < before + 4) return
      const length = before + rest.readInt32BE(before)
      if (rest.length < length) return
      const frame = rest.subarray(0, length)
      rest = rest.subarray(length)
      isFirst = false
      take(frame)
    }
  }
}

const letter = (text: string): number => text.charCodeAt(0)
const isBind = (frame: Buffer): boolean => frame[0] === letter('B')

/** A Bind of a statement that is prepared under a name of ours. */
const namesAppend = (frame: Buffer): boolean => isBind(frame) && frame.subarray(5, 120).includes('colloquy_append')

/** COMMIT as a simple query or as the text of a Parse. */
const isCommit = (frame: Buffer): boolean =>
  (frame[0] === letter('Q') || frame[0] === letter('P')) && /^\0?commit\0/i.test(frame.subarray(5, 24).toString('latin1'))

function rollBackQuery(): Buffer {
  const text = Buffer.from('rollback\0')
  const frame = Buffer.alloc(5 + text.length)
  frame[0] = letter('Q')
  frame.writeInt32BE(4 + text.length, 1)
  text.copy(frame, 5)
  return frame
}
