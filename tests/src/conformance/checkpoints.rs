//! `retention` and `model_checkpoint` traces: which checkpoints a [`ModelCheckpoint`] keeps, and what their files are
//! called.
//!
//! Both play against a medium that is nothing but the set of what is on it: what the machine decides to save is added,
//! what it says has to go is taken away. `model_checkpoint` is replayed a second time in a real directory.

use super::wire::Number;
use super::{Failure, directory, refused, same};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use training_monitor::event::Counters;
use training_monitor::handlers::model_checkpoint::{Builder, Step};
use training_monitor::name::FileName;
use training_monitor::ranking::Entry;
use training_monitor::{ModelCheckpoint, handlers::model_checkpoint::Save};

/// Places of the table: as many as it can have, since a trace says only at run time how many it needs.
pub const PLACES: usize = 255;

#[derive(Deserialize)]
pub struct Retention {
    config: Kept,
    calls: Vec<Ranked>,
}

#[derive(Deserialize)]
struct Kept {
    n_saved: Option<u32>,
    greater_or_equal: bool,
    scored: bool,
}

#[derive(Deserialize)]
struct Ranked {
    step: u32,
    score: Option<Number>,
    kept_steps: Vec<u32>,
}

pub fn retention(trace: &Retention) -> Result<(), Failure> {
    let Kept { n_saved, greater_or_equal, scored } = trace.config;
    let builder = ModelCheckpoint::<PLACES>::builder().step(Step::Iteration).greater_or_equal(greater_or_equal);
    let builder = match n_saved {
        Some(n_saved) => builder.n_saved(n_saved),
        None => builder.keep_all(),
    };
    if scored {
        keep(builder.scored(), n_saved.is_none(), &trace.calls)
    } else {
        // Ranked by the step, and every call counts.
        keep(builder.save_interval(1), n_saved.is_none(), &trace.calls)
    }
}

fn keep<F>(builder: Builder<PLACES, F>, all: bool, calls: &[Ranked]) -> Result<(), Failure> {
    let mut machine = builder.build().map_err(refused)?;
    let mut medium = BTreeSet::new();
    for (at, call) in calls.iter().enumerate() {
        let counters = Counters { epoch: 0, iteration: call.step };
        if let Some(save) = machine.update_at(&counters, call.score.map(Number::narrow)) {
            medium.insert(save.step);
            if let Some(gone) = machine.committed(save) {
                medium.remove(&gone.step);
            }
        }
        let expected: BTreeSet<u32> = call.kept_steps.iter().copied().collect();
        same(at, "kept_steps", &expected, &medium)?;
        // What the machine says of itself; where all are kept, its table is only of the best.
        if !all || medium.len() <= PLACES {
            let told: BTreeSet<u32> = machine.kept().iter().map(|entry| entry.step).collect();
            same(at, "kept_steps, as the handler tells them,", &expected, &told)?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct Files {
    pub config: Named,
    pub calls: Vec<Listed>,
}

#[derive(Deserialize)]
pub struct Named {
    pub filename_prefix: String,
    pub extension: String,
    pub names: Vec<String>,
    pub n_saved: u32,
    pub save_interval: Option<u32>,
    pub score_name: Option<String>,
    pub scored: bool,
}

#[derive(Deserialize)]
pub struct Listed {
    pub score: Option<Number>,
    pub files: Vec<String>,
}

impl Named {
    /// Everything but what decides when to save.
    pub fn builder(&self) -> Builder<PLACES> {
        let builder = ModelCheckpoint::<PLACES>::builder().n_saved(self.n_saved);
        match &self.score_name {
            Some(name) => builder.score_name(literal(name)),
            None => builder,
        }
    }

    /// The files of one checkpoint.
    fn files<'a>(&'a self, step: u32, score: Option<f32>) -> impl Iterator<Item = String> + 'a {
        let score = self.score_name.as_deref().zip(score);
        self.names.iter().map(move |object| {
            let (prefix, extension) = (&*self.filename_prefix, &*self.extension);
            FileName { prefix, object, step, score, extension }.to_string()
        })
    }
}

/// A program has its score's name as a literal. Here it comes from a file: each is kept for good, but once.
fn literal(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    // A set is whole whatever the thread that poisoned its lock was about to put there.
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name) {
        Some(known) => known,
        None => {
            let kept: &'static str = name.to_owned().leak();
            names.insert(kept);
            kept
        }
    }
}

pub fn model_checkpoint(trace: &Files) -> Result<(), Failure> {
    let config = &trace.config;
    match (config.save_interval, config.scored) {
        (None, true) => list(trace, config.builder().scored())?,
        (Some(calls), false) => list(trace, config.builder().save_interval(calls))?,
        // The library's own refusal is the verdict.
        (Some(calls), true) => list(trace, config.builder().save_interval(calls).scored())?,
        (None, false) => list(trace, config.builder())?,
    }
    directory::replay(trace)
}

fn list<F>(trace: &Files, builder: Builder<PLACES, F>) -> Result<(), Failure> {
    let config = &trace.config;
    let mut machine = builder.build().map_err(refused)?;
    let mut medium = BTreeSet::new();
    for (at, call) in trace.calls.iter().enumerate() {
        if let Some(save @ Save { step, score }) = machine.update(call.score.map(Number::narrow)) {
            medium.extend(config.files(step, score));
            if let Some(gone) = machine.committed(save) {
                let Entry { step, .. } = gone;
                config.files(step, gone.score()).for_each(|file| _ = medium.remove(&file));
            }
        }
        let expected: BTreeSet<String> = call.files.iter().cloned().collect();
        same(at, "files", &expected, &medium)?;
    }
    Ok(())
}
