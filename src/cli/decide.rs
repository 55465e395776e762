//! `recado cancel` and `recado retry`: an operator's decision about one notification.

use std::process::ExitCode;

use uuid::Uuid;

use super::{because, complain, database, hold::somebody, moment::notification, say, settings};
use crate::{
    config::{Needs, Place},
    db::decisions::{self, Decided, Refused},
    domain::action::Action,
};

const CANCEL_EXAMPLE: &str = "Examples:
  recado cancel 01a2056c-da85-7012-850d-3d88ae9c4023 --because \"the order was placed twice\"";

/// Ends a notification that is pending or in doubt.
#[derive(Debug, clap::Args)]
#[command(after_help = CANCEL_EXAMPLE)]
pub struct CancelArgs {
    /// The notification's id; recado why ORDER tells it.
    #[arg(value_parser = notification)]
    id: Uuid,
    /// Why, for its story and the audit trail; up to 300 characters. Name nobody in it.
    #[arg(long, value_name = "TEXT")]
    because: String,
}

const RETRY_EXAMPLE: &str = "Examples:
  recado retry 01a2056c-da85-7012-850d-3d88ae9c4023 --because \"Meta's outage is over\"
  recado retry 01a2056c-da85-7012-850d-3d88ae9c4023 --resend --because \"the customer has nothing\"";

/// Lets a notification try again that failed or was not allowed to go. Consent and expiry are looked at again.
#[derive(Debug, clap::Args)]
#[command(after_help = RETRY_EXAMPLE)]
pub struct RetryArgs {
    /// The notification's id; recado why ORDER tells it.
    #[arg(value_parser = notification)]
    id: Uuid,
    /// Also if it is in doubt, or ended so: the person may get it twice, and it is marked as a resend.
    #[arg(long)]
    resend: bool,
    /// Why, for its story and the audit trail; up to 300 characters. Name nobody in it.
    #[arg(long, value_name = "TEXT")]
    because: String,
}

/// 0 if it was done, 1 if it is not in a state for it.
pub async fn cancel(place: &Place, args: CancelArgs) -> anyhow::Result<ExitCode> {
    let why = because(&args.because)?;
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let decided = decisions::decide(&pools.ops, Action::Cancel, args.id, &somebody(), why).await?;
    Ok(tell(&decided, "Cancelled.", |refused| match refused.state.as_str() {
        "sending" => "it is on its way just now; ask again when it has been answered",
        _ => "it has ended already",
    }))
}

/// 0 if it is pending again, 1 if it is not in a state for it.
pub async fn retry(place: &Place, args: RetryArgs) -> anyhow::Result<ExitCode> {
    let why = because(&args.because)?;
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let action = if args.resend { Action::Resend } else { Action::Retry };
    let decided = decisions::decide(&pools.ops, action, args.id, &somebody(), why).await?;
    Ok(tell(&decided, "It is pending again.", |refused| match refused.state.as_str() {
        "failed" | "suppressed" | "in_doubt" if refused.expired => "its time is over",
        "failed" | "suppressed" | "in_doubt" if !refused.kept => "its values are not kept any more",
        "failed" | "suppressed" | "in_doubt" if refused.followed => {
            "an SMS followed it; --resend sends it as well, marked as a resend"
        }
        "accepted" => "the provider has it; to say it again, publish a new event",
        "in_doubt" => "it may have been received; --resend sends it once more, marked as a resend",
        "suppressed" => "what it was to replace arrived; --resend sends it as well, marked as a resend",
        "failed" => {
            "its outcome was never learnt, so it may have been received; --resend sends it once more, marked as a resend"
        }
        _ => "it is on its way already",
    }))
}

fn tell(decided: &Decided, done: &str, why: impl Fn(&Refused) -> &'static str) -> ExitCode {
    match decided {
        Decided::Done => {
            say(done);
            return ExitCode::SUCCESS;
        }
        Decided::Unknown => complain("There is no notification of this id; recado why ORDER finds those of an order."),
        Decided::Refused(refused) => {
            let reason = refused.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let state = refused.state.replace('_', " ");
            complain(&format!("Nothing was changed: it is {state}{reason}: {}.", why(refused)));
        }
    }
    ExitCode::FAILURE
}
