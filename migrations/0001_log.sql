-- The log. One file for PGlite, Postgres and Citus; lines "-- statement-break" part the statements, since PGlite takes one at a time.
--
-- `partition` leads every primary and unique key, so that a partition can move to a machine of its own. Only partition rows are locked,
-- and whoever writes in a partition locks its row first: that makes feed positions gapless and in the order of the commits.
-- Keys are compared by bytes (collate "C"): the same order on every system, and no index breaks when a system's locale is updated.
-- Times are microseconds since 1970.

create table partition (
  partition int primary key,
  -- How many partitions there are and how a conversation finds its own: the same in every row, fixed for ever.
  partitions int not null,
  partition_hash text collate "C" not null,
  last_feed_position bigint not null default 0,
  last_conversation_no bigint not null default 0,
  check (partition between 0 and partitions - 1)
)
-- statement-break

create table conversation (
  partition int not null,
  conversation_no bigint not null,
  tenant text collate "C" not null,
  conversation_id text collate "C" not null,
  head_position bigint not null,
  head_hash bytea not null,
  head_occurred_at bigint not null,
  archived boolean not null default false,
  -- A fork continues its parent, which lies in the same partition, after this position.
  parent_conversation_no bigint,
  parent_position bigint,
  primary key (partition, conversation_no),
  unique (partition, tenant, conversation_id),
  check ((parent_conversation_no is null) = (parent_position is null))
)
-- Heads change with every append; room on the page lets that happen without touching the indexes.
with (fillfactor = 80)
-- statement-break

create table envelope (
  partition int not null,
  schema_version int not null,
  conversation_no bigint not null,
  position bigint not null,
  feed_position bigint not null,
  occurred_at bigint not null,
  recorded_at bigint not null,
  command_index int,
  tenant text collate "C" not null,
  type text collate "C" not null,
  command_id text collate "C",
  actor text collate "C",
  cause text collate "C",
  key_id text collate "C",
  -- The bytes as accepted. Not jsonb, which refuses \u0000 and reorders keys.
  body bytea not null,
  salt bytea,
  commitment bytea not null,
  hash bytea not null,
  input_hash bytea,
  primary key (partition, conversation_no, position),
  unique (partition, feed_position),
  check ((command_id is null) = (command_index is null))
)
-- statement-break

-- Partial: most envelopes of a program that gives no command ids need no entry.
create unique index envelope_command on envelope (partition, conversation_no, command_id, command_index) where command_id is not null
-- statement-break

create table media (
  partition int not null,
  tenant text collate "C" not null,
  -- SHA-256 of the bytes, in hex.
  hash text collate "C" not null,
  media_type text not null,
  bytes bytea not null,
  recorded_at bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint,
  primary key (partition, tenant, hash)
)
-- statement-break

create table snapshot (
  partition int not null,
  conversation_no bigint not null,
  state_key text collate "C" not null,
  position bigint not null,
  tenant text collate "C" not null,
  state_hash bytea not null,
  -- Null once a younger snapshot has one; the hash stays as a witness.
  body bytea,
  recorded_at bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint,
  primary key (partition, conversation_no, state_key, position)
)
-- statement-break

-- Where a named reader of a partition's feed stands, and which process reads. The epoch fences: who takes a lease over raises it, and
-- what the former holder writes afterwards misses.
create table subscription (
  partition int not null,
  name text collate "C" not null,
  feed_position bigint not null,
  epoch bigint not null default 0,
  leased_by text collate "C",
  leased_until bigint,
  -- Why it stands still. Null: it does not.
  problem text,
  primary key (partition, name)
)
-- Checkpoints change with every page; room on the page lets that happen without touching the index.
with (fillfactor = 50)
-- statement-break

-- Which processes take part in a subscription, so that each leaves the others their share. All rows lie in partition 0.
create table subscriber (
  partition int not null,
  name text collate "C" not null,
  member text collate "C" not null,
  alive_until bigint not null,
  primary key (partition, name, member)
)
-- statement-break

-- Envelopes that a subscription could not handle and went past.
create table dead_letter (
  partition int not null,
  name text collate "C" not null,
  feed_position bigint not null,
  tenant text collate "C" not null,
  conversation_id text collate "C" not null,
  position bigint not null,
  tries int not null,
  problem text not null,
  parked_at bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint,
  primary key (partition, name, feed_position)
)
-- statement-break

