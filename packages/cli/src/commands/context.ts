import {
  loadMedia,
  type ModelCallSummary,
  type ModelInput,
  modelCalls,
  modelInput,
  prefixShare,
  type Settings,
} from '@colloquy/context'
import {
  ColloquyError,
  type ConversationState,
  isColloquyError,
  type Message,
  type Replayed,
  type WorkingMessage,
} from '@colloquy/core'
import { formatIsoTime } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { describeMessage } from '../describe-action.ts'
import { encoderNamed, encoders } from '../encoders.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import type { Listing } from '../output.ts'
import { printableJson } from '../printable.ts'
import { findSettings } from '../settings.ts'
import { type Fact, writeFacts } from '../show-state.ts'
import { headOf, openStore, type Store } from '../store.ts'
import { parsePosition, timeColumn } from '../times.ts'

export interface ContextOptions {
  readonly at?: string
  readonly call?: string
  readonly calls?: boolean
  readonly api?: string
  readonly redacted?: boolean
  readonly budget?: number
}

/** Shows what a model saw in a call and proves it; without a manifest, what the working set would show it. */
export async function context(command: Context, id: string, options: ContextOptions): Promise<ExitCode> {
  const { output } = command
  if (options.at !== undefined && options.call !== undefined) throw usage('--at and --call name the same thing; give one of them')
  const encoder = options.api === undefined ? undefined : encoderNamed(options.api)
  if (options.api !== undefined && encoder === undefined) {
    throw usage(`There is no api "${options.api}"; there are ${encoders.map((one) => one.id).join(', ')}`)
  }
  const position = options.at === undefined ? undefined : parsePosition('--at', options.at)
  const { settings } = await findSettings(command, options.budget === undefined ? {} : { contextBudget: options.budget })
  await using store = await openStore(command)
  const head = await headOf(store, id)
  if (options.calls) {
    const count = await output.list(callListing, modelCalls(store.log, store.key(id)))
    if (count === 0) output.say('No model call is recorded here.')
    return exitCodes.ok
  }
  const seen = await seenAt(store, id, options.call ?? position ?? head.position)
  if (encoder !== undefined) await writeRequest(command, store, seen, encoder, options)
  else if (output.json) await output.document({ ...documentOf(seen, options), budgetTokens: budgetOf(seen, settings, options) })
  else await writeSeen(command, seen, options, settings)
  sayWhatIsOdd(command, seen)
  return seen.proof === null || !seen.proof.verdict.endsWith('_changed') ? exitCodes.ok : exitCodes.verificationFailed
}

/** What is shown: a recorded call, or the working set where none is recorded. */
interface Seen {
  readonly id: string
  readonly position: number
  readonly proof: ModelInput | null
  /** Of the conversation itself, where it has one. */
  readonly limitTokens: number | null
  readonly request: Pick<ModelInput, 'system' | 'tools' | 'config'>
  readonly messages: readonly Shown[]
}

interface Shown {
  readonly id: string | number
  readonly position: number | null
  readonly role: string
  readonly tokens: number | null
  /** Null: it is not there any more. */
  readonly message: Message | null
  /** Since when it must not be shown. */
  readonly redactedAt?: number
}

async function seenAt(store: Store, id: string, call: string | number): Promise<Seen> {
  try {
    const proof = await modelInput(store.engine, id, call, { encoders })
    const { position } = proof.manifest
    const state = await store.engine.replay(id, { position })
    return { id, position, proof, limitTokens: state.state.context.limitTokens, request: proof, messages: shownOf(proof, state) }
  } catch (error) {
    if (typeof call === 'string' || !isColloquyError(error, 'model_call_not_found')) throw error
    const { state, position } = await store.engine.replay(id, { position: call })
    const messages = state.messages.slice().map((message): Shown => ({ ...factsOf(message), id: message.id, message }))
    const { limitTokens } = state.context
    return { id, position, proof: null, limitTokens, request: { system: null, tools: [], config: {} }, messages }
  }
}

const factsOf = ({ position, role, tokenCount }: WorkingMessage) => ({ position, role, tokens: tokenCount })

