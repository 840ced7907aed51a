import type { Unapplied } from '@colloquy/core'
import { printable } from './printable.ts'

/** What a replay could not apply, in words: how many actions, and the first of them. */
export function unappliedText(count: number, first: Unapplied | undefined, where = ''): string {
  return `${countText(count)}${where} could not be applied; the first is ${firstText(first)}`
}

export const countText = (count: number): string => `${count} ${count === 1 ? 'action' : 'actions'}`

/** Types and problems come from whoever appended. */
export const firstText = (first: Unapplied | undefined): string =>
  printable(`${first?.type} at position ${first?.position}: ${first?.problem}`)
