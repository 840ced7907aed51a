/**
 * What a conversation still knows after its context was kept within a budget, and what its prompts cost. No model takes part.
 *
 * Future-reference recall: of the references that an assistant message uses and that occurred earlier, the share that still stands in the
 * context it was given, over all calls after the transcript first exceeded the budget. A reference is a path, an identifier or a number
 * that cannot be guessed (`referencesIn`). Prompt cost: 0.1 for each token of the prefix that is unchanged since the call before, 1.25
 * for each other token, as Anthropic prices cached reads and cache writes. Tokens are characters/4 + 4 a message for everybody.
 *
 * Reads `../shared/data/transcripts`, or the folder in COLLOQUY_BENCH_TRANSCRIPTS.
 */
import { adaptive, countMessage, estimateCounter, extractiveSummariser, planIfNeeded } from '@colloquy/context'
import { type Message, textMessage, type WorkingMessage } from '@colloquy/core'
import { type Contender, contenders } from './context/contenders.ts'
import { readTranscripts, type Transcript } from './context/transcripts.ts'
import { type Report, row } from './report.ts'

const budgets = [16_000, 8_000]
/** Of the two long pi sessions: the recall that we promise, at no more than what a crude prototype cost; both in percent. */
const promises = new Map([
  [16_000, { recall: 99.5, cost: 20 }],
  [8_000, { recall: 98, cost: 27 }],
])
const longConversation = 10_000

export async function run(say: (text: string) => void): Promise<Report> {
  const transcripts = readTranscripts()
  const rows: Report['rows'][number][] = []
  const checks: Report['checks'][number][] = []
  for (const budget of budgets) {
    const long = transcripts.filter(({ tokens }) => tokens >= 2 * budget)
    const groups = [
      { group: 'pi', of: long.filter(({ name }) => name.startsWith('pi/')) },
      { group: 'all', of: long },
    ]
    const measured = new Map<string, Map<string, Measured>>()
    for (const transcript of long) {
      say(`${budget} tokens: ${transcript.name}, ${transcript.messages.length} messages of ${transcript.tokens} tokens`)
      const results = new Map<string, Measured>()
      for (const [name, contender] of Object.entries(contenders)) {
        results.set(name, await measure(transcript, budget, contender(budget, adaptive())))
      }
      measured.set(transcript.name, results)
      const [ours, sliding] = ['Colloquy, default strategy', 'sliding window'].map((name) => results.get(name) as Measured)
      if (ours && sliding) {
        say(
          `  recall ${recall(ours).toFixed(2)} (sliding window ${recall(sliding).toFixed(2)}), cost ${((100 * ours.cost) / sliding.cost).toFixed(1)}, at most ${ours.mostTokens} tokens`,
        )
      }
    }
    for (const { group, of } of groups) {
      if (of.length === 0) continue
      const totalOf = (name: string): Measured => of.map((t) => measured.get(t.name)?.get(name) as Measured).reduce(plus)
      const window = totalOf('sliding window')
      for (const name of Object.keys(contenders)) {
        const total = totalOf(name)
        const label = `${name}, ${budget}, ${group}`
        rows.push(
          row(
            label,
            total.calls,
            '% recall, by transcript',
            of.map((t) => recall(measured.get(t.name)?.get(name) as Measured)),
          ),
        )
        rows.push({ ...row(label, total.calls, '% recall, over all references', [recall(total)]) })
        rows.push(row(label, total.calls, "% of the sliding window's cost", [(100 * total.cost) / window.cost]))
      }
      const ours = totalOf('Colloquy, default strategy')
      checks.push({
        promise: `no context of ours exceeds ${budget} tokens (${group})`,
        measured: ours.mostTokens,
        limit: `at most ${budget}`,
        holds: ours.mostTokens <= budget,
      })
      const promise = promises.get(budget)
      if (group !== 'pi' || promise === undefined) continue
      checks.push(
        {
          promise: `recall at ${budget} tokens (pi)`,
          measured: recall(ours),
          limit: `at least ${promise.recall} %`,
          holds: recall(ours) >= promise.recall,
        },
        {
          promise: `cost at ${budget} tokens, of the sliding window's (pi)`,
          measured: (100 * ours.cost) / window.cost,
          limit: `at most ${promise.cost} %`,
          holds: (100 * ours.cost) / window.cost <= promise.cost,
        },
      )
    }
  }
  const speed = await measureSpeed(say)
  rows.push(...speed.rows)
  checks.push(...speed.checks)
  return { bench: 'context', node: process.versions.node, rows, checks }
}

interface Measured {
  readonly calls: number
  readonly used: number
  readonly present: number
  readonly cost: number
  readonly mostTokens: number
}

