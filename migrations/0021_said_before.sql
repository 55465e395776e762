-- What somebody said at a moment is found without reading all that they ever said. And an SMS that is withdrawn is counted as its sender's.

create index consent_entries_by_time on consent_entries (contact_id, at);

-- As before, with whose it was.
create or replace function withdraw_sms(origin uuid) returns table (contact_id bigint, sender smallint) language plpgsql
as $$
declare
  sms notifications;
begin
  select s.* into sms from notifications n join notifications s on s.id = n.fallback where n.id = origin for no key update of s;
  if sms.state = 'pending' and sms.resends = 0 then
    update notifications n set state = 'suppressed', reason = 'delivered_elsewhere', due_at = null, waiting_on = null,
      ended_at = recado_now(), statuses = n.statuses + 1
    where n.id = sms.id;
    insert into outbox (notification_id, sequence, kind, reason, sender)
    values (sms.id, sms.statuses + 1, 'suppressed', 'delivered_elsewhere', sms.sender);
    return query select sms.contact_id, sms.sender;
  elsif sms.state in ('pending', 'sending', 'in_doubt', 'accepted') or sms.state = 'failed' and sms.reason = 'unknown' then
    update notifications n set duplicate = true where n.id = origin;
    insert into timeline (notification_id, at, what, detail) values (origin, recado_now(), 'duplicate_by_sms', sms.id);
  end if;
end
$$;
