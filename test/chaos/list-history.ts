/**
 * A checker for histories of lists, after Elle (Kingsbury and Alvaro, VLDB 2020): each append is of a value of its own, each read
 * gives the whole list, and begin and end of both are told by one clock.
 */

export interface Operation {
  readonly list: string
  readonly begun: number
  readonly ended: number
  /** What was appended; without it the operation is a read. */
  readonly appended?: string
  readonly read?: readonly string[]
}

export interface Anomalies {
  /** Appends that were acknowledged and are not in the list at the end. */
  readonly lost: number
  /** Values more than once in one read. */
  readonly duplicated: number
  /** Reads that are not the beginning of the list at the end. */
  readonly reordered: number
  /** Reads that miss what was acknowledged before they began, or what an earlier read had seen. */
  readonly stale: number
}

/** @param ends the lists at the end, when nobody appends any more */
export function findAnomalies(history: readonly Operation[], ends: ReadonlyMap<string, readonly string[]>): Anomalies {
  let [lost, duplicated, reordered, stale] = [0, 0, 0, 0]
  for (const [list, operations] of Map.groupBy(history, ({ list }) => list)) {
    const end = ends.get(list) ?? []
    const place = new Map(end.map((value, i) => [value, i]))
    duplicated += end.length - place.size
    // How long the list was known to be, and since when.
    const known: { readonly length: number; readonly since: number }[] = []
    for (const { appended, read, ended } of operations) {
      if (appended !== undefined) {
        if (!place.has(appended)) lost += 1
        else known.push({ length: (place.get(appended) ?? 0) + 1, since: ended })
      }
      if (read === undefined) continue
      duplicated += read.length - new Set(read).size
      if (read.every((value, i) => value === end[i])) known.push({ length: read.length, since: ended })
      else reordered += 1
    }
    known.sort((a, b) => a.since - b.since)
    let longest = 0
    const longestBy = known.map(({ length, since }) => {
      longest = Math.max(longest, length)
      return { length: longest, since }
    })
    for (const { read, begun } of operations) {
      if (read === undefined) continue
      const before = longestBy.findLast(({ since }) => since < begun)
      if (before !== undefined && read.length < before.length) stale += 1
    }
  }
  return { lost, duplicated, reordered, stale }
}
