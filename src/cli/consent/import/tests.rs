use super::*;

async fn check(text: &str) -> anyhow::Result<Imported> {
    let known = BTreeSet::from(["orders", "orders-sms", "shipping"]);
    import(None, None, &known, text.as_bytes(), "2026-11-22T20:00:00Z".parse().unwrap(), &mut |_| {}).await
}

const HEADER: &str = "phone,purpose,granted_at,source,wording,locale\n";

async fn problem(line: &str) -> String {
    let imported = check(&format!("{HEADER}{line}\n")).await.unwrap();
    assert_eq!((imported.lines, imported.bad.len()), (1, 1), "{line}");
    assert_eq!(imported.bad[0].0, 2);
    imported.bad[0].1.clone()
}

#[tokio::test]
async fn good_lines_are_counted_by_purpose_and_bad_ones_named_by_their_number() {
    let text = format!(
        "{HEADER}+34600111222,orders|shipping,2026-03-04T10:20:30+01:00,checkout,\"Yes, please\nwrite to me\",es\n\
         600111223,orders,2026-03-04T10:20:30Z,checkout,v3,es\n\
         +34600111224,orders|orders-sms,2026-03-04T10:20:30Z,checkout,v3,es_MX\n"
    );
    let imported = check(&text).await.unwrap();
    assert_eq!(imported.lines, 3);
    let counted: Vec<_> = imported.purposes.iter().map(|(purpose, count)| (purpose.as_str(), *count)).collect();
    assert_eq!(counted, [("orders", 2), ("orders-sms", 1), ("shipping", 1)]);
    assert_eq!(imported.bad.len(), 1);
    assert_eq!(imported.bad[0].0, 4, "a text in quotes may have lines of its own");
    assert!(imported.bad[0].1.contains("country code"));
}

#[tokio::test]
async fn every_problem_says_what_is_wrong_and_what_to_do_and_nothing_personal() {
    assert!(problem(",orders,2026-03-04T10:20:30Z,checkout,v3,es").await.starts_with("phone is empty"));
    assert!(problem("+34600111222,,2026-03-04T10:20:30Z,checkout,v3,es").await.starts_with("purpose is empty"));
    for (none, named) in [("Pedidos ya", ""), ("*", ""), ("34600111222", ""), ("orders|ordres", " ordres")] {
        let told = problem(&format!("+34600111222,{none},2026-03-04T10:20:30Z,checkout,v3,es")).await;
        let whole = format!(
            "purpose{named} is none that a template or a form has; mend it, or name it there first; there are orders, orders-sms, shipping"
        );
        assert!(told.starts_with(&whole), "{told}");
    }
    assert!(problem("+34600111222,orders,2026-03-04,checkout,v3,es").await.contains("a date alone proves too little"));
    assert!(problem("+34600111222,orders,2027-03-04T10:20:30Z,checkout,v3,es").await.contains("in the future"));
    assert!(problem("+34600111222,orders,2026-03-04T10:20:30Z,,v3,es").await.starts_with("source is empty"));
    assert!(problem("+34600111222,orders,2026-03-04T10:20:30Z,checkout,,es").await.contains("proof are empty"));
    assert!(problem("+34600111222,orders,2026-03-04T10:20:30Z").await.contains("has 3 fields where the header has 6"));
    for line in [
        "+346001112229999999,orders,2026-03-04T10:20:30Z,checkout,v3,es",
        "+34600111222,orders,yesterday,checkout,v3,es",
    ] {
        let problem = problem(line).await;
        assert!(!problem.contains("111222") && !problem.contains("yesterday"), "{problem}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_prove_anything_is_refused_whole() {
    let refused = async |header: &str| check(header).await.unwrap_err().to_string();
    assert!(refused("phone,purpose,granted_at,source\n").await.contains("neither a column wording nor a column proof"));
    assert!(refused("phone,granted_at,source,proof\n").await.contains("no column purpose"));
    assert!(refused("phone,phone,purpose,granted_at,source,proof\n").await.contains("twice"));
}

#[tokio::test]
async fn spreadsheets_may_write_a_mark_at_the_beginning_and_separate_by_semicolons() {
    let text = "\u{feff}Phone;Purposes;Granted at;Source;Proof\r\n+34600111222;orders,shipping;2026-03-04T10:20:30Z;shop;scan 7\r\n";
    let imported = check(text).await.unwrap();
    assert_eq!((imported.lines, imported.bad), (1, vec![]));
    assert_eq!(imported.purposes.len(), 2);
}
