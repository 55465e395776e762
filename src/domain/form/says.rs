//! What Recado writes to people by itself, outside of templates: answers to their messages, and the SMS of an opt-in.
//!
//! Each is permitted by what one person just did; none of them advertises anything.

use std::ops::Range;

use serde::Deserialize;

use crate::domain::{locale::Locale, problem::Report};

/// What can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Saying {
    /// How to confirm, to somebody who wrote the form's word.
    Ask,
    Confirmed,
    /// To a no to everything.
    Stopped,
    /// To a no to something.
    StoppedSome,
    Help,
    /// The SMS with a link and a code.
    Sms,
    /// How far somebody's orders have come.
    Where,
    /// That nothing is known of any order of theirs.
    Nowhere,
}

impl Saying {
    const ALL: [Saying; 8] = [
        Saying::Ask,
        Saying::Confirmed,
        Saying::Stopped,
        Saying::StoppedSome,
        Saying::Help,
        Saying::Sms,
        Saying::Where,
        Saying::Nowhere,
    ];

    /// Its name in files and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Saying::Ask => "ask",
            Saying::Confirmed => "confirmed",
            Saying::Stopped => "stopped",
            Saying::StoppedSome => "stopped_some",
            Saying::Help => "help",
            Saying::Sms => "sms",
            Saying::Where => "where",
            Saying::Nowhere => "nowhere",
        }
    }

    /// The saying of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Saying> {
        Saying::ALL.into_iter().find(|saying| saying.as_str() == name)
    }

    /// What can stand in braces, and what must.
    const fn places(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Saying::Ask => (&["brand", "consent", "yes", "link"], &["brand", "consent"]),
            Saying::Confirmed => (&["brand", "stop", "preferences"], &["brand", "stop"]),
            Saying::Stopped => (&["brand", "word"], &["brand"]),
            Saying::StoppedSome => (&["brand", "stop", "preferences"], &["brand"]),
            Saying::Help => (&["brand", "stop", "preferences", "privacy"], &["brand", "stop"]),
            Saying::Sms => (&["brand", "link", "code"], &["brand", "link", "code"]),
            Saying::Where => (&["brand", "orders"], &["brand", "orders"]),
            Saying::Nowhere => (&["brand"], &["brand"]),
        }
    }
}

/// The sayings of one form in one language. `where` and `nowhere` are empty in a language for which nobody wrote them.
#[derive(Debug, Clone)]
pub struct Says {
    pub ask: String,
    pub confirmed: String,
    pub stopped: String,
    pub stopped_some: String,
    pub help: String,
    pub sms: String,
    pub r#where: String,
    pub nowhere: String,
}

impl Says {
    /// The text of a saying with its places filled in.
    #[must_use]
    pub fn say(&self, saying: Saying, with: &[(&str, &str)]) -> String {
        let text = match saying {
            Saying::Ask => &self.ask,
            Saying::Confirmed => &self.confirmed,
            Saying::Stopped => &self.stopped,
            Saying::StoppedSome => &self.stopped_some,
            Saying::Help => &self.help,
            Saying::Sms => &self.sms,
            Saying::Where => &self.r#where,
            Saying::Nowhere => &self.nowhere,
        };
        fill(text, with)
    }

    pub(super) fn branded(self, brand: &str) -> Says {
        let of = |text: String| text.trim().replace("{brand}", brand);
        Says {
            ask: of(self.ask),
            confirmed: of(self.confirmed),
            stopped: of(self.stopped),
            stopped_some: of(self.stopped_some),
            help: of(self.help),
            sms: of(self.sms),
            r#where: of(self.r#where),
            nowhere: of(self.nowhere),
        }
    }
}

/// Puts values where their names stand in braces; a value's own braces mean nothing.
fn fill(text: &str, with: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let named = after
            .split_once('}')
            .and_then(|(name, after)| with.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, after)));
        let (value, after) = named.unwrap_or(("{", after));
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// The sayings as a form's file has them; what is absent is said in the words that come with the program.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    ask: Option<String>,
    confirmed: Option<String>,
    stopped: Option<String>,
    stopped_some: Option<String>,
    help: Option<String>,
    sms: Option<String>,
    r#where: Option<String>,
    nowhere: Option<String>,
}

