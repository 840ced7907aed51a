/** A new id: a UUIDv7 unless a test says otherwise. */
export type Ids = () => string
