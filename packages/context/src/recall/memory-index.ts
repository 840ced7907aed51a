import {
  type FoundInteraction,
  type IndexedInteraction,
  type MemoryIndex,
  type MemoryQuery,
  memoryRanking,
  type SearchTerms,
  searchTerms,
  searchWords,
} from '@colloquy/core'

interface Kept {
  readonly interaction: IndexedInteraction
  readonly words: readonly string[]
  readonly counts: ReadonlyMap<string, number>
}

/** The smallest index that does: in memory, searched from end to end. For tests and single processes. */
export function memoryIndex(): MemoryIndex {
  /** By tenant, then by session, then by sequence. */
  const tenants = new Map<string, Map<string, Map<number, Kept>>>()
  const sessionsOf = (tenant: string) => tenants.get(tenant) ?? new Map<string, Map<number, Kept>>()

  return {
    async put(tenant, interactions) {
      const sessions = sessionsOf(tenant)
      tenants.set(tenant, sessions)
      for (const interaction of interactions) {
        const session = sessions.get(interaction.sessionId) ?? new Map<number, Kept>()
        sessions.set(interaction.sessionId, session)
        const present = session.get(interaction.sequence)?.interaction
        if (present === undefined || present.lastPosition <= interaction.lastPosition)
          session.set(interaction.sequence, kept(interaction))
      }
    },

    async latest(tenant, sessionId, limit) {
      const session = [...(sessionsOf(tenant).get(sessionId)?.values() ?? [])].map(({ interaction }) => interaction)
      return session.sort((a, b) => b.sequence - a.sequence).slice(0, limit)
    },

    async search(tenant, query) {
      const sessions = sessionsOf(tenant)
      const inside =
        query.sessionId === undefined ? [...sessions.values()] : [sessions.get(query.sessionId) ?? new Map<number, Kept>()]
      return ranked(
        inside.flatMap((session) => [...session.values()]),
        query,
      )
    },

    async forget(tenant, sessionId, upToSequence = Number.POSITIVE_INFINITY) {
      const session = sessionsOf(tenant).get(sessionId)
      for (const sequence of session?.keys() ?? []) if (sequence <= upToSequence) session?.delete(sequence)
    },
  }
}

function kept(interaction: IndexedInteraction): Kept {
  const words = interaction.messages.flatMap(({ text }) => searchWords(text))
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return { interaction: { ...interaction, messages: interaction.messages.map((message) => ({ ...message })) }, words, counts }
}

function ranked(all: readonly Kept[], { text, limit, now }: MemoryQuery): FoundInteraction[] {
  const terms = searchTerms(text)
  const found = all.map((one) => ({ one, rank: rankOf(one, terms) })).filter(({ rank }) => rank > 0)
  const highest = Math.max(...found.map(({ rank }) => rank))
  return found
    .map(({ one: { interaction }, rank }): FoundInteraction => {
      const hours = Math.min(Math.max(0, now - interaction.occurredAt) / 3_600_000_000, memoryRanking.hoursLimit)
      return { ...interaction, score: rank / highest + memoryRanking.decayPerHour ** hours + interaction.significance }
    })
    .sort(
      (a, b) => b.score - a.score || b.occurredAt - a.occurredAt || compare(a.sessionId, b.sessionId) || b.sequence - a.sequence,
    )
    .slice(0, limit)
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** How often each term is there, less and less for more of the same, and less in a long text. 0: not found. */
function rankOf({ words, counts }: Kept, { wanted, unwanted }: SearchTerms): number {
  if (unwanted.some((word) => counts.has(word))) return 0
  const weight = wanted.reduce((sum, term) => {
    const count = term.length === 1 ? (counts.get(term[0] ?? '') ?? 0) : phraseCount(words, term)
    return sum + (count === 0 ? 0 : 1 + Math.log(count))
  }, 0)
  return weight / (1 + Math.log(1 + words.length))
}

function phraseCount(words: readonly string[], phrase: readonly string[]): number {
  return words.filter((_, at) => phrase.every((word, offset) => words[at + offset] === word)).length
}
