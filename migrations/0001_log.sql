-- The log. One file for PGlite, Postgres and Citus; lines "-- statement-break" part the statements, since PGlite takes one at a time.
--
-- `partition` leads every primary and unique key, so that a partition can move to a machine of its own. Only partition rows are locked,
-- and whoever writes in a partition locks its row first: that makes feed positions gapless and in the order of the commits.
-- Keys are compared by bytes (collate "C"): the same order on every system, and no index breaks when a system's locale is updated.
-- Times are microseconds since 1970.
--
-- The three tables of an append have no check constraints: Postgres reads those anew from their text for each statement, which was an
-- eighth of what an append costs the server (measured 2026-11-27, Postgres 18). What they could hold is held where rows are made: positions
-- and commands by who stamps and sends envelopes, heads and counters by the functions below, forks by who begins one.

create table partition (
  partition int primary key,
  -- How many partitions there are and how a conversation finds its own: the same in every row, fixed for ever.
  partitions int not null,
  partition_hash text collate "C" not null,
  -- Which log this is, by chance: the same in every row. Empty in a template, until a log is made of it.
  log_id text collate "C" not null,
  last_feed_position bigint not null default 0,
  last_conversation_no bigint not null default 0
)
-- Every batch moves its counters: on pages that are nearly empty their next version always finds room, so that no index is touched.
with (fillfactor = 10)
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
  unique (partition, tenant, conversation_id)
)
-- Heads change with every append, and a batch may move all heads of a page: half a page of room lets that happen without touching the
-- indexes (with a fifth, three of four moves did).
with (fillfactor = 50)
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
  unique (partition, feed_position)
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
  -- What it asks the feed for, as JSON: what a checkpoint has passed was passed under this one.
  filter text not null,
  -- Another time: the name was forgotten meanwhile, and begun anew.
  begun_at bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint,
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

-- Appends one envelope to one conversation: what log_append_v1 does for one, in plain statements on plain arguments, which take a third of
-- the time.
--
-- p_expected_position is 0 for a new conversation; a negative one matches nothing. The outcome is data, texts in an array, which costs less
-- than a row with columns:
--   appended, feed position, time recorded
--   duplicate | conflict | archived, and the head as it is: position, hash in hex, time occurred, archived; nothing more when there is no
--     such conversation. A duplicate's command is stored already, a conflict's head is elsewhere, an archived conversation takes no more
-- Only 'appended' changes anything, counters included.
--
-- Volatile and at read committed, so that each statement sees all that was committed before it. The lock on the partition is a statement
-- of its own, and the first, for that reason: one that waits for it still looks at the past afterwards, and would miss the duplicate it
-- waited for. The lock is the counting itself, which a refusal takes back.
--
-- The planner settings hold plans to index lookups. A connection keeps a plan, and one made over small tables would read them whole. On
-- Citus plans are made for the values of each call instead (`distribute.ts`).
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
returns text[]
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  -- Only to set it: as an expression, which costs less than a "perform".
  v_tenants text;
  v_feed_position bigint;
  v_recorded_at bigint;
  v_conversation_no bigint;
  v_head record;
begin
  -- What row-level security lets this call see, where it holds.
  v_tenants := set_config('app.tenants', array[p_tenant]::text, true);

  update partition set last_feed_position = last_feed_position + 1
  where partition = p_partition
  returning last_feed_position into v_feed_position;
  if not found then
    raise exception 'there is no partition %', p_partition;
  end if;

  -- The usual case in one statement: the head is where it was expected, and moves on.
  update conversation c
  set head_position = p_expected_position + 1, head_hash = p_hash, head_occurred_at = p_occurred_at, archived = p_archive
  where c.partition = p_partition and c.tenant = p_tenant and c.conversation_id = p_conversation_id
    and c.head_position = p_expected_position and c.head_hash = p_expected_hash and not c.archived
    and (p_command_id is null or not exists (
      select from envelope s
      where s.partition = p_partition and s.conversation_no = c.conversation_no and s.command_id = p_command_id
    ))
  returning c.conversation_no into v_conversation_no;

  if not found then
    select c.conversation_no, c.head_position, c.head_hash, c.head_occurred_at, c.archived into v_head
    from conversation c
    where c.partition = p_partition and c.tenant = p_tenant and c.conversation_id = p_conversation_id;

    if v_head.conversation_no is null and p_expected_position = 0 then
      update partition set last_conversation_no = last_conversation_no + 1
      where partition = p_partition
      returning last_conversation_no into v_conversation_no;
      insert into conversation
        (partition, conversation_no, tenant, conversation_id, head_position, head_hash, head_occurred_at, archived)
      values
        (p_partition, v_conversation_no, p_tenant, p_conversation_id, 1, p_hash, p_occurred_at, p_archive);
    else
      update partition set last_feed_position = last_feed_position - 1 where partition = p_partition;
      if v_head.conversation_no is null then
        return array['conflict'];
      end if;
      return array[
        case
          when p_command_id is not null and exists (
            select from envelope s
            where s.partition = p_partition and s.conversation_no = v_head.conversation_no and s.command_id = p_command_id
          ) then 'duplicate'
          when v_head.archived then 'archived'
          else 'conflict'
        end,
        v_head.head_position::text, encode(v_head.head_hash, 'hex'), v_head.head_occurred_at::text, v_head.archived::text
      ];
    end if;
  end if;

  v_recorded_at := extract(epoch from clock_timestamp()) * 1000000;
  insert into envelope
    (partition, conversation_no, position, feed_position, tenant, recorded_at, type, schema_version, occurred_at,
      command_id, command_index, actor, cause, key_id, body, salt, commitment, hash, input_hash)
  values
    (p_partition, v_conversation_no, p_expected_position + 1, v_feed_position, p_tenant, v_recorded_at, p_type, p_schema_version,
      p_occurred_at, p_command_id, p_command_index, p_actor, p_cause, p_key_id, p_body, p_salt, p_commitment, p_hash, p_input_hash);
  return array['appended', v_feed_position::text, v_recorded_at::text];
