/**
 * The mutants: what a row must notice. None of this is in the product. Source is replaced while a process of the run loads it
 * (`mutate.ts`), SQL in the database of the run, settings when its server starts. A text to replace that is not there exactly once
 * is an error, so a mutant cannot outlive the code that it breaks.
 */

export interface Mutant {
  /** What it breaks, in words. */
  readonly breaks: string
  readonly source?: readonly { readonly file: string; readonly find: string; readonly replace: string }[]
  readonly functions?: readonly { readonly name: string; readonly find: string; readonly replace: string }[]
  readonly statements?: readonly string[]
  /** Settings of the server. */
  readonly settings?: Readonly<Record<string, string>>
}

export const mutants = {
  'duplicate-check-off': {
    breaks: 'a command id is neither looked up nor unique: what was sent twice is stored twice',
    functions: [
      {
        name: 'log_append_one_v1',
        find: 'and (p_command_id is null or not exists (',
        replace: 'and (true or not exists (',
      },
      { name: 'log_append_v1', find: 'and (u.command_id is null or not exists (', replace: 'and (true or not exists (' },
      { name: 'log_append_v1', find: 'u.n = any (v_repeated) or exists (', replace: 'false and exists (' },
    ],
    statements: ['drop index envelope_command'],
  },
  'loss-forgotten': {
    breaks: 'an append whose answer was lost is taken for one that was not sent',
    source: [
      {
        file: 'packages/postgres/src/append-delivery.ts',
        find: "if (kind === 'lost') for (const prepared of batch) prepared.lost ??= error",
        replace: '',
      },
    ],
  },
  'rollback-tag-ignored': {
    breaks: 'a COMMIT that answers ROLLBACK counts as committed',
    source: [
      {
        file: 'packages/postgres/src/pool.ts',
        find: "if (result.command === 'ROLLBACK' && query.text === 'commit') throw new ColloquyError('transaction_aborted', { target })",
        replace: '',
      },
    ],
  },
  'acknowledged-before-flush': {
    breaks: 'an append is acknowledged before it is on disk',
    // The writer in the background is asleep: what it wrote in time would be a matter of luck.
    settings: { synchronous_commit: 'off', wal_writer_delay: '10s', wal_writer_flush_after: '1GB' },
  },
  'compare-and-set-off': {
    breaks: 'an append does not look where the conversation stands',
    functions: [
      {
        name: 'log_append_one_v1',
        find: 'and c.head_position = p_expected_position and c.head_hash = p_expected_hash and not c.archived',
        replace: 'and not c.archived',
      },
      {
        name: 'log_append_v1',
        find: 'and c.head_position = u.expected_position and c.head_hash = u.expected_hash and not c.archived',
        replace: 'and not c.archived',
      },
    ],
  },
  'memory-compare-and-set-off': {
    breaks: 'the log in memory does not look where the conversation stands',
    source: [
      {
        file: 'packages/engine/src/memory-log.ts',
        find: 'if (head.position !== expected.position || !isEqual(head.hash, expected.hash)) {',
        replace: 'if (head.position < 0) {',
      },
    ],
  },
  'memory-duplicate-check-off': {
    breaks: 'the log in memory does not know its command ids',
    source: [
      { file: 'packages/engine/src/memory-log.ts', find: 'if (duplicates.size > 0) {', replace: 'if (duplicates.size < 0) {' },
    ],
  },
  'directory-lock-off': {
    breaks: 'two processes may open one directory',
    source: [
      {
        file: 'packages/postgres/src/open-embedded.ts',
        find: 'const lock = await lockDirectory(directory)',
        replace: 'const lock = { release: () => Promise.resolve() }',
      },
    ],
  },
  'live-holder-robbed': {
    breaks: 'the lock of a process that lives is taken over',
    source: [
      {
        file: 'packages/postgres/src/directory-lock.ts',
        find: 'if (last && (await isAlive(last.holder, own.place))) throw lockedBy(directory, last.holder)',
        replace: '',
      },
    ],
  },
  'error-listeners-off': {
    breaks: 'nobody listens when a connection ends',
    source: [
      {
        file: 'packages/postgres/src/pool.ts',
        find: "their end after the pool's.\n      pool.on('error', ignore)",
        replace: "their end after the pool's.",
      },
      {
        file: 'packages/postgres/src/pool.ts',
        find: "between two statements.\n  client.on('error', ignore)",
        replace: 'between two statements.',
      },
    ],
  },
  'order-by-time': {
    breaks: 'a feed is ordered by what clocks say',
    source: [{ file: 'packages/postgres/src/feed.ts', find: ".orderBy('feed_position')", replace: ".orderBy('occurred_at')" }],
  },
  'time-runs-backwards': {
    breaks: 'an envelope may be older than the one before',
    source: [{ file: 'packages/engine/src/writer.ts', find: 'Math.max(clock(), attempt.occurredAt)', replace: 'clock()' }],
  },
  'recorded-by-the-caller': {
    breaks: 'the time of recording is the time that the application says',
    functions: [
      {
        name: 'log_append_one_v1',
        find: 'recorded_at := extract(epoch from clock_timestamp()) * 1000000;',
        replace: 'recorded_at := p_occurred_at;',
      },
    ],
  },
  'stale-reads': {
    breaks: 'a refresh does not look at the log',
    source: [
      {
        file: 'packages/engine/src/writer.ts',
        find: 'this.#tasks.push(() => this.#catchUp().then(resolve, reject))',
        replace: 'this.#tasks.push(() => Promise.resolve().then(resolve, reject))',
      },
    ],
  },
} as const satisfies Record<string, Mutant>

export type MutantName = keyof typeof mutants

export function isMutant(name: string): name is MutantName {
  return Object.hasOwn(mutants, name)
}

/** The mutant that this run is made with. */
export const activeMutant: Mutant | undefined = readMutant(process.env['COLLOQUY_MUTANT'])

function readMutant(name: string | undefined): Mutant | undefined {
  if (name === undefined) return undefined
  if (!isMutant(name)) throw new Error(`There is no mutant "${name}". There are: ${Object.keys(mutants).join(', ')}.`)
  return mutants[name]
}

/** @throws Error unless `find` is in `text` exactly once */
export function replaceOnce(
  text: string,
  { find, replace }: { readonly find: string; readonly replace: string },
  where: string,
): string {
  const parts = text.split(find)
  if (parts.length !== 2)
    throw new Error(`A mutant looks for ${JSON.stringify(find)} in ${where} and finds it ${parts.length - 1} times.`)
  return parts.join(replace)
}
