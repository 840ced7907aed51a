/**
 * Appends messages `<name>-1`, `<name>-2` ... to conversation `c`, which compacts itself, and says each that is stored. Its summariser is
 * slow and never says the same twice. Run as a process of its own: `compacting-process.ts <url> <name> <count>`; `Infinity` is until it is
 * killed.
 */
import { setTimeout } from 'node:timers/promises'
import { autoCompaction, charactersCounter, contextWindow } from '@colloquy/context'
import { messageAdded, type Summariser, textMessage } from '@colloquy/core'
import { createEngine } from '@colloquy/engine'
import { openPostgresLog } from '@colloquy/postgres'
import { oldest } from '../support/compaction.ts'

const [url = '', name = '', count = '0'] = process.argv.slice(2)

const summariser: Summariser = {
  id: name,
  version: '1',
  async summarise({ messages }) {
    await setTimeout(Math.random() * 30)
    return { text: `${messages.length} messages, ${Math.random()}` }
  },
}

await using log = await openPostgresLog({ url })
const window = contextWindow({ counter: charactersCounter, strategy: oldest, settings: { maxContextTokens: 200 } })
await using engine = createEngine({ log, effects: [autoCompaction({ window, summariser })] })
const conversation = await engine.open('c')
for (let n = 1; n <= Number(count); n++) {
  const message = textMessage(`${name}-${n}`, n % 2 === 1 ? 'user' : 'assistant', `words of ${name}-${n}`)
  await conversation.dispatch(messageAdded({ message, tokenCount: 10 }))
  process.stdout.write(`${message.id}\n`)
  await setTimeout(Math.random() * 20)
}
