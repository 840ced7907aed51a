import { ColloquyError } from '@colloquy/core'
import type { z } from 'zod'

/**
 * What was given, checked by its schema. `under` goes before the path of the field in the error, `source` says where it is from.
 * @throws `settings_invalid` with the first field that cannot be used
 */
export function checkedSettings<Schema extends z.ZodType>(
  schema: Schema,
  given: unknown,
  { under, source }: { readonly under?: string; readonly source?: string | undefined } = {},
): z.infer<Schema> {
  const parsed = schema.safeParse(given)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const strange = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const path = [under, ...(issue?.path ?? []), strange].filter((step) => step !== undefined)
  const problem = strange === undefined ? lowerFirst(issue?.message ?? 'invalid') : 'there is no such setting'
  throw new ColloquyError(
    'settings_invalid',
    { field: path.map(String).join('.') || '(all)', problem: source === undefined ? problem : `${problem} (in ${source})` },
    { cause: parsed.error },
  )
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
