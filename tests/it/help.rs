//! `--help`: each command has an example that the program understands, and says what each argument is.

use clap::{Command, CommandFactory, Parser};
use recado::cli::Cli;

/// Every command with the words that lead to it.
fn commands() -> Vec<(String, Command)> {
    let mut found = vec![("recado".to_owned(), Cli::command())];
    let mut at = 0;
    while let Some((path, command)) = found.get(at).cloned() {
        found.extend(command.get_subcommands().map(|sub| (format!("{path} {}", sub.get_name()), sub.clone())));
        at += 1;
    }
    found
}

/// The lines under `Examples:`, which is what a help ends with. A line that ends with \ goes on in the next.
fn examples(path: &str, command: &Command) -> Vec<String> {
    let help = command.clone().render_long_help().to_string();
    let (_, examples) = help.rsplit_once("\nExamples:\n").unwrap_or_else(|| panic!("{path} --help has no Examples:"));
    let examples = examples.replace("\\\n", " ");
    let lines: Vec<String> = examples.trim_end().lines().map(str::to_owned).collect();
    for line in &lines {
        assert!(line.starts_with("  "), "{path} --help does not end with its examples, but with: {line}");
    }
    lines.iter().map(|line| line.trim().to_owned()).collect()
}

/// The words of a line as a shell has them, as far as the program gets them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '|' | '<' | '>' | '&' | ';' if !quoted => break,
            '#' if !quoted && word.is_none() => break,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_has_an_example_that_is_understood() {
    for (path, command) in commands() {
        let lines = examples(&path, &command);
        let mine = |line: &String| words(line).join(" ").starts_with(&path);
        assert!(lines.iter().any(mine), "{path} --help has no example of this very command");
        for line in lines.iter().filter(|line| line.starts_with("recado ")) {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{path} --help: {line}\n{error}");
            }
        }
    }
}

#[test]
fn every_argument_says_what_it_is() {
    for (path, command) in commands() {
        assert!(command.get_about().is_some(), "{path} says nothing about itself");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let told = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!told.is_empty(), "{path}: {} has no description", argument.get_id());
            if argument.get_id() == "json" {
                assert!(told.starts_with("The same as JSON, for programs"), "{path}: --json: {told}");
            }
        }
    }
}

#[test]
fn the_first_help_says_how_commands_end_and_where_settings_come_from() {
    let help = Cli::command().render_long_help().to_string();
    for part in ["Exit codes: 0 done, 1 ", "recado.toml", "DATABASE_URL", "recado check --settings"] {
        assert!(help.contains(part), "{part} is missing: {help}");
    }
}
