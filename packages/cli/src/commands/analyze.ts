import { type Analysis, analyze, type Settings, windowOf } from '@colloquy/context'
import type { ConversationState } from '@colloquy/core'
import type { Context } from '../context.ts'
import { type ExitCode, exitCodes } from '../exit.ts'
import { findSettings } from '../settings.ts'
import { type Fact, writeFacts } from '../show-state.ts'
import { openStore } from '../store.ts'
import { parseMoment } from '../times.ts'

export interface AnalyzeOptions {
  readonly at?: string
}

/** Says what the working set of a conversation is made of, how full its window is, and which strategy suits it. */
export async function analyzeConversation(context: Context, id: string, options: AnalyzeOptions): Promise<ExitCode> {
  const { output } = context
  const moment = options.at === undefined ? undefined : parseMoment('--at', options.at)
  await using store = await openStore(context)
  const { state, position } = await store.engine.replay(id, moment)
  const analysis = analyze(state.messages.slice())
  const window = windowFacts(state, (await findSettings(context)).settings)
  if (output.json) await output.document({ id, position, window, ...analysis })
  else await writeFacts(output, [['conversation', id], ['position', String(position)], ...factsOf(analysis, window)])
  output.next(['compact', id, '--strategy', analysis.strategy, '--dry-run'])
  return exitCodes.ok
}

function windowFacts(state: ConversationState, settings: Settings) {
  const window = windowOf(settings)
  return {
    usedTokens: state.context.usedTokens,
    maxContextTokens: window.maxContextTokens(state),
    summaryThresholdTokens: window.summaryThresholdTokens(state),
    targetTokens: window.targetTokens(state),
    isNearLimit: window.isNearLimit(state),
  }
}

/** A line holds so many of a list; `--json` has them all. */
const shown = 10

function factsOf(analysis: Analysis, window: ReturnType<typeof windowFacts>): readonly Fact[] {
  const { byRole, threads, critical, openQuestions, unansweredCalls, orphanResults } = analysis
  const roles = Object.entries(byRole).filter(([, count]) => count > 0)
  const { usedTokens, maxContextTokens, summaryThresholdTokens } = window
  const answers = [
    `${analysis.matchedResults} answered`,
    `${unansweredCalls.length} not`,
    ...(orphanResults.length > 0 ? [`${orphanResults.length} results without a request`] : []),
  ]
  const facts: (Fact | false)[] = [
    ['messages', `${analysis.messages}: ${roles.map(([role, count]) => `${count} ${role}`).join(', ')}`],
    ['window', `${usedTokens} of ${maxContextTokens} tokens; compacted above ${summaryThresholdTokens}`],
    ['tool requests', `${analysis.toolRequests}: ${answers.join(', ')}`],
    unansweredCalls.length > 0 && ['unanswered', list(unansweredCalls.map(({ name, callId }) => `${name} ${callId}`))],
    ['threads', `${threads.length}, ${analysis.topicChanges} changes of topic`],
    ...threads.slice(-shown).map(({ messages, words }): Fact => ['thread', `${messages} messages: ${words.join(', ')}`]),
    openQuestions.length > 0 && ['open questions', list(openQuestions)],
    critical.references.length > 0 && ['references', list(critical.references)],
    critical.errors.length > 0 && ['errors', list(critical.errors)],
    critical.decisions.length > 0 && ['decisions', list(critical.decisions)],
    ['strategy', `${analysis.strategy}: ${analysis.because}`],
  ]
  return facts.filter((fact) => fact !== false)
}

function list(texts: readonly string[]): string {
  const more = texts.length > shown ? ` and ${texts.length - shown} more` : ''
  return `${texts.slice(0, shown).join(' | ')}${more}`
}
