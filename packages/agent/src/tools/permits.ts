/** At most so many at a time; who comes later waits, first come first served. */
export interface Permits {
  /** One, if it is there now. @returns how to give it back */
  tryTake(): (() => void) | undefined
  /** @returns how to give it back; rejects with the reason of `signal` when that aborts first */
  take(signal: AbortSignal): Promise<() => void>
}

export function createPermits(limit = Number.POSITIVE_INFINITY): Permits {
  let taken = 0
  const waiting: (() => void)[] = []

  const give = (): void => {
    const next = waiting.shift()
    if (next === undefined) taken -= 1
    else next()
  }

  const once = (): (() => void) => {
    let isGiven = false
    return () => {
      if (isGiven) return
      isGiven = true
      give()
    }
  }

  const tryTake = (): (() => void) | undefined => {
    if (taken >= limit) return undefined
    taken += 1
    return once()
  }

  return {
    tryTake,
    async take(signal) {
      signal.throwIfAborted()
      const free = tryTake()
      if (free !== undefined) return free
      await new Promise<void>((resolve, reject) => {
        const enter = (): void => {
          signal.removeEventListener('abort', leave)
          resolve()
        }
        const leave = (): void => {
          waiting.splice(waiting.indexOf(enter), 1)
          reject(signal.reason as Error)
        }
        waiting.push(enter)
        signal.addEventListener('abort', leave, { once: true })
      })
      return once()
    },
  }
}
