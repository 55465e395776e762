//! `recado users`: who may use the console.

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};

use super::{complain, database, hold::signature, say, settings};
use crate::{
    config::{Needs, Place},
    db::{
        keys::Role,
        pools::Pools,
        users::{self, Change},
    },
    http::password,
};

/// Makes, lists and changes the accounts of the console.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  recado users create ana --role admin          # asks for the password\n  openssl rand -base64 18 | tee /dev/tty | recado users create bot --role viewer\n  recado users disable ana"
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes an account; the password is asked for, or read from standard input.
    Create {
        name: String,
        /// viewer (sees no phone numbers), operator (sees them, acts) or admin (accounts and keys as well).
        #[arg(long, default_value = "viewer")]
        role: Role,
    },
    /// All accounts, with when they came in last.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Gives an account another role. Whoever is in under it is out.
    Role { name: String, role: Role },
    /// Gives an account another password; asked for, or read from standard input. Whoever is in under it is out.
    Password { name: String },
    /// Lets nobody in under this account any more, and puts out whoever is.
    Disable { name: String },
    /// Lets the account be used again.
    Enable { name: String },
}

/// 0 if it was done.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    match args.what {
        What::Create { name, role } => {
            create(&pools, &name, role, &ask()?).await?;
            say(&format!("{} may come in as {}.", name.trim(), role.as_str()));
        }
        What::List { json: true } => say(&serde_json::to_string_pretty(&users::list(&pools.ops).await?)?),
        What::List { json: false } => {
            let users = users::list(&pools.ops).await?;
            if users.is_empty() {
                complain("There are no accounts yet: recado users create NAME --role admin makes the first.");
            }
            for user in users {
                let seen = user.seen_at.map_or("never came in".to_owned(), |at| format!("came in {at}"));
                let ended = user.disabled_at.map(|at| format!(", disabled {at}")).unwrap_or_default();
                say(&format!("{:<24} {:<8} made {}, {seen}{ended}", user.name, user.role.as_str(), user.created_at));
            }
        }
        What::Role { name, role } => change(&pools, &name, &Change::Role(role)).await?,
        What::Password { name } => {
            let hash = hashed(&ask()?)?;
            change(&pools, &name, &Change::Password(hash)).await?;
        }
        What::Disable { name } => change(&pools, &name, &Change::Disable).await?,
        What::Enable { name } => change(&pools, &name, &Change::Enable).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes an account.
///
/// # Errors
/// If the name is none or taken, the password unfit, or the database does not take it.
pub async fn create(pools: &Pools, name: &str, role: Role, password: &SecretString) -> anyhow::Result<()> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 60 || name.chars().any(char::is_control) {
        bail!("an account's name has 1 to 60 characters");
    }
    if !users::create(&pools.ops, name, role, &hashed(password)?, &signature()).await? {
        bail!("there is an account named {name} already; recado users list shows them");
    }
    Ok(())
}

async fn change(pools: &Pools, name: &str, change: &Change) -> anyhow::Result<()> {
    if !users::change(&pools.ops, name.trim(), change, &signature()).await? {
        bail!("there is no account of this name; recado users list shows them");
    }
    say("Changed. Whoever was in under it is out.");
    Ok(())
}

fn hashed(password: &SecretString) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    Ok(password::hash(password.expose_secret(), &salt)?)
}

/// The password, from the terminal without being shown, or from whatever stands in for it.
fn ask() -> anyhow::Result<SecretString> {
    if !std::io::stdin().is_terminal() {
        let mut text = String::new();
        std::io::stdin().take(1_024).read_to_string(&mut text).context("standard input has no password")?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned().into());
    }
    complain(&format!("Password ({} characters or more; it is not shown):", password::LEAST));
    let first = unseen()?;
    complain("Once more:");
    if first.expose_secret() != unseen()?.expose_secret() {
        bail!("the two are not the same");
    }
    Ok(first)
}

/// One line of the terminal, which does not show it meanwhile.
fn unseen() -> anyhow::Result<SecretString> {
    let echo = |mode| std::process::Command::new("stty").arg(mode).status().is_ok_and(|status| status.success());
    if !echo("-echo") {
        bail!("the terminal cannot be told to hide the password: give it by standard input");
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    echo("echo");
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned().into())
}
