-- A plan is reckoned in the background, and whoever may not send many possible duplicates is stopped when it comes to that.

alter table plans
  alter column state set default 'reckoning',
  -- The contacts of the person whose number was looked for; `search` has it masked.
  add people bigint[],
  -- Of what it was done to: people who may get it twice, and the most of them that whoever runs it may decide; null is any.
  add repeats bigint not null default 0,
  add repeats_max bigint,
  drop constraint plan_state_is_known,
  add constraint plan_state_is_known check (state in ('reckoning', 'planned', 'running', 'done', 'stopped', 'failed')),
  drop constraint plan_begun_unless_planned,
  -- It may fail before it is begun.
  add constraint plan_begun_unless_planned check (state = 'failed' or (state in ('reckoning', 'planned')) = (begun_at is null));
create index plans_reckoning on plans (id) where state = 'reckoning';
