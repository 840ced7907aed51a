/** SHA-256 of the concatenation of `parts`: 32 bytes. */
export type Sha256 = (...parts: readonly Uint8Array[]) => Uint8Array
