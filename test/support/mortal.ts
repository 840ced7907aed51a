/** A process in this one that dies at a step: what it would do from then on never happens. */
import type { EventLog } from '@colloquy/core'

/** Counts steps, and at one of them the process is gone: nothing that it does from then on happens. */
export function mortal(diesAt: number) {
  let steps = 0
  const step = (): void | Promise<never> => {
    steps += 1
    return steps >= diesAt ? new Promise<never>(() => {}) : undefined
  }
  return { step, steps: () => steps, isDead: () => steps >= diesAt }
}

/** A log with a step before and behind each append; what a dead process appends never arrives. */
export function mortalLog(
  log: EventLog,
  { step, isDead }: { readonly step: () => void | Promise<void>; readonly isDead: () => boolean },
): EventLog {
  return new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (name !== 'append') return value.bind(target)
      return async (requests: Parameters<EventLog['append']>[0]) => {
        await step()
        if (isDead()) return new Promise(() => {})
        const outcomes = await log.append(requests)
        await step()
        return outcomes
      }
    },
  })
}

/** Until `done`, or nothing moves any more in a process that is dead. @returns whether it was done. @throws what `done` rejects with */
export async function doneOrDead(done: Promise<unknown>, isDead: () => boolean): Promise<boolean> {
  let isDone = false
  const end = (): void => {
    isDone = true
  }
  done.then(end, end)
  while (!isDone && !isDead()) await new Promise((resolve) => setTimeout(resolve))
  for (let turn = 0; turn < 10 && !isDone; turn++) await new Promise((resolve) => setTimeout(resolve))
  if (isDone) await done
  return isDone
}
