//! `recado keys`: the API's keys.

use std::process::ExitCode;

use anyhow::bail;

use super::{Misunderstood, complain, database, hold::somebody, say, settings};
use crate::{
    config::{Needs, Place},
    db::{
        keys::{self, Role},
        pools::Pools,
    },
    domain::role::names_key,
    http::auth,
};

const EXAMPLE: &str = "Examples:
  recado keys create --name support-desk --role operator
  recado keys list
  recado keys revoke support-desk";

/// Makes, lists and revokes the API's keys.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes a key and prints it: this once, and never again.
    #[command(
        after_help = "Examples:\n  recado keys create --name support-desk --role operator\n  recado keys create --name shop --role producer"
    )]
    Create {
        /// What it is for, like `support-desk`; up to 60 characters.
        #[arg(long)]
        name: String,
        /// producer (only publishes), viewer (sees no phone numbers), operator (sees them, places holds) or admin.
        #[arg(long, default_value = "viewer")]
        role: Role,
    },
    /// All keys, with their last use.
    #[command(after_help = "Examples:\n  recado keys list\n  recado keys list --json")]
    List {
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Ends a key at once.
    #[command(after_help = "Examples:\n  recado keys revoke support-desk")]
    Revoke {
        /// The key's name; recado keys list shows it.
        name: String,
    },
}

/// 0 if it was done.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    match args.what {
        What::Create { name, role } => {
            let key = create(&pools, &name, role).await?;
            say(&key);
            complain(&format!("This is the key {name} with the role {}. It is shown only now.", role.as_str()));
        }
        What::List { json: true } => {
            say(&serde_json::to_string_pretty(&keys::list(&pools.ops).await?)?);
        }
        What::List { json: false } => {
            for key in keys::list(&pools.ops).await? {
                let used = key.used_at.map_or("never used".to_owned(), |at| format!("last used {at}"));
                let ended = key.revoked_at.map(|at| format!(", revoked {at}")).unwrap_or_default();
                let role = key.role.as_str();
                say(&format!("{:<24} {role:<8} made {}, {used}{ended}", key.name, key.created_at));
            }
        }
        What::Revoke { name } => {
            if !keys::revoke(&pools.ops, &name, &somebody()).await? {
                bail!("there is no key of this name that was not revoked before; recado keys list shows them");
            }
            say("Revoked.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a key; gives its text, which is kept nowhere.
///
/// # Errors
/// If the name is none or taken, or the database does not take it.
pub async fn create(pools: &Pools, name: &str, role: Role) -> anyhow::Result<String> {
    let name = name.trim();
    if !names_key(name) {
        bail!(Misunderstood("a key's name has 1 to 60 characters".to_owned()));
    }
    let (id, key) = auth::fresh()?;
    if !keys::create(&pools.ops, id, name, role, &auth::hash(&key), &somebody()).await? {
        bail!("there is, or was, a key named {name}: take another name");
    }
    Ok(key)
}
