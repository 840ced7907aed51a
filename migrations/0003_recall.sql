-- What was said, to be found again: a projection of the log that can be thrown away and made anew. Rows lie beside their conversation.

create table interaction (
  partition int not null,
  tenant text collate "C" not null,
  session_id text collate "C" not null,
  sequence bigint not null,
  occurred_at bigint not null,
  last_position bigint not null,
  is_logged boolean not null,
  significance double precision not null,
  has_context boolean not null,
  -- JSON as text: jsonb refuses \u0000.
  messages text not null,
  words tsvector not null,
  primary key (partition, tenant, session_id, sequence)
)
-- statement-break

create index interaction_words on interaction using gin (words)
-- statement-break

alter table interaction enable row level security
-- statement-break
create policy own_tenants on interaction
  using (array_position((select nullif(current_setting('app.tenants', true), '')::text[]), tenant) is not null)
  with check (array_position((select nullif(current_setting('app.tenants', true), '')::text[]), tenant) is not null)
