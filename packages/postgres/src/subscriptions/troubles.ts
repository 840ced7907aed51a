import { isColloquyError } from '@colloquy/core'
import { problemText } from './problem-text.ts'

/** Tells what goes wrong and is tried again: once while it lasts, in however many partitions and however often. */
export class Troubles {
  readonly #lasting = new Map<string, Set<object>>()
  readonly #tell: (error: unknown, where: string) => void

  constructor(tell: (error: unknown, where: string) => void) {
    this.#tell = tell
  }

  /** @param who has it, until it `recovered` */
  met(who: object, error: unknown, where: string): void {
    const trouble = troubleOf(error)
    const having = this.#lasting.get(trouble)
    if (having) {
      having.add(who)
      return
    }
    this.#lasting.set(trouble, new Set([who]))
    this.#tell(error, where)
  }

  recovered(who: object): void {
    for (const [trouble, having] of this.#lasting) {
      having.delete(who)
      if (having.size === 0) this.#lasting.delete(trouble)
    }
  }
}

/** The same in each partition: our texts name the partition, what they are about does not. */
function troubleOf(error: unknown): string {
  if (!isColloquyError(error)) return problemText(error)
  return 'problem' in error.details ? `${error.code}: ${error.details.problem}` : error.code
}
