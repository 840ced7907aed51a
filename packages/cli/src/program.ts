/** The commands and their options. Each command is loaded when it is called: `--help` and `--version` need none of them. */
import { readFileSync } from 'node:fs'
import { styleText } from 'node:util'
import { Argument, Command, CommanderError, Option } from 'commander'
import type { ChatOptions } from './commands/chat.ts'
import type { CompactCommandOptions } from './commands/compact.ts'
import type { MigrateOptions } from './commands/migrate.ts'
import { strategyNames } from './compaction-strategy-names.ts'
import type { Context, GlobalOptions } from './context.ts'
import { type ExitCode, exitCodeOf, exitCodes, failureText, OutputClosed } from './exit.ts'
import { type ExportFormat, exportFormats } from './export-formats.ts'
import { commandName, type Io, makeOutput, type WhenClosed } from './output.ts'

/** Runs the command that `argv` asks for. Never throws, and never ends the process. @returns the exit code */
export async function run(argv: readonly string[], io: Io): Promise<ExitCode> {
  const style = { json: argv.includes('--json'), debug: argv.includes('--debug') }
  let code: ExitCode = exitCodes.ok
  const program = makeProgram(io, (result) => {
    code = result
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok
    const isHelp = error instanceof CommanderError && error.code === 'commander.help'
    // No command at all.
    if (isHelp && program.args.length === 0) {
      program.outputHelp()
      return exitCodes.ok
    }
    if (io.signal.aborted) return exitCodes.interrupted
    // Otherwise the help of a command that there is not was asked for.
    const problem = isHelp ? `unknown command '${program.args.at(1) ?? ''}'` : (error as Error).message
    const failure = error instanceof CommanderError ? await usageError(problem) : error
    if (!(failure instanceof OutputClosed)) io.stderr.write(`${failureText(failure, style)}\n`)
    return exitCodeOf(failure)
  }
}

function makeProgram(io: Io, done: (code: ExitCode) => void): Command {
  const program = new Command('colloquy')
    .description('An event-sourced state engine for AI conversations: import, replay, compare and verify them.')
    .version(ownVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print the help of a command')
    .option('--db <store>', 'a directory, postgres://... or memory: (COLLOQUY_DB; default ./.colloquy)')
    .option(
      '--read-url <url>',
      'a standby, postgres://..., for what only reads: show, replay, diff, analyze, verify, export, list (COLLOQUY_READ_URL, unless --db is given)',
    )
    .option('--tenant <id>', 'whose conversations (COLLOQUY_TENANT; default "default")')
    .option(
      '--config <file>',
      'settings from this file (COLLOQUY_CONFIG; default ./colloquy.config.ts, .js, .json, .yaml or .toml)',
    )
    .option('--json', 'print data and errors as JSON; of demo, chat and export, errors only')
    .option('-q, --quiet', 'print no words beside the data')
    .option('--debug', 'print the stack of an error')
    .exitOverride()
    .showHelpAfterError(false)
    .configureHelp({
      showGlobalOptions: true,
      styleTitle: (text) => styleText('bold', text, { stream: io.stdout }),
      styleCommandText: (text) => styleText('cyan', text, { stream: io.stdout }),
      styleSubcommandTerm: (text) => styleText('cyan', text, { stream: io.stdout }),
      styleOptionTerm: (text) => styleText('green', text, { stream: io.stdout }),
    })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // Usage errors are printed like all others, by `run`.
      writeErr: () => {},
      getOutHelpWidth: () => io.stdout.columns || 100,
      getOutHasColors: () => true,
    })
    .addHelpText('before', examples(io))
    .addHelpText('after', exitCodeHelp)

  /**
   * Hands a command what it needs; `call` is the part that loads it. One whose exit code says more than that its output was written
   * goes on when nobody reads that.
   */
  const calls =
    <Arguments extends readonly unknown[]>(
      call: (context: Context, ...given: Arguments) => Promise<ExitCode>,
      whenClosed?: WhenClosed,
    ) =>
    async (...given: [...Arguments, Command]) => {
      const options: GlobalOptions = program.opts()
      const tenant = options.tenant ?? io.env['COLLOQUY_TENANT']
      const context: Context = {
        io,
        options: { ...options, ...(tenant !== undefined && { tenant }) },
        output: makeOutput(io, options, whenClosed),
      }
      done(await call(context, ...(given.slice(0, -1) as unknown as Arguments)))
    }

  program
    .command('demo')
    .description('import a sample conversation, dispatch, run a turn, compact, refuse, replay and verify it, explained')
    .action(calls(async (context) => (await import('./commands/demo.ts')).demo(context)))

  program
    .command('chat')
    .description('talk with a model; every step is in the log')
    .argument('[id]', 'the conversation to go on with (default: a new one)')
    .option(
      '--model <model>',
      'scripted (no network), anthropic:<id> or openai:<id>, whose keys are in the environment',
      'scripted',
    )
    .option(
      '--fallback <model>',
      'asked when the one before cannot be had; may be given several times',
      (model: string, before: readonly string[]) => [...before, model],
      [],
    )
    .option('--system <text>', 'the system prompt')
    .action(
      calls(async (context, id: string | undefined, options: ChatOptions) =>
        (await import('./commands/chat.ts')).chat(context, id, options),
      ),
    )

  program
    .command('tools')
    .description('list the tools that chat gives to a model')
    .action(calls(async (context) => (await import('./commands/tools.ts')).listTools(context)))

  program
    .command('import')
    .description('import transcripts; again, and nothing is stored twice')
    .argument('<path...>', 'transcripts of any format that `formats` lists, directories of them, or - for stdin')
    .option('--id <id>', 'call the conversation so, instead of as the file does')
    .option('--allow-truncated', 'take what is whole of a file whose last line is cut')
    .option('--keep-bad-lines', 'keep lines that are not JSON as text')
    .action(
      calls(
        async (context, files: string[], options: object) =>
          (await import('./commands/import.ts')).importFiles(context, files, options),
        'goOn',
      ),
    )

  program
    .command('formats')
    .description('list what can be imported, and what can be written')
    .action(calls(async (context) => (await import('./commands/formats.ts')).listFormats(context)))

  program
    .command('list')
    .description('list conversations by id')
    .option('--limit <count>', 'at most so many', wholeNumber('--limit'))
    .option('--after <id>', 'only those after this id')
    .action(calls(async (context, options: object) => (await import('./commands/list.ts')).list(context, options)))

  program
    .command('show')
    .description('show the state of a conversation')
    .addArgument(idArgument())
    .option('--at <position|time>', 'as it was after a position, or at an ISO 8601 time')
    .option('--full', 'print messages whole')
    .action(
      calls(async (context, id: string, options: object) => (await import('./commands/show.ts')).show(context, id, options)),
    )

  program
    .command('replay')
    .description('replay a conversation, action by action')
    .addArgument(idArgument())
    .option('--to <position>', 'stop after this position')
    .option('--verify', 'prove that the whole replay leads to the states that were kept')
    .action(
      calls(
        async (context, id: string, options: object) => (await import('./commands/replay.ts')).replay(context, id, options),
        'goOn',
      ),
    )

  program
    .command('diff')
    .description('compare the states after two positions, or of two conversations')
    .addArgument(idArgument())
    .argument('[other]', 'another conversation, such as a fork of the first')
    .option('--from <position>', 'of the first; 0 is before the first action (default with another: its end)')
    .option('--to <position>', 'of the same, or of the other (default with another: its end)')
    .action(
      calls(async (context, id: string, other: string | undefined, options: { from?: string; to?: string }) =>
        (await import('./commands/diff.ts')).diff(context, id, other, options),
      ),
    )

  program
    .command('fork')
    .description('continue a conversation after a position, in one of its own')
    .addArgument(idArgument())
    .requiredOption('--at <position>', 'the last position that both share')
    .option('--reason <text>', 'why; it is stored')
    .action(
      calls(async (context, id: string, options: { at: string; reason?: string }) =>
        (await import('./commands/fork.ts')).fork(context, id, options),
      ),
    )

  program
    .command('compact')
    .description('make the working set of a conversation smaller; all messages stay in the log')
    .addArgument(idArgument())
    .addOption(
      new Option(
        '--strategy <strategy>',
        'what leaves and what stays (default as configured: adaptive, by what is in the conversation)',
      ).choices(strategyNames),
    )
    .option(
      '--budget <tokens>',
      'leave at most so many tokens (default: as configured, 60 % of the context window)',
      wholeNumber('--budget'),
    )
    .option('--instructions <text>', 'what the summary is to keep, in words')
    .option('--dry-run', 'say what would leave, and store nothing')
    .addOption(new Option('--instead-of <position>', 'undo that compaction and make this one for it').conflicts('redo'))
    .addOption(
      new Option('--redo <position>', 'make a compaction that was undone once more, with its summary').conflicts([
        'budget',
        'instructions',
        'dryRun',
      ]),
    )
    .action(
      calls(async (context, id: string, options: CompactCommandOptions) =>
        (await import('./commands/compact.ts')).compactConversation(context, id, options),
      ),
    )

  program
    .command('uncompact')
    .description('take a compaction back: what it covers is in the working set again')
    .addArgument(idArgument())
    .option('--at <position>', 'the compaction at this position (default the youngest that stands)')
    .action(
      calls(async (context, id: string, options: object) =>
        (await import('./commands/uncompact.ts')).uncompact(context, id, options),
      ),
    )

  program
    .command('analyze')
    .description('say what a conversation is made of, how full its window is, and which strategy suits it')
    .addArgument(idArgument())
    .option('--at <position|time>', 'as it was after a position, or at an ISO 8601 time')
    .action(
      calls(async (context, id: string, options: object) =>
        (await import('./commands/analyze.ts')).analyzeConversation(context, id, options),
      ),
    )

  program
    .command('budget')
    .description('show and set the budget of a conversation, or of the tenant: limits, used, reserved, refusals')
    .argument('[id]', 'a conversation; without, the tenant')
    .option('--scope <name>', 'which budget of the tenant (default "tenant")')
    .option('--set <limits>', 'such as tokens=80000..100000,cost=2.50,calls=none: warn from, refuse past, no limit')
    .option('--set-turn <limits>', 'the same for each turn')
    .option('--release <reservation>', 'give back what a process reserved that is known to be dead')
    .action(
      calls(async (context, id: string | undefined, options: object) =>
        (await import('./commands/budget.ts')).budget(context, id, options),
      ),
    )

  program
    .command('context')
    .description('show what a model saw in a call, and prove it')
    .addArgument(idArgument())
    .option('--at <position>', 'the last call at or before this position (default: the end)')
    .option('--call <id>', 'the call of this id')
    .option('--calls', 'list the calls, and how much of each one was as in the call before')
    .option('--api <name>', 'print the request as this API takes it: anthropic-messages, openai-responses, openai-chat, ...')
    .option('--redacted', 'print also what was redacted since')
    .option('--budget <tokens>', 'what the messages are compared with, instead of the settings', wholeNumber('--budget'))
    .action(
      calls(
        async (context, id: string, options: object) => (await import('./commands/context.ts')).context(context, id, options),
        'goOn',
      ),
    )

  program
    .command('verify')
    .description('check that a conversation is whole, or all of them')
    .argument('[id]', 'a conversation')
    .option('--all', 'all conversations of the tenant, and the whole feed; so without an id')
    .option('--seen <position:hash>', 'an envelope as you once saw it: whether it is still there, and all before it')
    .addOption(
      new Option('--against <file>', 'an export of it (jsonl): whether all that it holds is still there').conflicts('seen'),
    )
    .action(
      calls(
        async (context, id: string | undefined, options: object) =>
          (await import('./commands/verify.ts')).verify(context, id, options),
        'goOn',
      ),
    )

  program
    .command('export')
    .description('write a conversation out')
    .addArgument(idArgument())
    .addOption(
      new Option('--format <format>', 'the log itself (jsonl), or the transcript for programs, people or a training')
        .choices(exportFormats)
        .makeOptionMandatory(),
    )
    .option('-o, --output <path>', 'a file, or a directory for one of the usual name, instead of stdout')
    .action(
      calls(async (context, id: string, options: { format: ExportFormat }) =>
        (await import('./commands/export.ts')).exportConversation(context, id, options),
      ),
    )

  program
    .command('migrate')
    .description('create the tables, or bring them to this version; give roles their rights')
    .option(
      '--roles [names]',
      'narrow app=NAME,worker=NAME,auditor=NAME to what they need; made where missing (colloquy_app, ...)',
    )
    .option('--partitions <count>', 'how many a new database gets, for ever (default 64)', wholeNumber('--partitions'))
    .addOption(
      new Option('--engine <engine>', 'citus: spread the log over the nodes of the cluster').choices(['postgres', 'citus']),
    )
    .action(calls(async (context, options: MigrateOptions) => (await import('./commands/migrate.ts')).migrate(context, options)))

  program
    .command('settings')
    .description('show the settings of context and budget, and where each one comes from')
    .option('--budget <tokens>', 'as --budget of other commands', wholeNumber('--budget'))
    .option('--strategy <name>', 'as --strategy of other commands; several by commas')
    .action(calls(async (context, options: object) => (await import('./commands/settings.ts')).showSettings(context, options)))

  program
    .command('doctor')
    .description('check that a store is fit for use')
    .action(calls(async (context) => (await import('./commands/doctor.ts')).doctor(context), 'goOn'))

  return program
}

