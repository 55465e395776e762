-- An outbox in a shop's own Postgres: an event is written in the transaction that it tells of, so that there is never one without the
-- other. Recado takes the rows (drain.url, or `recado drain`) and deletes them when they are safe in its inbox.
--
-- Run it once in the shop's database. The second half is an example for a shop with a table `orders`; write your own in its place.

create table recado_outbox (
  position bigint generated always as identity primary key,
  -- A CloudEvent. Its id says what happened, not when the row was written: the same thing told twice counts once.
  event jsonb not null,
  written_at timestamptz not null default now(),
  constraint event_is_an_object check (jsonb_typeof(event) = 'object')
);

-- Recado comes as somebody who may do this and nothing else:
--   create role recado_drain login password '…';
--   grant select, delete on recado_outbox to recado_drain;

create function tell_recado_of_order() returns trigger language plpgsql security definer
set search_path from current
as $$
begin
  if new.status = 'confirmed' and (tg_op = 'INSERT' or old.status is distinct from new.status) then
    insert into recado_outbox (event) values (jsonb_build_object(
      'specversion', '1.0',
      'id', 'order-' || new.id || '-confirmed',
      'source', '/shop/orders',
      'type', 'order.confirmed',
      'subject', 'order:' || new.number,
      'time', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'data', jsonb_build_object(
        'customer', jsonb_strip_nulls(jsonb_build_object(
          'phone', new.customer_phone, 'name', new.customer_name, 'locale', new.customer_locale)),
        'order', jsonb_build_object(
          'number', new.number,
          'total', jsonb_build_object('amount', new.total::text, 'currency', new.currency))
      )
    ));
  end if;
  return null;
end
$$;

create trigger orders_tell_recado after insert or update of status on orders
  for each row execute function tell_recado_of_order();
