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
-- statement-break

-- What the policy lets see, as the owner sees it: a search finds its words by their index. Where row-level security holds it could not,
-- since "@@" may say in an error what it looked at, and so is asked only of rows that the policy has let through, all of which it reads.
-- Such an error is all that somebody could learn here, who might as well name the tenant.
create view own_interaction as
  select partition, tenant, session_id, sequence, occurred_at, last_position, is_logged, significance, has_context, messages, words
  from interaction
  where array_position((select nullif(current_setting('app.tenants', true), '')::text[]), tenant) is not null
