import type { Message, OpenedEnvelope, Part } from '@colloquy/core'
import { encodeBase64 } from '../codecs/inline-media.ts'
import { formatIsoTime } from '../iso-time.ts'
import type { ExportOptions } from './exporters.ts'
import { htmlStyle, htmlStyleHash } from './html-style.ts'
import { escapeHtml } from './html-text.ts'
import { type Transcript, type TranscriptEntry, transcriptOf } from './transcript.ts'

/**
 * The transcript as one page that needs nothing else: no script, no address is fetched or linked, and its policy lets a browser
 * do neither. Every word is escaped. Calls are folded with their results inside, reasoning is folded, compactions are marked;
 * colours follow the reader's light or dark. Pictures are in it where `media` finds their bytes, else they are named.
 */
export function exportHtml(envelopes: Iterable<OpenedEnvelope>, options: ExportOptions = {}): string {
  const transcript = transcriptOf(envelopes)
  const page = pageOf(transcript, options)
  const title = escapeHtml(transcript.title ?? transcript.conversationId)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '${htmlStyleHash}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>${htmlStyle}</style>
</head>
<body>
<header>
<h1>${title}</h1>
${factsOf(transcript)
  .map((fact) => `<p>${escapeHtml(fact)}</p>`)
  .join('\n')}
</header>
<main>
${transcript.entries
  .map((entry) => page.section(entry))
  .filter((section) => section !== '')
  .join('\n')}
</main>
</body>
</html>
`
}

function factsOf({ conversationId, parent, source, first, last }: Transcript): string[] {
  return [
    `Conversation ${conversationId}`,
    ...(source ? [`Imported from ${source.format}${source.id === undefined ? '' : ` (${source.id})`}`] : []),
    ...(parent ? [`A ${parent.relation} of ${parent.conversationId}${behind(parent)}`] : []),
    ...(first && last
      ? [
          `Positions ${first.position} to ${last.position}, ${formatIsoTime(first.occurredAt)} to ${formatIsoTime(last.occurredAt)}`,
        ]
      : []),
  ]
}

function behind({ position, messageId }: NonNullable<Transcript['parent']>): string {
  if (position !== undefined) return `, after position ${position}`
  return messageId === undefined ? '' : `, after message ${messageId}`
}

type ToolCall = Extract<Part, { type: 'tool_call' }>
type ToolResult = Extract<Part, { type: 'tool_result' }>

/** A result, and where it stands. */
interface Placed {
  readonly result: ToolResult
  readonly position: number
}

function pageOf({ entries }: Transcript, { media }: ExportOptions) {
  const answers = answersOf(entries)
  const shown = new Set([...answers.values()].map(({ result }) => result))

  return { section }

  function section(entry: TranscriptEntry): string {
    const at = `#${entry.position} · ${formatIsoTime(entry.occurredAt)}`
    switch (entry.kind) {
      case 'message': {
        const { role } = entry.message
        const body = entry.hidden ? note(entry.hidden) : partsOf(entry.message)
        // A message of nothing but results that stand with their calls.
        if (body === '' && entry.message.parts.length > 0) return ''
        const link = `<a id="p${entry.position}" href="#p${entry.position}">${escapeHtml(at)}</a>`
        return `<article class="${role}">\n<h2><span>${escapeHtml(speakerOf(entry.message))}</span>${link}</h2>\n${body || note('nothing was said')}\n</article>`
      }
      case 'compaction': {
        const { covered, before, after, summary } = entry.compaction
        const line = `Context compacted: ${covered.messageIds.length} messages, ${before.tokens} tokens before, ${after.tokens} after. What is above is still in the log.`
        const words = summary ? folded('Summary', partsOf(summary.message)) : note(entry.hidden ?? 'no summary')
        return `<section class="mark">\n<h2><span>${escapeHtml(line)}</span><small>${escapeHtml(at)}</small></h2>\n${words}\n</section>`
      }
      case 'compactionUndone':
        return mark(`The compaction at #${entry.compactionPosition} was undone`, at)
      case 'cleared':
        return mark(`Context cleared${because(entry.reason)}`, at)
      case 'error': {
        const { kind, problem, attempt } = entry.error
        const title = `Error (${kind}${attempt === undefined ? '' : `, attempt ${attempt}`})`
        return `<article>\n<h2><span class="warn">${escapeHtml(title)}</span><small>${escapeHtml(at)}</small></h2>\n${words(problem)}\n</article>`
      }
      case 'interruption':
        return mark(`Turn interrupted${because(entry.reason)}`, at)
      case 'erased':
        return mark(`${entry.actionType} was erased`, at)
      default:
        return entry satisfies never
    }
  }

  function partsOf({ id, parts }: Message): string {
    return parts
      .map((part) => (part.type === 'tool_result' && shown.has(part) ? '' : partOf(part, id)))
      .filter((html) => html !== '')
      .join('\n')
  }

  function partOf(part: Part, messageId: string): string {
    switch (part.type) {
      case 'text':
        return `${words(part.text)}${(part.citations ?? []).map(({ title, url }) => note(`source: ${[title, url].filter(Boolean).join(', ')}`)).join('')}`
      case 'refusal':
        return `${words(part.text)}${note('the model refused')}`
      case 'reasoning': {
        const thoughts = part.text || part.summary?.join('\n\n')
        return thoughts ? folded('Reasoning', words(thoughts)) : note('reasoning that only its provider can read')
      }
      case 'tool_call':
        return callOf(part, answers.get(keyOf(messageId, part.callId)))
      case 'tool_result':
        return folded(`Result of ${part.callId}: ${part.status}`, contentOf(part))
      case 'media':
        return mediaOf(part)
      case 'compaction':
        return part.content === undefined ? note('a summary that only its provider can read') : words(part.content)
      case 'custom':
        return folded(part.kind, code(JSON.stringify(part.payload, null, 2)))
      case 'approval':
        return note(`approval of ${part.callId}: ${part.decision ?? 'asked for'}`)
      case 'citation_source':
        return note(`source: ${part.title ?? part.url ?? part.sourceId}`)
      case 'tool_change':
        return note(`tool ${part.change === 'add' ? 'added' : 'removed'}: ${JSON.stringify(part.ref)}`)
      case 'control':
        return note(part.kind)
      default:
        return part satisfies never
    }
  }

  function callOf({ callId, name, args }: ToolCall, answer: Placed | undefined): string {
    const outcome = answer ? answer.result.status : 'no result'
    const asked = code(args.json === undefined ? args.raw : JSON.stringify(args.json, null, 2))
    const told = answer ? `${note(`result at #${answer.position}`)}\n${contentOf(answer.result)}` : ''
    return folded(`${name} (${callId}): ${outcome}`, `${asked}\n${told}`)
  }

  function contentOf({ content, callId }: ToolResult): string {
    if (content.length === 0) return note('an empty result')
    return content.map((part) => (part.type === 'text' ? code(part.text) : partOf(part, callId))).join('\n')
  }

  function mediaOf({ kind, mediaType, source, filename }: Extract<Part, { type: 'media' }>): string {
    const bytes = source.kind === 'hash' && picture.test(mediaType) ? media?.(source.hash) : undefined
    if (bytes) return `<p><img alt="${escapeHtml(filename ?? kind)}" src="data:${mediaType};base64,${encodeBase64(bytes)}"></p>`
    const named = filename === undefined ? '' : ` ${filename}`
    switch (source.kind) {
      case 'hash':
        return note(`${kind}${named}, ${mediaType}, ${source.bytes} bytes, sha256 ${source.hash}`)
      case 'url':
        return note(`${kind}${named}, ${mediaType}, ${source.url}`)
      case 'providerFile':
        return note(`${kind}${named}, ${mediaType}, file ${source.fileId} of ${source.provider}`)
      case 'text':
        return folded(`${kind}${named}, ${mediaType}`, code(source.text))
      default:
        return source satisfies never
    }
  }
}

