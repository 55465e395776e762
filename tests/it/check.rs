//! `recado check`, as whoever writes templates and settings meets it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

fn check(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recado"));
    command.arg("check").arg("--templates").args(arguments).env_clear().current_dir(folder);
    command.env("RECADO_TEMPLATES__DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/templates"));
    command
}

#[test]
fn a_reader_who_has_seen_enough_is_no_fault() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child =
        check(checkout, &["--settings"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn sources_that_are_nowhere_are_warned_of_and_those_that_were_named_are_a_mistake() {
    let elsewhere = std::env::temp_dir();
    let told = check(&elsewhere, &[]).output().expect("it runs");
    let warned = String::from_utf8_lossy(&told.stderr);
    // An installed Recado has its sources where every folder finds them.
    if !Path::new("/usr/share/recado/sources").is_dir() {
        assert!(warned.starts_with("Warning: sources.dir: there is no folder config/sources here"), "{warned}");
    }
    assert_eq!(told.status.code(), Some(0), "{warned}");
    let told = check(&elsewhere, &[]).env("RECADO_SOURCES__DIR", "/nowhere").output().expect("it runs");
    let wrong = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.status.code() == Some(1) && wrong.contains("sources.dir = \"/nowhere\": there is no folder"),
        "{wrong}"
    );
}

#[test]
fn a_lease_in_which_nothing_could_be_sent_is_a_mistake() {
    let told = check(&std::env::temp_dir(), &[]).env("RECADO_DISPATCH__LEASE", "20s").output().expect("it runs");
    let wrong = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.status.code() == Some(1) && wrong.contains("RECADO_DISPATCH__LEASE: dispatch.lease = \"20s\""),
        "{wrong}"
    );
}
