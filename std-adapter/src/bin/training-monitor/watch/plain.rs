//! Prints a line for each message, for pipes, files and logs.

use super::feed::{Feed, FeedEvent};
use super::run_status::RunStatus;
use crate::error::Result;
use crate::output::print_line;

/// Prints messages until the run has stopped and no more lines arrive, or until the feed ends.
pub fn run(feed: &Feed, status: &mut RunStatus) -> Result<()> {
    loop {
        match super::next_event(feed).transpose()? {
            None => {
                // A log can contain several runs, so a stopped run ends the command only if no line follows.
                if status.stop_reason.is_some() {
                    return Ok(());
                }
            }
            Some(FeedEvent::Line(line)) => status.apply_line(&line).iter().try_for_each(print_line)?,
            Some(FeedEvent::Restart) => {
                status.restart();
                print_line("(the file was replaced; reading it from the start)")?;
            }
            Some(FeedEvent::End) => return Ok(()),
        }
    }
}
