/** `length` unpredictable bytes: the salts of the commitments. */
export type Random = (length: number) => Uint8Array
