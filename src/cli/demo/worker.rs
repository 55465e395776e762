//! The worker: `recado run` with all its roles, as a process of its own that can be killed and started again. It ends with the demonstration,
//! however that ends.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
    sync::Mutex,
};

use super::board::Life;

/// How long it may take to end when it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

pub struct Worker {
    /// Its doors.
    pub address: SocketAddr,
    config: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    process: Mutex<Process>,
}

#[derive(Default)]
struct Process {
    child: Option<Child>,
    kills: u32,
}

/// How the process is.
pub struct Condition {
    pub life: Life,
    pub pid: Option<u32>,
    pub kills: u32,
}

impl Worker {
    /// One that does not run yet. `variables` is what is different from this process's environment.
    pub fn new(address: SocketAddr, config: Option<PathBuf>, mut variables: BTreeMap<String, String>) -> Worker {
        variables.insert("RECADO_HTTP__LISTEN".to_owned(), address.to_string());
        variables.insert("RECADO_HTTP__PUBLIC_URL".to_owned(), format!("http://{address}"));
        Worker { address, config, variables, process: Mutex::default() }
    }

    /// Starts it, unless it runs.
    pub async fn start(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        if process.is_alive() {
            return Ok(());
        }
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        let child = command
            .args(["run", "--until-input-ends"])
            .envs(&self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        process.child = Some(child);
        Ok(())
    }

    /// SIGKILL, as a machine dies. False if it is dead already.
    pub async fn kill(&self) -> anyhow::Result<bool> {
        let mut process = self.process.lock().await;
        if !process.is_alive() {
            return Ok(false);
        }
        if let Some(child) = &mut process.child {
            child.kill().await?;
        }
        process.kills += 1;
        Ok(true)
    }

    pub async fn condition(&self) -> Condition {
        let mut process = self.process.lock().await;
        let (alive, kills) = (process.is_alive(), process.kills);
        let pid = process.child.as_ref().and_then(Child::id);
        drop(process);
        let life = match alive {
            false => Life::Dead,
            true if TcpStream::connect(self.address).await.is_ok() => Life::Up,
            true => Life::Starting,
        };
        Condition { life, pid: pid.filter(|_| alive), kills }
    }

    /// Asks it to end, and waits for that.
    pub async fn end(&self) {
        let child = self.process.lock().await.child.take();
        let Some(mut child) = child else { return };
        drop(child.stdin.take());
        if tokio::time::timeout(ENDS_WITHIN, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

impl Process {
    fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}

/// A port below those that the system hands out by itself, so that a process that was killed finds its own again.
pub fn free_port() -> anyhow::Result<SocketAddr> {
    let first = 24_000 + u16::try_from(std::process::id() % 1_000).unwrap_or(0) * 8;
    let mut ports = (first..first + 8).chain(23_000..24_000);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = free.ok_or_else(|| anyhow::anyhow!("no port is free between 23000 and 32000"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
