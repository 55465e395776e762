//! A mistake in a file that a person wrote, with the place where it stands and what to do about it.

use std::{fmt, ops::Range};

/// One mistake. `message` says what is wrong and how it is cured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Where in the file's structure, like `languages.es.body`; empty if the file as a whole is meant.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Collects the problems of one file.
#[derive(Debug)]
pub struct Report<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    #[must_use]
    pub fn of(file: &'a str, text: &'a str) -> Report<'a> {
        Report { file, text, problems: Vec::new() }
    }

    /// Adds a problem with what stands at `span` (in bytes of the file's text).
    pub fn add(&mut self, span: Range<usize>, key: impl Into<String>, message: impl Into<String>) {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        self.add_at_line(line, key, message);
    }

    /// Adds a problem with a line, counted from 1.
    pub fn add_at_line(&mut self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        let problem = Problem { file: self.file.to_owned(), line, key: key.into(), message: message.into() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Where `part` (its first line) first stands within `span`; `span` itself if it does not stand there as it is.
    #[must_use]
    pub fn find(&self, part: &str, span: Range<usize>) -> Range<usize> {
        let line = part.trim().lines().next().unwrap_or_default();
        let found = self.text.get(span.start..).and_then(|text| text.find(line)).filter(|_| !line.is_empty());
        found.map_or(span.clone(), |offset| span.start + offset..span.start + offset + line.len())
    }

    /// Adds what the TOML reader found.
    pub fn add_toml(&mut self, error: &toml::de::Error) {
        let message = error.message().trim().replace('\n', "; ");
        self.add(error.span().unwrap_or(0..0), "", format!("{message}."));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
