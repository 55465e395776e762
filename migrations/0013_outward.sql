-- What is told to others over HTTP: callbacks, each with its own place in one log of events; and the provider's webhooks, handed on as
-- they came.

-- Written only if somebody is to be called: then everything that is told goes through here, also on its way to the broker. Whoever
-- moves it here from the outbox holds the lease's row meanwhile, so that no position becomes visible before a smaller one.
create table callback_events (
  position bigint generated always as identity primary key,
  kept_at timestamptz not null default recado_now(),
  id text not null,
  type text not null,
  -- What is told in order: a notification, a person.
  key text not null,
  reason text,
  body text not null
);

create table callbacks (
  -- As in the settings; `@broker` is the broker.
  name text primary key,
  -- Everything up to here was delivered, or stands in callbacks_late.
  position bigint not null,
  -- Since when it is there, or was begun again.
  since timestamptz not null default recado_now(),
  -- Steps in a row in which nothing was delivered.
  failures int not null default 0,
  failing_since timestamptz,
  due_at timestamptz not null default recado_now(),
  delivered_at timestamptz,
  problem text,
  stopped_at timestamptz,
  constraint failing_since_iff_failures check ((failures > 0) = (failing_since is not null))
);

-- Events that were not delivered when it was their turn, and those behind them.
create table callbacks_late (
  name text not null references callbacks on delete cascade,
  position bigint not null,
  key text not null,
  since timestamptz not null default recado_now(),
  tries int not null,
  due_at timestamptz not null,
  problem text,
  given_up_at timestamptz,
  primary key (name, position)
);
create index callbacks_late_open on callbacks_late (name, key, position) where given_up_at is null;

alter table webhooks
  -- Of a sender with a relay: what came with the body, and the body itself if what is kept of it is not the same.
  add column came_with jsonb,
  add column came_as bytea,
  -- due, done, given_up; nothing if there is nobody to hand it on to.
  add column relay text constraint relay_state_is_known check (relay in ('due', 'done', 'given_up')),
  add constraint came_with_iff_relayed check ((relay is null) = (came_with is null));
create index webhooks_to_relay on webhooks (sender, id) where relay = 'due';

create table relays (
  sender text primary key,
  failures int not null default 0,
  failing_since timestamptz,
  due_at timestamptz not null default recado_now(),
  delivered_at timestamptz,
  -- Requests for the one that is next.
  tries int not null default 0,
  given_up bigint not null default 0,
  problem text
);
