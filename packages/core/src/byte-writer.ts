import { encodeUtf8Into } from './utf8.ts'

/**
 * Binary fields one after the other in one buffer that is used again: what a hash covers is put together without an allocation for each
 * field. Texts carry their length, so no two lists of values are written as the same bytes.
 */
export class ByteWriter {
  #bytes = new Uint8Array(1024)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  /** Begins anew. What `written` gave before is overwritten. */
  begin(): this {
    this.#length = 0
    return this
  }

  /** A view of what was written: valid until the next `begin`. */
  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  u8(value: number): this {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
    return this
  }

  u32(value: number): this {
    this.#reserve(4)
    this.#view.setUint32(this.#length, value)
    this.#length += 4
    return this
  }

  /** A safe integer as eight bytes, two's complement. */
  i64(value: number): this {
    this.#reserve(8)
    this.#view.setInt32(this.#length, Math.floor(value / 2 ** 32))
    this.#view.setUint32(this.#length + 4, value >>> 0)
    this.#length += 8
    return this
  }

  /** UTF-8 with its length before it. `value` must be well-formed: half of a surrogate pair would be written like U+FFFD. */
  text(value: string): this {
    this.#reserve(4)
    const at = this.#length
    this.#length += 4
    this.utf8(value)
    this.#view.setUint32(at, this.#length - at - 4)
    return this
  }

  /** Nothing is another byte than something, so an absent value is not an empty one. */
  optional(value: string | null): this {
    return value === null ? this.u8(0) : this.u8(1).text(value)
  }

  /** UTF-8 without a length: for what nothing follows. */
  utf8(value: string): this {
    // Three bytes a UTF-16 unit is the most that UTF-8 takes.
    this.#reserve(value.length * 3)
    this.#length += encodeUtf8Into(value, this.#bytes, this.#length)
    return this
  }

  #reserve(length: number): void {
    const needed = this.#length + length
    if (needed <= this.#bytes.length) return
    const bytes = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    bytes.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }
}
