/**
 * Rules that SQL must keep so that the log can be spread by partition over several machines, and feeds stay gapless. Checked on text:
 * strings and comments are taken out first, so what is found is code.
 */

/** Tables of the log that have a partition column beside others. The table `partition` is one row each. */
const logTables = '(conversation|envelope|media|snapshot)'
/** Of the readers of feeds: what a status, or a search, may read in all partitions at once, torn or not. They are written in one. */
const readerTables = '(subscription|subscriber|dead_letter|interaction)'
const touching = [
  new RegExp(`\\b(?:from|join|into|update|only|using)\\s+"?${logTables}\\b(?!"?\\s*\\.)`),
  new RegExp(`\\b(?:delete\\s+from|into|update)\\s+"?${readerTables}\\b`),
]

const forbidden: Readonly<Record<string, RegExp>> = {
  'a sequence has gaps, and is not one across machines': /\b(nextval|currval|setval|\w*serial[248]?|create\s+sequence)\b/,
  'an identity column is a sequence': /\bgenerated\s+(always|by\s+default)\s+as\s+identity\b/,
  'transaction ids order nothing across machines': /\b(xid8?|xmin|txid_\w+|pg_current_\w*xact_id\w*|pg_snapshot_\w+)\b/,
  'an advisory lock holds on one machine only': /\bpg_(try_)?advisory_\w+/,
  'a trigger is nothing to rely on': /\bcreate\s+(or\s+replace\s+)?(constraint\s+)?trigger\b/,
  'only a signal notifies': /\b(pg_notify\s*\(|notify\s+\w|listen\s+\w)/,
  'an error must not be told by the name of a constraint':
    /\bon\s+conflict\s+on\s+constraint\b|\badd\s+constraint\b|\bconstraint\s+\w+\s+(check|unique|primary|foreign)\b/,
}

/** What is wrong with one query string, as it is sent. */
export function statementProblems(text: string): string[] {
  const code = withoutTexts(text)
  const problems = Object.entries(forbidden).flatMap(([reason, pattern]) => (pattern.test(code) ? [reason] : []))
  if (/;\s*\S/.test(code)) problems.push('one statement a query string')
  return [...problems, ...partitionProblems(code)]
}

/** What is wrong with a file of migrations. Bodies of functions are looked at statement by statement. */
export function migrationProblems(text: string): string[] {
  const code = withoutComments(text)
  const bodies = [...code.matchAll(/\$(\w*)\$(.*?)\$\1\$/gs)].map((match) => match[2] ?? '')
  const outside = code.replaceAll(/\$(\w*)\$.*?\$\1\$/gs, "''")
  // What parts the statements is a comment, so it is looked for in the text.
  const statements = text.split('-- statement-break')
  const several = statements.filter((each) => /;\s*\S/.test(withoutTexts(each.replaceAll(/\$(\w*)\$.*?\$\1\$/gs, "''"))))
  const inside = bodies.flatMap((body) => withoutTexts(body).split(';'))
  return [
    ...several.map(() => 'one statement a query string'),
    ...Object.entries(forbidden).flatMap(([reason, pattern]) => (pattern.test(withoutTexts(code)) ? [reason] : [])),
    ...keyProblems(withoutTexts(outside)),
    ...inside.flatMap(partitionProblems),
  ]
}

/** Each primary and unique key begins with the partition. */
function keyProblems(code: string): string[] {
  const keys = [
    ...code.matchAll(/\b(?:primary\s+key|unique)\s*(?:nulls\s+(?:not\s+)?distinct\s*)?\(\s*"?(\w+)/g),
    ...code.matchAll(/\bcreate\s+unique\s+index\b[^(]*\(\s*"?(\w+)/g),
    // A key in the line of its column.
    ...code.matchAll(/(?:^|[(,])\s*"?(\w+)"?\s+\w+[^,()\n]*\b(?:primary\s+key|unique)\b(?!\s*\()/gm),
  ]
  return keys.flatMap(([, first]) => (first === 'partition' ? [] : [`a key begins with ${first}, not with partition`]))
}

/** What touches a table of the log names a partition, as a condition or as a value. */
function partitionProblems(code: string): string[] {
  const touched = touching.map((pattern) => pattern.exec(code)).find((found) => found !== null)
  const skips = /\bskip\s+locked\b/.test(code)
  if (!touched && !skips) return []
  const isNamed =
    /\bpartition"?\s*(=|in\b|is\b|between\b)/.test(code) ||
    /=\s*(any\s*\(\s*)?"?(\w+"?\."?)?partition\b/.test(code) ||
    /\(\s*"?partition"?\s*,/.test(code)
  if (isNamed) return []
  return [`${touched ? `a statement on ${touched[1]}` : 'skip locked'} names no partition`]
}

const withoutComments = (text: string): string => text.replaceAll(/--[^\n]*/g, '').replaceAll(/\/\*.*?\*\//gs, '')

const withoutTexts = (text: string): string =>
  withoutComments(text)
    .replaceAll(/'(?:[^']|'')*'/g, "''")
    .toLowerCase()
