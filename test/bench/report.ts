/** What a bench found: rows of measured variants, and the promises checked against them. */
export interface Report {
  readonly bench: string
  readonly node: string
  readonly rows: readonly Row[]
  readonly checks: readonly Check[]
}

/** `isQuick`: fewer and shorter rounds, where a bench has them; good for a look, too noisy for its checks. */
export type Bench = (say: (text: string) => void, options: { readonly isQuick: boolean }) => Promise<Report>

export interface Row {
  readonly variant: string
  readonly n: number
  readonly unit: string
  readonly median: number
  readonly min: number
  readonly max: number
}

interface Check {
  readonly promise: string
  readonly measured: number
  readonly limit: string
  readonly holds: boolean
}

/** Median, least and greatest of the rounds. */
export function row(variant: string, n: number, unit: string, samples: readonly number[]): Row {
  return { variant, n, unit, median: median(samples), min: Math.min(...samples), max: Math.max(...samples) }
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}

/** The median of the ratios round by round: what disturbs a whole round disturbs both sides. */
export function medianRatio(above: readonly number[], below: readonly number[]): number {
  return median(above.map((value, round) => value / (below[round] ?? Number.NaN)))
}

export function printJson(report: Report): void {
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
}

export function printTable({ bench, node, rows, checks }: Report): void {
  const lines = [
    ['variant', 'n', 'median', 'min', 'max', 'unit'],
    ...rows.map((r) => [r.variant, String(r.n), figure(r.median), figure(r.min), figure(r.max), r.unit]),
  ]
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? []
  process.stdout.write(`${bench}, Node ${node}\n\n`)
  for (const line of lines) {
    const cells = line.map((cell, column) =>
      column === 0 || column === 5 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
    )
    process.stdout.write(`${cells.join('  ').trimEnd()}\n`)
  }
  process.stdout.write('\n')
  for (const { promise, measured, limit, holds } of checks) {
    process.stdout.write(`${holds ? 'holds ' : 'BROKEN'}  ${promise}: ${figure(measured)} (${limit})\n`)
  }
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2)
}
