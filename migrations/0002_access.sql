-- Whoever is neither the owner nor a superuser sees and writes the tenants that `app.tenants` names, an array of text that is set for one
-- transaction; where it names none, nothing. Roles that see every tenant get a policy of their own from `colloquy migrate --roles`.
--
-- The setting is read in a sub-select, so once a statement and not once a row. After a transaction that set it, it is '' and not null.
--
-- Not forced on the owner: a backup by the owner would come out empty, and an owner could switch it off again anyway.

alter table conversation enable row level security
-- statement-break
create policy own_tenants on conversation
  using (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
  with check (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
-- statement-break

alter table envelope enable row level security
-- statement-break
create policy own_tenants on envelope
  using (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
  with check (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
-- statement-break

alter table media enable row level security
-- statement-break
create policy own_tenants on media
  using (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
  with check (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
-- statement-break

alter table snapshot enable row level security
-- statement-break
create policy own_tenants on snapshot
  using (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
  with check (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
-- statement-break

alter table dead_letter enable row level security
-- statement-break
create policy own_tenants on dead_letter
  using (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
  with check (tenant = any ((select nullif(current_setting('app.tenants', true), ''))::text[]))
