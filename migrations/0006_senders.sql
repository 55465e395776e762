-- Several senders: by which rule a message's sender was chosen, and how each stands at its provider.

-- For people; null if there was nothing to choose.
alter table notifications add column route text;

-- What the provider says of a sender, in its own words; null where it says nothing.
create table sender_health (
  sender smallint primary key references senders,
  -- When it is asked next: by the clock, or at once after news of it.
  due_at timestamptz not null default recado_now(),
  asked_at timestamptz,
  answered_at timestamptz,
  -- Why the last question was not answered.
  trouble text,
  status text,
  quality text,
  name_status text,
  can_send text,
  -- What stands in the way of sending, as the provider explains it.
  obstacles text,
  -- How many people may be written to in a day, and how many messages go in a second.
  tier text,
  throughput text,
  constraint trouble_only_if_asked check (trouble is null or asked_at is not null),
  constraint asked_before_answered check (answered_at is null or asked_at >= answered_at)
);

-- Was kept for people to read, and nobody showed it.
alter table senders drop column quality;
