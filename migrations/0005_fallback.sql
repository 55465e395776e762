-- What goes where a template cannot: the same words as a free text inside a person's window, and an SMS to whom WhatsApp is proven
-- unable to reach.

alter table notifications
  -- The whole message as a free text: to go instead of its template, or all that there is of an SMS.
  add column free_text text,
  -- {"sender": …, "purpose": …, "text": …}: the SMS that may follow.
  add column sms json,
  -- Its latest attempt went as a free text.
  add column as_text bool not null default false,
  -- The SMS that followed it, and what this one followed. Each follows once at most.
  add column fallback uuid,
  add column fallback_of uuid,
  add constraint nothing_follows_a_fallback check (fallback_of is null or sms is null and fallback is null),
  add constraint fallback_only_of_what_has_one check (fallback is null or fallback <> id);
alter table attempts add column as_text bool not null default false;
-- Who waits for a template and need not, once the person writes.
create index notifications_for_window on notifications (contact_id, sender) where waiting_on = 'template' and free_text is not null;

-- Brings back what waits for a template and may go as a free text. A function, since it must see what was committed until now: whoever
-- calls it has the lane's lock.
create function wake_for_window(contact bigint, sender smallint) returns bigint language sql volatile
as $$
  with woken as (
    update notifications n set waiting_on = null, due_at = least(n.expires_at, recado_now())
    where n.contact_id = $1 and n.sender = $2 and n.waiting_on = 'template' and n.free_text is not null
    returning 1
  )
  select count(*) from woken
$$;

-- A UUIDv7 of a moment.
create function uuid_v7(at timestamptz) returns uuid language sql volatile
as $$ select (left(uuid_v7_floor(at)::text, 15) || substr(gen_random_uuid()::text, 16))::uuid $$;

-- Writes down the SMS that follows a message, whose id stands on the message already: with everything that the message had but its
-- own sender, purpose and text, and nothing granted beforehand. A function, so that it happens in the statement that ends the message.
create function follow_by_sms(origin uuid) returns table (contact_id bigint, sender smallint) language plpgsql
as $$
declare
  born notifications;
begin
  insert into notifications (id, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language,
    subject, journey, journey_key, stage, expires_at, grace_until, consent_until, quiet, doubt, free_text, fallback_of, due_at)
  select n.fallback, n.event_source, n.event_id, n.event_time, (n.sms ->> 'sender')::smallint, n.class, n.contact_id, n.sms ->> 'purpose',
    n.template, n.language, n.subject, n.journey, n.journey_key, n.stage, n.expires_at, recado_now(), recado_now(), n.quiet, n.doubt,
    n.sms ->> 'text', n.id, least(recado_now(), n.expires_at)
  from notifications n where n.id = origin and n.fallback is not null
  on conflict do nothing
  returning * into born;
  if not found then return; end if;
  insert into lanes (contact_id, sender) values (born.contact_id, born.sender) on conflict do nothing;
  update inbox i set notifications = i.notifications || born.id where i.id = born.event_id and i.source = born.event_source;
  insert into timeline (notification_id, at, what, detail)
  values (origin, recado_now(), 'sms_follows', born.id), (born.id, recado_now(), 'follows', origin);
  return query select born.contact_id, born.sender;
end
$$;

-- What becomes of the SMS that followed a message, once that proves to have arrived after all: it does not go any more, or, if it went or
-- may have gone, the person has both and the message says so. A function, since it must see what was committed until now.
create function withdraw_sms(origin uuid) returns table (contact_id bigint, sender smallint) language plpgsql
as $$
declare
  sms notifications;
begin
  select s.* into sms from notifications n join notifications s on s.id = n.fallback where n.id = origin for no key update of s;
  if sms.state = 'pending' and sms.resends = 0 then
    update notifications n set state = 'suppressed', reason = 'delivered_elsewhere', due_at = null, waiting_on = null,
      ended_at = recado_now(), statuses = n.statuses + 1
    where n.id = sms.id;
    insert into outbox (notification_id, sequence, kind, reason) values (sms.id, sms.statuses + 1, 'suppressed', 'delivered_elsewhere');
    return query select sms.contact_id, sms.sender;
  elsif sms.state in ('pending', 'sending', 'in_doubt', 'accepted') or sms.state = 'failed' and sms.reason = 'unknown' then
    update notifications n set duplicate = true where n.id = origin;
    insert into timeline (notification_id, at, what, detail) values (origin, recado_now(), 'duplicate_by_sms', sms.id);
  end if;
end
$$;
