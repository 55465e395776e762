//! Which words of a person mean something to us: no, yes, begin, help, where is my order.
//!
//! Who consented to what, and what a no does, is told elsewhere.

use std::collections::BTreeMap;

/// What a whole message can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    Stop,
    /// Leads back to asking.
    Start,
    Help,
    /// Confirms what was just asked by a message.
    Yes,
    /// Asks how an order stands.
    Where,
}

/// The words of one language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    pub stop: Vec<String>,
    pub start: Vec<String>,
    pub help: Vec<String>,
    pub yes: Vec<String>,
    pub r#where: Vec<String>,
}

impl Vocabulary {
    fn meaning(&self, text: &str) -> Option<Meaning> {
        let lists = [
            (Meaning::Stop, &self.stop),
            (Meaning::Start, &self.start),
            (Meaning::Help, &self.help),
            (Meaning::Yes, &self.yes),
            (Meaning::Where, &self.r#where),
        ];
        lists.into_iter().find(|(_, words)| is_one_of(text, words)).map(|(meaning, _)| meaning)
    }
}

/// The words of all languages, by language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(BTreeMap<String, Vocabulary>);

impl Words {
    #[must_use]
    pub fn new(languages: BTreeMap<String, Vocabulary>) -> Words {
        Words(languages)
    }

    /// What this message means as a whole, and in which languages it means that. A no in any language is a no.
    #[must_use]
    pub fn meaning(&self, text: &str) -> Option<(Meaning, Vec<&str>)> {
        let found: Vec<_> =
            self.0.iter().filter_map(|(language, words)| Some((words.meaning(text)?, language.as_str()))).collect();
        let first = found.iter().find(|(meaning, _)| *meaning == Meaning::Stop).or(found.first())?.0;
        let languages = found.iter().filter(|(meaning, _)| *meaning == first).map(|(_, language)| *language);
        Some((first, languages.collect()))
    }

    /// The words that come with the program. The English ones for a stop are those that carriers agreed on; the others are custom.
    #[must_use]
    pub fn shipped() -> Words {
        let of = |stop: &[&str], start: &[&str], help: &[&str], yes: &[&str], r#where: &[&str]| {
            let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
            Vocabulary {
                stop: words(stop),
                start: words(start),
                help: words(help),
                yes: words(yes),
                r#where: words(r#where),
            }
        };
        Words(BTreeMap::from([
            (
                "en".to_owned(),
                of(
                    &["stop", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "opt out", "remove"],
                    &["start", "unstop", "subscribe"],
                    &["help", "info"],
                    &["yes", "i confirm"],
                    &["where is my order", "where's my order", "order status", "where is my package", "track my order"],
                ),
            ),
            (
                "es".to_owned(),
                of(
                    &["baja", "dar de baja", "darme de baja", "alto", "parar", "cancelar", "no más"],
                    &["alta", "volver"],
                    &["ayuda"],
                    &["sí", "confirmo"],
                    &[
                        "dónde está mi pedido",
                        "estado de mi pedido",
                        "estado del pedido",
                        "mi pedido",
                        "dónde está mi paquete",
                    ],
                ),
            ),
            (
                "pt_BR".to_owned(),
                of(
                    &["sair", "pare", "parar", "cancelar", "descadastrar", "remover"],
                    &["voltar", "cadastrar"],
                    &["ajuda"],
                    &["sim", "confirmo"],
                    &[
                        "onde está meu pedido",
                        "onde está o meu pedido",
                        "status do pedido",
                        "meu pedido",
                        "cadê meu pedido",
                    ],
                ),
            ),
        ]))
    }

    /// Every word that means no.
    #[must_use]
    pub fn stops(&self) -> Vec<String> {
        self.0.values().flat_map(|words| words.stop.iter().cloned()).collect()
    }

    /// The first word of this meaning in a language, to be named to people. The language's first two letters decide.
    #[must_use]
    pub fn name(&self, meaning: Meaning, language: &str) -> Option<&str> {
        let short = |name: &str| name.get(..2).map(str::to_owned);
        let words = self
            .0
            .get(language)
            .or_else(|| self.0.iter().find(|(name, _)| short(name) == short(language)).map(|(_, words)| words))?;
        let words = match meaning {
            Meaning::Stop => &words.stop,
            Meaning::Start => &words.start,
            Meaning::Help => &words.help,
            Meaning::Yes => &words.yes,
            Meaning::Where => &words.r#where,
        };
        words.first().map(String::as_str)
    }
}

/// Whether `text` as a whole is one of `words`. Case, accents, spaces, punctuation and emoji do not count.
#[must_use]
pub fn is_one_of<W: AsRef<str>>(text: &str, words: &[W]) -> bool {
    words.iter().any(|word| same_word(word.as_ref(), text))
}

/// Whether both are the same letters, and some.
#[must_use]
pub fn same_word(one: &str, other: &str) -> bool {
    let mut letters = letters(one).peekable();
    letters.peek().is_some() && letters.eq(self::letters(other))
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
