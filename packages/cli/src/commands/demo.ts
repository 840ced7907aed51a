import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  budget,
  chronological,
  compact,
  countedMessage,
  estimateCounter,
  extractiveSummariser,
  undoCompaction,
} from '@colloquy/context'
import {
  ColloquyError,
  type ConversationState,
  contextCompacted,
  isColloquyError,
  messageAdded,
  type OpenedEnvelope,
  openEnvelope,
  textMessage,
} from '@colloquy/core'
import { type Conversation, createEngine, type Engine, sha256, uuidv7, verifyChain, verifyReplay } from '@colloquy/engine'
import { importFile } from '@colloquy/formats'
import type { Context } from '../context.ts'
import { runDemoTurn } from '../demo-turn.ts'
import { describeAction, describeMessage } from '../describe-action.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { cutTo, printable } from '../printable.ts'
import { factsOf } from '../show-state.ts'
import { openStore, placeName, type Store } from '../store.ts'

const sample = new URL('../../samples/claude-code.jsonl', import.meta.url)

/** What a conversation goes through, from a file to its proof, on a store that is thrown away unless `--db` names one. */
export async function demo(context: Context): Promise<ExitCode> {
  const startedAt = performance.now()
  const tell = narrator(context)
  await using place = await demoPlace(context)
  await using store = await openStore({ ...context, options: { ...context.options, db: place.db } }, 'create')

  await tell.line(tell.strong('Colloquy: conversations as a log of actions, on Postgres'))
  const where =
    store.place.kind === 'postgres' ? 'The database is' : 'No server, network or key: the database runs inside this process, in'
  await tell.line(`${where} ${placeName(store.place)}`)

  await tell.heading('1. Import a conversation')
  const id = await importSample(store, tell)

  await tell.heading('2. Its state is a fold over its log')
  const { state, position, occurredAt } = await store.engine.replay(id)
  const facts = factsOf(id, { state, position, occurredAt })
  for (const [label, text] of facts) await tell.line(`${label.padEnd(13)} ${printable(text)}`)

  // The limit leaves room for what is said below, and not for a build log.
  const limitTokens = state.budget.used.messageTokens + 1_000
  await using engine = createEngine({ log: store.log, tenant: store.tenant, middleware: [budget({ limitTokens })] })
  const conversation = await engine.open(id)

  await tell.heading('3. Dispatch: first it is stored, then subscribers hear it')
  const heard: OpenedEnvelope[] = []
  const subscription = conversation.envelopes$.subscribe((envelope) => heard.push(envelope))
  const { position: dispatchedAt } = await conversation.dispatch(
    userMessage('Thanks. Please add a note about this to the changelog.'),
  )
  await tell.line(`dispatched    messageAdded, stored at position ${dispatchedAt}`)
  for (const envelope of heard.splice(0)) await tell.envelope('heard', envelope)

  await tell.heading('4. A turn: the provider refuses once, then two tools run side by side')
  await showTurnOf(conversation, tell)
  heard.splice(0)

  await tell.heading('5. A compaction: the log keeps what the model is not shown any more')
  await showOwnCompaction(engine, conversation, tell)
  heard.splice(0)

  await tell.heading('6. A budget refuses before anything is stored')
  const before = conversation.position
  const usedTokens = conversation.getState().budget.used.messageTokens
  await tell.line(`budget        ${usedTokens} of ${limitTokens} tokens are used; the next message takes 5000`)
  await tell.line(
    `refused       ${await refusalOf(conversation.dispatch(userMessage('Here is the whole build log: ...', 5000)))}`,
  )
  for (const envelope of heard.splice(0)) await tell.envelope('stored', envelope)
  await tell.line(`not stored    the message: the log goes from ${before} to ${conversation.position}, and that is the refusal`)
  subscription.unsubscribe()

  await tell.heading('7. Replay to any position')
  await showCompaction(store, id, tell)

  await tell.heading('8. Prove it')
  const isProven = await prove(store, id, tell)

  await tell.heading(`Done in ${((performance.now() - startedAt) / 1000).toFixed(1)} s. Try it on a store that stays`)
  const isKept = store.place.kind !== 'memory' && context.options.db !== undefined
  const importIt = ['import', relative(process.cwd(), fileURLToPath(sample))]
  const commands = [['list'], ['show', id, '--at', Math.ceil(position / 2)], ['replay', id, '--verify']]
  for (const command of isKept ? commands : [importIt, ...commands]) await tell.line(context.output.command(command))
  return isProven ? exitCodes.ok : exitCodes.verificationFailed
}

/** Not `COLLOQUY_DB`: a demonstration has no business in a store that somebody uses. */
async function demoPlace({ options }: Context): Promise<{ db: string } & AsyncDisposable> {
  if (options.db !== undefined) return { db: options.db, async [Symbol.asyncDispose]() {} }
  const parent = await mkdtemp(join(tmpdir(), 'colloquy-demo-'))
  return {
    db: join(parent, 'store'),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  }
}

/** @returns the id of the longest conversation in the sample */
async function importSample({ engine }: Store, tell: Narrator): Promise<string> {
  const file = importFile({ source: 'sample', content: await readFile(sample), sha256 })
  const results = await engine.importConversation(file.conversations)
  const appended = results.reduce((sum, result) => sum + result.appended, 0)
  await tell.line(
    `A Claude Code session of ${file.records} records became ${appended} actions in ${results.length} conversations` +
      `${appended === 0 ? ': it was imported before, and twice is once' : ''}.`,
  )
  for (const { line, recordType, reason } of file.skipped) await tell.line(`line ${line}, ${recordType}, became none: ${reason}`)
  const longest = results.toSorted((a, b) => b.position - a.position)[0]
  if (longest === undefined)
    throw new ColloquyError('import_refused', { source: 'sample', line: 1, problem: 'it holds no conversation' })
  return longest.conversationId
}

