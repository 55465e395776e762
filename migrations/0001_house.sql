-- The whole house: events in, notifications with their attempts and receipts, people with their consents, what holds,
-- and what goes back out. States say in CHECKs what the types say in Rust.

-- The one clock of all statements. A test sets `recado.now` on its connections; production never does.
create function recado_now() returns timestamptz language sql stable
as $$ select coalesce(nullif(current_setting('recado.now', true), '')::timestamptz, now()) $$;

-- The smallest UUIDv7 of a moment: notifications and what belongs to them are partitioned by it.
create function uuid_v7_floor(at timestamptz) returns uuid language sql immutable
as $$
  select (substr(hex, 1, 8) || '-' || substr(hex, 9, 4) || '-7000-8000-000000000000')::uuid
  from (select lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') as hex) h
$$;

create type notification_state as enum ('pending', 'sending', 'in_doubt', 'accepted', 'failed', 'suppressed');
create type wait as enum ('lane', 'subject', 'template', 'consent', 'quiet', 'day_limit');
-- What was reported of a message, in the order in which one report outdoes another: a failure follows `sent`, and never undoes
-- that somebody has it. A notification shows the best of its messages that did not fail.
create type receipt as enum ('sent', 'failed', 'delivered', 'read');
create type hold_scope as enum ('everything', 'sender', 'template');

create table senders (
  id smallint generated always as identity primary key,
  name text not null unique,
  -- When the three latest-claimed attempts that have a receipt were claimed, latest first: silence about an older
  -- attempt means something only if later ones have been heard of.
  heard timestamptz[] not null default '{}',
  quality text,
  throttled_until timestamptz
);

create table contacts (
  id bigint generated always as identity primary key,
  -- Unknown of a person who wrote to us under a username.
  phone text unique,
  wa_id text,
  user_id text,
  locale text,
  -- purpose -> {"state": "pending|granted|revoked", "entry": n, "at": time, "until": time, "no": time}: a projection of the ledger, on the
  -- contact's own row so that a claim which locked the row reads the latest. The purpose * says when everything was refused.
  consents jsonb not null default '{}',
  entries int not null default 0,
  created_at timestamptz not null default recado_now(),
  -- Somebody who is forgotten, or known as another contact since: the ledger's chain is all that stays.
  erased_at timestamptz,
  merged_into bigint references contacts,
  constraint phone_or_user_id_known check (phone is not null or user_id is not null or merged_into is not null),
  -- What stands instead of the number then is none.
  constraint nobody_known_if_erased check (erased_at is null or phone like 'erased:%' and wa_id is null and user_id is null)
) with (fillfactor = 80);
create index contacts_by_wa_id on contacts (wa_id) where wa_id is not null;
create index contacts_by_user_id on contacts (user_id) where user_id is not null;

-- The ledger: append-only, chained per contact. `payload` and `salt` go when a person is erased; the chain stays.
create table consent_entries (
  contact_id bigint not null references contacts,
  number int not null constraint entries_start_at_1 check (number > 0),
  at timestamptz not null,
  act text not null,
  purpose text not null,
  payload jsonb,
  salt bytea,
  commitment bytea not null,
  previous bytea not null,
  hash bytea not null,
  -- The order of all entries, for the anchors.
  sequence bigint generated always as identity unique,
  recorded_at timestamptz not null default recado_now(),
  primary key (contact_id, number),
  constraint act_is_known check (act in ('asked', 'confirmed', 'refused', 'revoked', 'imported', 'erased', 'merged')),
  constraint payload_and_salt_go_together check ((payload is null) = (salt is null))
);

-- Somebody was asked, and has not, or has, confirmed. Deleted a week later if they have not.
create table opt_ins (
  id uuid primary key,
  form text not null,
  locale text not null,
  purposes text[] not null,
  way text not null,
  source text not null,
  contact_id bigint not null references contacts,
  asked_at timestamptz not null default recado_now(),
  expires_at timestamptz not null,
  -- Of the ask's entries: what was shown, by its hash.
  wording text not null,
  state text not null default 'pending',
  ended_at timestamptz,
  -- Whoever confirmed; another one if the message came from another phone.
  confirmed_by bigint references contacts,
  -- The code that is typed into the waiting page.
  code_hash bytea,
  code_until timestamptz,
  tries smallint not null default 0,
  constraint opt_in_way_is_known check (way in ('whatsapp', 'sms')),
  constraint opt_in_source_is_known check (source in ('page', 'site', 'api', 'message')),
  constraint opt_in_state_is_known check (state in ('pending', 'confirmed', 'refused', 'limited')),
  constraint confirmed_by_iff_confirmed check ((state = 'confirmed') = (confirmed_by is not null)),
  constraint code_until_iff_code check ((code_hash is null) = (code_until is null))
);
create index opt_ins_by_contact on opt_ins (contact_id, asked_at);
create index opt_ins_by_form on opt_ins (form, asked_at);
create index opt_ins_open on opt_ins (asked_at) where state <> 'confirmed';

-- What addresses and messages carry, as hashes: a link of an SMS, a waiting page, a code in a message, a preferences page.
create table tokens (
  hash bytea primary key,
  kind text not null,
  opt_in uuid references opt_ins on delete cascade,
  contact_id bigint references contacts,
  until timestamptz not null,
  constraint token_kind_is_known check (kind in ('link', 'wait', 'message', 'preferences')),
  constraint token_opens_one_thing check ((kind = 'preferences') = (opt_in is null) and (kind = 'preferences') = (contact_id is not null))
);
create index tokens_over on tokens (until);
create index tokens_by_contact on tokens (contact_id) where contact_id is not null;
create index tokens_by_opt_in on tokens (opt_in) where opt_in is not null;

-- Free texts that one act of a person permits: the answer to a message, the SMS of an opt-in. Each goes out once at most; the
-- text itself is made when it goes, since it carries secrets.
create table replies (
  id uuid primary key,
  sender smallint not null references senders,
  contact_id bigint not null references contacts,
  saying text not null,
  -- The inbound message's id, or the opt-in's.
  because text not null,
  form text not null,
  locale text not null,
  opt_in uuid,
  at timestamptz not null default recado_now(),
  -- Nothing is sent later than this.
  until timestamptz not null,
  state text not null default 'pending',
  due_at timestamptz,
  lease_until timestamptz,
  tries smallint not null default 0,
  sent_at timestamptz,
  ended_at timestamptz,
  message_id text,
  receipt text,
  reason text,
  code int,
  constraint one_reply_of_a_kind unique (because, saying),
  constraint reply_state_is_known check (state in ('pending', 'sending', 'in_doubt', 'accepted', 'failed', 'suppressed')),
  constraint reply_due_iff_pending check ((state = 'pending') = (due_at is not null)),
  constraint reply_lease_iff_sending check ((state = 'sending') = (lease_until is not null)),
  constraint reply_reason_iff_ended_otherwise check ((state in ('failed', 'suppressed')) <= (reason is not null))
);
create index replies_due on replies (due_at) where state = 'pending';
create index replies_leased on replies (lease_until) where state = 'sending';
create index replies_by_message on replies (message_id) where message_id is not null;
create index replies_by_contact on replies (contact_id, at);
create index replies_by_sender on replies (sender, at);

-- Who was erased and had said no before, by a keyed hash of the number: an old yes from a file does not undo that.
create table suppressions (
  hash bytea primary key,
  at timestamptz not null
);

-- A hash over all entries up to one, and over the anchor before: an entry that is removed later, be it the last one, shows against it.
-- It is written to the log as well, since whoever changes entries may change this too.
create table consent_anchors (
  upto bigint primary key,
  at timestamptz not null default recado_now(),
  entries bigint not null,
  anchor bytea not null
);

create table inbox (
  source text not null,
  id text not null,
  body_hash bytea not null,
  type text not null,
  subject text,
  time timestamptz not null,
  received_at timestamptz not null default recado_now(),
  journey text,
  journey_key text,
  stage smallint,
  contact_id bigint,
  notifications uuid[] not null default '{}',
  ignored text,
  body text,
  -- The id first: an operator who asks why knows it, and rarely the source.
  primary key (id, source),
  constraint stage_iff_journey check ((journey is null) = (stage is null) and (journey is null) = (journey_key is null)),
  constraint ignored_iff_no_notification check ((ignored is null) = (notifications <> '{}'))
);
create index inbox_by_journey on inbox (journey_key, journey, stage) where journey_key is not null;
create index inbox_by_subject on inbox (subject) where subject is not null;
create index inbox_by_contact on inbox (contact_id) where contact_id is not null;
-- For what is too old; events come in by time, so this costs them next to nothing.
create index inbox_by_age on inbox using brin (received_at) with (autosummarize = on);

create table inbox_conflicts (
  source text not null,
  id text not null,
  body_hash bytea not null,
  body text not null,
  received_at timestamptz not null default recado_now(),
  primary key (source, id, body_hash)
);
create index inbox_conflicts_by_age on inbox_conflicts using brin (received_at) with (autosummarize = on);

create table rejected_events (
  id uuid primary key,
  received_at timestamptz not null default recado_now(),
  reason text not null,
  detail text not null,
  exchange text not null,
  routing_key text not null,
  headers jsonb not null,
  content_type text,
  size bigint not null,
  body_hash bytea not null,
  body bytea not null,
  whole bool not null,
  copies int not null default 1,
  replayed_at timestamptz,
  replay text
);
create unique index rejected_events_once on rejected_events (body_hash, routing_key, reason) where replayed_at is null;

create table lanes (
  contact_id bigint not null,
  sender smallint not null,
  pace_tat timestamptz not null default '-infinity',
  in_flight uuid,
  head uuid,
  waiting bool not null default false,
  blocked bool not null default false,
  backoff_until timestamptz not null default '-infinity',
  backoffs smallint not null default 0,
  sent_at timestamptz not null default '-infinity',
  window_until timestamptz not null default '-infinity',
  primary key (contact_id, sender)
) with (fillfactor = 70);
create index lanes_with_queue on lanes (contact_id, sender) where waiting or blocked;

create table notifications (
  id uuid not null,
  created_at timestamptz not null default recado_now(),
  event_source text not null,
  event_id text not null,
  event_time timestamptz not null,
  sender smallint not null,
  class smallint not null,
  contact_id bigint not null,
  purpose text not null,
  template text not null,
  language text not null,
  subject text,
  journey text,
  journey_key text,
  stage smallint,
  expires_at timestamptz not null,
  grace_until timestamptz not null,
  consent_until timestamptz not null,
  quiet tstzmultirange,
  doubt text not null,
  filled json,

  state notification_state not null default 'pending',
  due_at timestamptz,
  waiting_on wait,
  attempt smallint not null default 0,
  tries smallint not null default 0,
  resends smallint not null default 0,
  lease_until timestamptz,
  doubt_since timestamptz,
  reason text,
  consent_entry int,
  message_id text,
  receipt receipt,
  superseded_by text,
  duplicate bool not null default false,
  accepted_at timestamptz,
  ended_at timestamptz,
  statuses int not null default 0,

  primary key (id),
  constraint class_is_urgent_or_normal check (class in (0, 1)),
  constraint doubt_policy_is_known check (doubt in ('resend_once', 'never')),
  constraint due_iff_pending check ((state = 'pending') = (due_at is not null)),
  constraint due_before_expiry check (due_at <= expires_at),
  constraint waiting_only_while_pending check (waiting_on is null or state = 'pending'),
  constraint lease_iff_sending check ((state = 'sending') = (lease_until is not null)),
  constraint since_iff_in_doubt check ((state = 'in_doubt') = (doubt_since is not null)),
  constraint reason_iff_ended_without_delivery check ((state in ('failed', 'suppressed')) = (reason is not null)),
  constraint message_id_if_accepted check (state <> 'accepted' or message_id is not null),
  constraint consent_named_if_attempted check (attempt = 0 or consent_entry is not null)
) partition by range (id);
create index notifications_due on notifications (sender, class, due_at, id)
  where state = 'pending' and waiting_on is null;
create index notifications_waiting on notifications (due_at) where waiting_on is not null;
create index notifications_in_lane on notifications (contact_id, sender, class, id) where waiting_on = 'lane';
create index notifications_for_consent on notifications (contact_id) where waiting_on = 'consent';
create index notifications_for_template on notifications (sender, template, language) where waiting_on = 'template';
create index notifications_open_subjects on notifications (contact_id, subject, id)
  where state = 'pending' and subject is not null;
create index notifications_leased on notifications (lease_until) where state = 'sending';
create index notifications_in_doubt on notifications (doubt_since) where state = 'in_doubt';
create index notifications_by_message on notifications (message_id) where message_id is not null;

create table attempts (
  notification_id uuid not null,
  number smallint not null constraint attempts_start_at_1 check (number > 0),
  sender smallint not null,
  claimed_at timestamptz not null,
  resend bool not null,
  consent_entry int not null,
  outcome text,
  ended_at timestamptz,
  reason text,
  code int,
  detail text,
  message_id text,
  receipt receipt,
  receipt_at timestamptz,
  primary key (notification_id, number),
  constraint ended_iff_outcome check ((outcome is null) = (ended_at is null))
) partition by range (notification_id);

create table receipts (
  notification_id uuid not null,
  number smallint not null,
  kind text not null,
  at timestamptz not null,
  received_at timestamptz not null default recado_now(),
  code int,
  reason text,
  detail text,
  pricing jsonb,
  primary key (notification_id, number, kind)
) partition by range (notification_id);

-- What happened to a notification apart from its attempts and receipts: waits, resends, decisions of operators.
create table timeline (
  notification_id uuid not null,
  at timestamptz not null default clock_timestamp(),
  what text not null,
  detail text,
  by text,
  id bigint generated always as identity
) partition by range (notification_id);
create index timeline_by_notification on timeline (notification_id, id);

create table notifications_rest partition of notifications default;
create table attempts_rest partition of attempts default;
create table receipts_rest partition of receipts default;
create table timeline_rest partition of timeline default;

-- Makes the partitions of the month that `at` lies in; says whether it had to.
create function make_partitions(at timestamptz) returns bool language plpgsql
as $$
declare
  first timestamptz := date_trunc('month', at, 'UTC');
  name text := to_char(first at time zone 'UTC', '"_"YYYY_MM');
  base text;
begin
  if to_regclass('notifications' || name) is not null then return false; end if;
  perform pg_advisory_xact_lock(7262736301);
  if to_regclass('notifications' || name) is not null then return false; end if;
  foreach base in array array['notifications', 'attempts', 'receipts', 'timeline'] loop
    execute format('create table %I partition of %I for values from (%L) to (%L)%s',
      base || name, base, uuid_v7_floor(first), uuid_v7_floor(first + interval '1 month'),
      case base when 'notifications' then ' with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)'
                when 'attempts' then ' with (fillfactor = 50)' else '' end);
  end loop;
  return true;
exception when check_violation then
  -- Nobody made them before the month began, and its first rows went to the default partitions: there they stay.
  return false;
end
$$;

-- The months, as in the names of partitions, that were over `before` that time; and whether something in them is unfinished.
create function old_months(before timestamptz) returns table (month text, unfinished bool) language plpgsql stable
as $$
begin
  for month in
    select substr(c.relname, 15) from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'notifications'::regclass and c.relname ~ '^notifications_\d{4}_\d{2}$'
      and (to_timestamp(substr(c.relname, 15), 'YYYY_MM')::timestamp + interval '1 month') at time zone 'UTC' <= before
    order by 1
  loop
    -- Each of the four asks a partial index that is empty once the month is done.
    execute format('select exists (select from %1$I where state = ''pending'' and waiting_on is null)
      or exists (select from %1$I where waiting_on is not null) or exists (select from %1$I where state = ''sending'')
      or exists (select from %1$I where state = ''in_doubt'')', 'notifications_' || month) into unfinished;
    return next;
  end loop;
end
$$;

-- Drops one of a month's partitions, if nobody has its table in hand: who is at work there waits a tenth of a second at most. Says
-- whether it is gone.
create function drop_partition(base text, month text) returns bool language plpgsql
set lock_timeout = '100ms'
as $$
begin
  execute format('drop table if exists %I', base || '_' || month);
  return true;
exception when lock_not_available then
  return false;
end
$$;

-- Forgets identities (and their conflicts) that are older than `before`, at most so many; by their age, whatever the planner thinks.
create function forget_identities(before timestamptz, most bigint) returns bigint language sql
set enable_seqscan = off
as $$
  with gone as (
    delete from inbox where ctid = any (array(select ctid from inbox where received_at < before limit most)) returning 1
  ) select count(*) from gone
$$;
create function forget_conflicts(before timestamptz, most bigint) returns bigint language sql
set enable_seqscan = off
as $$
  with gone as (
    delete from inbox_conflicts where ctid = any (array(select ctid from inbox_conflicts where received_at < before limit most)) returning 1
  ) select count(*) from gone
$$;

create table template_states (
  sender smallint not null references senders,
  template text not null,
  language text not null,
  status text not null,
  category text,
  quality text,
  reason text,
  until timestamptz,
  changed_at timestamptz not null default recado_now(),
  changed_by text not null,
  primary key (sender, template, language)
);

create table holds (
  id bigint generated always as identity primary key,
  scope hold_scope not null,
  sender smallint references senders,
  template text,
  language text,
  reason text not null,
  detail text,
  placed_at timestamptz not null default recado_now(),
  placed_by text not null,
  until timestamptz,
  released_at timestamptz,
  released_by text,
  constraint sender_unless_everything check ((scope = 'everything') = (sender is null)),
  constraint template_iff_scope_template check ((scope = 'template') = (template is not null))
);
create unique index holds_once on holds (scope, coalesce(sender, 0), coalesce(template, ''), coalesce(language, ''), reason)
  where released_at is null;

create table workers (
  id uuid primary key,
  started_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz not null default clock_timestamp(),
  dispatches bool not null
);

-- The processes that take webhooks in. One that vanished may be where the provider still knocks, until another opens after it.
create table doors (
  worker uuid primary key,
  -- Since when it has been there without a gap, and has turned away nothing that was genuine.
  opened_at timestamptz not null,
  seen_at timestamptz not null,
  -- Set when it ended in order.
  closed_at timestamptz
);

-- Where these rows were written: another cluster or timeline means a restore or a failover that may have lost commits; another
-- database or another table of this name, that they were copied or loaded from somewhere. As numbers, which a dump takes along.
create table written_by (
  one bool primary key default true check (one),
  system_identifier bigint not null,
  timeline int not null,
  database oid not null,
  this_table oid not null
);

create table webhooks (
  id bigint generated always as identity primary key,
  sender text not null,
  received_at timestamptz not null default recado_now(),
  body bytea not null,
  taken_until timestamptz,
  applied_at timestamptz,
  problems text[]
);
create index webhooks_to_apply on webhooks (id) where applied_at is null;

-- Receipts that match no attempt yet; swept again until they do or are too old.
create table stray_receipts (
  id bigint generated always as identity primary key,
  received_at timestamptz not null default recado_now(),
  sender text not null,
  message_id text not null,
  fact jsonb not null,
  -- When to look for its attempt again: soon at first, then ever more rarely.
  due_at timestamptz not null default recado_now()
);
create unique index stray_receipts_once on stray_receipts (message_id, md5(fact::text));
create index stray_receipts_due on stray_receipts (due_at);

create table inbound (
  message_id text primary key,
  sender smallint not null,
  contact_id bigint,
  at timestamptz not null,
  received_at timestamptz not null default recado_now(),
  kind text not null,
  content jsonb,
  answers text,
  did text
);
create index inbound_by_contact on inbound (contact_id, at);

create table outbox (
  id bigint generated always as identity primary key,
  -- The publisher takes only rows older than every running transaction, so that none is overtaken.
  written_in xid8 not null default pg_current_xact_id(),
  at timestamptz not null default recado_now(),
  notification_id uuid,
  sequence int,
  kind text not null,
  reason text,
  payload jsonb
);

create table leases (
  name text primary key,
  holder uuid not null,
  until timestamptz not null
);

create table api_keys (
  id uuid primary key,
  name text not null unique,
  role text not null check (role in ('viewer', 'operator', 'admin')),
  hash bytea not null unique,
  created_at timestamptz not null default recado_now(),
  used_at timestamptz,
  revoked_at timestamptz
);

select make_partitions(now()), make_partitions(now() + interval '1 month');
