import type { Action } from './action.ts'
import type { Media } from './ports/event-log.ts'

/** What a record of a foreign file became: actions under a command id made from the record, so that importing twice is importing once. */
export interface ImportedCommand {
  readonly commandId: string
  readonly actions: readonly Action[]
  /** The record's own time in microseconds since 1970; the log keeps it, made monotone. */
  readonly occurredAt?: number
}

/** A conversation out of a foreign file: plain data, not yet stored. */
export interface ImportedConversation {
  readonly conversationId: string
  /** Goes into `cause`: `import:<format>`. */
  readonly format: string
  readonly commands: readonly ImportedCommand[]
  readonly media: readonly Media[]
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
export interface ImportedFile {
  readonly format: string
  readonly records: number
  readonly conversations: readonly ImportedConversation[]
  readonly skipped: readonly SkippedRecord[]
  /** What is in the conversations but not as the file would make one expect: a result without its call, a number kept as text. */
  readonly remarks: readonly ImportRemark[]
}
