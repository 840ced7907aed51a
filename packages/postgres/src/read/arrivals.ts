/**
 * What `produce` hands over, in order, for one reader, who has the first before the last has come. It is started at once and waits for
 * nobody: what the reader has not taken yet is kept.
 * @throws what `produce` throws, behind what it had handed over
 */
export function arrivals<T>(produce: (arrived: (item: T) => void) => Promise<void>): AsyncIterable<T> {
  const kept: T[] = []
  let isOver = false
  let wake = (): void => {}
  const produced = produce((item) => {
    kept.push(item)
    wake()
  }).finally(() => {
    isOver = true
    wake()
  })
  // Heard of when its turn comes, or never, where the reader stopped before it.
  produced.catch(() => {})
  return taken()

  async function* taken(): AsyncGenerator<T, void> {
    for (;;) {
      while (kept.length > 0) yield kept.shift() as T
      if (isOver) {
        await produced
        return
      }
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
}