end
$$
-- statement-break

-- Appends to many conversations at once, each one all or nothing and independent of the others, outcomes as above. On one server one
-- round trip and one commit serve them all.
--
-- p_partitions: those of the requests, each once, ascending: the order of the locks, without which two batches that meet would deadlock.
-- p_taken: how many envelopes each of them gets, when nothing is refused. p_all_tenants: those of the requests, each once.
-- p_partition: the same one where there is only one, which routes the call on Citus; otherwise null. The statements inside do not name it,
-- and Citus chooses a shard for them by a plain value only. To say "p_partition is null or partition = p_partition" beside p_partitions made
-- batches over many partitions ten times as slow (measured 2026-11-27: 1,000 requests, 16 ms and 240), since it changes what the planner
-- expects to find.
-- One element per request in p_slots ... p_commands: p_slots is the place in p_partitions, from 1; a conversation appears once; p_counts
-- are its envelopes, maybe none, which only checks the head (and archives); p_feed_offsets are the
-- envelopes of the requests before it in its partition. p_commands is its command, the first where it has several; the others stand in p_more_*. p_commands is null when no
-- request has any.
-- One element per envelope in p_requests (which one it belongs to, from 1) and after, in the order of the requests. Arrays of nulls only
-- are null themselves, and so are p_archives when nothing is archived, and p_last_hashes, p_last_occurred_at and p_envelope_tenants when
-- each request has one envelope: an array that need not be sent, read and stepped through is a part of what an append costs.
--
-- The counting of the feed is the lock, as above, in the order of p_partitions; it is put right when something is refused. The order is
-- that of the plan: with hash and merge joins off, only a nested loop over p_partitions, or over the ascending index, is left.
--
-- One row: the feed positions that p_partitions had before, from which the caller counts on as we do, and, null when all went well, the
-- requests that were refused, with the outcome and the head of each, hashes in hex.
--
-- `select unnest(a), unnest(b)` steps through arrays side by side without a copy of each, which `from unnest(a, b)` would make. Arrays are
-- indexed only where their elements have one size and none is null: in others Postgres walks to the element from the start.
create function log_append_v1(
  p_partition int,
  p_partitions int[],
  p_taken int[],
  p_all_tenants text[],
  p_slots int[],
  p_tenants text[],
  p_conversation_ids text[],
  p_expected_positions bigint[],
  p_expected_hashes bytea[],
  p_counts int[],
  p_feed_offsets int[],
  p_last_hashes bytea[],
  p_last_occurred_at bigint[],
  p_archives boolean[],
  p_commands text[],
  p_more_requests int[],
  p_more_tenants text[],
  p_more_conversation_ids text[],
  p_more_commands text[],
  p_requests int[],
  p_positions bigint[],
  p_envelope_tenants text[],
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
  p_input_hashes bytea[],
  out recorded_at bigint,
  out feed_positions bigint[],
  out refused int[],
  out outcomes text[],
  out head_positions bigint[],
  out head_hashes text[],
  out head_occurred_at bigint[],
  out head_archived boolean[]
)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_tenants text;
  v_total constant int := cardinality(p_slots);
  -- One element per partition.
  v_last_nos bigint[];
  v_taken int[] := p_taken;
  -- Requests that moved a head, and the numbers of their conversations.
  v_moved int[];
  v_moved_nos bigint[];
  -- One element per request: the number of the conversation that its envelopes go to, 0 for those that have none to store.
  v_nos bigint[];
  v_is_new boolean[];
  v_feed_offsets int[] := p_feed_offsets;
  v_repeated int[] := '{}';
  v_begun boolean := false;
  v_outcome text;
  v_counted int;
  v_rest record;
