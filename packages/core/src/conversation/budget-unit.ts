/** A kind of budget in words, as they stand behind a number: `costMicros` -> `cost micros`, `messageTokens` -> `tokens`. */
export const budgetUnit = (kind: string): string =>
  kind === 'messageTokens' ? 'tokens' : kind.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
