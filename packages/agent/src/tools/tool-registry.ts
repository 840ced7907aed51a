import type { ToolSchema } from '@colloquy/context'
import { ColloquyError, type JsonObject } from '@colloquy/core'
import { z } from 'zod'
import { createPermits, type Permits } from './permits.ts'
import type { ExecutionContext, Tool } from './tool.ts'

/** The tools that turns may use. One registry may serve any number of conversations; limits of concurrency count over all of them. */
export interface ToolRegistry {
  /**
   * Adds tools, or puts others in the place of those of the same name that were there. @returns how to take them out again
   * @throws `settings_invalid` for a tool that could never run, and for two of one name in `tools`
   */
  add(tools: readonly Tool[]): () => void
  /** All, hidden ones too, by name. */
  list(): readonly Tool[]
  /** What a model is told: those that are enabled and not hidden. Sorted by name: the same set makes the same bytes, and hits prompt caches. */
  schemas(conversation: ExecutionContext['conversation']): Promise<readonly ToolSchema[]>
  /** @throws `tool_not_found`, `tool_disabled` */
  resolve(name: string, conversation: ExecutionContext['conversation']): Promise<RegisteredTool>
}

export interface RegisteredTool {
  readonly tool: Tool
  /** @throws `tool_arguments_invalid` */
  readonly parse: (args: unknown) => unknown
  readonly permits: Permits
}

interface Entry extends RegisteredTool {
  readonly schema: ToolSchema
}

export function createToolRegistry(tools: readonly Tool[] = []): ToolRegistry {
  const entries = new Map<string, Entry>()

  const isEnabled = async ({ tool }: Entry, conversation: ExecutionContext['conversation']): Promise<boolean> =>
    (await tool.isEnabled?.(conversation)) ?? true

  const registry: ToolRegistry = {
    add: (added) => {
      const made = added.map(entryOf)
      const names = made.map(({ tool: { name } }) => name)
      const twice = names.find((name, at) => names.indexOf(name) < at)
      if (twice !== undefined) throw unusable(twice, 'name', 'two tools have it; give those of a server a `prefix`')
      for (const entry of made) entries.set(entry.tool.name, entry)
      return () => {
        for (const entry of made) if (entries.get(entry.tool.name) === entry) entries.delete(entry.tool.name)
      }
    },
    list: () => [...entries.values()].map(({ tool }) => tool).sort((a, b) => compare(a.name, b.name)),
    schemas: async (conversation) => {
      const shown = [...entries.values()].filter(({ tool }) => tool.hidden !== true)
      const enabled = await Promise.all(shown.map((entry) => isEnabled(entry, conversation)))
      return shown
        .filter((_, index) => enabled[index])
        .map(({ schema }) => schema)
        .sort((a, b) => compare(a.name, b.name))
    },
    resolve: async (name, conversation) => {
      const entry = entries.get(name)
      if (entry === undefined) throw new ColloquyError('tool_not_found', { name, known: entries.size })
      if (!(await isEnabled(entry, conversation))) throw new ColloquyError('tool_disabled', { name })
      return entry
    },
  }
  registry.add(tools)
  return registry
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function entryOf(tool: Tool): Entry {
  const { name, description, input, kind, timeoutMs = 1, concurrency = 1 } = tool
  if (!(timeoutMs > 0)) throw unusable(name, 'timeoutMs', `it is ${timeoutMs}, not above 0`)
  if (!(concurrency >= 1)) throw unusable(name, 'concurrency', `it is ${concurrency}, not 1 or more`)
  const isZod = input instanceof z.ZodType
  const inputSchema = isZod ? jsonSchemaOf(input) : input
  // Of a remote tool it is made a validator when it is first needed: a server may bring hundreds.
  let schema = isZod ? input : kind === 'remote' ? undefined : validatorOf(name, inputSchema)
  return {
    tool,
    schema: { name, inputSchema, ...(description !== undefined && { description }) },
    parse: (args) => {
      schema ??= remoteValidatorOf(inputSchema)
      const parsed = schema.safeParse(args)
      if (parsed.success) return parsed.data
      throw new ColloquyError('tool_arguments_invalid', { name, problem: problemOf(parsed.error) }, { cause: parsed.error })
    },
    permits: createPermits(tool.concurrency),
  }
}

function validatorOf(name: string, schema: JsonObject): z.ZodType {
  try {
    return z.fromJSONSchema(schema)
  } catch (cause) {
    throw unusable(name, 'input', cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

/** What cannot be checked here (`not`, `if`, patterns of other languages) is checked by the server, which has the schema. */
function remoteValidatorOf(schema: JsonObject): z.ZodType {
  try {
    return z.fromJSONSchema(schema)
  } catch {
    return z.looseObject({})
  }
}

const unusable = (tool: string, field: string, problem: string, options: ErrorOptions = {}): ColloquyError =>
  new ColloquyError('settings_invalid', { field: `${field} of the tool "${tool}"`, problem }, options)

/** Models are told what to write, not what the schema makes of it. */
function jsonSchemaOf(schema: z.ZodType): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest as JsonObject
}

function problemOf({ issues }: z.ZodError): string {
  const told = issues.slice(0, 3).map(({ path, message }) => `$${path.map(step).join('')}: ${message}`)
  return [...told, ...(issues.length > 3 ? [`and ${issues.length - 3} more`] : [])].join('; ')
}

const step = (key: PropertyKey): string => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)
