/**
 * One turn with two tools, in a process that kills itself with -9 at one of its steps: before and behind each append, each event of
 * the stream, and each effect of a tool. Arguments: the url of the log, the conversation, a file for the effects, the step (0: none).
 */
import { appendFileSync } from 'node:fs'
import { createToolRegistry, runTurn } from '@colloquy/agent'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { mortalLog } from '../support/mortal.ts'
import { twoToolModel, twoTools } from '../support/two-tools.ts'

const [url = '', conversationId = '', file = '', at = '0'] = process.argv.slice(2)
let steps = 0
const step = (): void => {
  steps += 1
  if (steps === Number(at)) process.kill(process.pid, 'SIGKILL')
}

const log = await openPostgresLog({ url })
const engine = createEngine({ log: mortalLog(log, { step, isDead: () => false }) })
const tools = createToolRegistry(twoTools((tool, key) => appendFileSync(file, `${tool} ${key}\n`), step))
const conversation = await engine.open(conversationId)
await runTurn(conversation, 'Do both.', { model: twoToolModel(step), tools, turnId: 't1' }).done
process.stdout.write(String(steps))
await engine.close()
await log.close()
