//! What is no mistake in a template, but makes a review fail, a category change or a push impossible more often than not.
//!
//! Meta's rules are in `rules`.

use super::{
    Category, Template,
    file::{ButtonKind, File, HeaderKind},
};
use crate::domain::problem::Report;

/// Words by which Meta's review tells what sells from what informs, in the languages that are shipped.
const SELLING: [&str; 26] = [
    "% off",
    "black friday",
    "buy now",
    "coupon",
    "discount",
    "limited time",
    "on sale",
    "promo code",
    "promotion",
    "special offer",
    "código promocional",
    "compra ahora",
    "cupón",
    "descuento",
    "oferta especial",
    "ofertas",
    "promoción",
    "rebajas",
    "compre agora",
    "cupom",
    "desconto",
    "oferta especial",
    "ofertas",
    "promoção",
    "liquidação",
    "código promocional",
];

pub(super) fn note(file: &File, template: &Template, report: &mut Report<'_>) {
    match file.category {
        Category::Utility => note_selling(file, report),
        Category::Marketing => {
            if !file.buttons.iter().any(|button| button.get_ref().opt_out) {
                let message = "Marketing has to offer its end in every message; add a quick reply with `opt_out = true`.";
                report.add(file.name.span(), "buttons", message);
            }
        }
        Category::Authentication => report.add(
            file.name.span(),
            "category",
            "Meta writes the text of authentication templates itself and takes none of this file's; use another category, or make \
             the template in WhatsApp Manager.",
        ),
    }
    if let Some(header) = &file.header
        && *header.kind.get_ref() != HeaderKind::Location
    {
        let message = "Meta wants an uploaded example for this header, which `templates push` cannot upload; make the template in \
                       WhatsApp Manager.";
        report.add(header.kind.span(), "header.kind", message);
    }
    for button in file.buttons.iter().filter(|button| button.get_ref().kind == ButtonKind::CopyCode) {
        if file.category == Category::Utility {
            report.add(
                button.span(),
                "buttons.kind",
                "A code to copy makes most utility templates marketing; put it into the text.",
            );
        }
    }
    for language in &template.languages {
        let Some((_, source)) = file.languages.iter().find(|(code, _)| *code.get_ref() == language.code) else {
            continue;
        };
        let body = source.body.get_ref();
        let lines = body.lines().count();
        if lines > 20 {
            let message = format!("The body has {lines} lines; WhatsApp folds long messages up. Say it shorter.");
            report.add(source.body.span(), format!("languages.{}.body", language.code), message);
        }
    }
}

fn note_selling(file: &File, report: &mut Report<'_>) {
    for (code, language) in &file.languages {
        let texts = [
            ("body", Some(&language.body)),
            ("header", language.header.as_ref()),
            ("footer", language.footer.as_ref()),
        ];
        for (part, text) in texts {
            let Some(text) = text else { continue };
            let lower = text.get_ref().to_lowercase();
            if let Some(word) = SELLING.iter().find(|word| lower.contains(**word)) {
                let message = format!(
                    "{word:?} sounds like selling: Meta may count the template as marketing, and it would be held. Say only what \
                     happened to the order."
                );
                report.add(text.span(), format!("languages.{}.{part}", code.get_ref()), message);
            }
        }
    }
}