/** Which result answers which call: by the message that it names, else the nearest earlier call of that id without one. */
function answersOf(entries: readonly TranscriptEntry[]): ReadonlyMap<string, Placed> {
  const answers = new Map<string, Placed>()
  const open: { readonly messageId: string; readonly callId: string }[] = []
  for (const entry of entries) {
    if (entry.kind !== 'message') continue
    for (const part of entry.message.parts) {
      if (part.type === 'tool_call') open.push({ messageId: entry.message.id, callId: part.callId })
      if (part.type !== 'tool_result') continue
      const { callId, callMessageId } = part
      const index = open.findLastIndex(
        (call) => call.callId === callId && (callMessageId === undefined || call.messageId === callMessageId),
      )
      const [call] = index < 0 ? [] : open.splice(index, 1)
      if (call) answers.set(keyOf(call.messageId, callId), { result: part, position: entry.position })
    }
  }
  return answers
}

const keyOf = (messageId: string, callId: string): string => JSON.stringify([messageId, callId])

/** Pictures that browsers draw without running anything. */
const picture = /^image\/(png|jpeg|gif|webp)$/

function speakerOf({ role, author, model }: Message): string {
  const name = model?.id ?? author?.name ?? (author?.id === role ? undefined : author?.id)
  return `${role[0]?.toUpperCase()}${role.slice(1)}${name === undefined ? '' : ` · ${name}`}`
}

const because = (reason: string | undefined): string => (reason === undefined ? '' : `: ${reason}`)
const words = (text: string): string => `<div class="words" dir="auto">${escapeHtml(text)}</div>`
const code = (text: string): string => `<pre dir="auto">${escapeHtml(text)}</pre>`
const note = (text: string): string => `<p class="note">(${escapeHtml(text)})</p>`
const mark = (text: string, at: string): string =>
  `<section class="mark">\n<h2><span>${escapeHtml(text)}</span><small>${escapeHtml(at)}</small></h2>\n</section>`
const folded = (title: string, body: string): string => `<details>\n<summary>${escapeHtml(title)}</summary>\n${body}\n</details>`
