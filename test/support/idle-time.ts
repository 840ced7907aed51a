import { onTestFinished, vi } from 'vitest'

/** Holds the time by which an engine that is made from now on finds out what is idle. @returns how to let milliseconds pass; real time is back when the test ends */
export function holdIdleTime(): (milliseconds: number) => void {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  return (milliseconds) => void vi.advanceTimersByTime(milliseconds)
}
