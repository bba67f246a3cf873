//! What is known of a run so far.

use super::log;
use std::collections::VecDeque;
use std::path::Path;
use training_monitor_std::history::Entry;

/// How many messages are kept to be shown.
const MESSAGES: usize = 100;

pub struct Live {
    pub name: String,
    pub patience: Option<u32>,
    /// What is left of it, where the log tells.
    pub left: Option<u32>,
    pub epoch: u32,
    pub iteration: u32,
    /// Whether iterations are counted. In the log of a device that tells of epochs only they are not: there an epoch is a
    /// step of its charts.
    pub counts: bool,
    pub losses: Vec<(f64, f64)>,
    pub metrics: Vec<(String, Vec<(f64, f64)>)>,
    pub stores: Vec<Store>,
    /// The first iteration whose loss was not a number, and how many there were.
    pub not_finite: Option<(u32, usize)>,
    pub failures: usize,
    pub resumed: usize,
    pub stop: Option<String>,
    pub saves: usize,
    pub messages: VecDeque<String>,
    /// Seconds of each of the last iterations.
    seconds: VecDeque<f64>,
}

/// What one checkpoint handler did.
pub struct Store {
    pub name: String,
    /// Steps that are kept, with their scores.
    pub kept: Vec<(u32, Option<f32>)>,
    pub bytes: u64,
    pub saves: usize,
    /// Erases of all its slots, where the log tells of them when the device starts: a save is one more.
    pub erases: Option<u32>,
}

impl Live {
    pub fn new(path: &Path, patience: Option<u32>) -> Live {
        let name = match path.parent().and_then(Path::file_name) {
            Some(directory) if path.ends_with("history.jsonl") => directory.to_string_lossy().into_owned(),
            _ if path == Path::new("-") => "standard input".to_owned(),
            _ => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        Live {
            name,
            patience,
            left: None,
            epoch: 0,
            iteration: 0,
            counts: false,
            losses: vec![],
            metrics: vec![],
            stores: vec![],
            not_finite: None,
            failures: 0,
            resumed: 0,
            stop: None,
            saves: 0,
            messages: VecDeque::new(),
            seconds: VecDeque::new(),
        }
    }

    /// The run is told again from its beginning.
    pub fn restart(&mut self) {
        let fresh = Live::new(Path::new(&self.name), self.patience);
        *self = Live { name: std::mem::take(&mut self.name), saves: self.saves, ..fresh };
    }

    /// Takes a line; what it says, if it is something that a person wants to be told.
    pub fn line(&mut self, line: &str) -> Option<String> {
        self.counts |= line.starts_with('{');
        // A device that begins anew, with the log of its former run before it.
        if !self.counts && self.epoch > 0 && line.ends_with(", from the beginning") {
            let messages = std::mem::take(&mut self.messages);
            self.restart();
            self.messages = messages;
        }
        let told = match log::parse(line, if self.counts { self.iteration } else { 0 }) {
            Some(entry) => self.entry(&entry),
            // The first line of a history, or a line without anything.
            None if line.trim().is_empty() || line.starts_with(r#"{"schema""#) => None,
            None => {
                if let Some((store, erases)) = log::wear(line) {
                    self.store(store).erases = Some(erases);
                }
                Some(line.to_owned())
            }
        };
        if let Some(told) = &told {
            self.messages.push_back(told.clone());
            if self.messages.len() > MESSAGES {
                self.messages.pop_front();
            }
        }
        told
    }

    fn entry(&mut self, entry: &Entry) -> Option<String> {
        self.iteration = self.iteration.max(entry.iteration().unwrap_or(0));
        match entry {
            Entry::Iteration { iteration, loss, seconds } => {
                self.counts = true;
                if let Some(seconds) = seconds {
                    self.seconds.push_back(*seconds);
                    if self.seconds.len() > MESSAGES {
                        self.seconds.pop_front();
                    }
                }
                match loss {
                    Some(loss) => push(&mut self.losses, *iteration, f64::from(*loss)),
                    None => {
                        let (first, count) = self.not_finite.unwrap_or((*iteration, 0));
                        self.not_finite = Some((first, count + 1));
                        return Some(format!("iteration {iteration}: the loss is not finite"));
                    }
                }
                None
            }
            Entry::Epoch { epoch, iteration, metrics } => {
                self.epoch = *epoch;
                let mut told = format!("epoch {epoch}{}", self.place(*iteration));
                for (name, value) in metrics {
                    match value {
                        Some(value) if name == log::PATIENCE => {
                            self.left = Some(*value as u32);
                            told += &format!("  {name} {value}");
                        }
                        Some(value) => {
                            told += &format!("  {name} {}", crate::stats::short(*value));
                            push(self.metric(name), *iteration, *value);
                        }
                        None => told += &format!("  {name} not finite"),
                    }
                }
                Some(told)
            }
            Entry::Saved { store, step, score, bytes, removed, .. } => {
                self.saves += 1;
                let known = self.store(store);
                known.saves += 1;
                known.erases = known.erases.map(|erases| erases.saturating_add(1));
                known.bytes += u64::from(*bytes);
                known.kept.retain(|(kept, _)| Some(*kept) != *removed && kept != step);
                known.kept.push((*step, *score));
                let score = score.map_or(String::new(), |score| format!(", score {score}"));
                let removed = removed.map_or(String::new(), |removed| format!(", in place of {removed}"));
                Some(format!("{store}: saved step {step}{score}, {bytes} bytes{removed}"))
            }
            Entry::SaveFailed { store, step, error, retrying, .. } => {
                self.failures += 1;
                let retrying = if *retrying { ", trying again" } else { "" };
                Some(format!("{store}: step {step} was not saved: {error}{retrying}"))
            }
            Entry::RemovalFailed { store, step, error, .. } => {
                self.failures += 1;
                Some(format!("{store}: step {step} was not removed: {error}"))
            }
            Entry::LoadFailed { store, step, error } => {
                self.failures += 1;
                Some(format!("{store}: step {step} was not loaded: {error}"))
            }
            Entry::Resumed { epoch, iteration, skipped } => {
                self.resumed += 1;
                self.epoch = *epoch;
                self.stop = None;
                Some(format!("resumed in epoch {epoch} after iteration {iteration}, {skipped} damaged"))
            }
            Entry::Stopped { reason, epoch, iteration } => {
                self.epoch = *epoch;
                self.stop = Some(reason.clone());
                Some(format!("stopped: {reason}, after epoch {epoch}{}", self.place(*iteration)))
            }
            _ => None,
        }
    }

    /// The iteration, if that is one.
    fn place(&self, iteration: u32) -> String {
        if self.counts { format!(" (iteration {iteration})") } else { String::new() }
    }

    fn metric(&mut self, name: &str) -> &mut Vec<(f64, f64)> {
        let index = self.metrics.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.metrics.push((name.to_owned(), vec![]));
            self.metrics.len() - 1
        });
        &mut self.metrics[index].1
    }