const idArgument = () => new Argument('<id>', 'a conversation, as `list` shows it')

const wholeNumber =
  (option: string) =>
  (text: string): number => {
    if (!/^[1-9]\d{0,8}$/.test(text))
      throw new CommanderError(2, 'colloquy.number', `error: ${option} takes a whole number from 1, not "${text}"`)
    return Number(text)
  }

/** Commander's errors as ours. Core is loaded here and not above: most calls never need it for this. */
async function usageError(message: string): Promise<Error> {
  const { ColloquyError } = await import('@colloquy/core')
  const problem = message
    .replace(/^error: /, '')
    .replace(/\.$/, '')
    .replaceAll('\n', ' ')
  return new ColloquyError('usage_invalid', { problem: `${problem.charAt(0).toUpperCase()}${problem.slice(1)}` })
}

/** The same file from the sources and from `dist`. */
function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  return version
}

function examples(io: Io): string {
  const own = commandName(io.env)
  const lines = [
    ['demo', 'see it work; needs nothing'],
    ['import session.jsonl', 'store a Claude Code session'],
    ['list', 'what is stored'],
    ['show <id> --at 40', 'the state after position 40'],
    ['diff <id> --from 40 --to 41', 'what one action changed'],
    ['fork <id> --at 40', 'go on from there another way'],
    ['replay <id> --verify', 'prove that replay leads where it led'],
  ]
  return `${styleText('bold', 'Examples:', { stream: io.stdout })}\n${lines.map(([call, what]) => `  ${`${own} ${call}`.padEnd(own.length + 32)}${what}`).join('\n')}\n`
}

const exitCodeHelp = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 verification failed, 4 not found, 5 not proved, 130 interrupted.
Data goes to stdout, words to stderr; tables are tab-separated where stdout is no terminal. Times are UTC.`
