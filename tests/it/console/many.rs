//! A shop that has run for a month, with as many notifications as one wants and everything that belongs to them, made by sets.

use sqlx::{AssertSqlSafe, PgPool};

/// So many at once: what one statement makes fits into memory.
const CHUNK: i64 = 250_000;

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub struct Amounts {
    pub notifications: i64,
    /// Of them, those among which half are still open.
    pub recent: i64,
    /// Besides one, who gets a message of every 250.
    pub people: i64,
    pub rejected: i64,
    pub audited: i64,
}

/// What every page is to be fast with.
pub const MANY: Amounts =
    Amounts { notifications: 5_000_000, recent: 40_000, people: 200_000, rejected: 50_000, audited: 100_000 };

/// Enough to find a mistake by.
pub const FEW: Amounts = Amounts { notifications: 3_000, recent: 600, people: 50, rejected: 30, audited: 10 };

/// People, most of whom agreed; one of them, the last, gets very many messages.
const PEOPLE: &str = r#"
    insert into senders (name) values ('main'), ('second') on conflict do nothing;
    select make_partitions(now() - interval '1 month'), make_partitions(now()), make_partitions(now() + interval '1 month');
    insert into contacts (phone, locale, consents, entries)
    select '+346' || lpad(i::text, 8, '0'), 'es', '{"orders": {"state": "granted", "entry": 1}}', 1 from generate_series(1, $people + 1) i;
    insert into consent_entries (contact_id, number, at, act, purpose, payload, salt, commitment, previous, hash)
    select id, 1, now() - interval '31 days', 'confirmed', 'orders', '{"way": "sms"}', '\x01', '\x01', '\x01', '\x01' from contacts;
    insert into lanes (contact_id, sender) select c.id, s.id from contacts c cross join senders s;
    insert into template_states (sender, template, language, status, category, changed_by)
    select s.id, t.name, 'es', 'approved', 'utility', 'provider' from senders s cross join (values ('order_confirmed'),
      ('shipment_dispatched'), ('out_for_delivery'), ('delivered'), ('delivery_failed'), ('arriving_now'), ('payment_failed'),
      ('ready_for_pickup'), ('refund_issued'), ('shipment_delayed'), ('order_cancelled')) t(name);
"#;

/// From the `$first`th to the `$last`th of `$all` notifications, oldest first.
const CHAPTER: &str = r#"
    create temporary table chapter on commit drop as
    select i, at,
      (left(uuid_v7_floor(at)::text, 24) || lpad(to_hex(i), 12, '0'))::uuid as id,
      case when i % 250 = 0 then $people + 1 else 1 + (i * 7919) % $people end as contact,
      case when i % 11 = 0 then 2 else 1 end as sender,
      case when i % 100003 = 0 then 'refund_issued' else (array['order_confirmed', 'shipment_dispatched', 'out_for_delivery', 'delivered',
        'order_confirmed', 'shipment_dispatched', 'delivered', 'arriving_now', 'delivery_failed', 'ready_for_pickup'])[1 + i % 10] end as template,
      case
        when i > $all - $recent and i % 2 = 0 then case when i % 100 = 0 then 'in_doubt' else 'pending' end
        when i % 20011 = 0 then 'pending'
        when i % 1000 < 940 then 'accepted'
        when i % 1000 < 970 then 'failed'
        else 'suppressed'
      end as state,
      case when i % 1000003 = 0 then 'text_too_late' when i % 1000 < 970 then (array['undeliverable', 'unknown', 'blocked_by_person', 'not_on_whatsapp',
        'template_paused', 'template_outdated', 'too_many_to_this_person', 'provider_down', 'tries_exhausted', 'number_restricted'])[1 + i / 7 % 10]
        else (array['expired', 'no_consent', 'not_confirmed', 'consent_revoked', 'superseded', 'cancelled', 'not_in_only_to',
        'delivered_elsewhere'])[1 + i / 7 % 8] end as why
    from (select i, now() - ($all - i) * (interval '30 days' / $all) as at from generate_series($first::int8, $last::int8) i) t;

    insert into notifications (id, created_at, event_source, event_id, event_time, sender, class, contact_id, purpose, template, language,
      subject, journey, journey_key, stage, expires_at, grace_until, consent_until, doubt, filled, state, due_at, waiting_on, attempt,
      tries, doubt_since, reason, consent_entry, message_id, receipt, accepted_at, ended_at, statuses)
    select id, at, 'shop', 'evt-' || i, at, sender, (i % 10 <> 7)::int, contact, 'orders', template, 'es',
      'order:' || i / 3, 'order', 'order:' || i / 3, 1 + i % 3, at + interval '40 days', at, at, 'resend_once',
      '{"body": [{"text": "Ana"}, {"text": "A-1042"}]}', state::notification_state,
      case when state = 'pending' then case when i % 5 = 0 then now() + interval '2 days' else at end end,
      case when state = 'pending' and i % 5 = 0 then (array['lane', 'template', 'consent', 'quiet'])[1 + i / 10 % 4] end::wait,
      (state in ('accepted', 'failed', 'in_doubt'))::int, 0, case when state = 'in_doubt' then at end,
      case when state in ('failed', 'suppressed') then why end, case when state in ('accepted', 'failed', 'in_doubt') then 1 end,
      case when state = 'accepted' then 'wamid.' || i end,
      case when state = 'accepted' and i % 97 > 0 then (array['read', 'read', 'delivered', 'read', 'sent', 'delivered'])[1 + i % 6] end::receipt,
      case when state = 'accepted' then at + interval '1 s' end, case when state in ('failed', 'suppressed') then at + interval '1 s' end, 2
    from chapter;

    insert into inbox (source, id, body_hash, type, subject, time, received_at, journey, journey_key, stage, contact_id, notifications, body)
    select 'shop', 'evt-' || i, '\x01', 'order.confirmed', 'order:' || i / 3, at, at, 'order', 'order:' || i / 3, 1 + i % 3, contact, array[id],
      '{"specversion": "1.0", "type": "order.confirmed", "data": {"order": "' || i / 3 || '", "customer": {"name": "Ana", "phone": "+34600000000"}}}'
    from chapter;

    insert into attempts (notification_id, number, sender, claimed_at, resend, consent_entry, outcome, ended_at, reason, code, message_id, receipt,
      receipt_at, country, category, currency, predicted, counted_in)
    select id, 1, sender, at, false, 1, case state when 'accepted' then 'accepted' when 'failed' then 'rejected' else 'unclear' end, at + interval '1 s',
      case when state = 'failed' then why end, case when state = 'failed' then 131026 end, case when state = 'accepted' then 'wamid.' || i end,
      case when state = 'accepted' then 'delivered' end::receipt, case when state = 'accepted' then at + interval '3 s' end, 'ES', 'utility', 'EUR',
      20000, case when state = 'accepted' then '3'::xid8 end
    from chapter where state in ('accepted', 'failed', 'in_doubt');

    insert into receipts (notification_id, number, kind, at, received_at)
    select id, 1, r.kind, at + interval '3 s', at + interval '3 s' from chapter cross join (values ('sent'), ('delivered')) r(kind) where state = 'accepted';

    insert into timeline (notification_id, at, what, detail) select id, at, 'waits', 'lane' from chapter where i % 3 = 0;

    insert into tallies (minute, kind, reason, sender, n)
    select case when at < now() - interval '48 h' then date_trunc('hour', at, 'UTC') else date_trunc('minute', at) end, k.kind,
      case when k.kind in ('failed', 'suppressed') then why else '' end, sender, count(*)
    from chapter cross join lateral (values ('planned', true), ('accepted', state = 'accepted'), ('delivered', state = 'accepted'),
      ('read', state = 'accepted' and i % 2 = 0), ('failed', state = 'failed'), ('suppressed', state = 'suppressed')) k(kind, so)
    where k.so group by 1, 2, 3, 4
    on conflict (minute, kind, reason, sender) do update set n = tallies.n + excluded.n;