const recall = ({ present, used }: Measured): number => (used === 0 ? 100 : (100 * present) / used)

const plus = (a: Measured, b: Measured): Measured => ({
  calls: a.calls + b.calls,
  used: a.used + b.used,
  present: a.present + b.present,
  cost: a.cost + b.cost,
  mostTokens: Math.max(a.mostTokens, b.mostTokens),
})

/** One call for each assistant message. */
async function measure({ messages }: Transcript, budget: number, contender: Contender): Promise<Measured> {
  let [calls, used, present, cost, mostTokens, total] = [0, 0, 0, 0, 0, 0]
  const seen = new Set<string>()
  let before: Awaited<ReturnType<Contender['context']>> = []
  for (const message of messages) {
    if (message.message.role === 'assistant') {
      const context = await contender.context()
      if (total > budget) {
        calls += 1
        const given = new Set(context.flatMap(({ references }) => references))
        const earlier = message.references.filter((reference) => seen.has(reference))
        used += earlier.length
        present += earlier.filter((reference) => given.has(reference)).length
        const tokens = context.reduce((sum, m) => sum + m.tokens, 0)
        mostTokens = Math.max(mostTokens, tokens)
        const changedAt = context.findIndex((m, index) => m !== before[index])
        const unchanged = (changedAt < 0 ? context : context.slice(0, changedAt)).reduce((sum, m) => sum + m.tokens, 0)
        cost += 0.1 * unchanged + 1.25 * (tokens - unchanged)
      }
      before = context
    }
    total += message.tokens
    for (const reference of message.references) seen.add(reference)
    contender.add(message)
  }
  return { calls, used, present, cost, mostTokens }
}

/** A conversation of 10,000 messages: counted for the first time, planned and summarised. */
async function measureSpeed(say: (text: string) => void): Promise<Pick<Report, 'rows' | 'checks'>> {
  say(`counting and compacting ${longConversation} messages`)
  const samples: Record<'count' | 'plan' | 'summarise', number[]> = { count: [], plan: [], summarise: [] }
  for (let round = 0; round < 5; round++) {
    const messages = manyMessages(round)
    const start = performance.now()
    const working = messages.map(
      (message, index): WorkingMessage =>
        Object.freeze({ ...message, position: index + 1, tokenCount: countMessage(estimateCounter, message) }),
    )
    const counted = performance.now()
    const plan = planIfNeeded({ messages: working, pinned: new Set(), openCalls: [], counter: estimateCounter }, adaptive())
    const planned = performance.now()
    if (plan === null || !('covered' in plan) || plan.summary === null) throw new Error('Nothing was planned.')
    await extractiveSummariser().summarise(plan.summary)
    samples.count.push(counted - start)
    samples.plan.push(planned - counted)
    samples.summarise.push(performance.now() - planned)
  }
  const rows = Object.entries(samples).map(([name, times]) =>
    row(`${name} ${longConversation} messages`, longConversation, 'ms', times),
  )
  const measured = rows.reduce((sum, { median }) => sum + median, 0)
  const promise = `${longConversation} messages are counted, planned and summarised`
  return { rows, checks: [{ promise, measured, limit: 'under 1,000 ms', holds: measured < 1_000 }] }
}

/** About 400 characters a message, half of them calls and results. */
function manyMessages(round: number): readonly Message[] {
  return Array.from({ length: longConversation }, (_, n): Message => {
    const id = `m${round}-${n}`
    const prose = `Step ${n}: the totals of invoice ${n * 7} differ in packages/billing/src/file-${n % 300}.ts, because roundCents${n % 90} is called twice. `
    const kind = n % 4
    if (kind === 0) return Object.freeze(textMessage(id, 'user', prose.repeat(2)))
    if (kind === 3) return Object.freeze(textMessage(id, 'assistant', prose.repeat(3)))
    const callId = `call-${n - kind}`
    const raw = JSON.stringify({ path: `packages/billing/src/file-${n % 300}.ts`, offset: n })
    return Object.freeze<Message>(
      kind === 1
        ? {
            v: 1,
            id,
            role: 'assistant',
            parts: [
              {
                type: 'tool_call',
                callId,
                name: 'read',
                args: { raw, json: JSON.parse(raw), valid: true },
                executor: { kind: 'client' },
              },
            ],
          }
        : {
            v: 1,
            id,
            role: 'tool',
            parts: [
              {
                type: 'tool_result',
                callId: `call-${n - kind}`,
                status: 'ok',
                content: [{ type: 'text', text: prose.repeat(4) }],
              },
            ],
          },
    )
  })
}
