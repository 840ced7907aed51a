const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const valueOf = new Uint8Array(128).fill(0xff)
for (let i = 0; i < alphabet.length; i++) valueOf[alphabet.charCodeAt(i)] = i

/**
 * The bytes of canonical base64: padded, without line breaks or leftover bits, so that encoding them gives the same text again.
 * Undefined for any other text, which must then be kept as it is.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  const { length } = text
  if (length === 0 || length % 4 !== 0) return undefined
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const bytes = new Uint8Array((length / 4) * 3 - padding)
  let at = 0
  for (let i = 0; i < length; i += 4) {
    const isLast = i + 4 === length
    let bits = 0
    for (let j = 0; j < 4; j++) {
      const isPadding = isLast && j >= 4 - padding
      const value = isPadding ? 0 : (valueOf[text.charCodeAt(i + j)] ?? 0xff)
      if (value === 0xff) return undefined
      bits = (bits << 6) | value
    }
    if (isLast && (bits & ((1 << (8 * padding)) - 1)) !== 0) return undefined
    for (let shift = 16; shift >= 0 && at < bytes.length; shift -= 8) bytes[at++] = (bits >> shift) & 0xff
  }
  return bytes
}
