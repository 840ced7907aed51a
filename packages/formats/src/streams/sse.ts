/**
 * Server-sent events out of bytes that arrive in any pieces (https://html.spec.whatwg.org/multipage/server-sent-events.html), read as
 * providers write them: the last event may lack its blank line, a field may be indented. A line that begins with `{` is an event of
 * its own: that is how payload files (.jsonl) hold them, and how gateways put an error into a stream that has begun. A stream that
 * begins with `[` is one JSON list, whose elements are the events.
 */
import { createListReader, type ListReader } from './json-list.ts'

// Every JavaScript platform has it; the type libraries only with the DOM or Node.
declare const TextDecoder: new (
  label: 'utf-8',
  options: { ignoreBOM: boolean },
) => { decode(bytes?: Uint8Array, options?: { stream: boolean }): string }

export interface SseEvent {
  /** The name of the event, where the server gave one. */
  readonly event: string | undefined
  readonly data: string
}

export interface SseReader {
  readonly push: (chunk: Uint8Array | string) => SseEvent[]
  /** What the last chunk left unfinished. */
  readonly end: () => SseEvent[]
  /** A new connection follows: what is left of the last one is forgotten. */
  readonly reopen: () => void
  /** True when a line or event was longer than the limit; nothing is read any more. */
  readonly hasOverflowed: () => boolean
}

/** Holds one unfinished line and event, of at most `limitChars` each, whatever passes through. */
export function createSseReader({ limitChars }: { readonly limitChars: number }): SseReader {
  let decoder = newDecoder()
  let isFirst = true
  /** A carriage return ended a line; the line feed that may follow belongs to it. */
  let skipsLineFeed = false
  let line = ''
  let event: string | undefined
  let data: string | undefined
  let hasOverflowed = false
  /** Undefined until the first character that is no space; null: these are lines. */
  let list: ListReader | null | undefined

  const dispatch = (out: SseEvent[]): void => {
    if (data !== undefined && data !== '') out.push({ event, data })
    event = undefined
    data = undefined
  }

  const takeLine = (text: string, out: SseEvent[]): void => {
    if (text.length > limitChars) {
      hasOverflowed = true
      return
    }
    const indent = /^[ \t]*/.exec(text)?.[0].length ?? 0
    if (text.startsWith('{', indent)) {
      dispatch(out)
      out.push({ event: undefined, data: text })
      return
    }
    if (text === '') return dispatch(out)
    const colon = text.indexOf(':')
    const name = colon < 0 ? text.slice(indent) : text.slice(indent, colon)
    const value = colon < 0 ? '' : text.slice(text[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'event') event = value
    else if (name === 'data') {
      data = data === undefined ? value : `${data}\n${value}`
      hasOverflowed = data.length > limitChars
    }
  }

  const takeElements = (text: string, elements: ListReader, out: SseEvent[]): void => {
    for (const data of elements.push(text)) {
      hasOverflowed ||= data.length > limitChars
      if (!hasOverflowed) out.push({ event: undefined, data })
    }
    hasOverflowed ||= elements.restChars() > limitChars
  }

  const takeText = (text: string, out: SseEvent[]): void => {
    if (text === '') return
    if (list === undefined) {
      const first = /[^\s\ufeff]/.exec(text)?.[0]
      if (first !== undefined) list = first === '[' ? createListReader() : null
    }
    if (list) return takeElements(text, list, out)
    let from = isFirst && text.startsWith('\ufeff') ? 1 : 0
    isFirst = false
    if (skipsLineFeed && from < text.length) {
      skipsLineFeed = false
      if (text[from] === '\n') from++
    }
    const lineBreak = /\r\n?|\n/g
    lineBreak.lastIndex = from
    for (let found = lineBreak.exec(text); found !== null; found = lineBreak.exec(text)) {
      const whole = line + text.slice(from, found.index)
      line = ''
      takeLine(whole, out)
      from = lineBreak.lastIndex
      skipsLineFeed = from === text.length && found[0] === '\r'
      if (hasOverflowed) return
    }
    line += text.slice(from)
    if (line.length <= limitChars) return
    hasOverflowed = true
    line = ''
  }

  const push: SseReader['push'] = (chunk) => {
    const out: SseEvent[] = []
    if (!hasOverflowed) takeText(typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true }), out)
    return out
  }

  return {
    push,
    end: () => {
      const out: SseEvent[] = []
      if (hasOverflowed) return out
      takeText(decoder.decode(), out)
      const rest = list?.rest() ?? ''
      if (rest !== '') out.push({ event: undefined, data: rest })
      if (line !== '') takeLine(line, out)
      line = ''
      dispatch(out)
      return out
    },
    reopen: () => {
      decoder = newDecoder()
      isFirst = true
      skipsLineFeed = false
      line = ''
      event = undefined
      data = undefined
      list = undefined
    },
    hasOverflowed: () => hasOverflowed,
  }
}

/** Keeps the bytes of an unfinished code point; bytes that are not UTF-8 become U+FFFD, as the standard has it. */
function newDecoder() {
  return new TextDecoder('utf-8', { ignoreBOM: true })
}
