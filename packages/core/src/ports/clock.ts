/** Microseconds since 1970. May jump; nothing orders by it. */
export type Clock = () => number
