/** Writes a large session of Claude Code as its program would have written it: turns of prompts, thinking, calls and results, compacted when they fill the window. */
import { closeSync, openSync, writeSync } from 'node:fs'

const words =
  'the test failed again on the first of the month because the fixture counts its days in local time – “due” is a date, not a moment, so I will read the helper, change it and run the suite once more. '

/** What the window of the model holds before it is compacted, as characters. */
const windowCharacters = 600_000

/** @returns how many bytes and records were written; the same for the same `bytes` */
export function writeSession(
  path: string,
  bytes: number,
  options: { readonly compacts?: boolean } = {},
): { readonly bytes: number; readonly records: number } {
  const file = openSync(path, 'w', 0o600)
  const sessionId = '5c1d6f0e-8a57-4c1f-9d02-3b7f6f0a4e11'
  let written = 0
  let records = 0
  let parentUuid: string | null = null
  let shown = 0
  let pending: Buffer[] = []
  let pendingBytes = 0

  const flush = (): void => {
    for (const piece of pending) writeSync(file, piece)
    pending = []
    pendingBytes = 0
  }
  const add = (record: object, characters = 0): string => {
    records += 1
    const uuid = `${records.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`
    const timestamp = new Date(1_770_000_000_000 + records * 1_700).toISOString()
    const common = {
      isSidechain: false,
      userType: 'external',
      cwd: '/home/mira/billing',
      sessionId,
      version: '2.1.17',
      gitBranch: 'main',
    }
    const line = Buffer.from(`${JSON.stringify({ parentUuid, ...common, ...record, uuid, timestamp })}\n`)
    parentUuid = uuid
    shown += characters
    written += line.length
    pending.push(line)
    pendingBytes += line.length
    if (pendingBytes > 1 << 20) flush()
    return uuid
  }
  const prose = (characters: number): string => words.repeat(Math.ceil(characters / words.length)).slice(0, characters)
  const lines = (count: number, n: number): string =>
    Array.from(
      { length: count },
      (_, i) => `${String(i + 1).padStart(6)}→\tconst value${i} = await read("file-${n}", { depth: ${i} })\\n`,
    ).join('\n')

  for (let turn = 1; written < bytes; turn++) {
    add({ type: 'user', message: { role: 'user', content: `${turn}: ${prose(120 + ((turn * 37) % 400))}` } }, 300)
    for (let step = 1; step <= 4 && written < bytes; step++) {
      const n = turn * 10 + step
      const id = `msg_${n.toString(36).padStart(12, '0')}`
      const usage = {
        input_tokens: 4,
        cache_creation_input_tokens: 900 + (n % 700),
        cache_read_input_tokens: 40_000 + (n % 9_000),
        output_tokens: 180,
      }
      const answer = (block: object, characters: number) =>
        add(
          {
            type: 'assistant',
            requestId: `req_${n}`,
            message: {
              model: 'claude-sonnet-4-5-20250929',
              id,
              type: 'message',
              role: 'assistant',
              content: [block],
              stop_reason: null,
              stop_sequence: null,
              usage,
            },
          },
          characters,
        )
      answer({ type: 'thinking', thinking: prose(300 + ((n * 53) % 500)), signature: 'EqoBCkgIARABGAIiQ'.repeat(16) }, 500)
      if (step === 4) {
        answer({ type: 'text', text: prose(400 + ((n * 29) % 900)) }, 800)
        continue
      }
      const callId = `toolu_${n.toString(36).padStart(12, '0')}`
      const file = `/home/mira/billing/src/file-${n}.ts`
      answer({ type: 'tool_use', id: callId, name: 'Read', input: { file_path: file, limit: 40 } }, 60)
      const content = lines(10 + ((n * 7) % 40), n)
      add(
        {
          type: 'user',
          message: { role: 'user', content: [{ tool_use_id: callId, type: 'tool_result', content }] },
          toolUseResult: { type: 'text', file: { filePath: file, content, numLines: 40, startLine: 1, totalLines: 400 } },
        },
        content.length,
      )
    }
    if (shown > windowCharacters && options.compacts !== false) {
      const logicalParentUuid = parentUuid
      parentUuid = null
      add({
        type: 'system',
        subtype: 'compact_boundary',
        content: 'Conversation compacted',
        isMeta: false,
        logicalParentUuid,
        compactMetadata: { trigger: 'auto', preTokens: 155_066 },
      })
      shown = 0
      add(
        {
          type: 'user',
          isCompactSummary: true,
          isVisibleInTranscriptOnly: true,
          message: { role: 'user', content: prose(12_000) },
        },
        12_000,
      )
    }
  }
  flush()
  closeSync(file)
  return { bytes: written, records }
}