begin
  v_tenants := set_config('app.tenants', p_all_tenants::text, true);

  with counted as (
    update partition p
    set last_feed_position = p.last_feed_position + u.envelopes
    from (select unnest(p_partitions) as partition, unnest(p_taken) as envelopes) u
    where p.partition = u.partition
    returning p.partition, p.last_feed_position - u.envelopes as before, p.last_conversation_no
  )
  select array_agg(before order by partition), array_agg(last_conversation_no order by partition)
  into feed_positions, v_last_nos from counted;
  if coalesce(cardinality(feed_positions), 0) <> cardinality(p_partitions) then
    raise exception 'of the partitions % some do not exist', p_partitions;
  end if;

  if p_more_requests is not null then
    select coalesce(array_agg(distinct m.request), '{}') into v_repeated
    from (
      select unnest(p_more_requests) as request, unnest(p_more_tenants) as tenant, unnest(p_more_conversation_ids) as conversation_id,
        unnest(p_more_commands) as command_id
    ) m
    -- Not "exists", here and below, which the planner may answer for all rows at once, from a hash over the whole table.
    where (
      select true from conversation c
      join envelope s on s.partition = c.partition and s.conversation_no = c.conversation_no
      where c.partition = p_partitions[p_slots[m.request]] and c.tenant = m.tenant and c.conversation_id = m.conversation_id
        and s.command_id = m.command_id
      limit 1
    ) is not null;
  end if;

  -- The usual case in one statement: heads are where they were expected, and move on.
  with moved as (
    update conversation c
    set head_position = u.expected_position + u.envelopes,
      head_hash = coalesce(u.last_hash, c.head_hash),
      head_occurred_at = coalesce(u.last_occurred_at, c.head_occurred_at),
      archived = coalesce(u.archive, false)
    from (
      select generate_series(1, v_total) as n, unnest(p_slots) as slot, unnest(p_tenants) as tenant,
        unnest(p_conversation_ids) as conversation_id, unnest(p_expected_positions) as expected_position,
        unnest(p_expected_hashes) as expected_hash, unnest(p_counts) as envelopes,
        unnest(coalesce(p_last_hashes, p_hashes)) as last_hash, unnest(coalesce(p_last_occurred_at, p_occurred_at)) as last_occurred_at,
        unnest(p_archives) as archive, unnest(p_commands) as command_id
    ) u
    where c.partition = p_partitions[u.slot] and c.tenant = u.tenant and c.conversation_id = u.conversation_id
      and c.head_position = u.expected_position and c.head_hash = u.expected_hash and not c.archived
      and (u.envelopes > 0 or u.archive)
      and (u.command_id is null or (
        select true from envelope s
        where s.partition = c.partition and s.conversation_no = c.conversation_no and s.command_id = u.command_id
        limit 1
      ) is null)
      and u.n <> all (v_repeated)
    returning u.n, c.conversation_no
  )
  select coalesce(array_agg(n order by n), '{}'), array_agg(conversation_no order by n) into v_moved, v_moved_nos from moved;

  if cardinality(v_moved) = v_total then
    v_nos := v_moved_nos;
  else
    v_nos := array_fill(0::bigint, array[v_total]);
    v_is_new := array_fill(false, array[v_total]);
    for i in 1 .. cardinality(v_moved) loop
      v_nos[v_moved[i]] := v_moved_nos[i];
    end loop;

    -- New conversations, checks of a head, and what is refused.
    for v_rest in
      select u.*, c.conversation_no, c.head_position, c.head_hash, c.head_occurred_at, c.archived,
        u.n = any (v_repeated) or (
          select true from envelope s
          where s.partition = c.partition and s.conversation_no = c.conversation_no and s.command_id = u.command_id
          limit 1
        ) is not null as is_repeated
      from (
        select generate_series(1, v_total) as n, unnest(v_nos) as moved_no, unnest(p_slots) as slot, unnest(p_tenants) as tenant,
          unnest(p_conversation_ids) as conversation_id, unnest(p_expected_positions) as expected_position,
          unnest(p_expected_hashes) as expected_hash, unnest(p_counts) as envelopes, unnest(p_commands) as command_id
      ) u
      left join conversation c
        on c.partition = p_partitions[u.slot] and c.tenant = u.tenant and c.conversation_id = u.conversation_id
      where u.moved_no = 0
      order by u.n
    loop
      v_outcome := case
        when v_rest.is_repeated then 'duplicate'
        when v_rest.archived then 'archived'
        when coalesce(v_rest.head_position, 0) <> v_rest.expected_position or v_rest.head_hash <> v_rest.expected_hash then 'conflict'
        else 'appended'
      end;
      if v_outcome = 'appended' then
        if v_rest.conversation_no is null and v_rest.envelopes > 0 then
          v_last_nos[v_rest.slot] := v_last_nos[v_rest.slot] + 1;
          v_nos[v_rest.n] := v_last_nos[v_rest.slot];
          v_is_new[v_rest.n] := true;
          v_begun := true;
        end if;
      else
        refused := refused || v_rest.n;
        outcomes := outcomes || v_outcome;
        head_positions := head_positions || v_rest.head_position;
        head_hashes := head_hashes || encode(v_rest.head_hash, 'hex');
        head_occurred_at := head_occurred_at || v_rest.head_occurred_at;
        head_archived := head_archived || v_rest.archived;
      end if;
    end loop;

    insert into conversation
      (partition, conversation_no, tenant, conversation_id, head_position, head_hash, head_occurred_at, archived)
    select p_partitions[u.slot], u.conversation_no, u.tenant, u.conversation_id, u.envelopes, u.last_hash, u.last_occurred_at,
      coalesce(u.archive, false)
    from (
      select unnest(v_is_new) as is_new, unnest(v_nos) as conversation_no, unnest(p_slots) as slot, unnest(p_tenants) as tenant,
        unnest(p_conversation_ids) as conversation_id, unnest(p_counts) as envelopes,
        unnest(coalesce(p_last_hashes, p_hashes)) as last_hash, unnest(coalesce(p_last_occurred_at, p_occurred_at)) as last_occurred_at,
        unnest(p_archives) as archive
    ) u
    where u.is_new;
  end if;

  -- Counted again without the refused ones, whose places in the feed go to those behind them.
  if refused is not null then
    v_taken := array_fill(0, array[cardinality(p_partitions)]);
    for i in 1 .. v_total loop
      if v_nos[i] <> 0 then
        v_feed_offsets[i] := v_taken[p_slots[i]];
        v_taken[p_slots[i]] := v_taken[p_slots[i]] + p_counts[i];
      end if;
    end loop;
  end if;
  if v_begun or refused is not null then
    update partition p
    set last_feed_position = u.before + u.envelopes, last_conversation_no = u.last_conversation_no
    from (
      select unnest(p_partitions) as partition, unnest(feed_positions) as before, unnest(v_taken) as envelopes,
        unnest(v_last_nos) as last_conversation_no
    ) u
    where p.partition = u.partition;
    -- A plan from before Citus moved a partition finds no row here, and what was given out would be given twice.
    get diagnostics v_counted = row_count;
    if v_counted <> cardinality(p_partitions) then
      raise exception 'of the partitions % some were not counted', p_partitions;
    end if;
  end if;

  recorded_at := extract(epoch from clock_timestamp()) * 1000000;
  insert into envelope
    (partition, conversation_no, position, feed_position, tenant, recorded_at, type, schema_version, occurred_at,
      command_id, command_index, actor, cause, key_id, body, salt, commitment, hash, input_hash)
  select p_partitions[p_slots[e.request]], v_nos[e.request], e.position,
    feed_positions[p_slots[e.request]] + v_feed_offsets[e.request] + e.position - p_expected_positions[e.request],
    e.tenant, recorded_at, e.type, e.schema_version, e.occurred_at,
    e.command_id, e.command_index, e.actor, e.cause, e.key_id, e.body, e.salt, e.commitment, e.hash, e.input_hash
  from (
    select unnest(p_requests) as request, unnest(p_positions) as position, unnest(coalesce(p_envelope_tenants, p_tenants)) as tenant,
      unnest(p_types) as type, unnest(p_schema_versions) as schema_version, unnest(p_occurred_at) as occurred_at,
      unnest(p_command_ids) as command_id, unnest(p_command_indexes) as command_index, unnest(p_actors) as actor,
      unnest(p_causes) as cause, unnest(p_key_ids) as key_id, unnest(p_bodies) as body, unnest(p_salts) as salt,
      unnest(p_commitments) as commitment, unnest(p_hashes) as hash, unnest(p_input_hashes) as input_hash
  ) e
  where v_nos[e.request] <> 0;
end
$$