-- Appends one envelope to one conversation: what log_append_v1 does for one, in plain statements on plain arguments, which take half as long.
--
-- p_expected_position is 0 for a new conversation; a negative one matches nothing. The outcome is data, in one row:
--   appended   feed_position and recorded_at of the first of the envelopes
--   duplicate  a command id is stored already
--   conflict   the conversation is elsewhere, at head_*; all null when there is no such conversation
--   archived   the conversation takes no more
-- Only 'appended' changes anything, counters included.
--
-- Volatile and at read committed, so that each statement sees all that was committed before it. The lock is a statement of its own for
-- that reason: one that waits for it still looks at the past afterwards, and would miss the duplicate it waited for.
--
-- The planner settings hold plans to index lookups. A connection keeps a plan, and one made over small tables would read them whole.
create function log_append_one_v1(
  p_partition int,
  p_tenant text,
  p_conversation_id text,
  p_expected_position bigint,
  p_expected_hash bytea,
  p_archive boolean,
  p_type text,
  p_schema_version int,
  p_occurred_at bigint,
  p_command_id text,
  p_command_index int,
  p_actor text,
  p_cause text,
  p_key_id text,
  p_body bytea,
  p_salt bytea,
  p_commitment bytea,
  p_hash bytea,
  p_input_hash bytea
)
returns table (
  request int,
  outcome text,
  head_position bigint,
  head_hash bytea,
  head_occurred_at bigint,
  head_archived boolean,
  feed_position bigint,
  recorded_at bigint
)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_last_feed_position bigint;
  v_last_conversation_no bigint;
  v_conversation_no bigint;
  v_is_new boolean;
begin
  request := 1;

  select last_feed_position, last_conversation_no into v_last_feed_position, v_last_conversation_no
  from partition where partition = p_partition
  for update;
  if not found then
    raise exception 'there is no partition %', p_partition;
  end if;

  select c.conversation_no, c.head_position, c.head_hash, c.head_occurred_at, c.archived
  into v_conversation_no, head_position, head_hash, head_occurred_at, head_archived
  from conversation c
  where c.partition = p_partition and c.tenant = p_tenant and c.conversation_id = p_conversation_id;
  v_is_new := not found;

  if p_command_id is not null and exists (
    select from envelope
    where partition = p_partition and conversation_no = v_conversation_no and command_id = p_command_id
  ) then
    outcome := 'duplicate';
  elsif head_archived then
    outcome := 'archived';
  elsif coalesce(head_position, 0) <> p_expected_position or head_hash <> p_expected_hash then
    outcome := 'conflict';
  else
    outcome := 'appended';
    feed_position := v_last_feed_position + 1;
    recorded_at := extract(epoch from clock_timestamp()) * 1000000;

    if v_is_new then
      v_conversation_no := v_last_conversation_no + 1;
      insert into conversation
        (partition, conversation_no, tenant, conversation_id, head_position, head_hash, head_occurred_at, archived)
      values
        (p_partition, v_conversation_no, p_tenant, p_conversation_id, 1, p_hash, p_occurred_at, p_archive);
    else
      update conversation
      set head_position = p_expected_position + 1, head_hash = p_hash, head_occurred_at = p_occurred_at, archived = p_archive
      where partition = p_partition and conversation_no = v_conversation_no;
    end if;

    insert into envelope
      (partition, conversation_no, position, feed_position, tenant, recorded_at, type, schema_version, occurred_at,
        command_id, command_index, actor, cause, key_id, body, salt, commitment, hash, input_hash)
    values
      (p_partition, v_conversation_no, p_expected_position + 1, feed_position, p_tenant, recorded_at, p_type, p_schema_version, p_occurred_at,
        p_command_id, p_command_index, p_actor, p_cause, p_key_id, p_body, p_salt, p_commitment, p_hash, p_input_hash);

    update partition
    set last_feed_position = feed_position, last_conversation_no = v_last_conversation_no + v_is_new::int
    where partition = p_partition;
    -- A plan from before Citus moved the partition finds no row here, and uncounted positions would be given twice.
    if not found then
      raise exception 'partition % was not counted', p_partition;
    end if;
  end if;
  return next;
