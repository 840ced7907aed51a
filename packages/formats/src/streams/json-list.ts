/** The elements of one JSON list as they arrive: how Gemini streams where no events were asked for. */
export interface ListReader {
  /** Elements that ended in this piece, as text. */
  readonly push: (text: string) => string[]
  /** What is left of an element that did not end, or came behind the list. */
  readonly rest: () => string
  readonly restChars: () => number
}

/** Looks at each character once, and holds one unfinished element. Whether an element is JSON is for the caller to see. */
export function createListReader(): ListReader {
  let element = ''
  let depth = 0
  let isInString = false
  let isEscaped = false

  const push = (text: string): string[] => {
    const ended: string[] = []
    let from = 0
    const end = (to: number): void => {
      const whole = (element + text.slice(from, to)).trim()
      if (whole !== '') ended.push(whole)
      element = ''
      from = to
    }
    for (let at = 0; at < text.length; at++) {
      const char = text[at] as string
      if (isEscaped) isEscaped = false
      else if (isInString) {
        if (char === '\\') isEscaped = true
        else if (char === '"') isInString = false
      } else if (char === '"') isInString = true
      else if (char === '{' || char === '[') {
        if (depth <= 1) end(at)
        depth += 1
        // The bracket of the list itself is no element.
        if (depth === 1) from = at + 1
      } else if ((char === '}' || char === ']') && depth > 0) {
        if (depth === 1) end(at)
        depth -= 1
        if (depth === 1) end(at + 1)
        if (depth === 0) from = at + 1
      } else if (char === ',' && depth === 1) {
        end(at)
        from = at + 1
      }
    }
    element += text.slice(from)
    return ended
  }

  return { push, rest: () => element.trim(), restChars: () => element.length }
}
