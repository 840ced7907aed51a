/**
 * How much of a log is read at once. A page is bounded by a count and by bytes, so that what a reader holds does not grow with what
 * people store: it ends with the envelope whose body reaches `pageBytes`, and always has one. Shorter than its count, it is not the end.
 */

/** Envelopes in one page of `read` and of a conflict's `missed`. */
export const pageSize = 500

/** Envelopes in one page of `actions` at most, and as many as a log asks its database for at once. */
export const actionPageSize = 5_000

/** Bytes of bodies with which a page of `read`, `actions`, `feed` or `missed` ends: as many as a request may bring (8 MiB). */
export const pageBytes = 8 * 1024 * 1024

/** The page that begins with the first of these envelopes, where all of them together would be too large for one. */
export function pageOf<Envelope extends { readonly body: Uint8Array }>(envelopes: readonly Envelope[]): readonly Envelope[] {
  let bytes = 0
  const last = envelopes.findIndex(({ body }) => {
    bytes += body.length
    return bytes >= pageBytes
  })
  return last === -1 ? envelopes : envelopes.slice(0, last + 1)
}

/** Whether a page ended because it was large enough, by count or by bytes: what comes next was not looked for. */
export function isFullPage(envelopes: readonly { readonly body: Uint8Array }[], limit: number): boolean {
  return envelopes.length >= limit || envelopes.reduce((sum, { body }) => sum + body.length, 0) >= pageBytes
}
