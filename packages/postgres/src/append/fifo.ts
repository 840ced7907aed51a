/** First in, first out, at constant cost however many wait: `Array.shift` moves all that are left. */
export class Fifo<T> {
  #items: (T | undefined)[] = []
  #taken = 0

  get length(): number {
    return this.#items.length - this.#taken
  }

  push(item: T): void {
    this.#items.push(item)
  }

  peek(): T | undefined {
    return this.#items[this.#taken]
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined
    const item = this.#items[this.#taken]
    // The array may be old, and outlive the item.
    this.#items[this.#taken++] = undefined
    // Each item is moved at most once for each one that was taken.
    if (this.#taken * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#taken)
      this.#taken = 0
    }
    return item
  }
}
