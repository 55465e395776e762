//! The examples of docs/producers.md as a backend runs them: they publish, Recado has the event, and they notice what nobody wants.

use std::{io::Write, process::Stdio};

use tokio::process::Command;

use super::{
    database::server_url,
    harness::{PATIENCE, amqp_url},
};

/// What the script ends with if a tool or a registry is not there.
const NOT_BEGUN: i32 = 2;

#[tokio::test]
async fn the_examples_in_node_and_python_publish_and_notice_what_nobody_wants() {
    let mut script = Command::new("scripts/producers");
    script.args(["node", "python"]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).kill_on_drop(true);
    script.env("RECADO_PROGRAM", env!("CARGO_BIN_EXE_recado"));
    script.env("DATABASE_URL", server_url()).env("AMQP_URL", amqp_url());
    // In a fresh clone the clients are installed first.
    let done = tokio::time::timeout(PATIENCE * 3, script.output()).await.expect("in time").expect("it runs");
    let told = String::from_utf8([done.stdout, done.stderr].concat()).expect("text");
    if done.status.code() == Some(NOT_BEGUN) {
        let why = told.lines().last().unwrap_or_default();
        // Also where the output of tests that pass is not shown.
        writeln!(std::io::stderr(), "The examples of docs/producers.md were not run. {why}").expect("an output");
        return;
    }
    assert!(done.status.success(), "{told}");
    for language in ["Node", "Python"] {
        let line = told.lines().find(|line| line.starts_with(language)).expect("a line for each");
        assert!(line.ends_with("published, confirmed and in the inbox"), "{told}");
    }
}
