/** One line on stderr that says how far long work is: on a terminal only, and only when the work takes long enough to wonder. */
import { styleText } from 'node:util'
import type { Io } from './output.ts'

export interface Progress extends Disposable {
  /** `count` more are done. */
  advance(count: number): void
}

const patienceMs = 500
const redrawMs = 100
const barWidth = 24
const eraseLine = '\r\u001b[2K'

/** Drawn as the work advances, not by a timer: an embedded database keeps the only thread busy. */
export function startProgress(
  io: Pick<Io, 'stderr' | 'env'>,
  label: string,
  total: number,
  { isHidden = false }: { readonly isHidden?: boolean } = {},
): Progress {
  const { stderr, env } = io
  const isShown = !isHidden && stderr.isTTY === true && !env['CI'] && env['TERM'] !== 'dumb'
  let done = 0
  let drawnAt = performance.now() + patienceMs - redrawMs
  let isDrawn = false
  return {
    advance(count) {
      done += count
      if (!isShown || performance.now() < drawnAt + redrawMs) return
      drawnAt = performance.now()
      isDrawn = true
      stderr.write(
        `${eraseLine}${label} ${bar(done, total, stderr)} ${done.toLocaleString('en')} of ${total.toLocaleString('en')}`,
      )
    },
    [Symbol.dispose]() {
      if (isDrawn) stderr.write(eraseLine)
    },
  }
}

function bar(done: number, total: number, stream: Io['stderr']): string {
  const filled = total === 0 ? barWidth : Math.min(barWidth, Math.floor((done / total) * barWidth))
  return styleText('cyan', '█'.repeat(filled), { stream }) + styleText('dim', '░'.repeat(barWidth - filled), { stream })
}
