/** A finding of the doctor. */
export interface Check {
  readonly name: string
  /** `warn`: it works, but a promise is weaker. `fail`: a promise does not hold. */
  readonly status: 'ok' | 'warn' | 'fail'
  readonly found: string
  /** What to do, or why it is as it is; null when there is nothing to say. */
  readonly advice: string | null
}
