//! One start of a device. It does what the documentation tells a user: it opens the stores, attaches the handlers,
//! resumes the run, answers a refusal, and runs. Everything is compared with the history of the device.

use super::expect::epoch_length;
use super::failures::Failure;
use super::history::History;
use super::medium::{Inspect, Medium};
use super::net::Net;
use super::program::Program;
use super::run::{Check, run};
use super::watch::{Watch, WatchEvent, Watched};
use training_monitor::Outcome;
use training_monitor::store::Store;

/// A start: its program and its failure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Start {
    /// The program of the start.
    pub program: Program,
    /// The failure of the start.
    pub failure: Failure,
}

impl Start {
    /// Returns whether the run must end like an uninterrupted one. A request to stop saves one more checkpoint, to which a
    /// later roll-back returns, so it changes a run that is rolled back.
    pub fn keeps_the_result(&self) -> bool {
        let has_more_checkpoints = self.program.roll != 0 && matches!(self.failure, Failure::Request(_));
        self.failure.keeps_the_result() && !has_more_checkpoints
    }
}

/// How a start ended.
#[derive(Clone, Debug)]
pub enum End {
    /// The store refused another layout.
    Refused,
    /// The power failed, the program was asked to stop, or a store returned the error of the failure before the run.
    Interrupted,
    /// The run failed because a save failed.
    SaveFailed,
    /// The run is finished.
    Finished {
        /// The outcome.
        outcome: Outcome,
        /// The model at the end.
        net: Net,
        /// The number of events, if the program resumed a finished run.
        resumed_finished: bool,
    },
}

/// A device: its two media, and what the checker knows.
#[derive(Clone, Debug)]
pub struct Device<M> {
    /// The media of the two stores.
    pub media: [M; 2],
    /// What the checker knows.
    pub history: History,
    /// The layout of the checkpoints on the flash.
    pub layout: u8,
    /// All layouts since the last erase of the flash.
    layouts: Vec<u8>,
    seed: u64,
    /// The number of operations of the last start.
    pub operations: u32,
    /// The point of the last acknowledged commit and its program, until a failure disturbs the device.
    newest: Option<(u32, u32, Program)>,
    /// The run that is finished, and its outcome.
    finished: Option<(u32, Outcome)>,
    /// Whether to print what happens.
    pub is_verbose: bool,
}

impl<M: Medium> Device<M> {
    /// Creates a device with blank media.
    pub fn new(seed: u64) -> Self {
        Device {
            media: [M::new(seed), M::new(seed / 2)],
            history: History::default(),
            layout: 0,
            layouts: Vec::new(),
            seed,
            operations: 0,
            newest: None,
            finished: None,
            is_verbose: false,
        }
    }

