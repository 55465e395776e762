//! A real browser: Chromium without a screen, driven through chromedriver by the WebDriver protocol. What a person can do, and
//! what a test needs to look at. It knows nothing of the product.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use base64::Engine;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{Semaphore, SemaphorePermit},
};

use crate::harness::PATIENCE;

/// Two browsers at a time: each wants the memory and the processor of some other tests.
static TURNS: Semaphore = Semaphore::const_new(2);

const MISSING: &str = "These tests look at pages with Chromium, and there is none with its chromedriver. \
    On Debian or Ubuntu: scripts/services install chromium chromium-driver. Elsewhere: put both into the PATH.";

/// How WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Presses the Tab key.
pub const TAB: &str = "\u{e004}";
/// Presses the Enter key.
pub const ENTER: &str = "\u{e007}";
/// Presses the space bar.
pub const SPACE: &str = " ";

pub struct Browser {
    client: Client,
    /// The address of the session.
    session: String,
    driver: Child,
    /// Everything that it writes.
    files: PathBuf,
    _turn: SemaphorePermit<'static>,
}

/// The first of these programs in the PATH.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.is_file())
}

/// Starts chromedriver; gives the port that it listens on. `None` if it ended: it takes a free port for one kind of address and
/// gives up if another program has the same for the other kind.
async fn start(driver: &Path, files: &Path) -> Option<(Child, String)> {
    let mut driver = Command::new(driver)
        .arg("--port=0")
        .env("TMPDIR", files)
        .env("HOME", files)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // With the browser that it starts, so that both can be ended together.
        .process_group(0)
        // Also if something goes wrong before there is a browser to be dropped.
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver starts");
    let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
    while let Some(line) = lines.next_line().await.expect("its output") {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return Some((driver, port.trim_end_matches('.').to_owned()));
        }
    }
    None
}

