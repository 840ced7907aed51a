/** The turn of `demo`: a model without a network that is refused once, and two tools that take their time. */
import { setTimeout as pause } from 'node:timers/promises'
import { createToolRegistry, defineTool, runTurn, scriptedModel, type TurnResult } from '@colloquy/agent'
import type { ConversationState } from '@colloquy/core'
import type { Conversation } from '@colloquy/engine'
import { z } from 'zod'

const toolMs = 300

/** Resolves with the result of the turn: two calls of the model, and two tools that run side by side. */
export function runDemoTurn(conversation: Conversation<ConversationState>): Promise<TurnResult> {
  const isAnswerStored = new Promise<void>((resolve) => {
    conversation.envelopes$.subscribe(({ type }) => type === 'usageRecorded' && resolve())
  })
  /** What is told has one order, on a busy machine too: no tool ends before the answer that called it is stored. */
  const work = async (signal: AbortSignal): Promise<void> => {
    await Promise.all([pause(toolMs, undefined, { signal }), isAnswerStored])
  }
  return runTurn(conversation, 'Does it hold at the month’s end too? Look at the tests and at the changelog.', {
    model: scriptedModel({
      scripts: [
        // As a provider refuses: the status decides, and Retry-After says how long to wait.
        { failsWith: Object.assign(new Error('Too many requests'), { status: 429, headers: { 'retry-after-ms': '200' } }) },
        {
          text: 'I look at both.',
          calls: [
            { name: 'run_tests', args: { file: 'due-date.test.ts' } },
            { name: 'read_file', args: { path: 'CHANGELOG.md' } },
          ],
          usage: { input: 700, output: 30 },
        },
        { text: 'It does: 14 tests pass, and the changelog has its line.', usage: { input: 760, output: 20 } },
      ],
    }),
    tools: createToolRegistry([
      defineTool({
        name: 'run_tests',
        description: 'Runs a test file.',
        input: z.strictObject({ file: z.string() }),
        idempotent: true,
        execute: async (_, { signal }) => {
          await work(signal)
          return '14 passed, 0 failed'
        },
      }),
      defineTool({
        name: 'read_file',
        description: 'Reads a file.',
        input: z.strictObject({ path: z.string() }),
        idempotent: true,
        execute: async (_, { signal }) => {
          await work(signal)
          return '## 2.4.1\nDue dates are days, not moments.'
        },
      }),
    ]),
  }).done
}
