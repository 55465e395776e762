//! Passwords: Argon2id, a few at a time, since each takes 19 MiB and a good part of a tenth of a second.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// The fewest characters of a password.
pub const LEAST: usize = 12;
/// The most bytes: more is no password, and costs.
const MOST: usize = 512;

static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Why a text is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("a password has {LEAST} characters or more")]
    Short,
    #[error("a password has {MOST} bytes or fewer")]
    Long,
    #[error("the password could not be hashed")]
    Failed,
}

/// What is kept of a password. `salt` is random.
///
/// # Errors
/// If it is too short or too long.
pub fn hash(password: &str, salt: &[u8; 16]) -> Result<String, Unfit> {
    if password.chars().count() < LEAST {
        return Err(Unfit::Short);
    }
    if password.len() > MOST {
        return Err(Unfit::Long);
    }
    let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), salt);
    hashed.map(|hash| hash.to_string()).map_err(|_| Unfit::Failed)
}

/// Whether it is the password of which `kept` is kept. Takes as long if nothing is: nobody learns whether there is such an account.
pub(super) async fn fits(password: SecretString, kept: Option<String>) -> bool {
    let Ok(_turn) = AT_ONCE.acquire().await else { return false };
    let looked = tokio::task::spawn_blocking(move || {
        let password = password.expose_secret();
        if password.len() > MOST {
            return false;
        }
        match kept {
            Some(kept) => Argon2::default().verify_password(password.as_bytes(), kept.as_str()).is_ok(),
            None => {
                let _ = Argon2::default().hash_password_with_salt(password.as_bytes(), b"of nobody at all");
                false
            }
        }
    });
    looked.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_what_is_kept_of_it_and_nothing_else() {
        let kept = hash("correct horse battery", &[7; 16]).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(fits("correct horse battery".into(), Some(kept.clone())).await);
        assert!(!fits("correct horse batterx".into(), Some(kept)).await);
        assert!(!fits("correct horse battery".into(), None).await);
        assert!(!fits("correct horse battery".into(), Some("no hash".to_owned())).await);
    }

    #[test]
    fn a_password_is_neither_short_nor_endless() {
        assert_eq!(hash("eleven char", &[0; 16]), Err(Unfit::Short));
        assert_eq!(hash(&"x".repeat(513), &[0; 16]), Err(Unfit::Long));
    }
}
