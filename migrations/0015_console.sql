-- What the console looks at all day: how much happened in each minute, and searches that stay fast among millions.

-- For the tallies: whose it was, where the statement that tells it knows.
alter table outbox add column sender smallint;

-- What happened, put down beside what it comes from: rows that nobody waits for. Upkeep folds them into tallies.
create table tally_changes (
  minute timestamptz not null,
  -- planned, or what the outbox tells: accepted, delivered, read, failed, suppressed, in_doubt.
  kind text not null,
  reason text not null,
  -- 0 if it is not known.
  sender smallint not null,
  n bigint not null
);

-- The same, summed up: by minute while it is recent, then by hour.
create table tallies (
  like tally_changes,
  primary key (minute, kind, reason, sender)
);

-- Whoever tells the shop of a change has it counted, once a statement, however many there are.
create function tally() returns trigger language plpgsql
as $$
begin
  insert into tally_changes (minute, kind, reason, sender, n)
  select date_trunc('minute', at), kind, coalesce(reason, ''), coalesce(sender, 0), count(*) from told
  where notification_id is not null
  group by 1, 2, 3, 4;
  return null;
end
$$;
create trigger outbox_is_tallied after insert on outbox referencing new table as told for each statement execute function tally();

-- Everything that has ended, one group for each way to look for it. What is accepted enters its index once in its life, when the
-- provider takes it, and no receipt touches it; what waits or is on its way is in neither.
create index notifications_accepted on notifications (template, sender, id) where state = 'accepted';
create index notifications_ended on notifications (state, reason, template, sender, id) where reason is not null;

-- A person's latest events, also of one who has very many.
create index inbox_by_person on inbox (contact_id, received_at) where contact_id is not null;
drop index inbox_by_contact;

-- What an operator wants run again; whoever reads events does it.
alter table rejected_events
  add column wanted_at timestamptz,
  add column wanted_by text;
create index rejected_events_wanted on rejected_events (wanted_at) where wanted_at is not null and replayed_at is null;

-- Failed or suppressed: the latest of each group of one state, reason, template and sender, and of those the latest. A function, so that
-- each group is read from its end: a planner that takes a group for small would read and sort all of it.
create function latest_ended(below uuid, lowest uuid, most bigint, state notification_state, reason text, template text, sender smallint)
returns setof uuid language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
  with recursive kind as (
    (select n.state, n.reason, n.template, n.sender from notifications n where n.reason is not null order by 1, 2, 3, 4 limit 1)
    union all
    select n.* from kind k cross join lateral (
      select n.state, n.reason, n.template, n.sender from notifications n
      where n.reason is not null and (n.state, n.reason, n.template, n.sender) > (k.state, k.reason, k.template, k.sender)
      order by 1, 2, 3, 4 limit 1
    ) n
  )
  select x.id from kind k cross join lateral (
    select n.id from notifications n
    where n.reason is not null and n.state = k.state and n.reason = k.reason and n.template = k.template and n.sender = k.sender
      and n.id < $1 and n.id >= $2
    order by n.id desc limit $3
  ) x
  where ($4 is null or k.state = $4) and ($5 is null or k.reason = $5) and ($6 is null or k.template = $6) and ($7 is null or k.sender = $7)
  order by x.id desc limit $3
$$;

-- The same of what is accepted, by template and sender.
create function latest_accepted(below uuid, lowest uuid, most bigint, template text, sender smallint)
returns setof uuid language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
  with recursive kind as (
    (select n.template, n.sender from notifications n where n.state = 'accepted' order by 1, 2 limit 1)
    union all
    select n.* from kind k cross join lateral (
      select n.template, n.sender from notifications n
      where n.state = 'accepted' and (n.template, n.sender) > (k.template, k.sender)
      order by 1, 2 limit 1
    ) n
  )
  select x.id from kind k cross join lateral (
    select n.id from notifications n
    where n.state = 'accepted' and n.template = k.template and n.sender = k.sender and n.id < $1 and n.id >= $2
    order by n.id desc limit $3
  ) x
  where ($4 is null or k.template = $4) and ($5 is null or k.sender = $5)
  order by x.id desc limit $3
$$;
