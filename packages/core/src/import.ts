import type { Action } from './action.ts'
import type { Limits } from './json.ts'
import type { Media } from './ports/event-log.ts'

/** What a record of a foreign file became: actions under a command id made from the record, so that importing twice is importing once. */
export interface ImportedCommand {
  readonly commandId: string
  readonly actions: readonly Action[]
  /** The record's own time in microseconds since 1970; the log keeps it, made monotone. */
  readonly occurredAt?: number
  /** Files that the actions name by hash and that came with no earlier command: so those of a file that is not held need not be either. */
  readonly media?: readonly Media[]
}

/** A conversation out of a foreign file: plain data, not yet stored. */
export interface ImportedConversation {
  readonly conversationId: string
  /**
   * It continues an earlier conversation of the same file, after the envelopes of one of its commands. Its id is then that of a fork,
   * and its commands hold what it has of its own.
   */
  readonly fork?: ImportedFork
  /** Goes into `cause`: `import:<format>`. */
  readonly format: string
  /** In file order. Those of a file that is not held in memory are made anew each time they are walked, always the same. */
  readonly commands: Iterable<ImportedCommand>
  readonly media: readonly Media[]
  /** The importer has walked all commands already: how many actions they have, and the limits that none of them breaks. */
  readonly checked?: { readonly actions: number; readonly limits: Limits }
}

/** Where a branch of a foreign transcript leaves another one: behind the command of that id. */
export interface ImportedFork {
  readonly parentId: string
  readonly afterCommandId: string
  /** The message that it comes after, if it is a message. */
  readonly messageId?: string
}

/** A conversation with all its commands in memory. */
export interface HeldConversation extends ImportedConversation {
  readonly commands: readonly ImportedCommand[]
}

/** A record that became no action of its own, and why. */
export interface SkippedRecord {
  readonly line: number
  readonly recordType: string
  readonly reason: string
}

/** Something to know about a record that was imported. */
export interface ImportRemark {
  readonly line: number
  readonly remark: string
}

/** What a format's importer made of a file. Every record is in an action or in `skipped`. */
export interface ImportedFile<Conversation extends ImportedConversation = HeldConversation> {
  readonly format: string
  readonly records: number
  readonly conversations: readonly Conversation[]
  readonly skipped: readonly SkippedRecord[]
  /** What is in the conversations but not as the file would make one expect: a result without its call, a number kept as text. */
  readonly remarks: readonly ImportRemark[]
}
