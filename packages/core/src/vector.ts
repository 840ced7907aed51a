import { current, isDraft } from 'immer'

const bits = 5
const width = 1 << bits
const mask = width - 1

/** Tells vectors by a symbol of the realm: state may pass through two copies of this package. */
const brand = Symbol.for('colloquy.vector')
/** Names the fold that `stateHash` uses: what it remembers is right for one step function only, so no other caller may find it. */
export const foldVector = Symbol.for('colloquy.vector.fold')

/** Where `util.inspect`, and with it `console.log`, asks an object for its text. Named here, since nothing of Node is imported. */
const inspected = Symbol.for('nodejs.util.inspect.custom')

/** A node of the trie: children below, or elements at the lowest level. Never changed once a vector holds it. */
type Node = readonly unknown[]

/**
 * An immutable list: append, read and replace by index in O(log32 n), whatever its length.
 *
 * A radix trie of 32-way nodes with a tail (Bagwell and Rompf, "RRB-Trees", EPFL 2011, without the relaxed part). It has an
 * array's manners (`length`, `at`, iteration, `slice`, `map`, `toJSON`) and is opaque to immer, so that a recipe over a state with
 * 100,000 messages costs what it costs over one with ten: `produce` over a flat array copies and freezes the array each time.
 * Elements are frozen all the way down as they come in; a draft of a recipe comes in as what it stands for.
 */
export class Vector<T> implements Iterable<T> {
  readonly length: number
  readonly #root: Node
  /**
   * The elements behind the trie, and perhaps more: versions share it, each looks as far as its own length, and the one that ends
   * where it ends may push to it. So an append copies nothing, 31 times out of 32.
   */
  readonly #tail: T[]
  readonly #shift: number
  /** What the fold knows: its value over the first `length` elements. The only thing that changes, and only as a cache. */
  #folded: Folded

  private constructor(length: number, shift: number, root: Node, tail: T[], folded: Folded) {
    this.length = length
    this.#shift = shift
    this.#root = root
    this.#tail = tail
    this.#folded = folded
    Object.freeze(this)
  }

  static empty<T>(): Vector<T> {
    return new Vector<T>(0, bits, [], [], nothingFolded)
  }

  static from<T>(items: Iterable<T>): Vector<T> {
    let vector = Vector.empty<T>()
    for (const item of items) vector = vector.append(item)
    return vector
  }

  static isVector(value: unknown): value is Vector<unknown> {
    return typeof value === 'object' && value !== null && brand in value
  }

  /** The element at `index`; negative counts from the end; undefined outside, as `Array.prototype.at`. */
  at(index: number): T | undefined {
    const whole = Math.trunc(index) || 0
    const i = whole < 0 ? this.length + whole : whole
    if (i < 0 || i >= this.length) return undefined
    return this.#chunkOf(i)[i & mask]
  }

