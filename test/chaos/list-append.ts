/**
 * Judges a history of appends to lists and reads of them: it must be as if each happened at one moment between its begin and its end.
 * For lists that only grow this is what Elle infers from list-append (Kingsbury and Alvaro, 2020), without the search for cycles among
 * several lists, which no operation here spans.
 */
export type Operation =
  | { readonly kind: 'append'; readonly list: string; readonly begun: number; readonly ended: number; readonly word: string }
  | {
      readonly kind: 'read'
      readonly list: string
      readonly begun: number
      readonly ended: number
      readonly words: readonly string[]
    }

/** @returns one sentence for each kind of anomaly that is there */
export function judge(operations: readonly Operation[], final: ReadonlyMap<string, readonly string[]>): string[] {
  const found = { lost: 0, doubled: 0, unknown: 0, reordered: 0, stale: 0, early: 0 }
  for (const [list, history] of Map.groupBy(operations, (operation) => operation.list)) {
    const words = final.get(list) ?? []
    const places = new Map(words.map((word, place) => [word, place + 1]))
    found.doubled += words.length - places.size
    const appends = history.filter((operation) => operation.kind === 'append')
    const reads = history.filter((operation) => operation.kind === 'read')
    found.lost += appends.filter(({ word }) => !places.has(word)).length
    const appended = new Set(appends.map(({ word }) => word))
    found.unknown += words.filter((word) => !appended.has(word)).length
    found.reordered += reads.filter((read) => read.words.some((word, place) => words[place] !== word)).length

    // How long the list must be at a time: as long as what had ended by then had seen or made it.
    const ended = history
      .map((operation) => ({
        at: operation.ended,
        length: operation.kind === 'append' ? (places.get(operation.word) ?? 0) : operation.words.length,
      }))
      .sort((a, b) => a.at - b.at)
    let longest = 0
    let next = 0
    for (const operation of history.toSorted((a, b) => a.begun - b.begun)) {
      for (let past = ended[next]; past !== undefined && past.at < operation.begun; past = ended[++next])
        longest = Math.max(longest, past.length)
      if (operation.kind === 'read') found.stale += Number(operation.words.length < longest)
      else found.early += Number((places.get(operation.word) ?? Number.POSITIVE_INFINITY) <= longest)
    }
  }
  const sentences: Record<keyof typeof found, string> = {
    lost: 'acknowledged words are lost',
    doubled: 'words are there twice',
    unknown: 'words are there that nobody appended',
    reordered: 'reads are no beginning of the list',
    stale: 'reads do not have what was there before they began',
    early: 'words lie before what was there before they were appended',
  }
  return Object.entries(found).flatMap(([kind, count]) =>
    count === 0 ? [] : `${count} ${sentences[kind as keyof typeof found]}`,
  )
}
