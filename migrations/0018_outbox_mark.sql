-- Where the untold rows of the outbox begin is remembered: while somebody holds a snapshot open, rows that are gone cannot be removed,
-- and whoever begins at the beginning reads all of them each time.

-- A row's number is given out after its transaction has its own, so that a transaction that has one later gives out larger numbers only.
create sequence outbox_ids;
select setval('outbox_ids', (select last_value from outbox_id_seq));
alter table outbox alter column id drop identity;
create function next_outbox_id() returns bigint language sql volatile
as $$ select case when pg_current_xact_id() is not null then nextval('outbox_ids') end $$;
alter table outbox alter column id set default next_outbox_id();
alter sequence outbox_ids owned by outbox.id;

-- Of the publisher: every row up to this one was told, or never will be there.
alter table leases add column upto bigint not null default 0;