function shownOf({ manifest, messages, redactedSince }: ModelInput, { state }: Replayed<ConversationState>): Shown[] {
  const working = new Map(state.messages.slice().map((message) => [message.position, message]))
  return manifest.messages.slice().map((entry, index): Shown => {
    const message = messages[index] ?? null
    const standing = entry.position === null ? undefined : working.get(entry.position)
    const redactedAt = redactedSince.find(({ messageId }) => messageId === message?.id)?.position
    return {
      id: message?.id ?? index,
      position: entry.position,
      role: message?.role ?? standing?.role ?? '',
      tokens: entry.kept ? null : (standing?.tokenCount ?? null),
      message,
      ...(redactedAt !== undefined && { redactedAt }),
    }
  })
}

/** Words that must not be shown further are left out, unless they are asked for. */
function hidden(shown: Shown, { redacted = false }: ContextOptions): Message | null {
  return shown.redactedAt !== undefined && !redacted ? null : shown.message
}

function documentOf(seen: Seen, options: ContextOptions) {
  const { id, position, proof, request, messages } = seen
  return {
    id,
    position,
    callId: proof?.manifest.callId ?? null,
    verdict: proof?.verdict ?? 'not_recorded',
    problems: proof?.problems ?? [],
    encoder: proof?.manifest.encoder ?? null,
    request: proof?.manifest.request ?? null,
    content: proof?.manifest.content ?? null,
    unchanged: proof?.manifest.unchanged ?? null,
    prefixShare: proof && prefixShare(proof.manifest),
    system: request.system,
    tools: request.tools,
    config: request.config,
    messages: messages.map((shown) => ({ ...shown, message: hidden(shown, options) })),
  }
}

async function writeSeen({ output }: Context, seen: Seen, options: ContextOptions, settings: Settings): Promise<void> {
  await writeFacts(output, [...seenFacts(seen), ['budget', budgetText(seen, settings, options)]])
  if (output.isTerminal) await output.write('\n')
  await output.list(messageListing(options), [seen.messages])
}

const verdictWords: Readonly<Record<ModelInput['verdict'], string>> = {
  proved: 'proved: made again from the log, the request has the hash that was stored before it was sent',
  log_changed: 'log_changed: what is stored is not what was appended',
  code_changed: 'code_changed: the log is whole, but this version makes another request of it',
  erased: 'erased: some of the content is no longer there; the rest is what was sent',
  encoder_unknown: 'encoder_unknown: all content is proved, but nothing here writes requests as it was written',
}

function seenFacts({ id, position, proof, request, messages }: Seen): Fact[] {
  if (proof === null) {
    return [
      ['conversation', id],
      ['position', String(position)],
      ['proof', 'none: no model call is recorded here; this is the working set'],
      ['messages', String(messages.length)],
    ]
  }
  const { manifest, verdict, problems } = proof
  const { content, unchanged } = manifest
  return [
    ['conversation', id],
    ['call', `${manifest.callId}, position ${position}`],
    ...(manifest.model ? ([['model', `${manifest.model.provider} ${manifest.model.id}`]] as const) : []),
    ['proof', verdictWords[verdict]],
    ...problems.map((problem): Fact => ['problem', problemText(problem)]),
    ['request', `${number(manifest.request.bytes)} bytes by ${manifest.encoder}, SHA-256 ${manifest.request.hash}`],
    ['system', request.system ?? (manifest.system === null ? 'none' : '(no longer there)')],
    ['tools', manifest.tools.length === 0 ? 'none' : request.tools.map((tool) => tool?.name ?? '(no longer there)').join(', ')],
    ['config', JSON.stringify(request.config)],
    [
      'messages',
      `${content.messages}${content.tokens === undefined ? '' : `, with tools and system ${number(content.tokens)} tokens`}`,
    ],
    [
      'unchanged',
      `${percent(prefixShare(manifest))} since the call before: ${unchanged.messages} messages, ${number(unchanged.bytes)} of ${number(content.bytes)} bytes`,
    ],
  ]
}

/** What the working set may hold: what is asked for, else what the settings say of the model, or of all, and no more than the conversation does. */
function budgetOf({ proof, limitTokens }: Seen, { contextBudget, modelBudgets }: Settings, { budget }: ContextOptions): number {
  const model = proof?.manifest.model?.id
  const ofModel = model !== undefined && Object.hasOwn(modelBudgets, model) ? modelBudgets[model] : undefined
  return budget ?? Math.min(ofModel ?? contextBudget, limitTokens ?? Number.POSITIVE_INFINITY)
}

