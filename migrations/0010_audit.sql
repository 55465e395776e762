-- Who did what, and who looked at whom: append-only.

create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default recado_now(),
  -- `key NAME`, `user NAME` or `cli NAME`.
  by text not null,
  -- A thing and what was done to it: `hold.placed`, `number.shown`.
  what text not null,
  -- What it was done to: a notification's id, a hold's, a user's name. Never a phone number.
  "on" text,
  reason text,
  detail jsonb not null default '{}',
  constraint audit_says_what_was_done check (what ~ '^[a-z_]+\.[a-z_]+$')
);
create index audit_by_time on audit (at, id);
create index audit_by_object on audit ("on", id) where "on" is not null;

create function audit_is_append_only() returns trigger language plpgsql
as $$
begin
  -- Upkeep drops what is past its time, and says so in its own transaction.
  if tg_op = 'DELETE' and current_setting('recado.retention', true) = 'on' then return old; end if;
  raise exception 'the audit trail is append-only' using errcode = 'restrict_violation';
end
$$;
create trigger audit_keeps_rows before update or delete on audit for each row execute function audit_is_append_only();
create trigger audit_keeps_all before truncate on audit for each statement execute function audit_is_append_only();