impl Browser {
    /// Opens a browser with nothing in it.
    pub async fn open() -> Browser {
        static NO: AtomicU32 = AtomicU32::new(0);
        let turn = TURNS.acquire().await.expect("a turn");
        let chromium = program(&["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]);
        let (chromium, driver) = (chromium.expect(MISSING), program(&["chromedriver"]).expect(MISSING));
        let no = NO.fetch_add(1, Ordering::Relaxed);
        let files = std::env::temp_dir().join(format!("recado-browser-{}-{no}", std::process::id()));
        std::fs::create_dir_all(&files).expect("a folder");
        let mut tries = 0;
        let (driver, port) = loop {
            if let Some(started) = start(&driver, &files).await {
                break started;
            }
            tries += 1;
            assert!(tries < 5, "chromedriver says its port");
        };
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let mut browser = Browser { client, session: format!("http://127.0.0.1:{port}"), driver, files, _turn: turn };
        // It sees only pages of ours, and its sandbox works neither as root nor in most containers.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.call(Method::POST, "/session", wanted).await;
        let id = session["sessionId"].as_str().expect("a session");
        browser.session = format!("{}/session/{id}", browser.session);
        browser
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.session));
        if method == Method::POST {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.expect("chromedriver answers");
        let well = response.status().is_success();
        let mut answer: Value = serde_json::from_str(&response.text().await.expect("an answer")).expect("JSON");
        let value = answer["value"].take();
        if well { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        self.ask(method, path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command of Chromium's own protocol.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        self.call(Method::POST, "/goog/cdp/execute", json!({"cmd": name, "params": parameters})).await
    }

    pub async fn go(&self, url: &str) {
        self.call(Method::POST, "/url", json!({"url": url})).await;
    }

    pub async fn url(&self) -> String {
        self.call(Method::GET, "/url", Value::Null).await.as_str().expect("an address").to_owned()
    }

    pub async fn title(&self) -> String {
        self.call(Method::GET, "/title", Value::Null).await.as_str().expect("a title").to_owned()
    }

    async fn find(&self, css: &str) -> Option<String> {
        let found = self.ask(Method::POST, "/element", json!({"using": "css selector", "value": css})).await.ok()?;
        found[ELEMENT].as_str().map(str::to_owned)
    }

    /// The first element that matches, as soon as there is one.
    async fn element(&self, css: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(element) = self.find(css).await {
                return element;
            }
            assert!(began.elapsed() < PATIENCE, "there is no {css} at {}", self.url().await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub async fn has(&self, css: &str) -> bool {
        self.find(css).await.is_some()
    }

    pub async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.call(Method::POST, &format!("/element/{element}/click"), json!({})).await;
    }

    /// Types into a field.
    pub async fn write(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.call(Method::POST, &format!("/element/{element}/value"), json!({"text": text})).await;
    }

    /// Types to whatever has the focus.
    pub async fn press(&self, keys: &str) {
        let active = self.call(Method::GET, "/element/active", Value::Null).await;
        let element = active[ELEMENT].as_str().expect("something active");
        self.call(Method::POST, &format!("/element/{element}/value"), json!({"text": keys})).await;
    }

    /// What is to be read in an element.
    pub async fn text(&self, css: &str) -> String {
        let element = self.element(css).await;
        let text = self.call(Method::GET, &format!("/element/{element}/text"), Value::Null).await;
        text.as_str().expect("a text").to_owned()
    }

    pub async fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let element = self.element(css).await;
        let value = self.call(Method::GET, &format!("/element/{element}/attribute/{name}"), Value::Null).await;
        value.as_str().map(str::to_owned)
    }

    /// Waits until an element says this. The page may change meanwhile.
    pub async fn shows(&self, css: &str, words: &str) {
        let began = Instant::now();
        loop {
            let element = self.element(css).await;
            let text = self.ask(Method::GET, &format!("/element/{element}/text"), Value::Null).await;
            if text.as_ref().is_ok_and(|text| text.as_str().is_some_and(|text| text.contains(words))) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{css} at {} says {text:?}, not {words}", self.url().await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Runs a script in the page and gives what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.call(Method::POST, "/execute/sync", json!({"script": script, "args": []})).await
    }

    /// The breaches of the WCAG (A, AA) and of good practice that axe-core finds in the page, one line each.
    pub async fn axe(&self) -> Vec<String> {
        let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/axe-core/axe.min.js");
        if self.run("return typeof axe").await == "undefined" {
            self.run(&std::fs::read_to_string(axe).expect("axe-core")).await;
        }
        let script = "const tell = arguments[arguments.length - 1];
            axe.run(document).then(
                (found) => tell(found.passes.length < 10
                    ? ['axe-core did not look: ' + found.passes.length + ' rules passed']
                    : found.violations.flatMap((rule) =>
                        rule.nodes.map((node) => `${rule.id}: ${rule.help}: ${node.html} (${node.failureSummary})`))),
                (error) => tell([String(error)]));";
        let found = self.call(Method::POST, "/execute/async", json!({"script": script, "args": []})).await;
        serde_json::from_value(found).expect("lines")
    }

    /// What the browser asks for pages in, from the next one on.
    pub async fn speaks(&self, language: &str) {
        self.command("Network.enable", json!({})).await;
        self.command("Network.setExtraHTTPHeaders", json!({"headers": {"Accept-Language": language}})).await;
    }

    /// Where a page is wider than a screen of these widths, and what juts out of its section there.
    pub async fn fits(&self, name: &str, widths: &[u32]) -> Vec<String> {
        let juts = "return [...document.querySelectorAll('section *')].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.width > 0 && one.checkVisibility() && box.right > one.closest('section').getBoundingClientRect().right + 1
                && !one.closest('.scroll, .hidden, svg, pre, thead') && getComputedStyle(one).position !== 'absolute';
            }).slice(0, 2).map((one) => one.outerHTML.slice(0, 120))";
        let mut found = Vec::new();
        for &width in widths {
            self.screen(width).await;
            let wide = self.run("return document.documentElement.scrollWidth").await.as_u64().unwrap();
            if wide > u64::from(width) {
                found.push(format!("{name}: {wide} pixels wide on a screen of {width}"));
            }
            let out: Vec<String> = serde_json::from_value(self.run(juts).await).expect("elements");
            found.extend(out.into_iter().map(|one| format!("{name}, {width}: juts out of its section: {one}")));
        }
        found
    }

    /// Looks at a page on a phone and at a computer, in light and in dark: pictures under `tests/out/FOLDER`, and what is wrong, with
    /// what axe-core finds; and that it fits on what is between them.
    pub async fn look(&self, folder: &str, name: &str) -> Vec<String> {
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/out").join(folder);
        let mut found = self.fits(name, &[360, 768, 1024, 1280]).await;
        for width in [360, 1280] {
            self.screen(width).await;
            for scheme in ["light", "dark"] {
                self.colours(scheme).await;
                self.picture(&pictures.join(format!("{name}-{width}-{scheme}.png"))).await;
                found.extend(self.axe().await.into_iter().map(|breach| format!("{name}, {width}, {scheme}: {breach}")));
            }
        }
        // That a page says 403, 410 or 422 is no complaint about it.
        found.extend(self.complaints().await.into_iter().filter(|line| !line.contains("Failed to load resource")));
        found
    }

    /// A screen of this width; a narrow one is a phone's.
    pub async fn screen(&self, width: u32) {
        let phone = width < 600;
        let (height, scale) = if phone { (740, 2) } else { (800, 1) };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        self.command("Emulation.setTouchEmulationEnabled", json!({"enabled": phone})).await;
    }

    /// What the person's device says of colours: `light` or `dark`. Nothing moves.
    pub async fn colours(&self, scheme: &str) {
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    pub async fn without_scripts(&self) {
        self.command("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// A picture of the whole page.
    pub async fn picture(&self, file: &Path) {
        let taken =
            self.command("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true})).await;
        let data = taken["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, bytes).expect("a picture");
    }

    /// What the browser complained of since this was last asked.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.call(Method::POST, "/se/log", json!({"type": "browser"})).await;
        let lines = log.as_array().expect("a log").iter();
        lines.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(pid) = self.driver.id() {
            drop(std::process::Command::new("kill").args(["-KILL", "--", &format!("-{pid}")]).status());
        }
        drop(std::fs::remove_dir_all(&self.files));
    }
}