end
$$
-- statement-break

-- Appends to many conversations at once, each one all or nothing and independent of the others: outcomes as above, a row per request.
--
-- One element per request in p_tenants ... p_archives; a conversation appears once. p_counts: its envelopes, maybe none, which only
-- checks the head (and archives). One element per envelope, in the order of the requests, in p_requests (which one it belongs to, from 1)
-- and after. p_command_ids is null when no envelope has one.
--
-- Requests of one partition name it in p_partition, which routes the call on Citus. Otherwise p_partition is null and p_partitions has
-- one for each request: on one server, one round trip and one commit serve them all.
create function log_append_v1(
  p_partition int,
  p_partitions int[],
  p_tenants text[],
  p_conversation_ids text[],
  p_expected_positions bigint[],
  p_expected_hashes bytea[],
  p_counts int[],
  p_last_hashes bytea[],
  p_last_occurred_at bigint[],
  p_archives boolean[],
  p_requests int[],
  p_positions bigint[],
  p_types text[],
  p_schema_versions int[],
  p_occurred_at bigint[],
  p_command_ids text[],
  p_command_indexes int[],
  p_actors text[],
  p_causes text[],
  p_key_ids text[],
  p_bodies bytea[],
  p_salts bytea[],
  p_commitments bytea[],
  p_hashes bytea[],
  p_input_hashes bytea[]
)
returns table (
  request int,
  outcome text,
  head_position bigint,
  head_hash bytea,
  head_occurred_at bigint,
  head_archived boolean,
  feed_position bigint,
  recorded_at bigint
)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_partitions constant int[] := coalesce(p_partitions, array_fill(p_partition, array[cardinality(p_tenants)]));
  v_recorded_at bigint;
  -- One element per request. Heads are null for conversations that are not there.
  v_conversation_nos bigint[];
  v_head_positions bigint[];
  v_head_hashes bytea[];
  v_head_occurred_at bigint[];
  v_archived boolean[];
  v_outcomes text[];
  v_is_new boolean[];
  v_feed_before bigint[];
  v_request int;
  v_taken record;
