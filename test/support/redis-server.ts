/** A real Redis for tests, from the `redis-server` of the machine. */
import { type ChildProcess, spawn } from 'node:child_process'
import { connect } from 'node:net'
import { freePort } from './free-port.ts'

export interface RedisServer {
  readonly url: string
  /** Ends it by force. */
  readonly kill: () => Promise<void>
  /** On the same port. */
  readonly start: () => Promise<void>
  /** Sends one command, as a person would type it. @returns the first line of the answer */
  readonly send: (command: string) => Promise<string>
}

/** Undefined, and loudly so, where there is none; in CI that is an error. */
export async function startRedis(): Promise<RedisServer | undefined> {
  const port = await freePort()
  let child: ChildProcess | undefined
  const server: RedisServer = {
    url: `redis://127.0.0.1:${port}`,
    async start() {
      const started = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
        stdio: 'ignore',
      })
      child = started
      await new Promise<void>((resolve, reject) => {
        started.once('error', reject)
        started.once('spawn', resolve)
      })
      while (!(await accepts(port))) {
        if (started.exitCode !== null) throw new Error(`redis-server ended with ${started.exitCode}`)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
    send: (command) =>
      new Promise((resolve, reject) => {
        const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`))
        socket.once('data', (answer) => {
          socket.destroy()
          resolve(answer.toString().split('\r\n')[0] ?? '')
        })
        socket.once('error', reject)
      }),
    async kill() {
      const ended = new Promise((resolve) => child?.once('exit', resolve))
      if (child?.kill('SIGKILL') === true) await ended
    },
  }
  try {
    await server.start()
    return server
  } catch (error) {
    if (process.env['CI'] === 'true')
      throw new Error('CI must test on a real Redis, and none could be started.', { cause: error })
    console.warn('SKIPPED: everything that needs a real Redis. Install redis-server.', error)
    return undefined
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
