/** What SQL of the log must keep to, so that it runs on one Postgres and on a cluster that spreads the tables by `partition`. */

const tables = ['conversation', 'envelope', 'media', 'snapshot', 'subscription', 'subscriber', 'dead_letter']

/** What is kept of a subscription may be listed and forgotten by its name, over all partitions: no promise hangs on its being of one moment. */
const byName = /^(select|delete)\b.* from (subscription|subscriber|dead_letter) where name = /

const forbidden: readonly (readonly [RegExp, string])[] = [
  [
    /\b(small|big)?serial\b|\bgenerated\b[^,]*\bas identity\b|\bsequence\b|\bnextval\b/,
    'a sequence: its numbers have gaps and no order',
  ],
  [/\bxid8?\b|\bpg_current_xact_id|\bpg_snapshot|\btxid_/, 'a transaction id: each node has its own'],
  [/\bpg_(try_)?advisory_/, 'an advisory lock: it holds on one node only'],
  [/\bnotify\b|\bpg_notify\b/, 'NOTIFY: it takes a lock at commit, and is heard on one node only'],
  [/\bcreate( or replace)?( constraint)? trigger\b/, 'a trigger: refused on distributed tables'],
  [/\bconstraint "?\w+"?/, 'the name of a constraint: nodes call it otherwise'],
  [/\bserializable\b|\brepeatable read\b/, 'an isolation level that does not reach over nodes'],
]

/** What is wrong with one statement that is sent to a server. */
export function lintStatement(text: string): string[] {
  const statement = plain(text)
  const problems = forbidden.flatMap(([pattern, problem]) => (pattern.test(statement) ? [problem] : []))
  if (/;\s*\S/.test(statement)) problems.push('two statements in one string')
  if (/\bskip locked\b/.test(statement) && !/\bpartition = /.test(statement)) problems.push('skip locked without one partition')
  return [...problems, ...unpartitioned(statement)]
}

/** What is wrong with a file of migrations. */
export function lintMigration(text: string): string[] {
  const statements = text.split(/^-- statement-break$/m).map((statement) => statement.replaceAll(/--.*$/gm, ''))
  return statements.flatMap((statement) => {
    const [outside = '', ...bodies] = statement.split('$$')
    const keys = [...plain(statement).matchAll(/\b(?:primary key|unique)(?: index \w+ on \w+)? ?\(([^)]*)\)/g)]
    const badKeys = keys
      .filter(([, columns = '']) => !/^"?partition"?\b/.test(columns))
      .map(([key]) => `a key without partition: ${key}`)
    // A function is one statement, and holds several.
    const inside = (bodies[0] ?? '').split(';').flatMap((part) => lintStatement(part))
    return [...badKeys, ...lintStatement(outside), ...inside]
  })
}

/** Each table that is read or written must be told its partition. Definitions and rights are about whole tables. */
function unpartitioned(statement: string): string[] {
  if (/^(create|alter|drop|grant|revoke|lock|comment)\b/.test(statement) || byName.test(statement)) return []
  const mentions = [...statement.matchAll(/\b(from|join|into|update) (\w+)/g)]
    .map(([, , table = '']) => table)
    .filter((table) => tables.includes(table))
  const told = [
    ...statement.matchAll(/\bpartition (=|in\b)|\(partition, [^)]*\) in\b|= \w+\.partition\b|\binto \w+ ?\(partition\b/g),
  ].length
  const locksAll = /\bfrom partition\b(?!.*\bpartition (=|in\b)).*\bfor update\b/.test(statement)
  return [
    ...(mentions.length > told ? [`${mentions.length} tables and ${told} partitions named: ${statement.slice(0, 120)}`] : []),
    ...(locksAll ? ['a lock on every partition'] : []),
  ]
}

/** Lower case, one line, no quotes around names, no strings. */
function plain(text: string): string {
  return text
    .replaceAll(/'(?:[^']|'')*'/g, "''")
    .replaceAll('"', '')
    .replaceAll(/\s+/g, ' ')
    .replace(/;\s*$/, '')
    .trim()
    .toLowerCase()
}
