/** One answer while it arrives: what all decoders do with it. A decoder reads its API; this names, counts, orders and ends. */
import type { Json, JsonObject, Media, Message, Part, Usage } from '@colloquy/core'
import { asId } from '../codecs/fields.ts'
import { type MediaShelf, mediaShelf } from '../importers/media-shelf.ts'
import type { Notice, PartDelta, Stop, StreamEvent, StreamOptions } from './stream-event.ts'

/** What the answers of one decoder share. */
export interface Session {
  readonly provider: string
  readonly api: string
  readonly emit: (event: StreamEvent) => void
  readonly notice: (kind: Notice['kind'], problem: string, raw: Json) => void
  readonly openAnswer: (head: AnswerHead) => Answer
  /** What is kept for open answers, in UTF-16 units and in parts. */
  readonly held: () => { readonly chars: number; readonly parts: number }
}

interface AnswerHead {
  readonly responseId: string | undefined
  readonly model: string | undefined
  /** Microseconds since 1970, by the provider's clock. */
  readonly createdAt?: number | undefined
  readonly choice?: number
}

export interface Answer {
  readonly messageId: string
  /** Of parts that go back to who made them. */
  readonly origin: { readonly provider: string; readonly api: string }
  /** Takes a file out of a part. Undefined when the text is not canonical base64: then it must stay where it is. */
  readonly putMedia: MediaShelf['put']
  readonly isEnded: () => boolean
  readonly hasParts: () => boolean
  /** Counts what the decoder keeps beside the texts of parts. */
  readonly hold: (chars: number) => void
  /** Later events may know what the first did not. */
  readonly identify: (head: Partial<AnswerHead>) => void
  readonly open: (
    kind: Part['type'],
    options?: { readonly place?: number; readonly callId?: string; readonly name?: string },
  ) => OpenPart
  /** A part that comes whole. */
  readonly add: (part: Part, place?: number) => void
  readonly report: (usage: Usage) => void
  /** The first reason counts: some servers send a second, plainer one. */
  readonly stop: (stop: Stop) => void
  /** What the provider says of the answer beside parts, usage and stop: kept in `meta`, by its name there. */
  readonly keep: (fields: JsonObject) => void
  readonly end: (how?: { readonly interrupted?: boolean }) => void
}

export interface OpenPart {
  readonly kind: Part['type']
  /** The text of its deltas, summaries apart. */
  readonly text: () => string
  readonly append: (delta: PartDelta) => void
  /** Appends what `whole` has more than the deltas brought; when they differ, the whole one is right. */
  readonly complete: (kind: TextKind, whole: string) => void
  readonly finish: (part: Part) => void
}

export type TextKind = 'text' | 'reasoning' | 'arguments' | 'input' | 'refusal' | 'compaction'

export function createSession(
  source: { readonly provider: string; readonly api: string },
  { sha256, ids }: Pick<StreamOptions, 'sha256' | 'ids'>,
  emit: (event: StreamEvent) => void,
): Session {
  let answers = 0
  let heldChars = 0
  let heldParts = 0
  let lastId: string | undefined

  const nameAnswer = (responseId: string | undefined, choice: number): string => {
    const number = answers++
    heldParts++
    const own = asId(choice === 0 ? responseId : responseId && `${responseId}#${choice}`)
    const derived = own === undefined || own === lastId ? `answer-${number + 1}` : own
    lastId = ids === undefined ? derived : ids({ responseId, choice, number })
    return lastId
  }

  const openAnswer = (head: AnswerHead): Answer => {
    let { responseId, model, createdAt } = head
    const choice = head.choice ?? 0
    const messageId = nameAnswer(responseId, choice)
    const media = mediaShelf(sha256)
    const done: { readonly place: number; readonly number: number; readonly part: Part }[] = []
    let parts = 0
    let ownChars = 0
    let usage: Usage | undefined
    let stop: Stop | undefined
    let meta: JsonObject = {}
    let isEnded = false

    const hold = (chars: number): void => {
      ownChars += chars
      heldChars += chars
    }

    const open: Answer['open'] = (kind, { place, callId, name } = {}) => {
      const number = parts++
      heldParts++
      let text = ''
      let isDone = false
      emit({
        type: 'partStarted',
        messageId,
        part: number,
        kind,
        ...(callId !== undefined && { callId }),
        ...(name !== undefined && { name }),
      })
      const append: OpenPart['append'] = (delta) => {
        if ('text' in delta && delta.kind !== 'summary') text += delta.text
        hold('text' in delta ? delta.text.length : JSON.stringify(delta).length)
        emit({ type: 'partDelta', messageId, part: number, delta })
      }
      return {
        kind,
        text: () => text,
        append,
        complete: (textKind, whole) => {
          if (!whole.startsWith(text)) {
            notice('contradiction', `the deltas of part ${number} gave another text`, text)
            text = whole
          } else if (whole.length > text.length) append({ kind: textKind, text: whole.slice(text.length) })
        },
        finish: (part) => {
          if (isDone) return
          isDone = true
          hold(Math.max(0, JSON.stringify(part).length - text.length))
          done.push({ place: place ?? number, number, part })
          emit({ type: 'partDone', messageId, part: number, value: part })
        },
      }
    }

    emit({
      type: 'answerStarted',
      messageId,
      ...source,
      ...(model !== undefined && { model }),
      ...(responseId !== undefined && { responseId }),
      choice,
    })

    return {
      messageId,
      origin: source,
      putMedia: (mediaType, base64) => {
        hold(base64.length)
        return media.put(mediaType, base64)
      },
      isEnded: () => isEnded,
      hasParts: () => parts > 0,
      hold,
      identify: (found) => {
        responseId ??= found.responseId
        model = found.model ?? model
        createdAt ??= found.createdAt
      },
      open,
      add: (part, place) => {
        const callId = part.type === 'tool_call' ? { callId: part.callId, name: part.name } : {}
        open(part.type, { ...(place !== undefined && { place }), ...callId }).finish(part)
      },
      report: (reported) => {
        usage = reported
        emit({ type: 'usageReported', messageId, usage })
      },
      stop: (found) => {
        if (stop !== undefined) return
        stop = found
        emit({ type: 'answerStopped', messageId, stop })
      },
      keep: (fields) => {
        meta = { ...meta, ...fields }
      },
      end: ({ interrupted = false } = {}) => {
        if (isEnded) return
        isEnded = true
        heldChars -= ownChars
        heldParts -= parts + 1
        if (stop === undefined && interrupted) stop = { unified: 'interrupted', raw: null }
        const message: Message = {
          v: 1,
          id: messageId,
          role: 'assistant',
          parts: done.sort((a, b) => a.place - b.place || a.number - b.number).map(({ part }) => part),
          ...(createdAt !== undefined && { createdAt }),
          model: {
            ...source,
            id: model ?? 'unknown',
            ...(responseId !== undefined && { responseId }),
            ...(stop !== undefined && { stop }),
            ...(usage !== undefined && { usage }),
          },
          ...(Object.keys(meta).length > 0 && { meta }),
        }
        done.length = 0
        const files: readonly Media[] = media.all()
        emit({ type: 'answerEnded', messageId, message, media: files, ...(interrupted && { interrupted }) })
      },
    }
  }

  const notice: Session['notice'] = (kind, problem, raw) => emit({ type: 'noticed', notice: { kind, problem, raw } })
  return { ...source, emit, notice, openAnswer, held: () => ({ chars: heldChars, parts: heldParts }) }
}
