//! A text with `{{placeholders}}`, as Meta writes them.

/// Alternating pieces of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Fixed(String),
    Placeholder(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Text {
    pub(super) pieces: Vec<Piece>,
}

impl Text {
    /// # Errors
    /// If braces do not pair, or a placeholder's name is none.
    pub(super) fn parse(text: &str) -> Result<Text, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err("has {{ without }}; close the placeholder".into());
            };
            if !is_placeholder(name) {
                return Err(format!(
                    "has the placeholder {{{{{name}}}}}; a placeholder is a number, or lower-case letters, digits and _ after a letter"
                ));
            }
            if !before.is_empty() {
                pieces.push(Piece::Fixed(before.to_owned()));
            }
            pieces.push(Piece::Placeholder(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Fixed(rest.to_owned()));
        }
        let is_fixed_brace = |piece: &Piece| matches!(piece, Piece::Fixed(t) if t.contains("{{") || t.contains("}}"));
        if pieces.iter().any(is_fixed_brace) {
            return Err("has }} without {{".into());
        }
        Ok(Text { pieces })
    }

    /// The placeholders' names, each once, in order.
    pub(super) fn placeholders(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for piece in &self.pieces {
            if let Piece::Placeholder(name) = piece
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }

    /// The text as Meta keeps it.
    pub(super) fn source(&self) -> String {
        self.render(|name| format!("{{{{{name}}}}}"))
    }

    pub(super) fn render(&self, value: impl Fn(&str) -> String) -> String {
        self.pieces.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Fixed(fixed) => text.push_str(fixed),
                Piece::Placeholder(name) => text.push_str(&value(name)),
            }
            text
        })
    }
}

fn is_placeholder(name: &str) -> bool {
    let is_number =
        !name.is_empty() && name.len() <= 2 && name.bytes().all(|b| b.is_ascii_digit()) && !name.starts_with('0');
    let is_name = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    is_number || is_name
}
