/**
 * Ways to break the product on purpose, so that each row shows that it would notice. Nothing of it is in the product: a text of a source
 * file is replaced while a worker process loads it, or a text of an SQL function in the test's own database. A text that is not there
 * exactly once is an error, so a mutant cannot lose its teeth in silence.
 */
export interface Patch {
  /** From the root of the repository. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly patches?: readonly Patch[]
  readonly sql?: {
    readonly functions?: readonly { readonly name: string; readonly find: string; readonly replace: string }[]
    readonly statements?: readonly string[]
  }
}

const noCommandCheck = {
  functions: [
    { name: 'log_append_one_v1', find: 'and (p_command_id is null or not exists (', replace: 'and (true or not exists (' },
    { name: 'log_append_one_v1', find: 'when p_command_id is not null and exists (', replace: 'when false and exists (' },
    { name: 'log_append_v1', find: 'and (u.command_id is null or (', replace: 'and (true or (' },
    { name: 'log_append_v1', find: 'u.n = any (v_repeated) or (', replace: 'false and (' },
    { name: 'log_append_v1', find: 'if p_more_requests is not null then', replace: 'if false then' },
  ],
  statements: ['drop index envelope_command'],
}

/** One partition is read by a query of its own, several together by another. */
const skippingFeed: readonly Patch[] = [
  {
    file: 'packages/postgres/src/read/feed.ts',
    find: `.where('feed_position', '>', after)`,
    replace: `.where('feed_position', '>', after + 1)`,
  },
  {
    file: 'packages/postgres/src/read/feed.ts',
    find: 'e.feed_position > asked.after\n',
    replace: 'e.feed_position > asked.after + 1\n',
  },
]

export const mutants = {
  /** A command that is stored already is stored again. */
  'no-command-check': { sql: noCommandCheck },
  /** Nor does an append remember that it was sent before. */
  'no-second-look': {
    sql: noCommandCheck,
    patches: [
      {
        file: 'packages/postgres/src/append/append.ts',
        find: 'if (prepared.lost !== undefined) return afterLoss(',
        replace: 'if (false) return afterLoss(',
      },
    ],
  },
  /** An append goes in wherever the conversation stands. */
  'no-compare-and-set': {
    sql: {
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
      statements: [
        'alter table envelope drop constraint envelope_pkey',
        'create index on envelope (partition, conversation_no, position)',
      ],
    },
  },
  'no-compare-and-set-in-memory': {
    patches: [
      {
        file: 'packages/engine/src/memory-log.ts',
        find: 'if (head.position !== expected.position || !equalBytes(head.hash, expected.hash)) {',
        replace: 'if (Number.isNaN(head.position)) {',
      },
    ],
  },
  /** A writer that won goes on at once, as if it were alone. */
  'nobody-gives-way': {
    patches: [{ file: 'packages/engine/src/turns.ts', find: 'if (leftMs <= 0) return undefined', replace: 'return undefined' }],
  },
  /** A page of the feed begins one too late. */
  'feed-skips': {
    patches: [...skippingFeed],
  },
  /** And the reader does not look whether a position is missing. */
  'feed-skips-in-silence': {
    patches: [
      ...skippingFeed,
      { file: 'packages/core/src/feed/feed-page.ts', find: 'if (feedPosition !== expected)', replace: 'if (false)' },
    ],
  },
  /** Envelopes come in the order of the clocks of those who wrote them. */
  'feed-by-time': {
    patches: [
      { file: 'packages/postgres/src/read/page-query.ts', find: '.orderBy(sql.ref(order))', replace: `.orderBy('occurred_at')` },
      { file: 'packages/core/src/feed/feed-page.ts', find: 'if (feedPosition !== expected)', replace: 'if (false)' },
    ],
  },
  /** A clock is believed when it goes back. */
  'clock-believed': {
    patches: [
      {
        file: 'packages/engine/src/writer.ts',
        find: 'occurredAt: Math.max(clock(), attempt.occurredAt)',
        replace: 'occurredAt: clock()',
      },
    ],
  },
  /** A directory may be opened by several processes. */
  'no-lock': {
    patches: [
      {
        file: 'packages/postgres/src/embedded/directory-lock.ts',
        find: 'if (last && (await isAlive(last.holder, own.place))) throw',
        replace: 'if (false) throw',
      },
    ],
  },
  /** A slow consumer's envelopes wait in memory. */
  'feed-in-memory': {
    patches: [
      {
        file: 'test/chaos/workers/slow-reader.ts',
        find: 'const batches = engine.feed()',
        replace: `const waiting = []; const whole = new Promise((resolve) => engine.feed$().subscribe((e) => { waiting.push(e); if (waiting.length === job.envelopes) resolve() })); await whole; const batches = (async function* () { for (const e of waiting) yield { envelopes: [e] } })()`,
      },
    ],
  },
  /** What a read gives has a hole now and then, and nobody looks. */
  'read-with-hole': {
    patches: [
      {
        file: 'test/chaos/workers/history.ts',
        find: 'list.push(...page.map(wordOf))',
        replace: 'list.push(...page.filter(() => Math.random() > 0.01).map(wordOf))',
      },
    ],
  },
  /** A process reads what it knows already and does not ask the log. */
  'read-from-memory': {
    patches: [
      {
        file: 'test/chaos/workers/history.ts',
        find: 'const list = await readList(conversationId)',
        replace:
          'globalThis.known ??= new Map(); if (!known.has(conversationId)) known.set(conversationId, await readList(conversationId)); const list = known.get(conversationId)',
      },
    ],
  },
  /** A COMMIT is believed, whatever the answer. */
  'no-commit-tag': {
    patches: [
      {
        file: 'packages/postgres/src/connections/pool.ts',
        find: `if (result.command === 'ROLLBACK' &&`,
        replace: `if (false &&`,
      },
    ],
  },
  /** Nobody listens to what connections report. */
  'no-error-listeners': {
    patches: [
      {
        file: 'packages/postgres/src/connections/pool.ts',
        find: `pool.on('error', ignore)\n      pool.on('connect', listen)\n      return pool`,
        replace: 'return pool',
      },
      {
        file: 'packages/postgres/src/connections/pool.ts',
        find: `  listen(client)\n  // By the name`,
        replace: '  // By the name',
      },
    ],
  },
  /** A full disk is one failure among others. */
  'no-storage-full': {
    patches: [
      {
        file: 'packages/postgres/src/append/append-failure.ts',
        find: `if (code === '53100') return 'storage_full'`,
        replace: '',
      },
    ],
  },
  /** The server says that it is stored before it is. */
  'no-synchronous-commit': { sql: { statements: ['set-for-database synchronous_commit = off'] } },
  /** A client that looks whether its command is there, and when it is not says it anew. */
  'check-then-retry': {
    patches: [
      {
        file: 'test/chaos/workers/dispatch.ts',
        find: 'const nextCommandId = commandId',
        replace: `const nextCommandId = (await log.command({ tenant: 'default', conversationId }, commandId).catch(() => [])).length > 0 ? commandId : commandId + '-again'; await sleep(350)`,
      },
    ],
  },
} as const satisfies Record<string, Mutant>

export type MutantName = keyof typeof mutants
