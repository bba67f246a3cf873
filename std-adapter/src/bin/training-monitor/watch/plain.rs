//! A line for each thing that happens, for pipes, files and logs. Ends with the run, or with the feed.

use super::feed::{Feed, News};
use super::live::Live;
use crate::failure::{Failure, Result};
use std::io::Write;

pub fn run(feed: &Feed, live: &mut Live) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut say = |text: &str| writeln!(out, "{text}").map_err(Failure::io("write", "standard output".as_ref()));
    loop {
        match super::next(feed).transpose()? {
            None => {
                // What follows may be a run that goes on, so its end is only believed when nothing more comes.
                if live.stop.is_some() {
                    return Ok(());
                }
            }
            Some(News::Line(line)) => live.line(&line).iter().try_for_each(|told| say(told))?,
            Some(News::Restart) => {
                live.restart();
                say("the run is told again from its beginning")?;
            }
            Some(News::End) => return Ok(()),
        }
    }
}
