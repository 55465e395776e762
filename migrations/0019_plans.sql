-- What operators want done to everything that a search finds: worked out first, then done piece by piece.

create table plans (
  id bigint generated always as identity primary key,
  action text not null,
  -- What was asked for, for people: key and value. What it found is in plan_chunks.
  search jsonb not null,
  made_at timestamptz not null default recado_now(),
  made_by text not null,
  found bigint not null default 0,
  estimate jsonb not null default '{}',
  state text not null default 'planned',
  -- Why it is run.
  reason text,
  begun_at timestamptz,
  begun_by text,
  ended_at timestamptz,
  ended_by text,
  -- What stood in the way.
  why text,
  done bigint not null default 0,
  -- Reason -> how many.
  skipped jsonb not null default '{}',
  constraint plan_action_is_known check (action in ('retry', 'resend', 'cancel', 'give_up', 'replay', 'hold', 'release')),
  constraint plan_state_is_known check (state in ('planned', 'running', 'done', 'stopped', 'failed')),
  constraint plan_begun_unless_planned check ((state = 'planned') = (begun_at is null)),
  constraint plan_begins_with_reason_and_name check ((begun_at is null) = (reason is null) and (begun_at is null) = (begun_by is null)),
  constraint plan_ended_iff_over check ((state in ('done', 'stopped', 'failed')) = (ended_at is not null)),
  constraint plan_why_iff_failed check ((state = 'failed') = (why is not null)),
  constraint plan_does_no_more_than_it_found check (done between 0 and found)
);
create index plans_running on plans (begun_at, id) where state = 'running';
create index plans_by_age on plans (made_at);

-- What a plan found and has not come to yet, in pieces. A piece goes in the transaction that acts on it.
create table plan_chunks (
  plan bigint not null references plans on delete cascade,
  number int not null,
  ids uuid[] not null,
  primary key (plan, number),
  constraint no_chunk_is_empty check (ids <> '{}')
);
