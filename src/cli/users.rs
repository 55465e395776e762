//! `recado users`: the console's accounts. A password is typed or comes in at standard input, never as an argument, where the list of
//! processes and the shell's history would show it.

use std::{
    io::{BufRead, IsTerminal},
    process::ExitCode,
};

use anyhow::{Context, bail};
use sqlx::PgPool;
use uuid::{Builder, Uuid};

use super::{Misunderstood, complain, database, hold::somebody, say, settings};
use crate::{
    config::{Needs, Place},
    db::{
        pools::Pools,
        users::{self, Change, Changed},
    },
    domain::role::{Role, names_account},
    http::console::passwords,
};

const EXAMPLE: &str = "Examples:
  recado users create ana --role admin
  recado users list
  recado users role ana operator
  recado users disable ana";

/// Makes, lists and changes the console's accounts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes an account. Asks for its password; if standard input is no terminal, its first line is the password.
    #[command(
        after_help = "Examples:\n  recado users create ana --role admin\n  pass show recado/ana | recado users create ana"
    )]
    Create {
        /// Lower-case letters, digits, and . _ - @ after the first.
        name: String,
        /// viewer (sees no phone numbers), operator (sees them, places holds) or admin.
        #[arg(long, default_value = "viewer", value_parser = account_role)]
        role: Role,
    },
    /// All accounts, with when they were last seen.
    #[command(after_help = "Examples:\n  recado users list\n  recado users list --json")]
    List {
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Gives an account another role. Holds for its next request.
    #[command(after_help = "Examples:\n  recado users role ana operator")]
    Role {
        /// The account's name.
        name: String,
        /// viewer (sees no phone numbers), operator (sees them, places holds) or admin.
        #[arg(value_parser = account_role)]
        role: Role,
    },
    /// Gives an account another password and ends its sessions.
    #[command(
        after_help = "Examples:\n  recado users password ana\n  pass show recado/ana | recado users password ana"
    )]
    Password {
        /// The account's name.
        name: String,
    },
    /// Ends an account's sessions and lets it in no more. Its name stays in the audit trail.
    #[command(after_help = "Examples:\n  recado users disable ana")]
    Disable {
        /// The account's name.
        name: String,
    },
    /// Lets a disabled account in again.
    #[command(after_help = "Examples:\n  recado users enable ana")]
    Enable {
        /// The account's name.
        name: String,
    },
}

/// A key's role is more: a producer sees nothing, so there is nothing for it here.
fn account_role(text: &str) -> Result<Role, &'static str> {
    let role = text.parse().ok().filter(|role| *role != Role::Producer);
    role.ok_or("is no role of an account; there are viewer, operator and admin")
}

/// 0 if it was done.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    match args.what {
        What::Create { name, role } => {
            check_name(&name)?;
            create(&pools.ops, &name, role, &ask_password()?).await?;
            say(&format!("Made: {name}, {}.", role.as_str()));
        }
        What::List { json: true } => say(&serde_json::to_string_pretty(&users::list(&pools.ops).await?)?),
        What::List { json: false } => {
            let all = users::list(&pools.ops).await?;
            if all.is_empty() {
                say("There is no account. Make the first: recado users create NAME --role admin");
            }
            for user in all {
                let seen = user.seen_at.map_or("never seen".to_owned(), |at| format!("last seen {at}"));
                let ended = user.disabled_at.map(|at| format!(", disabled {at}")).unwrap_or_default();
                say(&format!("{:<24} {:<8} made {}, {seen}{ended}", user.name, user.role.as_str(), user.created_at));
            }
        }
        What::Role { name, role } => change(&pools, &name, Change::Role(role)).await?,
        What::Password { name } => {
            let hash = hash(&ask_password()?).await?;
            change(&pools, &name, Change::Password { hash, keep: None }).await?;
        }
        What::Disable { name } => change(&pools, &name, Change::Disable).await?,
        What::Enable { name } => change(&pools, &name, Change::Enable).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes an account.
///
/// # Errors
/// If name or password are none, the name is taken, or the database does not take it.
pub async fn create(pool: &PgPool, name: &str, role: Role, password: &str) -> anyhow::Result<()> {
    check_name(name)?;
    let hash = hash(password).await?;
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    let id: Uuid = Builder::from_random_bytes(id).into_uuid();
    if !users::create(pool, id, name, role, &hash, &somebody()).await? {
        bail!("there is an account {name} already; recado users list shows them");
    }
    Ok(())
}

/// Gives an account a new password of its own, and makes it if it is not there. For a demonstration, whose accounts are nobody's.
///
/// # Errors
/// If the name is none, or the database does not take it.
pub async fn lend(pool: &PgPool, name: &str, role: Role) -> anyhow::Result<String> {
    let password = format!("{:016x}", getrandom::u64()?);
    let change = Change::Password { hash: hash(&password).await?, keep: None };
    if users::change(pool, name, change, &somebody()).await? == Changed::Unknown {
        create(pool, name, role, &password).await?;
    }
    Ok(password)
}

async fn change(pools: &Pools, name: &str, change: Change) -> anyhow::Result<()> {
    match users::change(&pools.ops, name, change, &somebody()).await? {
        Changed::Done => say("Done."),
        Changed::Same => say("It was so already."),
        Changed::Unknown => bail!("there is no account {name}; recado users list shows them"),
        Changed::LastAdmin => bail!("{name} is the last admin: make another one first"),
    }
    Ok(())
}

fn check_name(name: &str) -> anyhow::Result<()> {
    if !names_account(name) {
        let cure = "an account's name has 1 to 60 lower-case letters, digits, and . _ - @ after the first";
        bail!(Misunderstood(cure.to_owned()));
    }
    Ok(())
}

fn ask_password() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("no password came in at standard input")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = rpassword::prompt_password("Password: ")?;
    if rpassword::prompt_password("Again: ")? != password {
        complain("These were two different passwords.");
        bail!("nothing was changed");
    }
    Ok(password)
}

async fn hash(password: &str) -> anyhow::Result<String> {
    if !passwords::is_good(password) {
        bail!("a password has {} to {} characters", passwords::LENGTH.start(), passwords::LENGTH.end());
    }
    passwords::hash(password.to_owned()).await.context("the system gives no randomness")
}