"#;

/// What is not a notification's.
const REST: &str = r#"
    insert into daily_costs
    select (now() - d * interval '1 day')::date, s.id, t.template, c.country, 'utility', 'EUR', 1000, 0, 20000000, 900, 18000000, 17000000
    from generate_series(0, 30) d cross join senders s cross join (select distinct template from template_states) t
    cross join (values ('ES'), ('MX'), ('BR'), ('AR'), ('CO'), ('CL')) c(country);
    insert into rejected_events (id, received_at, reason, detail, exchange, routing_key, headers, content_type, size, body_hash, body, whole)
    select (left(uuid_v7_floor(at)::text, 24) || lpad(to_hex(i), 12, '0'))::uuid, at, (array['unfillable_template', 'not_json', 'no_phone'])[1 + i % 3],
      'What is wrong.', 'shop.events', 'order.confirmed', '{}', 'application/json', 300, int8send(i), convert_to(repeat('{"a": 1}', 40), 'UTF8'), true
    from (select i, now() - i * interval '30 s' as at from generate_series(1::int8, $rejected) i) t;
    -- The provider reports.
    update senders set heard = array(select now() - s * interval '1 s' from generate_series(1, 10) s);
    insert into audit (at, by, what, "on", detail)
    select now() - i * interval '20 s', 'user ana', 'number.shown', 'n-' || i, '{}' from generate_series(1, $audited) i;
"#;

/// Fills an empty, migrated database.
pub async fn fill(pool: &PgPool, amounts: Amounts) {
    let numbers = [
        ("$all", amounts.notifications),
        ("$recent", amounts.recent),
        ("$people", amounts.people),
        ("$rejected", amounts.rejected),
        ("$audited", amounts.audited),
    ];
    let run = async |text: &str| {
        let text = numbers.iter().fold(text.to_owned(), |text, (name, n)| text.replace(name, &n.to_string()));
        let mut transaction = pool.begin().await.unwrap();
        let quick = "set local statement_timeout = 0; set local synchronous_commit = off;";
        sqlx::raw_sql(AssertSqlSafe(format!("{quick}{text}"))).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    };
    run(PEOPLE).await;
    let mut first = 1;
    while first <= amounts.notifications {
        let last = amounts.notifications.min(first + CHUNK - 1);
        run(&CHAPTER.replace("$first", &first.to_string()).replace("$last", &last.to_string())).await;
        first = last + 1;
    }
    run(REST).await;
    let mut connection = pool.acquire().await.unwrap();
    for text in ["set statement_timeout = 0", "vacuum analyze", "reset statement_timeout"] {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut *connection).await.unwrap();
    }
}