pub(super) fn read(
    language: &str,
    written: Option<Written>,
    place: Range<usize>,
    report: &mut Report<'_>,
) -> Option<Says> {
    let written = written.unwrap_or_default();
    let usual = usual(language);
    let mut take = |own: Option<String>, saying: Saying, usual: Option<&str>| {
        let key = format!("languages.{language}.says.{}", saying.as_str());
        let silent = matches!(saying, Saying::Where | Saying::Nowhere);
        let Some(text) = own.as_deref().or(usual).or(silent.then_some("")) else {
            let message = "There is no such text for this language; write one.";
            report.add(place.clone(), key, message);
            return String::new();
        };
        if text.is_empty() && silent {
            return String::new();
        }
        let (known, needed) = saying.places();
        check(text, known, place.clone(), &key, report);
        if let Some(missing) = needed.iter().find(|name| !text.contains(&format!("{{{name}}}"))) {
            report.add(place.clone(), key, format!("{{{missing}}} is missing."));
        }
        text.to_owned()
    };
    let of = |at: usize| usual.and_then(|texts| texts.get(at).copied());
    Some(Says {
        ask: take(written.ask, Saying::Ask, of(0)),
        confirmed: take(written.confirmed, Saying::Confirmed, of(1)),
        stopped: take(written.stopped, Saying::Stopped, of(2)),
        stopped_some: take(written.stopped_some, Saying::StoppedSome, of(3)),
        help: take(written.help, Saying::Help, of(4)),
        sms: take(written.sms, Saying::Sms, of(5)),
        r#where: take(written.r#where, Saying::Where, of(6)),
        nowhere: take(written.nowhere, Saying::Nowhere, of(7)),
    })
}

/// Names what stands in braces and cannot be filled in.
pub(super) fn check(text: &str, known: &[&str], place: Range<usize>, key: &str, report: &mut Report<'_>) {
    for part in text.split('{').skip(1) {
        let name = part.split_once('}').map(|(name, _)| name);
        if !name.is_some_and(|name| known.contains(&name)) {
            let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
            report.add(report.find(text, place), key, format!("In braces there can be {} only.", known.join(", ")));
            return;
        }
    }
}

/// ask, confirmed, stopped, stopped_some, help, sms, where, nowhere.
fn usual(language: &str) -> Option<&'static [&'static str; 8]> {
    match Locale::parse(language)?.language() {
        "es" => Some(&[
            "{brand}: {consent}\n\nPara confirmarlo, responde {yes} o pulsa el botón de {link}\n\nSi no has sido tú, no hagas nada.",
            "{brand}: ¡listo! Te avisaremos por aquí. Para dejarlo, responde {stop}. Tus preferencias: {preferences}",
            "{brand}: hecho, no recibirás más mensajes. Si era otra cosa lo que querías parar, escríbenos. Para volver, responde {word}.",
            "{brand}: hecho, ya no recibirás esos avisos. Para dejarlo todo, responde {stop}. Tus preferencias: {preferences}",
            "Somos {brand}. Para no recibir más mensajes, responde {stop}. Tus preferencias: {preferences} Privacidad: {privacy}",
            "{brand}: confirma tus avisos: {link} Clave: {code}. ¿No los pediste? Dilo en el enlace",
            "{brand}, tus pedidos:\n{orders}",
            "{brand}: no encontramos ningún pedido reciente con este número. Escríbenos el número de tu pedido y te ayudamos.",
        ]),
        "pt" => Some(&[
            "{brand}: {consent}\n\nPara confirmar, responda {yes} ou toque no botão de {link}\n\nSe não foi você, não faça nada.",
            "{brand}: pronto! Avisaremos por aqui. Para parar, responda {stop}. Suas preferências: {preferences}",
            "{brand}: feito, você não receberá mais mensagens. Se queria parar outra coisa, escreva para nós. Para voltar, responda {word}.",
            "{brand}: feito, você não receberá mais esses avisos. Para parar tudo, responda {stop}. Suas preferências: {preferences}",
            "Somos {brand}. Para não receber mais mensagens, responda {stop}. Suas preferências: {preferences} Privacidade: {privacy}",
            "{brand}: confirme seus avisos: {link} PIN: {code}. Veio por engano? Avise nesse link",
            "{brand}, seus pedidos:\n{orders}",
            "{brand}: não encontramos nenhum pedido recente com este número. Escreva o número do pedido e ajudamos você.",
        ]),
        "en" => Some(&[
            "{brand}: {consent}\n\nTo confirm, answer {yes} or press the button at {link}\n\nIf this was not you, do nothing.",
            "{brand}: done! We will tell you here. To stop, answer {stop}. Your preferences: {preferences}",
            "{brand}: done, you will get no more messages. If you wanted to stop something else, write to us. To come back, answer {word}.",
            "{brand}: done, you will not get those messages any more. To stop everything, answer {stop}. Your preferences: {preferences}",
            "We are {brand}. To get no more messages, answer {stop}. Your preferences: {preferences} Privacy: {privacy}",
            "{brand}: confirm your updates: {link} Code: {code}. Not you? Say so at that link",
            "{brand}, your orders:\n{orders}",
            "{brand}: we find no recent order under this number. Write us your order number and we will help you.",
        ]),
        _ => None,
    }
}
