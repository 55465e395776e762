//! A message drawn as a WhatsApp bubble for a terminal, and its text for a page.

use super::fill::Reading;

/// Characters between the edges; about what a phone shows.
const WIDTH: usize = 44;

/// Draws it, with the header bright and what is less important dim if `colours`.
#[must_use]
pub fn bubble(reading: &Reading, colours: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let mut all = vec![rule('╭', '╮')];
    let mut row = |text: &str, code: Option<&str>| {
        for line in wrapped(text) {
            let space = " ".repeat(WIDTH.saturating_sub(width(&line)));
            let line = code.map_or(line.clone(), |code| paint(code, &line));
            all.push(format!("│ {line}{space} │"));
        }
    };
    if let Some(header) = &reading.header {
        row(header, Some("1"));
        row("", None);
    }
    row(&reading.body, None);
    if let Some(footer) = &reading.footer {
        row("", None);
        row(footer, Some("2"));
    }
    for button in &reading.buttons {
        let icon = match button.kind {
            "quick_reply" => '↩',
            "url" => '↗',
            "phone" => '☎',
            _ => '⧉',
        };
        let label = format!("{icon} {}", button.text);
        let left = WIDTH.saturating_sub(width(&label)) / 2;
        let right = WIDTH.saturating_sub(width(&label) + left);
        all.push(rule('├', '┤'));
        all.push(format!("│ {}{}{} │", " ".repeat(left), paint("36", &label), " ".repeat(right)));
    }
    all.push(rule('╰', '╯'));
    all.join("\n")
}

fn rule(left: char, right: char) -> String {
    format!("{left}{}{right}", "─".repeat(WIDTH + 2))
}

/// The lines of a text, broken between words where they are too long; a word that is too long alone is cut.
fn wrapped(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in text.split('\n') {
        let mut now = String::new();
        for word in line.split(' ') {
            if !now.is_empty() && width(&now) + 1 + width(word) > WIDTH {
                all.push(std::mem::take(&mut now));
            } else if !now.is_empty() {
                now.push(' ');
            }
            for letter in word.chars() {
                if width(&now) + width_of(letter) > WIDTH {
                    all.push(std::mem::take(&mut now));
                }
                now.push(letter);
            }
        }
        all.push(now);
    }
    all
}

fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Columns of a terminal: none for what joins or colours the sign before, two for emojis and the scripts of East Asia.
fn width_of(letter: char) -> usize {
    match u32::from(letter) {
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F | 0x1F3FB..=0x1F3FF => 0,
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFF00..=0xFF60 => 2,
        0x1F000..=0x1FAFF | 0x2705 | 0x274C | 0x2728 | 0x2B50 | 0x26A1 | 0x23F0 | 0x231A => 2,
        _ => 1,
    }
}

/// WhatsApp's marks as HTML, everything else escaped.
#[must_use]
pub fn formatted(text: &str) -> String {
    const MARKS: [(&str, &str); 4] = [("```", "code"), ("*", "b"), ("_", "i"), ("~", "s")];
    let mut html = String::new();
    let mut rest = text;
    let mut before = ' ';
    'text: while let Some(letter) = rest.chars().next() {
        for (mark, tag) in MARKS {
            let Some(after) = rest.strip_prefix(mark) else { continue };
            let Some((inside, behind)) = after.split_once(mark) else { continue };
            let ends = behind.chars().next().is_none_or(|next| !next.is_alphanumeric());
            let stands = !inside.is_empty() && inside.trim() == inside && !inside.contains('\n');
            if stands && ends && !before.is_alphanumeric() {
                let inner = if tag == "code" { escaped(inside) } else { formatted(inside) };
                html += &format!("<{tag}>{inner}</{tag}>");
                (rest, before) = (behind, ' ');
                continue 'text;
            }
        }
        html += &escaped(letter.encode_utf8(&mut [0; 4]));
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        before = letter;
    }
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::fill::ReadButton;

    #[test]
    fn whatsapps_marks_are_shown_and_everything_else_is_escaped() {
        assert_eq!(
            formatted("*Ana* & <b> 2*3*4 _so_ ~no~ ```a*b*```"),
            "<b>Ana</b> &amp; &lt;b&gt; 2*3*4 <i>so</i> <s>no</s> <code>a*b*</code>"
        );
        assert_eq!(formatted("*_both_*, * not * this\n*nor\nthis*"), "<b><i>both</i></b>, * not * this\n*nor\nthis*");
    }

    #[test]
    fn a_bubble_has_straight_edges() {
        let reading = Reading {
            header: Some("Order A-1042".into()),
            body: "Delivered, Ana! ✅ Your order A-1042 was delivered to a neighbour.\n\nhttps://shop.example/a/very/long/address/without/any/space".into(),
            footer: Some("Thank you.".into()),
            buttons: vec![
                ReadButton { kind: "url", text: "Track it".into() },
                ReadButton { kind: "quick_reply", text: "Stop".into() },
            ],
        };
        let drawn = bubble(&reading, false);
        insta::assert_snapshot!(drawn);
        assert!(drawn.lines().all(|line| width(line) == WIDTH + 4), "{drawn}");
        assert!(bubble(&reading, true).contains("\u{1b}[1mOrder A-1042\u{1b}[0m"));
    }
}
