/** Text as HTML. What is exported was written by people, models and web pages: none of it may be taken for markup. */

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
/** Control characters but tab and line feed, and marks that turn the direction of text: they are shown, not obeyed. */
// oxlint-disable-next-line no-control-regex
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** For the text between tags, and for values of attributes in quotes. */
export function escapeHtml(text: string): string {
  return text
    .toWellFormed()
    .replaceAll('\r\n', '\n')
    .replaceAll(/[&<>"']/g, (char) => entities[char] as string)
    .replaceAll(hidden, (char) => `[U+${(char.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')}]`)
}
