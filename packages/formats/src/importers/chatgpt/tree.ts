import type { Json, JsonObject } from '@colloquy/core'
import { asId, asList, asObject } from '../fields.ts'

/** A node of a conversation's `mapping`. */
export interface TreeNode {
  /** Its key in the mapping. */
  readonly key: string
  readonly fields: JsonObject
  readonly parent: TreeNode | undefined
  /** In the order in which they were made. */
  readonly children: TreeNode[]
}

/** A line of nodes from where it leaves another one to its end. */
export interface Branch {
  /** The node after which it begins; undefined: at the beginning. */
  readonly after: TreeNode | undefined
  readonly nodes: readonly TreeNode[]
}

/**
 * The branches of a conversation. The first follows the first child of every node: what was said first. Each other child begins a
 * branch of its own, at once after the one that it leaves. So a branch only ever grows at its end, whichever one is shown at the
 * moment, and an export made later holds the branches of an earlier one.
 *
 * Parents decide what belongs together, children only their order; nodes that hang together in a circle begin at their first.
 */
export function branchesOf(mapping: JsonObject): readonly Branch[] {
  const branches: Branch[] = []
  const waiting = rootsOf(mapping)
    .toReversed()
    .map((root) => ({ after: undefined as TreeNode | undefined, first: root }))
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const nodes: TreeNode[] = []
    const forks: { after: TreeNode; first: TreeNode }[] = []
    for (let node: TreeNode | undefined = next.first; node !== undefined; node = node.children[0]) {
      nodes.push(node)
      for (const other of node.children.slice(1)) forks.push({ after: node, first: other })
    }
    branches.push({ after: next.after, nodes })
    waiting.push(...forks.toReversed())
  }
  return branches
}

interface Growing extends TreeNode {
  parent: Growing | undefined
  readonly children: Growing[]
}

function rootsOf(mapping: JsonObject): Growing[] {
  const nodes = new Map<string, Growing>()
  for (const [key, value] of Object.entries(mapping)) {
    nodes.set(key, { key, fields: asObject(value) ?? {}, parent: undefined, children: [] })
  }
  for (const node of nodes.values()) {
    const parent = typeof node.fields.parent === 'string' ? nodes.get(node.fields.parent) : undefined
    if (parent !== undefined && parent !== node) node.parent = parent
  }
  openCircles([...nodes.values()])
  for (const node of nodes.values()) node.parent?.children.push(node)
  for (const node of nodes.values()) sortChildren(node)
  return [...nodes.values()].filter(({ parent }) => parent === undefined)
}

/** Going up from a node of a circle never ends, so its first node in the file becomes a root. */
function openCircles(nodes: readonly Growing[]): void {
  const seen = new Map<Growing, Growing>()
  for (const start of nodes) {
    for (let node: Growing | undefined = start; node !== undefined; node = node.parent) {
      const firstSeenFrom = seen.get(node)
      if (firstSeenFrom === start) node.parent = undefined
      if (firstSeenFrom !== undefined) break
      seen.set(node, start)
    }
  }
}

/** As the list of children says; children that it leaves out come after the others, in the order of the file. */
function sortChildren(node: Growing): void {
  if (node.children.length < 2) return
  const order = new Map<Json, number>((asList(node.fields.children) ?? []).map((key, index) => [key, index]))
  const placeOf = ({ key }: TreeNode): number => order.get(key) ?? order.size
  node.children.sort((a, b) => placeOf(a) - placeOf(b))
}

/** The key as part of an id; a key that could not be one is hashed. */
export function nodeId({ key }: TreeNode, hash: (value: Json) => string): string {
  return asId(key, 60) ?? `node-${hash(key)}`
}
