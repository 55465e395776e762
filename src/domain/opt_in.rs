//! An opt-in on its way: its secrets, how long they are good for, and what may be done with it.
//!
//! What a confirmation does to a consent is the ledger's. Randomness is an argument.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// How long a link confirms, and the code in a message from the phone itself: that one confirms only for whoever sends it.
pub const LINK_LASTS: Duration = Duration::from_secs(48 * 3_600);
/// How long the code confirms that is typed into a page.
pub const CODE_LASTS: Duration = Duration::from_secs(600);
/// How long a link to somebody's preferences is good: people look for it long after.
pub const PREFERENCES_LAST: Duration = Duration::from_secs(400 * 24 * 3_600);
/// How often that code can be tried.
pub const TRIES: i16 = 5;
/// What is not confirmed is deleted after this.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Where an opt-in stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Pending,
    Confirmed,
    /// The holder of the phone said that it was not them.
    Refused,
    /// Asked for too often: looks like the others and leads to nothing.
    Limited,
}

impl State {
    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Confirmed => "confirmed",
            State::Refused => "refused",
            State::Limited => "limited",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<State> {
        [State::Pending, State::Confirmed, State::Refused, State::Limited].into_iter().find(|s| s.as_str() == name)
    }
}

/// What to do about somebody who wants to confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Confirm,
    /// It is done already: the same again, or a link used twice.
    Already,
    Refused,
    Expired,
    WrongCode {
        left: i16,
    },
    /// No code is taken any more; the link still is.
    TooManyTries,
}

/// An opt-in with a code as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub state: State,
    pub expires_at: Timestamp,
}

impl Standing {
    /// Whether it can be confirmed by somebody who has its link, or sent its code from the phone itself.
    #[must_use]
    pub fn judge(&self, now: Timestamp) -> Verdict {
        match self.state {
            State::Confirmed => Verdict::Already,
            State::Refused => Verdict::Refused,
            State::Limited => Verdict::Expired,
            State::Pending if now > self.expires_at => Verdict::Expired,
            State::Pending => Verdict::Confirm,
        }
    }

    /// Whether it can be confirmed by a typed code that is `right`, after `tries` others. `until` is none if no code was sent.
    #[must_use]
    pub fn judge_code(&self, right: bool, tries: i16, until: Option<Timestamp>, now: Timestamp) -> Verdict {
        let verdict = self.judge(now);
        if verdict != Verdict::Confirm {
            return verdict;
        }
        if tries >= TRIES {
            return Verdict::TooManyTries;
        }
        if until.is_none_or(|until| now > until) {
            return Verdict::Expired;
        }
        if right { Verdict::Confirm } else { Verdict::WrongCode { left: TRIES.saturating_sub(tries + 1) } }
    }
}

/// What is kept of a secret.
pub type Hash = [u8; 32];

/// A secret of 32 random bytes as it stands in an address: base64url, 43 letters. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token of these random bytes.
    #[must_use]
    pub fn of(secret: &[u8; 32]) -> Token {
        Token(URL_SAFE_NO_PAD.encode(secret))
    }

    /// The token that stands in an address. None if it cannot be one.
    #[must_use]
    pub fn read(text: &str) -> Option<Token> {
        let good = text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        good.then(|| Token(text.to_owned()))
    }

    /// For an address.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn hash(&self) -> Hash {
        keep("token", &self.0)
    }

    /// The code that a message from the phone itself carries: eight letters and digits that nobody confuses. It follows from the
    /// waiting page's token, so that the page can show it again though nobody kept it.
    #[must_use]
    pub fn message_code(&self) -> String {
        const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        let hash = keep("message code of", &self.0);
        hash.iter()
            .take(8)
            .filter_map(|byte| LETTERS.get(usize::from(byte & 31)))
            .map(|letter| char::from(*letter))
            .collect()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What is kept of the code in a message. None if the text cannot be such a code.
#[must_use]
pub fn message_code_hash(text: &str) -> Option<Hash> {
    let text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_uppercase();
    (text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| keep("message code", &text))
}

/// The six digits that are typed into a page, from random bits.
#[must_use]
pub fn typed_code(random: u64) -> String {
    format!("{:06}", random % 1_000_000)
}

/// What is kept of a typed code: it is short, so it is bound to its opt-in. None if the text cannot be such a code.
#[must_use]
pub fn typed_code_hash(opt_in: uuid::Uuid, text: &str) -> Option<Hash> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    let good = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| keep("typed code", &format!("{} {digits}", opt_in.simple())))
}

fn keep(what: &str, secret: &str) -> Hash {
    Sha256::digest(format!("recado {what} 1: {secret}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_377_600 + second).unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_is_written_and_prints_as_nothing() {
        let token = Token::of(&std::array::from_fn(|n| u8::try_from(n).unwrap()));
        assert_eq!(token.reveal(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert_eq!(Token::read(token.reveal()), Some(token.clone()));
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert_ne!(token.hash(), Token::of(&[0; 32]).hash());
        for wrong in ["", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH+8"] {
            assert_eq!(Token::read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_code_is_understood_as_people_send_it_back() {
        let code = Token::of(&[7; 32]).message_code();
        let kept = message_code_hash(&code);
        assert!(kept.is_some());
        assert_eq!(message_code_hash(&format!(" {}.", code.to_lowercase())), kept);
        assert_eq!(message_code_hash("por favor"), None);
        let id = uuid::Uuid::from_u128(1);
        let typed = typed_code(7_000_042);
        assert_eq!(typed, "000042");
        assert_eq!(typed_code_hash(id, " 000 042"), typed_code_hash(id, &typed));
        assert_ne!(typed_code_hash(uuid::Uuid::from_u128(2), &typed), typed_code_hash(id, &typed));
        assert_eq!(typed_code_hash(id, "42"), None);
    }

    #[test]
    fn five_wrong_codes_end_the_code_and_not_the_link() {
        let standing = Standing { state: State::Pending, expires_at: at(100) };
        let judge = |right, tries| standing.judge_code(right, tries, Some(at(10)), at(5));
        assert_eq!(judge(true, 4), Verdict::Confirm);
        assert_eq!(judge(false, 3), Verdict::WrongCode { left: 1 });
        assert_eq!(judge(false, 4), Verdict::WrongCode { left: 0 });
        assert_eq!(judge(true, 5), Verdict::TooManyTries);
        assert_eq!(standing.judge(at(5)), Verdict::Confirm);
        assert_eq!(standing.judge_code(true, 0, Some(at(10)), at(11)), Verdict::Expired);
        assert_eq!(standing.judge_code(true, 0, None, at(5)), Verdict::Expired, "no code was sent");
        assert_eq!(standing.judge(at(101)), Verdict::Expired);
    }

    #[test]
    fn what_has_ended_is_not_confirmed_again() {
        let judge = |state| Standing { state, expires_at: at(100) }.judge(at(0));
        assert_eq!(judge(State::Confirmed), Verdict::Already);
        assert_eq!(judge(State::Refused), Verdict::Refused);
        assert_eq!(judge(State::Limited), Verdict::Expired);
    }
}