function userMessage(text: string, tokenCount?: number) {
  const counted = countedMessage(estimateCounter, textMessage(uuidv7(), 'user', text))
  return messageAdded({ ...counted, ...(tokenCount !== undefined && { tokenCount }) })
}

async function refusalOf(dispatched: Promise<unknown>): Promise<string> {
  try {
    await dispatched
  } catch (error) {
    if (isColloquyError(error, 'budget_exceeded')) return `${error.code}: ${error.message}`
    throw error
  }
  return 'nothing'
}

/** What the log has of a turn, and how long its tools took together. */
async function showTurnOf(conversation: Conversation<ConversationState>, tell: Narrator): Promise<void> {
  const stored: OpenedEnvelope[] = []
  const at = new Map<string, number[]>()
  const subscription = conversation.envelopes$.subscribe((envelope) => {
    stored.push(envelope)
    at.set(envelope.type, [...(at.get(envelope.type) ?? []), performance.now()])
  })
  const { outcome, metrics } = await runDemoTurn(conversation)
  subscription.unsubscribe()
  for (const envelope of stored) await tell.envelope(envelope.type === 'errorRecorded' ? 'retried' : 'stored', envelope)
  const [started, ended] = [at.get('toolStarted') ?? [], at.get('toolSucceeded') ?? []]
  const spanMs = Math.max(...ended) - Math.min(...started)
  await tell.line(
    `${outcome.padEnd(13)} ${metrics.modelCalls} model calls, ${metrics.retries} retry; ${metrics.toolCalls} tools of 300 ms took ${spanMs < 600 ? 'as long as one' : `${Math.round(spanMs)} ms`}`,
  )
}

/** Made, and taken back: the transcript is the same before and after. */
async function showOwnCompaction(
  engine: Engine<ConversationState>,
  conversation: Conversation<ConversationState>,
  tell: Narrator,
): Promise<void> {
  const before = conversation.getState()
  const result = await compact(conversation, {
    strategy: chronological(),
    summariser: extractiveSummariser({ counter: estimateCounter }),
    counter: estimateCounter,
    targetTokens: Math.ceil(before.context.usedTokens * 0.6),
  })
  if (result.status !== 'compacted') return tell.line(`nothing to do: ${result.status}`)
  const { coveredIds, before: from, after } = result
  await tell.line(
    `compacted     ${coveredIds.length} messages by ${result.strategy}: ${from.tokens} to ${after.tokens} tokens, without a model`,
  )
  const summary = result.summaryText?.split('\n').find((line) => line.trim() !== '') ?? ''
  await tell.cut(`summary       ${printable(summary)}`)
  const { position } = await undoCompaction(engine, conversation.id)
  const { messages, context } = conversation.getState()
  await tell.line(`taken back    at position ${position}: ${messages.length} messages, ${context.usedTokens} tokens again`)
}

/** The state before and after the first compaction, and that what it covers is not lost. */
async function showCompaction({ log, key, engine }: Store, id: string, tell: Narrator): Promise<void> {
  for await (const page of log.read(key(id))) {
    const compaction = page.map(openEnvelope).find(({ action }) => contextCompacted.match(action))
    if (compaction === undefined || !contextCompacted.match(compaction.action)) continue
    const { position } = compaction
    for (const [label, at] of [
      ['before', position - 1],
      ['after', position],
    ] as const) {
      const { messages, context } = (await engine.replay(id, { position: at })).state
      const size = `${messages.length} ${messages.length === 1 ? 'message' : 'messages'}, ${context.usedTokens} tokens`
      await tell.line(`${label.padEnd(13)} position ${at}: ${size}`)
      const [first] = messages
      if (first) await tell.cut(`              the first: ${first.role}: ${describeMessage(first)}`)
    }
    await tell.envelope('between', compaction)
    const { covered } = compaction.action.payload
    const [from] = covered.ranges[0] ?? [1]
    for await (const [first] of log.read(key(id), { from, to: from })) {
      if (first) await tell.envelope('still there', openEnvelope(first))
    }
    await tell.line(
      `              and the other ${covered.messageIds.length - 1} that the compaction covers: the log keeps them all`,
    )
    return
  }
}

async function prove({ log, key, engine }: Store, id: string, tell: Narrator): Promise<boolean> {
  const chain = await verifyChain(log, key(id), sha256)
  await tell.line(
    `hash chain    ${chain.ok ? 'whole' : 'broken'}: ${chain.positions} envelopes, each bound to the one before; it ends in ${chain.headHash.slice(0, 16)}…`,
  )
  const replayed = await verifyReplay(log, key(id), engine.reducer, sha256)
  await tell.line(
    `replay        ${replayed.verdict}: every kept state hash (${replayed.compared}) is reached again; the last state is ${replayed.stateHash.slice(0, 16)}…`,
  )
  return chain.ok && replayed.verdict === 'same'
}

type Narrator = ReturnType<typeof narrator>

function narrator({ output }: Context) {
  const line = (text: string) => output.write(`${text}\n`)
  const cut = (text: string) => line(cutTo(`  ${text}`, Math.max(80, output.width)))
  return {
    line: (text: string) => line(`  ${text}`),
    cut,
    heading: (text: string) => line(`\n${output.paint('bold', text)}`),
    strong: (text: string) => output.paint('bold', text),
    envelope: (label: string, { position, type, action }: OpenedEnvelope) =>
      cut(`${label.padEnd(13)} ${position} ${type} ${describeAction(action)}`),
  }
}
