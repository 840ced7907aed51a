import { createInterface } from 'node:readline/promises'
import type { Readable } from 'node:stream'
import { createToolRegistry, type PendingCall, reserveCalls, resumeTurn, runTurn, type TurnHandle } from '@colloquy/agent'
import {
  autoCompaction,
  budget,
  type ContextWindow,
  compact,
  extractiveSummariser,
  prefixShare,
  windowOf,
} from '@colloquy/context'
import { ColloquyError, type ConversationState, conversationStarted, isColloquyError } from '@colloquy/core'
import { type Conversation, createEngine, type Engine, uuidv7 } from '@colloquy/engine'
import { openModel } from '../chat/chat-models.ts'
import { chatTools } from '../chat/chat-tools.ts'
import { showTurn } from '../chat/show-turn.ts'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes, failureText } from '../exit.ts'
import type { Output } from '../output.ts'
import { printable } from '../printable.ts'
import { findSettings } from '../settings.ts'
import { factsOf, writeFacts } from '../show-state.ts'
import { openStore, placeName } from '../store.ts'
import { parsePosition } from '../times.ts'

export interface ChatOptions {
  readonly model: string
  readonly system?: string
}

type Talk = Conversation<ConversationState>

/** What the lines of a chat are said to. */
interface Session {
  readonly output: Output
  readonly engine: Engine<ConversationState>
  readonly window: ContextWindow
  readonly run: (input: string | null) => Promise<void>
  conversation: Talk
}

/**
 * A conversation with a model, line by line: each line is a turn, one that begins with `/` is a command. Ctrl-C ends the turn that runs,
 * and leaves when none does. Whatever happens, everything up to then is in the log, and `chat <id>` goes on with it.
 */
export async function chat(context: Context, id: string | undefined, { model: named, system }: ChatOptions): Promise<ExitCode> {
  const { output, io } = context
  const model = await (io.openModel ?? openModel)(named, io.env)
  const { settings } = await findSettings(context)
  await using store = await openStore(context, 'create')
  const window = windowOf(settings)
  await using engine = createEngine({
    log: store.log,
    tenant: store.tenant,
    middleware: [budget({ prices: settings.prices })],
    effects: [autoCompaction({ window })],
    onError: (error, where) => output.say(`${where}: ${error instanceof Error ? error.message : String(error)}`),
  })
  const conversation = await engine.open(id ?? uuidv7())
  if (conversation.position === 0) await conversation.dispatch(conversationStarted({}))
  const lines = createInterface({ input: io.stdin as Readable, terminal: false })
  const ask = lines[Symbol.asyncIterator]()
  output.say(
    `${printable(conversation.id)} in ${placeName(store.place)}, with ${model.id}. /help lists the commands; Ctrl-C ends a turn, and then the chat.`,
  )

  let running: TurnHandle | undefined
  const approve = async ({ name, args }: PendingCall) => {
    output.say(`${printable(name)} ${printable(args.raw)}: may it run? (y/n)`)
    const { value, done } = await ask.next()
    const isApproved = !done && /^y(es)?$/i.test(value.trim())
    return isApproved ? { isApproved } : { isApproved, reason: 'the user said no' }
  }
  const turnOptions = {
    model,
    tools: createToolRegistry(chatTools(store.log, process.cwd())),
    approve,
    hooks: { reserve: reserveCalls({ prices: settings.prices }) },
    // A fork may begin in the middle of a turn, which nobody goes on with there.
    whenBusy: 'interrupt' as const,
    ...(system !== undefined && { system }),
  }
  const session: Session = {
    output,
    engine,
    window,
    conversation,
    async run(input) {
      running =
        input === null ? await resumeTurn(session.conversation, turnOptions) : runTurn(session.conversation, input, turnOptions)
      try {
        await showTurn(output, session.conversation, running)
      } finally {
        running = undefined
      }
    },
  }
  const release = io.onInterrupt?.(() => {
    if (running) void running.abort('Ctrl-C')
    else lines.close()
  })
  try {
    if (conversation.getState().turn.current !== null) {
      output.say('A turn was cut off here; it goes on.')
      await told(context, () => session.run(null))
    }
    for (prompt(context); ; prompt(context)) {
      const { value, done } = await ask.next()
      if (done) break
      const line = value.trim()
      if (line === '/quit' || line === '/exit') break
      if (line !== '') await told(context, () => (line.startsWith('/') ? obey(session, line) : session.run(line)))
    }
  } finally {
    release?.()
    lines.close()
  }
  output.next(['chat', session.conversation.id], ['show', session.conversation.id], ['context', session.conversation.id])
  return exitCodes.ok
}

/** On stderr: what goes on in a pipe is the answers alone. */
function prompt({ io, output }: Context): void {
  if (output.isTerminal) io.stderr.write(output.paint('bold', '> '))
}

/** What goes wrong in a line does not end the chat. */
async function told({ output, options }: Context, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isColloquyError(error) && !(error instanceof Error && 'status' in error)) throw error
    output.say(failureText(error, { json: options.json ?? false, debug: options.debug ?? false }))
  }
}

const help = `/compact        make the working set smaller now; everything stays in the log
/context        how full the window is, and what the last call was sent
/budget         limits and what is used
/fork <N>       go on in a conversation of its own, as after position N
/quit           leave (or Ctrl-D)`

async function obey(session: Session, line: string): Promise<void> {
  const { output, conversation, engine, window } = session
  const [command, ...words] = line.split(/\s+/)
  const state = conversation.getState()
  switch (command) {
    case '/help':
      return output.write(`${help}\n`)
    case '/compact': {
      const strategy = window.strategyFor(state)
      if (strategy === null) return output.write('compaction is switched off\n')
      const result = await compact(conversation, {
        strategy,
        summariser: extractiveSummariser({ counter: window.counter }),
        counter: window.counter,
        targetTokens: Math.min(window.targetTokens(state), Math.ceil(state.context.usedTokens * 0.6)),
      })
      if (result.status === 'superseded') return output.write('another process compacted at the same time\n')
      if (result.status !== 'compacted') return output.write(`${state.context.usedTokens} tokens: there is nothing to compact\n`)
      const { before, after, position } = result
      return output.write(`${before.tokens} to ${after.tokens} tokens, at position ${position}\n`)
    }
    case '/context': {
      const { last } = state.manifest
      return writeFacts(output, [
        ['tokens', `${state.context.usedTokens} of ${window.maxContextTokens(state)}`],
        ['messages', `${state.messages.length} in the working set`],
        ['compactions', `${state.context.compactions}`],
        ...(last
          ? ([['last call', `${last.request.bytes} bytes, ${percent(prefixShare(last))} as in the call before`]] as const)
          : []),
      ])
    }
    case '/budget': {
      const facts = factsOf(conversation.id, { state, position: conversation.position, occurredAt: 0 })
      const told = facts.filter(([label]) => label === 'budget' || label === 'usage')
      return told.length === 0 ? output.write('no limits, and nothing is used\n') : writeFacts(output, told)
    }
    case '/fork': {
      const position = parsePosition('/fork', words[0] ?? '')
      session.conversation = await engine.fork(conversation.id, position)
      return output.write(`now in ${session.conversation.id}\n`)
    }
    default:
      throw new ColloquyError('usage_invalid', { problem: `There is no command ${command}; /help lists them` })
  }
}

const percent = (share: number | null): string => (share === null ? '0 %' : `${Math.round(share * 100)} %`)
