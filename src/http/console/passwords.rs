//! Passwords: Argon2id, off the threads that answer, a few at a time. Nothing of a password goes anywhere else.

use std::sync::{LazyLock, OnceLock};

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher, password_hash::PasswordVerifier};
use tokio::sync::Semaphore;

/// The fewest and the most characters.
pub const LENGTH: std::ops::RangeInclusive<usize> = 12..=200;

/// Each takes 19 MiB and some tens of milliseconds of a core.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// OWASP's first choice for Argon2id: 19 MiB, two passes.
fn argon() -> Argon2<'static> {
    static PARAMETERS: LazyLock<Params> = LazyLock::new(|| Params::new(19 * 1024, 2, 1, None).unwrap_or_default());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMETERS.clone())
}

/// Whether it is long enough to be guessed by nobody, and not endless.
#[must_use]
pub fn is_good(password: &str) -> bool {
    LENGTH.contains(&password.chars().count())
}

/// What is kept of a password, as a PHC string. None if the system gives no randomness.
pub async fn hash(password: String) -> Option<String> {
    let _turn = AT_ONCE.acquire().await.ok()?;
    let hashed = tokio::task::spawn_blocking(move || argon().hash_password(password.as_bytes()).ok());
    hashed.await.ok()?.map(|hash| hash.to_string())
}

/// Whether the password is the one of `kept`. Takes as long if there is none.
pub async fn is(password: String, kept: Option<String>) -> bool {
    static NOBODY: OnceLock<String> = OnceLock::new();
    let Ok(_turn) = AT_ONCE.acquire().await else { return false };
    let compared = tokio::task::spawn_blocking(move || {
        let nobody = NOBODY.get_or_init(|| argon().hash_password(b"nobody").map(|hash| hash.to_string()).unwrap_or_default());
        let known = kept.is_some();
        let kept = kept.as_deref().unwrap_or(nobody);
        // Both are looked at, whoever it is.
        known & PasswordVerifier::<str>::verify_password(&argon(), password.as_bytes(), kept).is_ok()
    });
    compared.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_no_two_hashes_are_alike() {
        let one = hash("correct horse battery".to_owned()).await.unwrap();
        let other = hash("correct horse battery".to_owned()).await.unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        assert!(is("correct horse battery".to_owned(), Some(one.clone())).await);
        assert!(!is("correct horse battery ".to_owned(), Some(one)).await);
        assert!(!is("nobody".to_owned(), None).await);
    }

    #[test]
    fn a_password_is_neither_short_nor_endless() {
        assert!(!is_good("elevenchars") && is_good("twelve chars") && !is_good(&"x".repeat(201)));
    }
}
