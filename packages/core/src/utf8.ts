// Every JavaScript platform has these; the type libraries only with the DOM or Node, and core must compile without either.
declare const TextEncoder: new () => {
  encode(text: string): Uint8Array
  encodeInto(text: string, bytes: Uint8Array): { readonly written: number }
}
declare const TextDecoder: new (
  label: 'utf-8',
  options: { fatal: boolean; ignoreBOM: boolean },
) => { decode(bytes: Uint8Array): string }

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Lone surrogates become U+FFFD: only for text in which they are escaped (JSON) or refused (ids). */
export const toUtf8 = (text: string): Uint8Array => encoder.encode(text)

/** Writes at `at`, where there must be room for three bytes a UTF-16 unit. @returns how many bytes it wrote */
export function encodeUtf8Into(text: string, bytes: Uint8Array, at: number): number {
  // Ids and types are short and plain: a call of the encoder costs more than they do (Node 24.21).
  if (text.length <= 64) {
    let n = 0
    for (; n < text.length; n++) {
      const unit = text.charCodeAt(n)
      if (unit > 0x7f) break
      bytes[at + n] = unit
    }
    if (n === text.length) return n
  }
  return encoder.encodeInto(text, bytes.subarray(at)).written
}

/** @throws TypeError for bytes that are not UTF-8 */
export const fromUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes)
