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
    { name: 'log_append_v1', find: 'and (u.command_id is null or not exists (', replace: 'and (true or not exists (' },
    { name: 'log_append_v1', find: 'u.n = any (v_repeated) or exists (', replace: 'false and exists (' },
    { name: 'log_append_v1', find: 'if p_more_requests is not null then', replace: 'if false then' },
  ],
  statements: ['drop index envelope_command'],
}

export const mutants = {
  /** A command that is stored already is stored again. */
  'no-command-check': { sql: noCommandCheck },
  /** Nor does an append remember that it was sent before. */
  'no-second-look': {
    sql: noCommandCheck,
    patches: [
      {
        file: 'packages/postgres/src/append.ts',
        find: 'return prepared.lost === undefined ? refusal(',
        replace: 'return true ? refusal(',
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
        find: 'if (head.position !== expected.position || !isEqual(head.hash, expected.hash)) {',
        replace: 'if (Number.isNaN(head.position)) {',
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
        replace: `const nextCommandId = (await log.command({ tenant: 'default', conversationId }, commandId).catch(() => [])).length > 0 ? commandId : commandId + '-again'`,
      },
    ],
  },
} as const satisfies Record<string, Mutant>

export type MutantName = keyof typeof mutants
