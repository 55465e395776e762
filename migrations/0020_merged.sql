-- People who proved to be one: what follows a message of the one goes to the other. And partitions are made without stopping the house.

-- As before, for the contact that stayed.
create or replace function follow_by_sms(origin uuid) returns table (contact_id bigint, sender smallint) language plpgsql
as $$
declare
  born notifications;
begin
  insert into notifications (id, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language,
    subject, journey, journey_key, stage, expires_at, grace_until, consent_until, quiet, doubt, free_text, fallback_of, due_at)
  select n.fallback, n.event_source, n.event_id, n.event_time, (n.sms ->> 'sender')::smallint, n.class, coalesce(c.merged_into, c.id),
    n.sms ->> 'purpose', n.template, n.language, n.subject, n.journey, n.journey_key, n.stage, n.expires_at, recado_now(), recado_now(), n.quiet,
    n.doubt, n.sms ->> 'text', n.id, least(recado_now(), n.expires_at)
  from notifications n join contacts c on c.id = n.contact_id where n.id = origin and n.fallback is not null
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

-- A new partition locks its table against everybody. Behind somebody's long report it would wait, and everybody else behind it.
alter function make_partitions(timestamptz) set lock_timeout = '100ms';
