import type { ImportedFile } from '@colloquy/core'

type Leaf = string | number

function collect(value: unknown, into: Set<Leaf>): Set<Leaf> {
  if (typeof value === 'string' || typeof value === 'number') into.add(value)
  else if (typeof value === 'object' && value !== null) for (const field of Object.values(value)) collect(field, into)
  return into
}

/** Texts and numbers of what a file held that are nowhere in what was imported of it, whole or as a piece of a text that it points into. */
export function missingLeaves(original: unknown, { conversations }: ImportedFile): Leaf[] {
  const stored = collect(
    conversations.map(({ conversationId, commands }) => [conversationId, commands.map(({ actions }) => actions)]),
    new Set(),
  )
  const long = [...stored].filter((leaf): leaf is string => typeof leaf === 'string' && leaf.length >= 40)
  const isPiece = (leaf: Leaf): boolean =>
    typeof leaf === 'string' && leaf.length >= 40 && long.some((text) => text.includes(leaf))
  return [...collect(original, new Set())].filter((leaf) => leaf !== '' && !stored.has(leaf) && !isPiece(leaf))
}
