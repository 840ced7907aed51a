import type { Usage } from '@colloquy/core'

/** What providers reported beside what we had estimated, by model (`provider/id`). Plain data: keep it wherever state is kept. */
export interface Calibration {
  readonly [model: string]: { readonly factor: number; readonly samples: number }
}

export interface TokenReport {
  /** `provider/id`. */
  readonly model: string
  /** What the uncalibrated counter said of the whole request. */
  readonly estimatedTokens: number
  readonly usage: Usage
}

/**
 * A report beyond it is about another request. cl100k, the furthest from the estimate of those that we measured, needs 3.9 times its tokens
 * of Georgian (2026-11-28); providers do not publish theirs.
 */
const bounds = { least: 0.5, most: 4 }
/** Below this many tokens what providers add on their own outweighs the text. */
const leastEstimate = 200
/** The newest report counts for at least a tenth, so that a model whose tokenizer changes is followed. */
const leastWeight = 0.1

/** The calibration with one more report: the mean of the first ten, a moving one from then on. What cannot be used changes nothing. */
export function calibrate(calibration: Calibration, { model, estimatedTokens, usage }: TokenReport): Calibration {
  const reported = inputTokens(usage)
  if (estimatedTokens < leastEstimate || reported <= 0) return calibration
  const known = Object.hasOwn(calibration, model) ? calibration[model] : undefined
  const { factor, samples } = known ?? { factor: 1, samples: 0 }
  const seen = Math.min(bounds.most, Math.max(bounds.least, reported / estimatedTokens))
  const weight = Math.max(leastWeight, 1 / (samples + 1))
  return { ...calibration, [model]: { factor: factor + weight * (seen - factor), samples: samples + 1 } }
}

/** What an estimate is to be multiplied by for `model`; 1 before its first report. */
export function calibratedFactor(calibration: Calibration, model: string): number {
  const known = Object.hasOwn(calibration, model) ? calibration[model] : undefined
  return Math.min(bounds.most, Math.max(bounds.least, known?.factor ?? 1))
}

/** Everything that a request brought in, wherever the provider read it from. */
const inputTokens = ({ input, cacheRead, cacheWrite }: Usage): number =>
  input + cacheRead + cacheWrite.ttl5m + cacheWrite.ttl1h + cacheWrite.other
