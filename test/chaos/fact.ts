/** Something counted, and what it has to be. Without a limit it is told, not judged. */
export interface Fact {
  readonly what: string
  readonly seen: number
  readonly is?: number
  readonly atLeast?: number
  readonly atMost?: number
}

export function holds({ seen, is, atLeast, atMost }: Fact): boolean {
  return (
    (is === undefined || seen === is) && (atLeast === undefined || seen >= atLeast) && (atMost === undefined || seen <= atMost)
  )
}

/** "0 lost", or with its limit where that is broken: "3 lost (must be 0)". */
export function describeFact(fact: Fact): string {
  const told = `${Number.isInteger(fact.seen) ? fact.seen : fact.seen.toFixed(1)} ${fact.what}`
  if (holds(fact)) return told
  const limits = [
    fact.is !== undefined && `must be ${fact.is}`,
    fact.atLeast !== undefined && `at least ${fact.atLeast}`,
    fact.atMost !== undefined && `at most ${fact.atMost}`,
  ].filter((limit) => limit !== false)
  return `${told} (${limits.join(', ')})`
}
