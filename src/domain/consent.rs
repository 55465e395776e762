//! Which words of a person mean no.
//!
//! Who consented to what, and what a no does, is told elsewhere.

/// Whole messages that mean "stop", in English, Spanish and Portuguese. The English ones are those that carriers agreed
/// on; the others are custom, so they can be changed in the configuration.
pub const STOP_WORDS: &[&str] = &[
    // English
    "stop",
    "stop all",
    "unsubscribe",
    "cancel",
    "end",
    "quit",
    "revoke",
    "opt out",
    "remove",
    // Spanish
    "baja",
    "dar de baja",
    "darme de baja",
    "alto",
    "parar",
    "cancelar",
    "no más",
    // Portuguese
    "sair",
    "pare",
    "descadastrar",
    "remover",
];

/// Whether `text` as a whole is one of `words`. Case, accents, spaces, punctuation and emoji do not count.
#[must_use]
pub fn is_stop<W: AsRef<str>>(text: &str, words: &[W]) -> bool {
    words.iter().any(|word| {
        let mut letters = letters(word.as_ref()).peekable();
        letters.peek().is_some() && letters.eq(self::letters(text))
    })
}

fn letters(text: &str) -> impl Iterator<Item = char> + '_ {
    // An accent that stands alone is no letter, so a decomposed text loses it here.
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .map(without_accent)
        .filter(|c| c.is_alphanumeric())
}

fn without_accent(letter: char) -> char {
    match letter {
        'á' | 'à' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'é' | 'è' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'í' | 'ì' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ó' | 'ò' | 'ô' | 'õ' | 'ö' | 'ō' | 'ő' => 'o',
        'ś' | 'š' | 'ş' => 's',
        'ú' | 'ù' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        // Full-width letters of Asian keyboards.
        'ａ'..='ｚ' => char::from_u32(u32::from(letter) - 0xff41 + 0x61).unwrap_or(letter),
        other => other,
    }
}

#[cfg(test)]
mod tests;
