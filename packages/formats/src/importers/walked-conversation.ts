import {
  defaultLimits,
  type ImportedCommand,
  type ImportedConversation,
  type ImportRemark,
  type SkippedRecord,
} from '@colloquy/core'
import { type MediaShelf, mediaShelf } from './media-shelf.ts'
import type { SourceFile } from './source-file.ts'

/** What a walk tells beside its commands. */
export interface ImportNotes {
  readonly skipped: SkippedRecord[]
  readonly remarks: ImportRemark[]
}

/**
 * A conversation whose commands a walk makes. They are walked here once, which checks all of them and fills `notes`. What the walk
 * gave is kept when the file is held, and otherwise made anew each time.
 */
export function walkedConversation(
  {
    conversationId,
    format,
    envelopeBytes,
  }: { readonly conversationId: string; readonly format: string; readonly envelopeBytes: number },
  { isHeld, sha256 }: Pick<SourceFile, 'isHeld' | 'sha256'>,
  notes: ImportNotes,
  walk: (media: MediaShelf, notes: ImportNotes) => Iterable<ImportedCommand>,
): ImportedConversation {
  const media = mediaShelf(sha256)
  if (isHeld) return { conversationId, format, commands: [...walk(media, notes)], media: media.all() }
  let actions = 0
  for (const command of walk(media, notes)) {
    actions += command.actions.length
    media.take()
  }
  const commands: Iterable<ImportedCommand> = {
    *[Symbol.iterator]() {
      const shelf = mediaShelf(sha256)
      // Told by the first walk.
      for (const command of walk(shelf, { skipped: [], remarks: [] })) {
        const taken = shelf.take()
        yield taken.length > 0 ? { ...command, media: taken } : command
      }
    },
  }
  return { conversationId, format, commands, media: [], checked: { actions, limits: { ...defaultLimits, envelopeBytes } } }
}
