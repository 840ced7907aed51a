import {
  type CompactOptions,
  type CompactResult,
  compact,
  estimateCounter,
  extractiveSummariser,
  namedStrategy,
  noCompactionTexts,
  recompact,
  redoCompaction,
  type Settings,
  type StrategyName,
  windowOf,
} from '@colloquy/context'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { printableLines } from '../printable.ts'
import { findSettings } from '../settings.ts'
import { type Fact, writeFacts } from '../show-state.ts'
import { headOf, openStore, type Store } from '../store.ts'
import { parsePosition } from '../times.ts'

export interface CompactCommandOptions {
  readonly strategy?: StrategyName
  readonly budget?: number
  readonly instructions?: string
  readonly dryRun?: boolean
  readonly insteadOf?: string
  readonly redo?: string
}

/** Compacts a conversation by hand: by a strategy and without a model, in place of another compaction, or as one was that was undone. */
export async function compactConversation(context: Context, id: string, options: CompactCommandOptions): Promise<ExitCode> {
  const { output } = context
  const redo = options.redo === undefined ? undefined : parsePosition('--redo', options.redo)
  const at = options.insteadOf === undefined ? undefined : parsePosition('--instead-of', options.insteadOf)
  await using store = await openStore(context, options.dryRun ? 'read' : 'append')
  await headOf(store, id)
  if (redo !== undefined) {
    const { position } = await redoCompaction(store.engine, id, { at: redo })
    if (output.json) await output.document({ id, status: 'compacted', position, redoes: redo })
    else await output.write(`compacted at position ${position}, as at position ${redo}\n`)
    output.next(['diff', id, '--from', position - 1, '--to', position], ['uncompact', id, '--at', position])
    return exitCodes.ok
  }
  const { settings } = await findSettings(context)
  const { result, budgetTokens } = await run(store, id, options, settings, at)
  if (output.json) await output.document({ id, ...result, budgetTokens, ...ratioOf(result) })
  else await writeFacts(output, [['conversation', id], ...factsOf(result, budgetTokens)])
  if (result.status === 'compacted') {
    const { position, summaryText } = result
    if (!output.json && summaryText !== null) await output.write(`\n${printableLines(summaryText)}\n`)
    output.next(['diff', id, '--from', position - 1, '--to', position], ['uncompact', id, '--at', position])
  }
  return exitCodes.ok
}

async function run(
  { engine }: Store,
  id: string,
  { strategy, budget, instructions, dryRun }: CompactCommandOptions,
  settings: Settings,
  at: number | undefined,
): Promise<{ readonly result: CompactResult; readonly budgetTokens: number }> {
  const conversation = await engine.open(id)
  const budgetTokens = budget ?? windowOf(settings).targetTokens(conversation.getState())
  const options: CompactOptions = {
    strategy: namedStrategy(strategy ?? settings.strategy, budget === undefined ? {} : { maxTokens: budget }),
    summariser: extractiveSummariser({ counter: estimateCounter }),
    counter: estimateCounter,
    targetTokens: budgetTokens,
    ...(instructions !== undefined && { instructions }),
    ...(dryRun && { dryRun }),
  }
  const result = at === undefined ? await compact(conversation, options) : await recompact(engine, id, { ...options, at })
  return { result, budgetTokens }
}

/** What is left of the tokens, as a share. */
function ratioOf(result: CompactResult): { readonly ratio?: number } {
  if (result.status !== 'compacted' && result.status !== 'planned') return {}
  const { before, after } = result
  return before.tokens === 0 ? {} : { ratio: Math.round((after.tokens / before.tokens) * 1_000) / 1_000 }
}

function factsOf(result: CompactResult, budgetTokens: number): readonly Fact[] {
  switch (result.status) {
    case 'unchanged':
      return [['unchanged', `${noCompactionTexts[result.reason]} (budget ${budgetTokens} tokens)`]]
    case 'superseded':
      return [['unchanged', 'another process compacted the conversation at the same time']]
    case 'planned':
    case 'compacted': {
      const { strategy, coveredIds, before, after, preserved } = result
      const { ratio } = ratioOf(result)
      const share = ratio === undefined ? '' : `, ${Math.round(ratio * 100)} %`
      const isPlan = result.status === 'planned'
      return [
        isPlan ? ['planned', 'nothing was stored'] : ['position', String(result.position)],
        ['strategy', strategy],
        ['covered', `${coveredIds.length} messages, ${coveredIds[0]} to ${coveredIds.at(-1)}`],
        ['messages', `${before.messages} to ${after.messages}`],
        ['tokens', `${before.tokens} to ${isPlan ? 'at most ' : ''}${after.tokens}${share} (budget ${budgetTokens})`],
        ...(preserved.length > 0 ? [['preserved', preserved.slice(0, 20).join(', ')] as const] : []),
      ]
    }
    default:
      return result satisfies never
  }
}
