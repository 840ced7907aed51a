import type { Readable } from 'node:stream'
import {
  circuits,
  classify,
  createToolRegistry,
  type PendingCall,
  reserveCalls,
  resumeTurn,
  runTurn,
  type TurnHandle,
} from '@colloquy/agent'
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
import { lineReader } from '../chat/line-reader.ts'
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
  /** Asked in this order when the model before cannot be had. */
  readonly fallback: readonly string[]
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
 * A conversation with a model, line by line: each line is a turn, one that begins with `/` is a command. Ctrl-C ends the turn that runs;
 * when none does, or it is ending already, it leaves. Whatever happens, everything up to then is in the log, and `chat <id>` goes on with it.
 */
export async function chat(context: Context, id: string | undefined, options: ChatOptions): Promise<ExitCode> {
  const { output, io } = context
  const { system } = options
  const open = io.openModel ?? openModel
  const model = await open(options.model, io.env)
  const fallbacks = await Promise.all(options.fallback.map((named) => open(named, io.env)))
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
  const lines = lineReader(io.stdin as Readable)
  output.say(
    `${printable(conversation.id)} in ${placeName(store.place)}, with ${model.id}. /help lists the commands; Ctrl-C ends a turn, and then the chat.`,
  )

  let running: TurnHandle | undefined
  const approve = async ({ name, args }: PendingCall, signal: AbortSignal) => {
    const answer = await lines.ask(() => output.say(`${printable(name)} ${printable(args.raw)}: may it run? (y/n)`), signal)
    const isApproved = answer !== undefined && /^y(es)?$/i.test(answer.trim())
    return isApproved ? { isApproved } : { isApproved, reason: 'the user said no' }
  }
  const turnOptions = {
    model,
    fallbacks,
    circuits: circuits(),
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
      } catch (error) {
        throw failureOf(error, session.conversation.getState().manifest.last?.model ?? model)
      } finally {
        running = undefined
      }
    },
  }
  let ending: TurnHandle | undefined
  const release = io.onInterrupt?.(() => {
    if (running !== undefined && running !== ending) {
      ending = running
      void running.abort('Ctrl-C')
      return
    }
    // The next one is the process's: it ends what does not end by itself.
    release?.()
    lines.close()
  })
  try {
    if (conversation.getState().turn.current !== null) {
      output.say('A turn was cut off here; it goes on.')
      await told(context, () => session.run(null))
    }
    for (;;) {
      const line = (await lines.ask(() => prompt(context)))?.trim()
      if (line === undefined) {
        if (output.isTerminal) io.stderr.write('\n')
        break
      }
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

/** What a provider's client throws has its words and no next step; ours has both. */
function failureOf(error: unknown, { provider, id }: { readonly provider: string; readonly id: string }): unknown {
  if (isColloquyError(error) || !(error instanceof Error && 'status' in error)) return error
  const { kind, problem } = classify(error)
  return new ColloquyError('model_failed', { provider, model: id, kind, problem }, { cause: error })
}

/** What goes wrong in a line does not end the chat. */
async function told({ output, options }: Context, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isColloquyError(error)) throw error
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