function budgetText(seen: Seen, settings: Settings, options: ContextOptions): string {
  const tokens = seen.messages.reduce((sum, message) => sum + (message.tokens ?? 0), 0)
  return `${number(tokens)} of ${number(budgetOf(seen, settings, options))} tokens are taken by messages`
}

const problemText = ({ what, position, text }: ModelInput['problems'][number]) =>
  `${what}${position === null ? '' : ` of position ${position}`}: ${text}`

const percent = (share: number) => `${Math.round(share * 100)} %`
const number = (value: number) => value.toLocaleString('en')

function messageListing(options: ContextOptions): Listing<Shown> {
  return {
    columns: [
      { title: 'POSITION', value: ({ position }) => position ?? '-', align: 'right' },
      { title: 'ROLE', value: ({ role }) => role },
      { title: 'TOKENS', value: ({ tokens }) => tokens ?? '-', align: 'right' },
      { title: 'MESSAGE', value: (shown) => wordsOf(shown, options), isRest: true },
    ],
    json: (shown) => shown,
  }
}

function wordsOf(shown: Shown, options: ContextOptions): string {
  if (shown.message === null) return '(no longer there)'
  const message = hidden(shown, options)
  return message === null ? `(redacted at position ${shown.redactedAt})` : describeMessage(message)
}

const callListing: Listing<ModelCallSummary> = {
  columns: [
    { title: 'POSITION', value: ({ position }) => position, align: 'right' },
    timeColumn,
    { title: 'CALL', value: ({ callId }) => callId },
    { title: 'MESSAGES', value: ({ content }) => content.messages, align: 'right' },
    { title: 'BYTES', value: ({ content }) => content.bytes, align: 'right' },
    { title: 'TOKENS', value: ({ content }) => content.tokens ?? '-', align: 'right' },
    { title: 'UNCHANGED', value: (call) => percent(prefixShare(call)), align: 'right' },
    { title: 'ENCODER', value: ({ encoder }) => encoder, isRest: true },
  ],
  json: (call) => ({ ...call, id: call.callId, occurredAt: formatIsoTime(call.occurredAt), prefixShare: prefixShare(call) }),
}

/** The request as the body of an API: the exact bytes where that is what was sent. */
async function writeRequest(
  { output }: Context,
  store: Store,
  seen: Seen,
  encoder: (typeof encoders)[number],
  options: ContextOptions,
): Promise<void> {
  const isRedacted = seen.messages.some(({ redactedAt }) => redactedAt !== undefined)
  if (isRedacted && !options.redacted)
    throw usage('Messages of this request were redacted since; --redacted prints them all the same')
  const { system, tools, config } = seen.request
  const messages = seen.messages.flatMap(({ message }) => (message === null ? [] : [message]))
  const bytes = seen.proof?.manifest.encoder === encoder.id ? seen.proof.bytes : null
  if (bytes !== null) return output.write(`${printableJson(new TextDecoder().decode(bytes))}\n`)
  const request = { system, tools: tools.filter((tool) => tool !== null), messages, config: config ?? {} }
  await output.document(encoder.encode(request, await loadMedia(store.log, store.key(seen.id), messages)))
  output.say(
    `These are not the bytes of a call: it is what ${encoder.id} makes of ${seen.proof ? 'its content' : 'the working set'} now.`,
  )
}

function sayWhatIsOdd({ output }: Context, { id, proof, messages }: Seen): void {
  if (proof === null) output.say('Not proved: calls are recorded by recordModelCall; imported conversations have none.')
  const redacted = messages.filter(({ redactedAt }) => redactedAt !== undefined).length
  if (redacted > 0) output.say(`${redacted} messages were redacted since; the model saw them.`)
  if (proof && proof.verdict !== 'proved') output.next(['verify', id], ['replay', id, '--verify'])
  else if (proof) output.next(['context', id, '--calls'], ['show', id, '--at', proof.manifest.position])
}

const usage = (problem: string) => new ColloquyError('usage_invalid', { problem })
