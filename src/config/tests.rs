use std::fs;

use super::*;

/// A folder of its own, removed at the end.
struct Desk(PathBuf);

impl Desk {
    fn new() -> Desk {
        let folder = std::env::temp_dir().join(format!("recado-config-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir_all(folder.join("templates")).unwrap();
        Desk(folder)
    }

    fn write(&self, name: &str, text: &str) -> &Desk {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn load(&self, needs: Needs, variables: &[(&str, &str)]) -> Result<Settings, Problems> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(&Place::with(&self.0, variables), needs)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const URLS: [(&str, &str); 2] =
    [("DATABASE_URL", "postgres://recado:hunter2@db:5432/recado"), ("AMQP_URL", "amqp://recado:hunter2@mq:5672/shop")];

const SENDER: &str = r#"
[senders.main]
kind = "meta"
phone_number_id = "106540352242922"
"#;

const SECRETS: [(&str, &str); 3] = [
    ("RECADO_SENDERS__MAIN__TOKEN", "EAAG-token"),
    ("RECADO_SENDERS__MAIN__APP_SECRET", "app-secret"),
    ("RECADO_SENDERS__MAIN__VERIFY_TOKEN", "verify-me"),
];

/// What is wrong if this is all that was said, one line a mistake.
fn mistakes(file: &str, variables: &[(&str, &str)]) -> String {
    let desk = Desk::new();
    let problems = desk.write("recado.toml", file).load(Needs::NOTHING, variables).unwrap_err();
    problems.0.iter().map(|problem| format!("{problem}\n")).collect::<String>().trim_end().to_owned()
}

#[test]
fn the_defaults_alone_are_right() {
    let settings = Desk::new().load(Needs::NOTHING, &[]).unwrap();
    assert_eq!(settings.dispatch.lease, Duration::from_secs(30));
    assert_eq!(settings.intake.linger, Duration::from_millis(5));
    assert_eq!(settings.upkeep.keep_notifications, Duration::from_secs(400 * 86_400));
    assert_eq!(settings.broker.exchange, "shop.events");
    assert_eq!(settings.broker.prefetch, 600);
    assert_eq!(settings.dispatch.only_to, None);
    assert!(settings.senders.is_empty());
}
