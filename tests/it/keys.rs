//! `recado keys`, as an operator meets it.

use recado::db::{keys, keys::Role};
use reqwest::StatusCode;
use sha2::{Digest, Sha256};

use crate::{doors::hall::Hall, why::recado};

#[tokio::test]
async fn a_key_is_shown_once_and_only_its_hash_is_kept() {
    let hall = Hall::open().await;
    let made = recado(&hall, &["keys", "create", "--name", "support", "--role", "operator"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = made.stdout.trim();
    assert!(key.starts_with("rk_") && key.len() == 46, "{key}");
    assert!(made.stderr.contains("support") && !made.stderr.contains(key));

    let kept = hall.ask("select api_keys::text from api_keys").await.unwrap();
    assert!(!kept.contains(key));
    let hex: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(kept.contains(&hex), "{kept}");
    assert_eq!(hall.read("/v1/notifications", key).await.status, StatusCode::OK);

    let listed = recado(&hall, &["keys", "list"]);
    assert!(
        listed.stdout.contains("support") && listed.stdout.contains("operator") && listed.stdout.contains("last used")
    );
    assert!(!listed.stdout.contains(&key[3..]));
}

#[tokio::test]
async fn a_revoked_key_ends_at_once_and_its_name_stays_taken() {
    let hall = Hall::open().await;
    let key = hall.key(Role::Operator).await;
    assert_eq!(hall.read("/v1/holds", &key).await.status, StatusCode::OK);
    assert_eq!(recado(&hall, &["keys", "revoke", "operator"]).code, 0);
    assert_eq!(hall.read("/v1/holds", &key).await.status, StatusCode::UNAUTHORIZED);
    let again = recado(&hall, &["keys", "revoke", "operator"]);
    assert!(again.code == 1 && again.stderr.contains("no key of this name"), "{}", again.stderr);
    let taken = recado(&hall, &["keys", "create", "--name", "operator"]);
    assert!(taken.code == 1 && taken.stderr.contains("take another name"), "{}", taken.stderr);
}

#[tokio::test]
async fn a_role_that_is_none_is_refused_with_those_that_are() {
    let hall = Hall::open().await;
    let made = recado(&hall, &["keys", "create", "--name", "x", "--role", "god"]);
    assert_eq!(made.code, 2);
    assert!(made.stderr.contains("producer, viewer, operator and admin"), "{}", made.stderr);
    assert!(keys::list(&hall.pools.ops).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_hold_that_is_placed_again_lasts_for_the_longer_time() {
    let hall = Hall::open().await;
    let until = async || hall.ask("select extract(epoch from until - now())::int::text from holds").await;
    let hold = |lasts: &[&str]| recado(&hall, &[&["hold", "everything", "--reason", "x"], lasts].concat()).code;
    assert_eq!(hold(&["--for", "2h"]), 0);
    assert_eq!(hold(&["--for", "1h"]), 0);
    assert!(until().await.unwrap().parse::<i32>().unwrap() > 7_000);
    assert_eq!(hold(&[]), 0);
    assert_eq!(until().await, None, "until somebody releases it");
    assert_eq!(hold(&["--for", "1h"]), 0);
    assert_eq!(until().await, None);
}

#[tokio::test]
async fn holds_are_placed_shown_and_released_from_the_command_line() {
    let hall = Hall::open().await;
    assert_eq!(recado(&hall, &["holds"]).stdout, "Nothing is held.\n");
    // What would not count is refused: it would stop or release more than was meant.
    for misfit in [
        &["hold", "everything", "--sender", "main", "--reason", "x"][..],
        &["hold", "everything", "main", "--reason", "x"],
        &["hold", "sender", "main", "--language", "es", "--reason", "x"],
        &["hold", "sender", "--reason", "x"],
        &["release", "everything", "--sender", "main", "--because", "a test"],
        &["release", "7", "main", "--because", "a test"],
        &["release", "all", "--because", "a test"],
    ] {
        let refused = recado(&hall, misfit);
        assert_eq!(refused.code, 2, "{misfit:?}: {}{}", refused.stdout, refused.stderr);
    }
    assert_eq!(recado(&hall, &["holds"]).stdout, "Nothing is held.\n");
    assert_eq!(recado(&hall, &["hold", "everything", "--reason", "wrong prices", "--for", "2h"]).code, 0);
    assert_eq!(recado(&hall, &["hold", "sender", "main", "--reason", "moving"]).code, 0);
    let template = ["hold", "template", "order_confirmed", "--language", "es", "--reason", "typo"];
    let which = recado(&hall, &template);
    assert!(which.code == 2 && which.stderr.contains("--sender main or second"), "{}", which.stderr);
    assert_eq!(recado(&hall, &[&template[..], &["--sender", "main"]].concat()).code, 0);
    let shown = recado(&hall, &["holds"]).stdout;
    for line in [
        "everything, operator (wrong prices)",
        "sender main, operator (moving)",
        "template order_confirmed in es of main",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(recado(&hall, &["release", "everything"]).code, 2, "it says not why");
    let silent = recado(&hall, &["release", "everything", "--because", " "]);
    assert!(
        silent.code == 2 && silent.stderr.contains("--because is a text of 1 to 300 characters"),
        "{}",
        silent.stderr
    );
    assert_eq!(recado(&hall, &["release", "everything", "--because", "the prices are right"]).code, 0);
    let kept = "select released_because || ', ' || (select reason from audit where what = 'hold.released') from holds where scope = 'everything'";
    assert_eq!(hall.ask(kept).await.unwrap(), "the prices are right, the prices are right");
    let id = shown.lines().find(|line| line.contains("sender main")).unwrap().split(':').next().unwrap();
    assert_eq!(recado(&hall, &["release", id, "--because", "a test"]).code, 0);
    assert_eq!(recado(&hall, &["release", id, "--because", "a test"]).code, 1);
    assert_eq!(
        recado(
            &hall,
            &[
                "release",
                "template",
                "order_confirmed",
                "--sender",
                "main",
                "--reason",
                "as it is asked for when a hold is placed"
            ]
        )
        .code,
        0
    );
    assert_eq!(recado(&hall, &["holds"]).stdout, "Nothing is held.\n");
    assert_eq!(recado(&hall, &["release", "galaxy", "--because", "a test"]).code, 2);
    assert_eq!(recado(&hall, &["hold", "sender", "--reason", "x"]).code, 2, "a name is missing");
    assert_eq!(recado(&hall, &["hold", "everything", "--reason", "x", "--for", "soon"]).code, 2);
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_with_what_to_do() {
    let hall = Hall::open().await;
    hall.sql("create table kept as select * from _sqlx_migrations").await;
    hall.sql("insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (99999999999999, 'later', true, '', 0)").await;
    let newer = recado(&hall, &["holds"]);
    assert!(newer.code == 1 && newer.stderr.contains("newer"), "{}", newer.stderr);
    hall.sql("delete from _sqlx_migrations where version in (select version from _sqlx_migrations order by version desc limit 2)").await;
    let older = recado(&hall, &["holds"]);
    assert!(older.code == 1 && older.stderr.contains("recado migrate"), "{}", older.stderr);
    hall.sql("truncate _sqlx_migrations; insert into _sqlx_migrations select * from kept").await;
    assert_eq!(recado(&hall, &["holds"]).code, 0);
}
