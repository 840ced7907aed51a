import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const program = `
  import { registerHooks } from 'node:module'
  const asked = new Set()
  registerHooks({ resolve: (name, context, next) => (asked.add(name), next(name, context)) })
  await import('@colloquy/agent')
  console.log([...asked].filter((name) => !name.startsWith('.') && !name.startsWith('node:')).sort().join(' '))
`

test('the main entry loads no SDK: each provider is an entry point of its own', async () => {
  const flags = ['--conditions=@colloquy/source', '--input-type=module', '--eval', program]
  const { stdout } = await promisify(execFile)(process.execPath, flags, { cwd: import.meta.dirname })
  const loaded = stdout.trim().split(' ')
  expect(loaded).toContain('@colloquy/context')
  expect(loaded.filter((name) => /^(@anthropic-ai|openai|@ai-sdk|ai$|@langchain|@modelcontextprotocol|pino)/.test(name))).toEqual(
    [],
  )
})
