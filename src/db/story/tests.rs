use super::*;

fn row(state: &str) -> Row<'_> {
    let at = Some(Timestamp::UNIX_EPOCH);
    Row {
        state,
        due_at: at,
        waiting_on: None,
        attempt: 1,
        lease_until: at,
        doubt_since: at,
        reason: Some("expired".to_owned()),
        message_id: Some("wamid.1".to_owned()),
        receipt: Some("delivered"),
    }
}

#[test]
fn each_state_carries_what_belongs_to_it() {
    let read = |name| state(Uuid::nil(), row(name)).unwrap();
    let at = Timestamp::UNIX_EPOCH;
    assert_eq!(read("pending"), State::Pending { due_at: at, waiting_on: None });
    assert_eq!(read("sending"), State::Sending { attempt: 1, lease_until: at });
    assert_eq!(read("in_doubt"), State::InDoubt { since: at });
    let accepted = State::Accepted { message_id: "wamid.1".to_owned(), receipt: Some(Best::Delivered) };
    assert_eq!(read("accepted"), accepted);
    assert_eq!(read("failed"), State::Failed { reason: "expired".to_owned() });
    assert_eq!(read("suppressed"), State::Suppressed { reason: "expired".to_owned() });
}

#[test]
fn a_row_that_makes_no_sense_is_named_with_its_column() {
    let column = |row| match state(Uuid::nil(), row) {
        Err(Error::Inconsistent { table: "notifications", column, .. }) => column,
        other => panic!("{other:?}"),
    };
    assert_eq!(column(Row { due_at: None, ..row("pending") }), "due_at");
    assert_eq!(column(Row { waiting_on: Some("godot"), ..row("pending") }), "waiting_on");
    assert_eq!(column(Row { lease_until: None, ..row("sending") }), "lease_until");
    assert_eq!(column(Row { doubt_since: None, ..row("in_doubt") }), "doubt_since");
    assert_eq!(column(Row { message_id: None, ..row("accepted") }), "message_id");
    assert_eq!(column(Row { receipt: Some("eaten"), ..row("accepted") }), "receipt");
    assert_eq!(column(Row { reason: None, ..row("failed") }), "reason");
    assert_eq!(column(row("lost")), "state");
}