    fn store(&mut self, name: &str) -> &mut Store {
        let index = self.stores.iter().position(|known| known.name == name).unwrap_or_else(|| {
            self.stores.push(Store { name: name.to_owned(), kept: vec![], bytes: 0, saves: 0, erases: None });
            self.stores.len() - 1
        });
        &mut self.stores[index]
    }

    /// Seconds of an iteration, as the median of the last: those with a save in them take much longer.
    pub fn pace(&self) -> Option<f64> {
        let mut seconds: Vec<f64> = self.seconds.iter().copied().collect();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied()
    }
}

/// A run that goes on from a checkpoint takes back what was measured after it.
fn push(points: &mut Vec<(f64, f64)>, at: u32, value: f64) {
    let at = f64::from(at);
    while points.pop_if(|(last, _)| *last >= at).is_some() {}
    points.push((at, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_device_that_was_killed_and_one_that_began_anew() {
        let mut live = Live::new(Path::new("-"), None);
        let mut say = |lines: &[&str]| lines.iter().for_each(|line| drop(live.line(line)));
        say(&[
            "INFO  64-32-10, from the beginning",
            "epoch 1: loss 0.5",
            "INFO  best: slots erased [4, 0, 3] times",
            "best: saved 1, 9 bytes",
            "epoch 2: loss 0.4, patience 1",
        ]);
        // Epoch 2 was not saved, and comes again. The iteration that is told does not become a place on the charts.
        say(&[
            "64-32-10, resumed in epoch 1 after iteration 75, 0 damaged",
            "epoch 2: loss 0.25, patience 2",
            "epoch 3: loss 0.125, patience 1",
        ]);
        assert_eq!(live.metrics, [("loss".to_owned(), vec![(1.0, 0.5), (2.0, 0.25), (3.0, 0.125)])]);
        assert_eq!((live.resumed, live.stores[0].kept.len()), (1, 1));
        assert_eq!((live.left, live.stores[0].erases), (Some(1), Some(8)));
        // Its flash was erased: another run, but nothing of what was said is lost.
        drop(live.line("64-32-10, from the beginning"));
        drop(live.line("epoch 1: loss 1"));
        assert_eq!(live.metrics, [("loss".to_owned(), vec![(1.0, 1.0)])]);
        assert_eq!((live.resumed, live.stores.len(), live.messages.len()), (0, 0, 10));
        assert_eq!(live.left, None);
    }
}
