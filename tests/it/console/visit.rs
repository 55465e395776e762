//! Somebody at the console without a browser: one cookie, pages as text. And accounts to come in with.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use recado::{cli::users, db::keys::Role};
use reqwest::{Client, Method, StatusCode, header::HeaderMap, redirect};

use crate::doors::hall::Hall;

pub const PASSWORD: &str = "correct horse battery";

/// Makes an account with [`PASSWORD`].
pub async fn account(hall: &Hall, name: &str, role: Role) {
    users::create(&hall.pools.ops, name, role, PASSWORD).await.unwrap();
}

/// Runs `recado` with this typed at its standard input. Gives its exit code and what it said.
pub fn recado_typed(hall: &Hall, arguments: &[&str], typed: &str) -> (i32, String) {
    recado_typed_as(hall, "", arguments, typed)
}

/// The same as this user of the machine.
pub fn recado_typed_as(hall: &Hall, user: &str, arguments: &[&str], typed: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_recado"))
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", &hall.url)
        .env("USER", user)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{typed}").unwrap_or_default();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

pub struct Visit {
    client: Client,
    address: String,
    /// `name=value`; empty if none is held.
    pub cookie: String,
}

/// What came back.
pub struct Page {
    pub status: StatusCode,
    headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Where it redirects to.
    pub fn leads(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        self.header("location")
    }

    /// What its forms hold.
    pub fn csrf(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split_once('"').unwrap().0.to_owned()
    }
}

impl Visit {
    pub fn new(hall: &Hall) -> Visit {
        Visit::at(hall.address())
    }

    /// Somebody at the console that is reached there.
    pub fn at(address: &str) -> Visit {
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
        Visit { client, address: format!("http://{address}"), cookie: String::new() }
    }

    /// Somebody with a new account who is logged in.
    pub async fn of(hall: &Hall, name: &str, role: Role) -> Visit {
        account(hall, name, role).await;
        let mut visit = Visit::new(hall);
        assert_eq!(visit.log_in(name, PASSWORD, "").await.status, StatusCode::SEE_OTHER);
        visit
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, &[], None).await
    }

    /// As htmx asks.
    pub async fn part(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, &[("hx-request", "true")], None).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let origin = self.address.clone();
        self.post_from(&origin, path, fields).await
    }

    pub async fn post_from(&mut self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.send(Method::POST, path, &[("origin", origin)], Some(body.finish())).await
    }

    /// Posts with the secret of the page that has the form.
    pub async fn fill(&mut self, form: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.get(form).await.csrf();
        self.post(path, &[&[("csrf", csrf.as_str())], fields].concat()).await
    }

    pub async fn log_in(&mut self, name: &str, password: &str, next: &str) -> Page {
        self.fill("/console/login", "/console/login", &[("name", name), ("password", password), ("next", next)]).await
    }

    async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Page {
        let mut request = self.client.request(method, format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for given in headers.get_all("set-cookie") {
            self.cookie = given.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        Page { status, headers, text: response.text().await.unwrap() }
    }
}
