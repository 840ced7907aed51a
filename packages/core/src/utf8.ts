// Every JavaScript platform has these; the type libraries only with the DOM or Node, and core must compile without either.
declare const TextEncoder: new () => { encode(text: string): Uint8Array }
declare const TextDecoder: new (
  label: 'utf-8',
  options: { fatal: boolean; ignoreBOM: boolean },
) => { decode(bytes: Uint8Array): string }

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Lone surrogates become U+FFFD: only for text in which they are escaped (JSON) or refused (ids). */
export const toUtf8 = (text: string): Uint8Array => encoder.encode(text)

/** @throws TypeError for bytes that are not UTF-8 */
export const fromUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes)
