import type { Message, OpenedEnvelope, Part } from '@colloquy/core'
import { formatIsoTime } from '../iso-time.ts'
import { type Transcript, type TranscriptEntry, transcriptOf } from './transcript.ts'

/** Results longer than this are folded. */
const unfoldedLines = 12

/** The transcript as Markdown for people: who said what and when, calls with their results, reasoning and long results folded. */
export function exportMarkdown(envelopes: Iterable<OpenedEnvelope>): string {
  const transcript = transcriptOf(envelopes)
  const names = new Map<string, string>()
  const sections = transcript.entries.map((entry) => section(entry, names))
  return `${[heading(transcript), ...sections].join('\n\n')}\n`
}

function heading({ title, conversationId, parent, source, first, last }: Transcript): string {
  const facts = [
    `Conversation \`${conversationId}\``,
    ...(source ? [`Imported from ${source.format}${source.id === undefined ? '' : ` session \`${source.id}\``}`] : []),
    ...(parent
      ? [
          `A ${parent.relation} of \`${parent.conversationId}\`${parent.position === undefined ? '' : `, after position ${parent.position}`}`,
        ]
      : []),
    ...(first && last
      ? [
          `Positions ${first.position} to ${last.position}, ${formatIsoTime(first.occurredAt)} to ${formatIsoTime(last.occurredAt)}`,
        ]
      : []),
  ]
  return [`# ${oneLine(title ?? conversationId)}`, '', ...facts.map((fact) => `- ${fact}`)].join('\n')
}

function section(entry: TranscriptEntry, names: Map<string, string>): string {
  const at = `${formatIsoTime(entry.occurredAt)} · #${entry.position}`
  switch (entry.kind) {
    case 'message': {
      const title = `## ${speaker(entry.message)} · ${at}`
      if (entry.hidden) return `${title}\n\n*(${entry.hidden})*`
      return [title, ...entry.message.parts.map((part) => partText(part, names))].join('\n\n')
    }
    case 'compaction': {
      const { covered, before, after, summary } = entry.compaction
      const line =
        `**Context compacted** · ${at}: ${covered.messageIds.length} messages, ${before.tokens} tokens before, ${after.tokens} after. ` +
        'The messages above are still in the log.'
      const words = summary
        ? folded('Summary', quoted(summary.message.parts.map((part) => partText(part, names)).join('\n\n')))
        : undefined
      return ['---', line, words ?? (entry.hidden ? `*(${entry.hidden})*` : '*(no summary)*'), '---'].join('\n\n')
    }
    case 'compactionUndone':
      return `**Compaction at #${entry.compactionPosition} undone** · ${at}`
    case 'error': {
      const { kind, problem, attempt, retryInMs } = entry.error
      const retry = retryInMs === undefined ? '' : `, attempt ${attempt ?? '?'}, again in ${Math.round(retryInMs)} ms`
      return `> **Error** (${kind}${retry}) · ${at}\n${quoted(problem)}`
    }
    case 'interruption':
      return `> **Turn interrupted**${because(entry.reason)} · ${at}`
    case 'cleared':
      return `**Context cleared**${because(entry.reason)} · ${at}`
    case 'erased':
      return `*(${entry.actionType} at #${entry.position}: erased)*`
    default:
      return entry satisfies never
  }
}

const because = (reason: string | undefined): string => (reason === undefined ? '' : `: ${oneLine(reason)}`)

function speaker({ role, author, model, meta }: Message): string {
  const roleName = `${role[0]?.toUpperCase()}${role.slice(1)}`
  const kind =
    typeof meta?.kind === 'string' && meta.kind !== 'prompt' && role === 'user' ? meta.kind.replace('_', ' ') : undefined
  const detail = model?.id ?? author?.name ?? kind
  return detail === undefined ? roleName : `${roleName} (${oneLine(detail)})`
}

/** `names` remembers what the tools of the calls are called, so that results can say it. */
function partText(part: Part, names: Map<string, string>): string {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return part.text
    case 'reasoning': {
      const words = part.text || part.summary?.join('\n\n')
      return words ? folded('Reasoning', quoted(words)) : '*(reasoning that only its provider can read)*'
    }
    case 'tool_call':
      names.set(part.callId, part.name)
      return `**Call** \`${oneLine(part.name)}\` (\`${part.callId}\`)\n\n${fenced(argumentsText(part), 'json')}`
    case 'tool_result': {
      const name = names.get(part.callId)
      const title = `**Result** of ${name === undefined ? '' : `\`${oneLine(name)}\` `}(\`${part.callId}\`): ${part.status}`
      const body = part.content.map((inner) => (inner.type === 'text' ? fenced(inner.text) : partText(inner, names))).join('\n\n')
      return `${title}\n\n${body.split('\n').length > unfoldedLines ? folded('Content', body) : body}`
    }
    case 'media':
      return `*(${part.kind}, ${part.mediaType}, ${mediaPlace(part.source)})*`
    case 'compaction':
      return part.content ?? '*(a summary that only its provider can read)*'
    case 'custom':
      return folded(oneLine(part.kind), fenced(JSON.stringify(part.payload, null, 2), 'json'))
    case 'approval':
      return `**Approval** of \`${part.callId}\`: ${part.decision ?? 'asked for'}`
    case 'citation_source':
      return `*(source: ${oneLine(part.title ?? part.url ?? part.sourceId)})*`
    case 'tool_change':
      return `*(tool ${part.change === 'add' ? 'added' : 'removed'}: \`${oneLine(JSON.stringify(part.ref))}\`)*`
    case 'control':
      return `*(${oneLine(part.kind)})*`
    default:
      return part satisfies never
  }
}

function argumentsText({ args }: Extract<Part, { type: 'tool_call' }>): string {
  return args.json === undefined ? args.raw : JSON.stringify(args.json, null, 2)
}

function mediaPlace(source: Extract<Part, { type: 'media' }>['source']): string {
  switch (source.kind) {
    case 'hash':
      return `${source.bytes} bytes, sha256 ${source.hash}`
    case 'url':
      return source.url
    case 'providerFile':
      return `file ${source.fileId} of ${source.provider}`
    case 'text':
      return `${source.text.length} characters of text`
    default:
      return source satisfies never
  }
}

/** A fence longer than any run of backticks inside, so that nothing in a result can end it. */
function fenced(text: string, language = ''): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}${language}\n${text.replace(/\n$/, '')}\n${fence}`
}

const folded = (title: string, body: string): string => `<details>\n<summary>${escaped(title)}</summary>\n\n${body}\n\n</details>`

/** Quoted, so that words which look like the end of a fold do not end it. */
const quoted = (text: string): string =>
  escaped(text)
    .split('\n')
    .map((line) => (line === '' ? '>' : `> ${line}`))
    .join('\n')

const escaped = (text: string): string => text.replaceAll('<', '&lt;')
const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim()
