import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { ColloquyError } from '@colloquy/core'

/**
 * The hash of each envelope in an export (`--format jsonl`), in hex, from position 1 on. Whether they follow from each other is not looked
 * at: that is the log's part, and what was exported is what its holder trusts.
 * @throws `usage_invalid` for a file that is no whole export
 */
export async function readExportedHashes(file: string): Promise<readonly string[]> {
  const refuse = (problem: string) => new ColloquyError('usage_invalid', { problem: `${file} is no whole export: ${problem}` })
  const hashes: string[] = []
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    if (line === '') continue
    const at = `line ${hashes.length + 1}`
    const { position, hash } = fieldsOf(line)
    if (typeof position !== 'number' || typeof hash !== 'string' || !/^[\da-f]{64}$/.test(hash))
      throw refuse(`${at} is no envelope as export --format jsonl writes it`)
    if (position !== hashes.length + 1) throw refuse(`${at} is of position ${position}`)
    hashes.push(hash)
  }
  if (hashes.length === 0) throw refuse('it holds no envelope')
  return hashes
}

function fieldsOf(line: string): { readonly position?: unknown; readonly hash?: unknown } {
  try {
    return (JSON.parse(line) as object | null) ?? {}
  } catch {
    return {}
  }
}
