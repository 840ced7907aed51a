import type { Model } from '@colloquy/agent'
import { ColloquyError } from '@colloquy/core'
import type { Io } from '../output.ts'
import { scriptedAnswers } from './scripted-answers.ts'

/**
 * The model that `--model` names: `scripted`, `anthropic:<id>` or `openai:<id>`. The clients of providers are packages of their own, and
 * take their keys from the environment.
 * @throws `usage_invalid`: of no such form, without its key, or without its client
 */
export async function openModel(spec: string, env: Io['env']): Promise<Model> {
  if (spec === 'scripted') return scriptedAnswers()
  const [provider, id] = splitOnce(spec, ':')
  if (id === '' || (provider !== 'anthropic' && provider !== 'openai')) {
    throw usageInvalid(`A model is scripted, anthropic:<id> or openai:<id>, and "${spec}" is none of them`)
  }
  return provider === 'anthropic' ? anthropic(id, env) : openai(id, env)
}

async function anthropic(id: string, env: Io['env']): Promise<Model> {
  const apiKey = keyOf('ANTHROPIC_API_KEY', env)
  const { default: Anthropic } = await clientOf('@anthropic-ai/sdk', () => import('@anthropic-ai/sdk'))
  const { anthropicModel } = await import('@colloquy/agent/anthropic')
  return anthropicModel(new Anthropic({ apiKey, baseURL: env['ANTHROPIC_BASE_URL'] ?? null, maxRetries: 0 }), { id })
}

async function openai(id: string, env: Io['env']): Promise<Model> {
  const apiKey = keyOf('OPENAI_API_KEY', env)
  const { default: OpenAI } = await clientOf('openai', () => import('openai'))
  const { openaiModel } = await import('@colloquy/agent/openai')
  return openaiModel(new OpenAI({ apiKey, baseURL: env['OPENAI_BASE_URL'] ?? null, maxRetries: 0 }), { id })
}

function keyOf(name: string, env: Io['env']): string {
  const key = env[name]
  if (key === undefined || key === '') throw usageInvalid(`The model needs a key in ${name}; --model scripted needs none`)
  return key
}

async function clientOf<Client>(name: string, load: () => Promise<Client>): Promise<Client> {
  try {
    return await load()
  } catch (cause) {
    throw new ColloquyError(
      'usage_invalid',
      { problem: `The model needs the package ${name}; install it beside colloquy` },
      { cause },
    )
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function usageInvalid(problem: string): ColloquyError<'usage_invalid'> {
  return new ColloquyError('usage_invalid', { problem })
}