  append(appended: T): Vector<T> {
    const item = settled(appended)
    const tailStart = this.#tailStart()
    const tailLength = this.length - tailStart
    if (tailLength < width) {
      const isLast = this.#tail.length === tailLength
      const tail = isLast ? this.#tail : this.#tail.slice(0, tailLength)
      tail.push(item)
      return new Vector(this.length + 1, this.#shift, this.#root, tail, this.#folded)
    }
    // The tail is full: hang it into the trie, under a new root when the old one is full too.
    const overflows = tailStart + width > 1 << (this.#shift + bits)
    const shift = overflows ? this.#shift + bits : this.#shift
    const root = overflows
      ? [this.#root, newPath(this.#shift, this.#tail)]
      : pushTail(this.#root, this.#shift, tailStart, this.#tail)
    return new Vector(this.length + 1, shift, root, [item], this.#folded)
  }

  /** A vector with `item` at `index`. An index outside leaves the vector as it is. */
  with(index: number, replacement: T): Vector<T> {
    const item = settled(replacement)
    if (!Number.isInteger(index) || index < 0 || index >= this.length) return this
    const folded = index < this.#folded.length ? nothingFolded : this.#folded
    const tailStart = this.#tailStart()
    if (index >= tailStart) {
      const tail = this.#tail.slice(0, this.length - tailStart)
      tail[index - tailStart] = item
      return new Vector(this.length, this.#shift, this.#root, tail, folded)
    }
    return new Vector(this.length, this.#shift, replaceIn(this.#root, this.#shift, index, item), this.#tail, folded)
  }

  /** The same vector when `change` returns each element unchanged. */
  map(change: (item: T, index: number) => T): Vector<T> {
    return this.#mapOnto(this, change)
  }

  /** The same vector when every element is kept. */
  filter(keep: (item: T, index: number) => boolean): Vector<T> {
    const kept: T[] = []
    let index = 0
    for (const item of this) if (keep(item, index++)) kept.push(item)
    return kept.length === this.length ? this : Vector.from(kept)
  }

  /** Elements `start` to `end` (exclusive) as an array; negative counts from the end, as `Array.prototype.slice`. */
  slice(start = 0, end = this.length): T[] {
    const from = placeOf(start, this.length)
    const to = placeOf(end, this.length)
    const items: T[] = []
    for (let i = from; i < to; ) {
      const chunk = this.#chunkOf(i)
      const stop = Math.min(to - (i - (i & mask)), width)
      for (let j = i & mask; j < stop; j++, i++) items.push(chunk[j] as T)
    }
    return items
  }

  find(matches: (item: T, index: number) => boolean): T | undefined {
    const index = this.findIndex(matches)
    return index < 0 ? undefined : this.at(index)
  }

  findIndex(matches: (item: T, index: number) => boolean): number {
    let index = 0
    for (const item of this) {
      if (matches(item, index)) return index
      index++
    }
    return -1
  }

  /**
   * A vector in which the elements `start` to `end` (exclusive, both as in `slice`) are replaced by `items`. O(n): for what is rare.
   * Takes an end where `Array.prototype.toSpliced` takes a count.
   */
  splice(start: number, end: number, items: Iterable<T>): Vector<T> {
    const from = placeOf(start, this.length)
    const to = Math.max(from, placeOf(end, this.length))
    return Vector.from([...this.slice(0, from), ...items, ...this.slice(to)])
  }

  *[Symbol.iterator](): Generator<T, undefined> {
    for (let i = 0; i < this.length; i += width) {
      const chunk = this.#chunkOf(i)
      for (let j = 0; j < width && i + j < this.length; j++) yield chunk[j] as T
    }
    return undefined
  }

  get [brand](): true {
    return true
  }

  /**
   * vitest compares what iterates element by element, but shows what differs on a copy of each plain object, on which `toJSON` finds
   * nothing; what has a name of its own is not copied. `node:assert` does neither: to it vectors of one length are equal.
   */
  get [Symbol.toStringTag](): 'Vector' {
    return 'Vector'
  }

  [inspected](depth: number | null, options: object, inspect: (value: unknown, options: object) => string): string {
    return `Vector(${this.length}) ${inspect(this.slice(), { ...options, depth })}`
  }

  toJSON(): T[] {
    return this.slice()
  }

  /**
   * Folds `step` over the elements in order, from `start`, and remembers the value: a vector made by `append` from one that was
   * folded goes on from there. So a fold over a growing list costs one step an element, not one pass a version.
   */
  [foldVector](start: Uint8Array, step: (value: Uint8Array, item: T) => Uint8Array): Uint8Array {
    let value = this.#folded.length === 0 ? start : this.#folded.value
    for (let i = this.#folded.length; i < this.length; i++) value = step(value, this.at(i) as T)
    this.#folded = { length: this.length, value }
    return value
  }

  #mapOnto(onto: Vector<T>, change: (item: T, index: number) => T): Vector<T> {
    let result = onto
    for (let i = 0; i < this.length; i++) {
      const item = this.at(i) as T
      const changed = change(item, i)
      if (changed !== item) result = result.with(i, changed)
    }
    return result
  }

  /** The last 1 to 32 elements are behind the trie. */
  #tailStart(): number {
    return this.length === 0 ? 0 : ((this.length - 1) >>> bits) << bits
  }

  /** Up to 32 elements from a multiple of 32 on; in the tail there may be more than this version has. */
  #chunkOf(index: number): readonly T[] {
    if (index >= this.#tailStart()) return this.#tail
    let node = this.#root
    for (let level = this.#shift; level > 0; level -= bits) node = node[(index >>> level) & mask] as Node
    return node as readonly T[]
  }
}

/** An index as `Array.prototype.slice` takes it, inside of the list. */
function placeOf(index: number, length: number): number {
  const whole = Math.trunc(index) || 0
  return whole < 0 ? Math.max(0, length + whole) : Math.min(whole, length)
}

/**
 * Frozen all the way down, drafts replaced by what they stand for: a draft ends with its recipe, and immer does not look into
 * vectors, so it cannot replace them itself.
 */
function settled<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  const item: T = isDraft(value) ? current(value as never) : value
  if (Object.isFrozen(item)) return item
  // Read before it is frozen, and an array by index: several times faster in V8, and replay spends its time here.
  if (Array.isArray(item)) for (let i = 0; i < item.length; i++) settleAt(item, i)
  else for (const key in item) settleAt(item, key)
  return Object.freeze(item)
}

function settleAt<T, K extends keyof T>(holder: T, key: K): void {
  const child = holder[key]
  if (typeof child !== 'object' || child === null) return
  const settledChild = settled(child)
  if (settledChild !== child) holder[key] = settledChild
}

interface Folded {
  readonly length: number
  readonly value: Uint8Array
}

const nothingFolded: Folded = { length: 0, value: new Uint8Array() }

function newPath(level: number, leaf: Node): Node {
  return level === 0 ? leaf : [newPath(level - bits, leaf)]
}

function pushTail(parent: Node, level: number, index: number, tail: Node): Node {
  const slot = (index >>> level) & mask
  const child = parent[slot] as Node | undefined
  const grown =
    level === bits ? tail : child === undefined ? newPath(level - bits, tail) : pushTail(child, level - bits, index, tail)
  const copy = parent.slice()
  copy[slot] = grown
  return copy
}

function replaceIn(node: Node, level: number, index: number, item: unknown): Node {
  const copy = node.slice()
  if (level === 0) copy[index & mask] = item
  else copy[(index >>> level) & mask] = replaceIn(node[(index >>> level) & mask] as Node, level - bits, index, item)
  return copy
}
