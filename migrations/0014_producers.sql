-- Keys that may only publish, and writes that are done once however often they are asked for.

alter table api_keys drop constraint api_keys_role_check;
alter table api_keys add constraint api_keys_role_check check (role in ('producer', 'viewer', 'operator', 'admin'));

-- What a request with an Idempotency-Key was answered. Nothing here can be read without the API key that asked: `id` and `request` are
-- keyed hashes, and the answer is sealed.
create table idempotency (
  id bytea primary key,
  request bytea not null,
  -- Who answers it: one that was given up does not overwrite the answer of the next.
  attempt uuid not null,
  begun_at timestamptz not null default recado_now(),
  status smallint,
  answer bytea,
  constraint answer_iff_answered check ((status is null) = (answer is null))
);
create index idempotency_by_age on idempotency (begun_at);
