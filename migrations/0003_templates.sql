-- Templates as they were and as they stand: each definition once, which of them a notification was made from, what each sender's
-- provider has, and what was pushed to it.

-- What a template said in one language, by its content. Never changed, never removed: notifications name it.
create table template_versions (
  id int generated always as identity primary key,
  template text not null,
  language text not null,
  -- For people: counted from 1 for each template and language, in the order in which they were first seen.
  number int not null constraint versions_start_at_1 check (number > 0),
  hash bytea not null,
  definition jsonb not null,
  first_seen timestamptz not null default recado_now(),
  constraint version_once unique (template, language, hash),
  constraint version_number_once unique (template, language, number)
);

-- Of a template whose file this program did not know, there is none.
alter table notifications add column version int;

alter table template_states
  -- The template's own id at the provider, by which it is edited.
  add column provider_id text,
  -- What the provider has, as far as it was read.
  add column version int references template_versions,
  -- What our file said when it was last found to differ from that; none if they agree.
  add column drifted_from int references template_versions;

create table template_pushes (
  id bigint generated always as identity primary key,
  sender smallint not null references senders,
  template text not null,
  language text not null,
  at timestamptz not null default recado_now(),
  act text not null constraint push_act_is_known check (act in ('create', 'edit')),
  version int not null references template_versions,
  -- How it stood before: only edits of what is approved are few.
  stood text,
  by text not null,
  -- What came back.
  provider_id text,
  status text not null,
  category text
);
create index template_pushes_of on template_pushes (sender, template, language, at);

-- When a sender's templates were last read from its provider, and whether something made it necessary since.
create table template_syncs (
  sender smallint primary key references senders,
  wanted_at timestamptz,
  synced_at timestamptz,
  tried_at timestamptz,
  problem text
);

-- Whoever places or releases a hold, and whatever changes how a template stands: the shop's operators are told.
create function tell_hold() returns trigger language plpgsql
as $$
begin
  insert into outbox (kind, payload)
  select tg_argv[0], jsonb_build_object('hold', new.id, 'scope', new.scope, 'template', new.template, 'language', new.language,
    'sender', (select name from senders where id = new.sender), 'reason', new.reason, 'detail', new.detail, 'until', new.until,
    'by', coalesce(new.released_by, new.placed_by));
  return null;
end
$$;
create trigger hold_placed after insert on holds for each row execute function tell_hold('hold.placed');
create trigger hold_released after update of released_at on holds for each row
  when (old.released_at is null and new.released_at is not null) execute function tell_hold('hold.released');

create function tell_template() returns trigger language plpgsql
as $$
begin
  insert into outbox (kind, payload)
  select 'template.changed', jsonb_build_object('sender', (select name from senders where id = new.sender), 'template', new.template,
    'language', new.language, 'status', new.status, 'was', old.status, 'category', new.category, 'reason', new.reason, 'until', new.until);
  return null;
end
$$;
create trigger template_changed after update of status on template_states for each row
  when (old.status <> new.status) execute function tell_template();
