/** Calls `listener` once after so many milliseconds. @returns how to stop it */
export type Timer = (listener: () => void, ms: number) => () => void