begin
  perform from partition where partition = any (v_partitions) order by partition for update;

  select
    array_agg((r.head).conversation_no order by r.n),
    array_agg((r.head).head_position order by r.n),
    array_agg((r.head).head_hash order by r.n),
    array_agg((r.head).head_occurred_at order by r.n),
    array_agg((r.head).archived order by r.n),
    array_agg(
      case
        when (r.head).archived then 'archived'
        when coalesce((r.head).head_position, 0) <> r.expected_position or (r.head).head_hash <> r.expected_hash then 'conflict'
        else 'appended'
      end order by r.n)
  into v_conversation_nos, v_head_positions, v_head_hashes, v_head_occurred_at, v_archived, v_outcomes
  from (
    select u.n, u.expected_position, u.expected_hash, (
        select c from conversation c
        where c.partition = u.partition and c.tenant = u.tenant and c.conversation_id = u.conversation_id
      ) as head
    from unnest(v_partitions, p_tenants, p_conversation_ids, p_expected_positions, p_expected_hashes)
      with ordinality as u(partition, tenant, conversation_id, expected_position, expected_hash, n)
    -- Holds each lookup by itself: as a join it might be planned, while the table is small, as a scan of all of it.
    offset 0
  ) r;

  if p_command_ids is not null then
    for v_request in
      select distinct e.request
      from unnest(p_requests, p_command_ids) as e(request, command_id)
      where e.command_id is not null and (
        select true from envelope s
        where s.partition = v_partitions[e.request] and s.conversation_no = v_conversation_nos[e.request] and s.command_id = e.command_id
        limit 1
      )
    loop
      v_outcomes[v_request] := 'duplicate';
    end loop;
  end if;

  -- Feed positions and numbers of new conversations: counted on from their partition, in the order of the requests.
  select
    array_agg(r.is_new order by r.n),
    array_agg(case when r.is_new then p.last_conversation_no + r.new_until else r.conversation_no end order by r.n),
    array_agg(p.last_feed_position + r.envelopes_until - r.envelopes order by r.n)
  into v_is_new, v_conversation_nos, v_feed_before
  from (
    select a.*,
      count(*) filter (where a.is_new) over until_here as new_until,
      sum(a.envelopes) over until_here as envelopes_until
    from (
      select n, partition, conversation_no,
        outcome = 'appended' and conversation_no is null and envelopes > 0 as is_new,
        case when outcome = 'appended' then envelopes else 0 end as envelopes
      from unnest(v_partitions, v_conversation_nos, v_outcomes, p_counts)
        with ordinality as u(partition, conversation_no, outcome, envelopes, n)
    ) a
    window until_here as (partition by a.partition order by a.n)
  ) r
  join partition p on p.partition = r.partition;
  if coalesce(cardinality(v_is_new), 0) <> cardinality(p_tenants) then
    raise exception 'of the partitions % some do not exist', v_partitions;
  end if;

  v_recorded_at := extract(epoch from clock_timestamp()) * 1000000;

  -- Begins conversations and moves heads. `on conflict` finds the row by its key, where an update from a list would be a join again.
  insert into conversation
    (partition, conversation_no, tenant, conversation_id, head_position, head_hash, head_occurred_at, archived)
  select r.partition, r.conversation_no, r.tenant, r.conversation_id, r.expected_position + r.envelopes,
    coalesce(r.last_hash, r.head_hash), coalesce(r.last_occurred_at, r.head_occurred_at), r.archive
  from unnest(v_outcomes, v_partitions, v_conversation_nos, p_tenants, p_conversation_ids, p_expected_positions, p_counts,
      p_last_hashes, v_head_hashes, p_last_occurred_at, v_head_occurred_at, p_archives)
    as r(outcome, partition, conversation_no, tenant, conversation_id, expected_position, envelopes,
      last_hash, head_hash, last_occurred_at, head_occurred_at, archive)
  where r.outcome = 'appended' and (r.envelopes > 0 or r.archive) and r.conversation_no is not null
  on conflict (partition, conversation_no) do update
  set head_position = excluded.head_position,
    head_hash = excluded.head_hash,
    head_occurred_at = excluded.head_occurred_at,
    archived = excluded.archived;

  insert into envelope
    (partition, conversation_no, position, feed_position, tenant, recorded_at, type, schema_version, occurred_at,
      command_id, command_index, actor, cause, key_id, body, salt, commitment, hash, input_hash)
  select v_partitions[e.request], v_conversation_nos[e.request], e.position,
    v_feed_before[e.request] + e.position - p_expected_positions[e.request], p_tenants[e.request], v_recorded_at,
    e.type, e.schema_version, e.occurred_at,
    e.command_id, e.command_index, e.actor, e.cause, e.key_id, e.body, e.salt, e.commitment, e.hash, e.input_hash
  from unnest(p_requests, p_positions, p_types, p_schema_versions, p_occurred_at, p_command_ids, p_command_indexes,
      p_actors, p_causes, p_key_ids, p_bodies, p_salts, p_commitments, p_hashes, p_input_hashes)
    as e(request, position, type, schema_version, occurred_at, command_id, command_index,
      actor, cause, key_id, body, salt, commitment, hash, input_hash)
  where v_outcomes[e.request] = 'appended';

  for v_taken in
    select r.partition, sum(r.envelopes) as envelopes, count(*) filter (where r.is_new) as conversations
    from unnest(v_partitions, v_outcomes, v_is_new, p_counts) as r(partition, outcome, is_new, envelopes)
    where r.outcome = 'appended' and r.envelopes > 0
    group by r.partition
  loop
    update partition
    set last_feed_position = last_feed_position + v_taken.envelopes,
      last_conversation_no = last_conversation_no + v_taken.conversations
    where partition = v_taken.partition;
    if not found then
      raise exception 'partition % was not counted', v_taken.partition;
    end if;
  end loop;

  return query
    select r.n::int, r.outcome, r.head_position, r.head_hash, r.head_occurred_at, r.archived, r.feed_before + 1, v_recorded_at
    from unnest(v_outcomes, v_head_positions, v_head_hashes, v_head_occurred_at, v_archived, v_feed_before)
      with ordinality as r(outcome, head_position, head_hash, head_occurred_at, archived, feed_before, n)
    order by r.n;
end
$$
