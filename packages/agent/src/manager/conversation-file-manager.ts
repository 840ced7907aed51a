import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Where conversations are written out to. */
export interface ConversationFileManager {
  /** Writes a file whole or not at all, over one of the same name. */
  write(fileName: string, text: string): Promise<void>
}

/** A directory, made when the first file is written. Files are for their owner only; a name never leads out of it. */
export function conversationDirectory(directory: string): ConversationFileManager {
  return {
    async write(fileName, text) {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const file = join(directory, fileSafe(fileName))
      const beside = join(directory, `.${randomUUID()}`)
      try {
        await using handle = await open(beside, 'wx', 0o600)
        await handle.writeFile(text)
        await handle.sync()
        await rename(beside, file)
      } catch (error) {
        await rm(beside, { force: true }).catch(() => {})
        throw error
      }
    },
  }
}

/** Ids come from anywhere: no separators, and no hidden files. */
const fileSafe = (name: string): string => name.replace(/[^\w.@+=-]/g, '_').replace(/^\./, '_')
