//! What our own code noted is said in the page's language; what providers and people said stays as they said it, and is marked.

use recado::{db::keys::Role, domain::remark::Remark};

use super::visit::Visit;
use crate::doors::hall::Hall;

/// The page without what is marked as English.
fn ours(page: &str) -> String {
    let mut rest = page;
    let mut all = String::new();
    while let Some((before, marked)) = rest.split_once(" lang=\"en\">") {
        let (start, name) = before.rsplit_once('<').unwrap();
        let name = name.split(' ').next().unwrap();
        let (_, after) = marked.split_once(&format!("</{name}>")).unwrap();
        all += start;
        rest = after;
    }
    all + rest
}

#[tokio::test]
async fn what_our_own_code_noted_is_told_in_the_language_of_the_page() {
    let hall = Hall::open().await;
    let id = hall.notification("evt-1", "+34600111222").await;
    hall.attempt(id, "rejected", Some("the person has no account")).await;
    let remarks = [
        ("sender", "account_locked", Remark::Answered(131_031).to_string()),
        ("sender", "payment_missing", Remark::Reported(131_042).to_string()),
        (
            "template",
            "template_drifted",
            "The file and the provider differ in body, button 1. See: recado templates diff order_confirmed".to_owned(),
        ),
        ("template", "recategorised", Remark::Marketing.to_string()),
        ("sender", "texts_per_day", Remark::TextsUsedUp.to_string()),
        ("sender", "account_restricted", "ACCOUNT_VIOLATION: there was spam".to_owned()),
    ];
    for (scope, reason, detail) in &remarks {
        hall.sql(&format!(
            "insert into holds (scope, sender, template, reason, detail, placed_by)
             select '{scope}', id, case '{scope}' when 'template' then 'order_confirmed' end, '{reason}', '{detail}', 'recado' from senders where name = 'main'"
        ))
        .await;
    }
    hall.sql(&format!(
        "insert into timeline (notification_id, at, what, detail) values ('{id}', now(), 'settled_by_evidence', 'attempt 1'),
           ('{id}', now(), 'resend', 'attempt 1 was never heard of'), ('{id}', now(), 'undelivered', 'attempt 1: undeliverable (131026)'),
           ('{id}', now(), 'merged', '12'), ('{id}', now(), 'something_new', 'of a later version');
         insert into sender_health (sender, due_at, asked_at, answered_at, status) select id, now(), now(), now(), 'BANNED' from senders where name = 'main';
         insert into template_states (sender, template, language, status, category, reason, changed_by)
         select id, 'order_confirmed', 'es', 'approved', 'UTILITY', 'becomes MARKETING on 2026-12-01T12:00:00Z', 'meta' from senders where name = 'main'"
    ))
    .await;
    let rejected = hall.rejected(7, "invalid_json", "{").await;
    hall.sql("update rejected_events set replayed_at = now(), replay = 'known'").await;
    let mut ana = Visit::of(&hall, "ana", Role::Operator).await;
    hall.sql("update users set language = 'es'").await;
    let story = format!("/console/notifications/{id}");
    let of_rejected = format!("/console/rejected/{rejected}");
    let said: [(&str, &[&str]); 6] = [
        (
            &story,
            &[
                "El proveedor respondió con el código 131031.",
                "El proveedor informó del código 131042.",
                "difieren en: cuerpo, botón 1. Míralo con recado templates diff order_confirmed.",
                "eso la gente no lo ha aceptado.",
                "forms.texts_per_day se agotó",
                "antes era del contacto</span> <span class=\"soft\">12</span>",
                "<span class=\"mono\">#1</span> <span class=\"what\">El informe del proveedor prueba que se aceptó</span>",
                "Informada como no entregada</span></p>",
                "<blockquote class=\"hint\" lang=\"en\">the person has no account</blockquote>",
                "<span lang=\"en\">ACCOUNT_VIOLATION: there was spam</span>",
                "lang=\"en\">something_new of a later version</span>",
            ],
        ),
        ("/console/senders", &["El proveedor respondió con el código 131031.", "difieren en: cuerpo, botón 1."]),
        ("/console/now", &["El proveedor tiene el número como BANNED.", "difieren en: cuerpo, botón 1."]),
        ("/console/templates/order_confirmed", &["Pasa a la categoría MARKETING el 2026-12-01.", "difieren en"]),
        ("/console/rejected?replayed=yes", &["No es JSON.", "<small lang=\"en\">What is wrong.</small>"]),
        (&of_rejected, &["No es JSON.", "ya estaba"]),
    ];
    for (path, words) in said {
        let page = ana.get(path).await.text;
        for word in words {
            assert!(page.contains(word), "{path} does not say {word}: {page}");
        }
        let ours = ours(&page);
        for english in ["provider", "differ in", "becomes", "attempt", "never heard", "merged", "used up", "known<"] {
            assert!(!ours.contains(english), "{path} says {english}: {ours}");
        }
    }
}
