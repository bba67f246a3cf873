//! A line for each thing that happens, for pipes, files and logs. Ends with the run, or with the feed.

use super::feed::{Feed, News};
use super::live::Live;
use crate::failure::Result;
use crate::output;

pub fn run(feed: &Feed, live: &mut Live) -> Result<()> {
    loop {
        match super::next(feed).transpose()? {
            None => {
                // What follows may be a run that goes on, so its end is only believed when nothing more comes.
                if live.stop.is_some() {
                    return Ok(());
                }
            }
            Some(News::Line(line)) => live.line(&line).iter().try_for_each(output::line)?,
            Some(News::Restart) => {
                live.restart();
                output::line("the run is told again from its beginning")?;
            }
            Some(News::End) => return Ok(()),
        }
    }
}
