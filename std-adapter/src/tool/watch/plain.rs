//! Prints one line for each message. This output is suitable for pipes, files and logs.

use super::feed::{Feed, FeedEvent};
use super::run_status::RunStatus;
use crate::tool::error::Result;
use crate::tool::output::print_line;
use std::path::Path;

/// Prints messages until the run has stopped and no more lines arrive, or until the log ends.
pub fn run(feed: &Feed, path: &Path, status: &mut RunStatus) -> Result<()> {
    if feed.is_waiting() {
        print_line(format_args!("(waiting for {}, which does not exist yet)", path.display()))?;
    }
    loop {
        match feed.next(super::POLL_INTERVAL).transpose()? {
            None => {
                // A log can contain several runs. Therefore the command ends after a stopped run only if no more lines
                // arrive.
                if status.stop_reason.is_some() {
                    return Ok(());
                }
            }
            Some(FeedEvent::Line(line)) => {
                super::check_version(feed, &line)?;
                status.apply_line(&line).iter().try_for_each(print_line)?;
            }
            Some(FeedEvent::Opened) => (),
            Some(FeedEvent::Restart) => {
                status.restart();
                print_line("(the file was replaced; reading it from the start)")?;
            }
            Some(FeedEvent::End) => return Ok(()),
        }
    }
}
