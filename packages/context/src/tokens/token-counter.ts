/** Counts the tokens of a text. What it says is stored with its id and version beside the number; replay never counts again. */
export interface TokenCounter {
  readonly id: string
  readonly version: string
  count(text: string): number
}

/** As it stands in the log beside what was counted. */
export const counterName = ({ id, version }: TokenCounter): string => `${id}@${version}`
