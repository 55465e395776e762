-- What an operator's signals and the retention of contents need.

-- The trace that a notification's event belongs to, while traces are on; in a table of its own, so that nothing else gets wider or slower.
create table traces (
  notification_id uuid primary key,
  -- Sixteen bytes, which a uuid has too.
  trace_id uuid not null
);

-- How far through the notifications, by id and so by time, contents have been removed.
create table retention_cursors (
  what text primary key,
  upto uuid not null,
  constraint contents_are_known check (what in ('payloads', 'parameters'))
);
insert into retention_cursors (what, upto)
values ('payloads', '00000000-0000-0000-0000-000000000000'), ('parameters', '00000000-0000-0000-0000-000000000000');

-- An event's body goes long before its identity: what is left of the row fits into the page where it stands, so no index is touched, and
-- pages keep to one time.
alter table inbox set (fillfactor = 70);
