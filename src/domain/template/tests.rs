use std::{fs, path::Path};

use serde_json::json;

use super::*;
use crate::domain::{event::Event, expression, expression::Scope, expression::Zones};

fn settings() -> Settings {
    Settings {
        senders: vec!["shop".into()],
        other_senders: vec!["texts".into()],
        default_language: "en".into(),
        default_zone: "Europe/Madrid".into(),
        ..Settings::default()
    }
}

fn shipped() -> Catalogue {
    Catalogue::load(&shipped_messages(), &shipped_events(), &settings())
        .unwrap_or_else(|problems| panic!("{}", problems.iter().map(|p| format!("\n{p}")).collect::<String>()))
}

#[test]
fn every_template_reads_well_in_every_language() {
    let catalogue = shipped();
    let mut all = String::new();
    for template in catalogue.templates() {
        for language in template.languages() {
            let filled = catalogue.fill_example(template, language).unwrap();
            all.push_str(&format!(
                "== {} {language}\n{}\n\n",
                template.name(),
                template.render_text(language, &filled)
            ));
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn every_template_reads_well_with_the_least_that_an_event_promises() {
    let catalogue = shipped();
    let schemas: BTreeMap<String, String> = shipped_events().into_iter().collect();
    let mut all = String::new();
    for template in catalogue.templates() {
        let path = format!("templates/events/{}.json", template.event_type());
        let mut report = Report::of(&path, &schemas[&path]);
        let (_, file) = event_type::read(&path, &schemas[&path], &mut report).unwrap();
        let data = file.schema.promised_part(template.example());
        for language in &template.languages {
            let event = judge::example_event(template.event_type(), &data);
            let zones = Zones { person: None, default: TimeZone::UTC };
            let scope =
                Scope::of_event(expression::attributes(&event), expression::value_of(&data), &language.locale, &zones);
            let filled = template.fill(language, &scope).unwrap();
            let text = template.render_text(&language.code, &filled);
            all.push_str(&format!("== {} {}\n{text}\n\n", template.name(), language.code));
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_is_shipped_is_what_lies_in_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, shipped) in [("templates/messages", shipped_messages()), ("templates/events", shipped_events())] {
        let mut files: Vec<String> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        files.sort();
        let mut paths: Vec<String> = shipped.into_iter().map(|(path, _)| path).collect();
        paths.sort();
        assert_eq!(paths, files);
    }
}

#[test]
fn all_shipped_templates_know_three_languages() {
    for template in shipped().templates() {
        assert_eq!(template.languages().collect::<Vec<_>>(), ["en", "es", "pt_BR"], "{}", template.name());
    }
}

#[test]
fn meta_gets_placeholders_and_examples() {
    let catalogue = shipped();
    let template = |name: &str| catalogue.template(name).unwrap();
    insta::assert_json_snapshot!(catalogue.meta_template(template("order_confirmed"), "es").unwrap());
    insta::assert_json_snapshot!(catalogue.meta_template(template("ready_for_pickup"), "pt_BR").unwrap());
    assert_eq!(catalogue.meta_template(template("order_confirmed"), "fr"), None);
}

#[test]
fn a_person_is_answered_in_the_nearest_language() {
    let file = small()
        .replace("[languages.en]", "[languages.es]\nbody = \"Tu pedido {{order}} va en camino hoy.\"\n[languages.es_MX]\nbody = \"Tu orden {{order}} va en camino hoy.\"\n[languages.pt_BR]\nbody = \"Seu pedido {{order}} está a caminho.\"\n[languages.en]");
    let catalogue = load(&file).unwrap();
    let template = &catalogue.templates()[0];
    let choose = |text: &str| template.choose(Locale::parse(text).as_ref()).unwrap().code.as_str();
    for (theirs, chosen) in [
        ("es_MX", "es_MX"),
        ("es-mx", "es_MX"),
        ("es_AR", "es"),
        ("es", "es"),
        ("pt", "pt_BR"),
        ("pt_PT", "pt_BR"),
        ("en_GB", "en"),
        ("fr", "en"),
        ("", "en"),
    ] {
        assert_eq!(choose(theirs), chosen, "{theirs}");
    }
}

/// The smallest template.
fn small() -> String {
    r#"name = "on_its_way"
category = "utility"
purpose = "shipping"
expires_after = "2h"
in_doubt = "never"
[trigger]
event = "thing.sent"
[parameters]
order = "data.order"
[languages.en]
body = "Your order {{order}} is on its way today."
[example]
order = "A-1"
note = "fragile"
seen = { at = "2026-12-03T10:00:00Z" }
items = [{ title = "Cup" }]
"#
    .to_owned()
}

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["order", "items", "maybe"],
  "properties": {
    "order": { "type": "string" },
    "note": { "type": "string" },
    "maybe": { "type": ["string", "null"] },
    "seen": { "type": "object", "required": ["at"], "properties": { "at": { "type": "string" } } },
    "items": { "type": "array", "items": { "type": "object", "required": ["title"], "properties": { "title": { "type": "string" } } } }
  }
}"#;

fn load(message: &str) -> Result<Catalogue, Vec<Problem>> {
    let message = message.replace("[example]\n", "[example]\nmaybe = \"x\"\n");
    Catalogue::load(
        &[("messages/small.toml".into(), message)],
        &[("events/thing.sent.json".into(), SCHEMA.into())],
        &settings(),
    )
}

fn problems(message: &str) -> Vec<String> {
    load(message).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Replaces `old` in the smallest template and expects exactly one kind of problem, at that line.
fn refused(old: &str, new: &str, line: usize, key: &str, says: &str) {
    assert!(small().contains(old), "{old}");
    let found = problems(&small().replace(old, new));
    let start = format!("messages/small.toml:{line}: ");
    assert!(!found.is_empty(), "accepted: {new}");
    let fits = |text: &String| text.starts_with(&start) && text.contains(key) && text.contains(says);
    assert!(found.iter().any(fits), "{new}: {found:#?}");
}

#[test]
fn the_smallest_template_is_good() {
    assert_eq!(problems(&small()), Vec::<String>::new());
}

#[test]
fn mistakes_in_the_file_are_named_with_their_line() {
    refused("purpose", "porpoise", 3, "", "porpoise");
    refused("\"2h\"", "\"soon\"", 4, "expires_after", "time span");
    refused("\"2h\"", "\"900h\"", 4, "expires_after", "30 days");
    refused("\"never\"", "\"maybe\"", 5, "", "maybe");
    refused("thing.sent", "thing.lost", 7, "trigger.event", "No schema");
    refused("on_its_way", "On its way", 1, "name", "lower-case");
    refused("data.order\"", "data.order | \"", 9, "parameters.order", "no expression");
    refused(
        "in_doubt",
        "sender = \"other\"\nin_doubt",
        5,
        "sender",
        "The configuration has: shop".to_lowercase().as_str(),
    );
    refused("in_doubt", "default_language = \"fr\"\nin_doubt", 5, "default_language", "\"fr\"");
    refused("order = \"data.order\"", "ordre = \"data.order\"", 11, "languages.en.body", "{{order}}");
    refused(
        "[languages.en]",
        "[quiet]\nfrom = \"25:00\"\nuntil = \"08:00\"\n[languages.en]",
        11,
        "quiet.from",
        "time of day",
    );
    refused("order = \"A-1\"", "order = 5", 12, "example", "data.order is no string");
    assert!(problems("= nonsense")[0].starts_with("messages/small.toml:1: "));
}

#[test]
fn a_field_that_the_schema_does_not_promise_is_refused() {
    let with = |expression: &str| small().replace("data.order\"", &format!("{expression}\""));
    for good in [
        "data.order ~ (data.note | default(''))",
        "data.note if data.note is defined else 'none'",
        "data.order ~ (data.seen.at if data.seen is defined else '')",
        "data.maybe | default('-')",
        "data.items | length",
        "data.items[0].title if data.items else 'none'",
        "event.subject | default('none')",
        "event.id ~ event.type ~ event.source ~ event.time",
    ] {
        assert_eq!(problems(&with(good)), Vec::<String>::new(), "{good}");
    }
    for (bad, says) in [
        ("data.note", "needs data.note, which events/thing.sent.json does not promise"),
        ("data.maybe", "needs data.maybe, which"),
        ("data.seen.at", "needs data.seen, which"),
        ("data.seen.at | default('')", "needs data.seen, which"),
        ("data.items[0].title", "has only what events/thing.sent.json promises"),
        ("data.ordre | default('x')", "does not describe data.ordre"),
        ("event.subject", "needs event.subject"),
        ("customer.name | default('x')", "There is no customer.name"),
        ("order", "There is no order"),
    ] {
        refused("data.order\"", &format!("{bad}\""), 9, "parameters.order", says);
    }
    refused(
        "event = \"thing.sent\"",
        "event = \"thing.sent\"\nwhen = \"data.note == 'x'\"",
        8,
        "trigger.when",
        "does not hold",
    );
    refused(
        "event = \"thing.sent\"",
        "event = \"thing.sent\"\nwhen = \"data.note == 'fragile'\"",
        8,
        "trigger.when",
        "needs data.note",
    );
}

#[test]
fn metas_rules_hold() {
    let body = "Your order {{order}} is on its way today.";
    for (text, says) in [
        ("{{order}} is on its way today.", "begins or ends with a placeholder"),
        ("Today on its way: {{order}}.", "begins or ends with a placeholder"),
        ("Your {{order}} and {{order}} so.", "Meta wants at least 5"),
        ("Your order {{order}} {{order}} is on its way and comes today.", "side by side"),
        ("Your order {{order}}{{order}} is on its way and comes today.", "side by side"),
        ("Your order {{order} is on its way today.", "without }}"),
        ("Your order {{Order}} is on its way today.", "lower-case letters"),
        ("Your order order}} is on its way today.", "without {{"),
        ("Your order {{order}} is\\ton its way today.", "tab"),
        ("Your order {{order}} is\\n\\n\\non its way today.", "empty line"),
        (" Your order {{order}} is on its way today.", "white space"),
        ("", "empty"),
    ] {
        refused(body, text, 11, "languages.en.body", says);
    }
    refused(
        body,
        &format!("Your order {{{{order}}}} {}.", "is on its way ".repeat(80)),
        11,
        "languages.en.body",
        "1024",
    );
    let extra = |extra: &str| format!("{body}\"\n{extra}");
    refused(&format!("{body}\""), &extra("footer = \"For {{order}}\""), 12, "footer", "no placeholders");
    refused(&format!("{body}\""), &extra(&format!("footer = \"{}\"", "x".repeat(61))), 12, "footer", "60");
    refused(&format!("{body}\""), &extra(&format!("header = \"{}\"", "x".repeat(61))), 12, "header", "60");
    refused(&format!("{body}\""), &extra("header = \"{{order}} and {{order}}\""), 12, "header", "at most one");
    refused(&format!("{body}\""), &extra("header = \"On its way 🚚\""), 12, "header", "emojis");
    refused("languages.en]", "languages.en-GB]", 10, "languages.en-GB", "pt_BR");
}

#[test]
fn the_filled_message_must_fit() {
    refused("order = \"A-1\"", &format!("order = \"{}\"", "x".repeat(1_000)), 11, "languages.en", "longer than 1024");
}

#[test]
fn buttons_follow_metas_rules() {
    let button = |lines: &str| format!("[[buttons]]\n{lines}\n[languages.en]");
    let refuse = |lines: &str, line, says| refused("[languages.en]", &button(lines), line, "buttons", says);
    refuse("kind = \"url\"\nurl = \"http://a.example\"\ntext = { en = \"Go\" }", 12, "https");
    refuse("kind = \"url\"\nurl = \"https://a.example/{{1}}/x\"\ntext = { en = \"Go\" }", 12, "only at its end");
    refuse("kind = \"url\"\nurl = \"https://a.example/{{1}}\"\ntext = { en = \"Go\" }", 12, "Nothing says");
    refuse(
        "kind = \"url\"\nurl = \"https://a.example/\"\nvalue = \"data.order\"\ntext = { en = \"Go\" }",
        12,
        "no {{1}}",
    );
    refuse("kind = \"url\"\ntext = { en = \"Go\" }", 10, "needs it");
    refuse("kind = \"quick_reply\"\ntext = { en = \"This text is much too long for it\" }", 12, "25");
    refuse("kind = \"quick_reply\"\ntext = { es = \"Ya\" }", 10, "no text in \"en\"");
    refuse("kind = \"quick_reply\"\ncode = \"'x'\"\ntext = { en = \"Go\" }", 10, "remove it");
    refuse("kind = \"phone\"\nphone = \"123\"\ntext = { en = \"Call\" }", 12, "telephone number");
    let reply = "kind = \"quick_reply\"\ntext = { en = \"A\" }\n[[buttons]]\nkind = \"url\"\nurl = \"https://a.example\"\ntext = { en = \"B\" }\n[[buttons]]\nkind = \"quick_reply\"\ntext = { en = \"C\" }";
    refuse(reply, 10, "stand together");
    refuse(
        "kind = \"quick_reply\"\ntext = { en = \"A\" }\n[[buttons]]\nkind = \"quick_reply\"\ntext = { en = \"A\" }",
        12,
        "same text",
    );
}

#[test]
fn there_are_only_so_many_buttons_and_each_is_only_so_long() {
    let button = |lines: &str| format!("[[buttons]]\n{lines}\n");
    let refuse =
        |lines: String, line, says| refused("[languages.en]", &format!("{lines}[languages.en]"), line, "buttons", says);
    let reply = |n: usize| button(&format!("kind = \"quick_reply\"\ntext = {{ en = \"Answer {n}\" }}"));
    refuse((0..11).map(reply).collect(), 10, "at most 10 buttons; remove");
    let url =
        |n: usize| button(&format!("kind = \"url\"\nurl = \"https://a.example/{n}\"\ntext = {{ en = \"Go {n}\" }}"));
    refuse((0..3).map(url).collect(), 10, "at most 2 address buttons");
    let phone =
        |n: usize| button(&format!("kind = \"phone\"\nphone = \"+3460011122{n}\"\ntext = {{ en = \"Call {n}\" }}"));
    refuse((0..2).map(phone).collect(), 10, "at most 1 telephone buttons");
    let code = |_| button("kind = \"copy_code\"\ncode = \"data.order\"");
    refuse((0..2).map(code).collect(), 10, "at most 1 copy-code buttons");
    let long = format!("kind = \"url\"\nurl = \"https://a.example/{}\"\ntext = {{ en = \"Go\" }}", "x".repeat(2_000));
    refuse(button(&long), 12, "at most 2000 characters");
    refuse(button("kind = \"url\"\nurl = \"https://wa.me/34600111222\"\ntext = { en = \"Go\" }"), 12, "shop's own");
    let many = "kind = \"copy_code\"\ncode = \"'x' ~ data.order ~ '12345678901234'\"";
    refused(
        "[languages.en]",
        &format!("{}[languages.en]", button(many)),
        14,
        "languages.en",
        "longer than 15 characters",
    );
}

#[test]
fn names_headers_and_footers_follow_metas_rules() {
    let body = "Your order {{order}} is on its way today.";
    refused("on_its_way", &"x".repeat(513), 1, "name", "512");
    refused("\"shipping\"", "\"Shipping\"", 3, "purpose", "lower-case");
    let extra = |extra: &str| format!("{body}\"\n{extra}");
    refused(&format!("{body}\""), &extra("footer = \"Thanks\\nto you\""), 12, "footer", "one line");
    refused(&format!("{body}\""), &extra("header = \"Your *order*\""), 12, "header", "marks of formatting");
    refused(&format!("{body}\""), &extra("header = \"Your\\norder\""), 12, "header", "line breaks");
    refused("\"utility\"", "\"transactional\"", 2, "", "transactional");
}

#[test]
fn what_a_review_may_dislike_is_noted() {
    let noted = |old: &str, new: &str| {
        let catalogue = load(&small().replace(old, new)).unwrap();
        catalogue.notes().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(noted("", ""), Vec::<String>::new());
    let selling = noted("is on its way today", "is on its way today, with a discount");
    assert!(
        selling[0].starts_with("messages/small.toml:11: languages.en.body: \"discount\" sounds like selling"),
        "{selling:?}"
    );
    assert!(noted("\"utility\"", "\"marketing\"")[0].contains("opt_out = true"));
    assert!(noted("\"utility\"", "\"authentication\"")[0].contains("Meta writes the text"));
    let header = "[header]\nkind = \"image\"\nlink = \"'https://a.example/a.png'\"\n[languages.en]";
    assert!(
        noted("[languages.en]", header)[0].starts_with("messages/small.toml:11: header.kind: Meta wants an uploaded")
    );
    let code = "[[buttons]]\nkind = \"copy_code\"\ncode = \"data.order\"\n[languages.en]";
    assert!(noted("[languages.en]", code)[0].contains("A code to copy"));
}

#[test]
fn a_version_is_what_a_template_says_and_nothing_else() {
    let definition = |text: &str| load(text).unwrap().templates()[0].definition("en").unwrap();
    let first = definition(&small());
    assert_eq!(first.hash(), definition(&small().replace("\"utility\"", "\"marketing\"").replace("2h", "3h")).hash());
    assert_ne!(first.hash(), definition(&small().replace("today", "now")).hash());
    assert_eq!(first.parameters(), ["order"]);
    assert_eq!(serde_json::from_value::<Definition>(serde_json::to_value(&first).unwrap()).unwrap(), first);
}

#[test]
fn positional_parameters_are_numbered_in_order() {
    let positional = small().replace(
        "order = \"data.order\"",
        "1 = \"data.order\"\n2 = \"data.items | length\"\nheader_1 = \"data.order\"",
    );
    let good = positional
        .replace("{{order}} is", "{{1}} with {{2}} parts is")
        .replace("[example]", "header = \"Order {{1}}\"\n[example]");
    let catalogue = load(&good).unwrap();
    let template = &catalogue.templates()[0];
    let filled = catalogue.fill_example(template, "en").unwrap();
    assert_eq!(template.render_text("en", &filled), "Order A-1\n\nYour order A-1 with 1 parts is on its way today.");
    assert!(filled.body.iter().all(|parameter| parameter.name.is_none()));
    assert_eq!(catalogue.meta_template(template, "en").unwrap()["parameter_format"], "POSITIONAL");
    for (body, says) in [
        ("{{2}} with {{1}}", "in the order"),
        ("{{1}} with {{3}}", "Nothing says what {{3}}"),
        ("{{1}} with {{order}}", "Nothing says"),
    ] {
        let found = problems(&positional.replace("{{order}}", body));
        assert!(found.iter().any(|text| text.contains(says)), "{body}: {found:#?}");
    }
}

#[test]
fn media_headers_are_filled() {
    let header = |lines: &str| small().replace("[languages.en]", &format!("[header]\n{lines}\n[languages.en]"));
    let location = header(
        "kind = \"location\"\nlatitude = \"40.4\"\nlongitude = \"'-3.7'\"\nname = \"'Shop'\"\naddress = \"'Sol 1'\"",
    );
    let catalogue = load(&location).unwrap();
    let filled = catalogue.fill_example(&catalogue.templates()[0], "en").unwrap();
    assert_eq!(
        serde_json::to_value(filled.header).unwrap(),
        json!({"location": {"latitude": "40.4", "longitude": "-3.7", "name": "Shop", "address": "Sol 1"}})
    );
    assert!(load(&header("kind = \"image\"\nlink = \"'https://a.example/a.png'\"")).is_ok());
    assert!(problems(&header("kind = \"image\"\nlink = \"'http://a.example/a.png'\""))[0].contains("https"));
    assert!(
        problems(&header("kind = \"document\"\nlink = \"'https://a.example/a.pdf'\""))[0].contains("header.filename")
    );
    assert!(
        problems(&header(
            "kind = \"location\"\nlatitude = \"400\"\nlongitude = \"0\"\nname = \"'a'\"\naddress = \"'b'\""
        ))[0]
            .contains("degrees")
    );
}

#[test]
fn two_templates_of_one_name_or_text_are_refused() {
    let second = small();
    let files = [("a.toml".to_owned(), small()), ("b.toml".to_owned(), second)]
        .map(|(p, t)| (p, t.replace("[example]", "[example]\nmaybe = \"x\"")));
    let found = Catalogue::load(&files, &[("thing.sent.json".into(), SCHEMA.into())], &settings()).unwrap_err();
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|t| t.starts_with("b.toml:1: name: Another file already has")), "{shown:?}");
    assert!(shown.iter().any(|t| t.contains("same body and footer")), "{shown:?}");
}

#[test]
fn mistakes_in_a_schema_are_named() {
    let shown = |path: &str, text: &str| -> Vec<String> {
        let found = Catalogue::load(&[], &[(path.into(), text.into())], &settings());
        found.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    };
    assert!(shown("events/a.b.json", "{\n\"type\": }")[0].starts_with("events/a.b.json:2: This is no JSON"));
    assert!(shown("events/A b.json", "{}")[0].contains("must be called after its event type"));
    assert!(shown("events/a.json", "{\n\"anyOf\": []}")[0].starts_with("events/a.json:2: Recado does not read"));
    assert!(shown("events/a.json", r##"{"properties":{"a":{"$ref":"#/$defs/b"}}}"##)[0].contains("leads nowhere"));
    assert!(shown("events/a.json", r#"{"required":["a"]}"#)[0].contains("not described"));
    assert!(shown("events/a.json", r#"{"x-recado":{"journey":"j","key":"1"}}"#)[0].contains("stage"));
    assert!(
        shown("events/a.json", r#"{"x-recado":{"journey":"j","key":"data.","stage":1}}"#)[0].contains("x-recado.key")
    );
    let unpromised = r#"{"type":"object","properties":{"a":{"type":"string"}},"examples":[{"a":"1"}],"x-recado":{"journey":"j","key":"data.a","stage":1}}"#;
    assert!(
        shown("events/a.json", unpromised)[0].contains("does not promise"),
        "{:?}",
        shown("events/a.json", unpromised)
    );
}

#[test]
fn an_unknown_zone_is_named() {
    let settings = Settings { default_zone: "Mars/Olympus".into(), ..settings() };
    let found = Catalogue::load(&[], &[], &settings).unwrap_err();
    assert!(found[0].to_string().contains("Mars/Olympus"));
}

#[test]
fn values_are_made_fit_for_meta() {
    let catalogue = load(&small()).unwrap();
    let template = &catalogue.templates()[0];
    let fill = |order: &str| {
        let event = Event { data: json!({"order": order}), ..judge::example_event("thing.sent", &json!({})) };
        let zones = Zones { person: None, default: TimeZone::UTC };
        let scope = Scope::of_event(
            expression::attributes(&event),
            expression::value_of(&event.data),
            &Locale::unknown(),
            &zones,
        );
        template.fill(&template.languages[0], &scope).map(|filled| template.render_text("en", &filled))
    };
    assert_eq!(fill(" A\n\t1     2\u{2028}3 ").unwrap(), "Your order A 1 2 3 is on its way today.");
    assert_eq!(fill(" \n ").unwrap_err().reason(), "unfillable_template");
    let refusal = fill(&"secret ".repeat(200)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Template on_its_way (en) cannot be filled: body is longer than 1024 characters with its values."
    );
}

/// The smallest template with these lines before its trigger.
fn small_with(lines: &str) -> String {
    small().replace("[trigger]", &format!("{lines}\n[trigger]"))
}

/// With this SMS.
fn small_with_sms(sms: &str) -> String {
    small().replace("[languages.en]", &format!("{sms}\n[languages.en]"))
}

const SMS: &str = "[sms]\nsender = \"texts\"\npurpose = \"shipping_sms\"\ntext.en = \"Order {{order}} comes today.\"";

fn words_of(message: &str, language: &str) -> (Option<String>, Option<String>) {
    let catalogue = load(message).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let template = &catalogue.templates()[0];
    let filled = catalogue.fill_example(template, language).unwrap();
    let language = template.language(language).unwrap();
    let event = judge::example_event(template.event_type(), template.example());
    let zones = Zones { person: None, default: TimeZone::UTC };
    let data = expression::value_of(&event.data);
    let scope = Scope::of_event(expression::attributes(&event), data, &language.locale, &zones);
    (template.free_text(language, &filled), template.sms_text(language, &filled, &scope).unwrap())
}

#[test]
fn a_message_in_free_words_says_what_its_template_says() {
    let message = small_with("session_fallback = true").replace(
        "[languages.en]",
        "[[buttons]]\nkind = \"url\"\nurl = \"https://shop.example/{{1}}\"\nvalue = \"data.order\"\ntext.en = \"Track it\"
[[buttons]]\nkind = \"phone\"\nphone = \"+34910000000\"\ntext.en = \"Call us\"
[[buttons]]\nkind = \"quick_reply\"\nopt_out = true\ntext.en = \"Stop these updates\"
[[buttons]]\nkind = \"quick_reply\"\ntext.en = \"Thank you\"
[languages.en]\nheader = \"On its way\"\nfooter = \"Questions? Just ask.\"",
    );
    let (text, sms) = words_of(&message, "en");
    insta::assert_snapshot!(text.unwrap(), @r"
    *On its way*

    Your order A-1 is on its way today.

    Track it: https://shop.example/A-1
    Call us: +34910000000
    Stop these updates: STOP

    Questions? Just ask.
    ");
    assert_eq!(sms, None);
    assert_eq!(words_of(&small(), "en").0, None, "only if its file says so");
}

#[test]
fn an_sms_has_the_messages_own_values_and_others() {
    assert_eq!(words_of(&small_with_sms(SMS), "en").1.as_deref(), Some("Order A-1 comes today."));
    let more = SMS.replace("comes today", "({{what}}) comes today");
    let more = small_with_sms(&more)
        .replace("[parameters]", "[parameters]\nwhat = \"data.items[0].title if data.items else '-'\"");
    assert_eq!(words_of(&more, "en").1.as_deref(), Some("Order A-1 (Cup) comes today."));
}

#[test]
fn mistakes_in_what_may_go_instead_are_named_with_their_line() {
    let expect = |message: &str, line: usize, key: &str, says: &str| {
        let found = problems(message);
        let start = format!("messages/small.toml:{line}: {key}: ");
        let fits = |text: &String| text.starts_with(&start) && text.contains(says);
        assert!(found.iter().any(fits), "{key} {says}: {found:#?}");
    };
    let sms = |old: &str, new: &str| small_with_sms(&SMS.replace(old, new));
    assert_eq!(problems(&small_with_sms(SMS)), Vec::<String>::new());
    expect(&sms("sender = \"texts\"\n", ""), 10, "sms.sender", "those that send SMS are: texts");
    expect(&sms("\"texts\"", "\"shop\""), 11, "sms.sender", "No sender \"shop\" sends SMS");
    expect(&sms("purpose = \"shipping_sms\"\n", ""), 10, "sms.purpose", "A yes to WhatsApp is none to SMS");
    expect(&sms("shipping_sms", "shipping"), 12, "sms.purpose", "a purpose of its own");
    expect(&sms("shipping_sms", "Shipping SMS"), 12, "sms.purpose", "lower-case");
    expect(&sms("{{order}}", "{{odrer}}"), 13, "sms.text.en", "Nothing says what {{odrer}} is");
    expect(&sms("text.en", "text.fr"), 13, "sms.text.fr", "does not have this language");
    expect(&sms("text.en", "text.fr"), 10, "sms.text.en", "its SMS has not");
    let long = "x".repeat(450);
    expect(&sms("Order", &long), 13, "sms.text.en", "4 segments of GSM-7, each of which is paid; at most 3");
}