    /// Performs a start.
    pub fn start(&mut self, Start { program, failure }: Start) -> Result<End, String> {
        self.fail_before(failure);
        if self.history.written.is_empty() {
            self.layout = program.layout;
        }
        let has_other_layout = M::HAS_LAYOUT && program.layout != self.layout;
        let before = has_other_layout.then(|| self.history.clone());
        if has_other_layout
            && !self.media.iter().enumerate().any(|(place, medium)| {
                self.history.listed[place]
                    .iter()
                    .any(|listed| medium.is_visible(self.layout, program.layout, listed.meta.sequence))
            })
        {
            // No store can know of checkpoints outside its region.
            self.history.hide_all();
            for place in 0..2 {
                let watch = Watch::default();
                if let Ok(mut store) = self.media[place].open(&program, &watch) {
                    self.history.listed[place] = store.inspect();
                }
            }
        }
        self.history.epoch_length = epoch_length(&self.history, &program);
        let watch = Watch::new(failure);
        let mut refused = None;
        let result = {
            let [first, second] = &mut self.media;
            let first = first.open(&program, &watch).map(|store| Watched::new(store, &watch, 0));
            let second = (program.second != 0).then(|| second.open(&program, &watch)).transpose();
            match (first, second) {
                (Ok(first), Ok(second)) => {
                    let second = second.map(|store| Watched::new(store, &watch, 1));
                    let state = Check { history: &self.history, newest: self.newest, finished: self.finished };
                    run(&program, first, second, &watch, self.seed, &state, self.is_verbose)
                }
                (Err(error), _) | (_, Err(error)) => {
                    refused = Some(error);
                    Ok((End::Refused, None))
                }
            }
        };
        self.operations = watch.operations.get();
        let records = watch.records.take();
        if matches!(failure, Failure::Read(_) | Failure::List(_) | Failure::Write(_))
            && (watch.has_failed.get() || (M::HAS_LAYOUT && matches!(failure, Failure::Write(_))))
        {
            // A broken block of a flash fails in the whole start, and in all later ones.
            self.history.is_disturbed = true;
        }
        if self.is_verbose {
            println!("start {program} {failure}: {:?} {refused:?}", result.as_ref().map(|(end, _)| end));
            for record in &records {
                match record {
                    WatchEvent::Snapshot { place, listed, capacity } => {
                        let short = |listed: &super::medium::MediumCheckpoint| {
                            let meta = listed.meta;
                            let mark = if listed.is_loadable { "" } else { "!" };
                            format!("{mark}{}:r{}i{}s{}", meta.sequence, meta.run, meta.iteration, meta.step)
                        };
                        println!("  medium {place} of {capacity}: {:?}", listed.iter().map(short).collect::<Vec<_>>());
                    }
                    WatchEvent::Commit(commit) => println!("  commit {:?} {}", commit.meta, commit.acknowledged),
                    WatchEvent::Running => println!("  running"),
                }
            }
        }
        // A failed check of the run can be a consequence of what the records show, so they are checked first.
        let commits = self.history.written.len();
        self.history.apply(&program, records)?;
        if self.history.written.len() > commits {
            self.finished = None;
        }
        let (end, run) = result?;
        if let Some(error) = refused {
            if watch.has_failed.get() {
                return Ok(End::Interrupted);
            }
            if !M::HAS_LAYOUT || self.layouts.iter().all(|layout| *layout == program.layout) {
                return Err(format!("the store was not opened: {error}"));
            }
            if let Some(before) = before {
                self.history = before;
            }
            return Ok(end);
        }
        self.layout = program.layout;
        self.layouts.push(program.layout);
        self.finish(&program)?;
        if self.history.is_disturbed {
            (self.newest, self.finished) = (None, None);
        }
        if let (End::Finished { outcome, .. }, Some(run), false) = (&end, run, self.history.is_disturbed) {
            self.finished = Some((run, *outcome));
        }
        Ok(end)
    }

    /// Damages or removes the newest checkpoint, or breaks a block.
    fn fail_before(&mut self, failure: Failure) {
        let layout = Program { layout: self.layout, ..Program::default() };
        let newest =
            self.history.listed[0].iter().rfind(|listed| listed.is_loadable).map(|listed| listed.meta.sequence);
        match (failure, newest) {
            (Failure::Damage(byte), Some(sequence)) => self.media[0].damage(&layout, sequence, byte),
            (Failure::Remove, Some(sequence)) => self.media[0].remove(&layout, sequence),
            (Failure::Write(number), _) => return self.media[0].break_block(number),
            _ => return,
        }
        if let Some(sequence) = newest {
            self.history.lose(0, sequence);
            (self.newest, self.finished) = (None, None);
            let watch = Watch::default();
            if let Ok(mut store) = self.media[0].open(&layout, &watch) {
                self.history.listed[0] = store.inspect();
            }
        }
    }

    /// Checks the media after a start.
    fn finish(&mut self, program: &Program) -> Result<(), String> {
        let watch = Watch::default();
        for place in 0..=usize::from(program.second) {
            let medium = &mut self.media[place];
            let mut store = medium.open(program, &watch).map_err(|error| format!("after the start: {error}"))?;
            let (listed, capacity) = (store.inspect(), store.capacity());
            drop(store);
            if self.is_verbose {
                let short: Vec<_> = listed.iter().map(|listed| listed.meta.sequence).collect();
                println!("  at the end: medium {place}: {short:?}");
            }
            let snapshot = vec![WatchEvent::Running, WatchEvent::Snapshot { place, listed, capacity }];
            self.history.apply(program, snapshot).map_err(|error| format!("at the end: {error}"))?;
            if let Some(violation) = medium.violation() {
                return Err(violation);
            }
        }
        let is_newest = |written: &&super::history::Written| written.acknowledged && !written.lost;
        let newest = self
            .history
            .written
            .iter()
            .filter(is_newest)
            .map(|written| (written.commit.meta.run, written.commit.meta.iteration, written.program));
        self.newest = newest.filter(|newest| newest.2 == *program).max_by_key(|newest| (newest.0, newest.1));
        if self.media.iter().any(M::is_unstable) { Ok(()) } else { self.history.check_required() }
    }

    /// Erases all media.
    pub fn erase(&mut self, program: &Program) {
        self.media.iter_mut().for_each(|medium| medium.erase(program));
        self.history = History::default();
        (self.newest, self.finished, self.layout) = (None, None, program.layout);
        self.layouts.clear();
    }
}
