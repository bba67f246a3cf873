//! Replays `retention` and `model_checkpoint` traces: the checkpoints that a [`ModelCheckpoint`] keeps, and their file
//! names.
//!
//! The medium of both replays is a set. The replay adds each checkpoint that the policy saves, and removes each
//! checkpoint that the policy evicts. A second replay of `model_checkpoint` traces uses a real directory.

use super::trace_values::Number;
use super::{Failure, directory, expect_equal, rejected};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use training_monitor::event::Counters;
use training_monitor::handlers::model_checkpoint::{SaveDecision, Scored, StepSource};
use training_monitor::{ConfigError, ModelCheckpoint, State};
use training_monitor_std::directory::FileName;

/// The table size of the policy. It is the maximum, because the number of kept checkpoints is known only at run time.
pub const TABLE_SIZE: usize = 255;

#[derive(Deserialize)]
pub struct RetentionTrace {
    config: RetentionConfig,
    calls: Vec<RetentionCall>,
}

#[derive(Deserialize)]
struct RetentionConfig {
    n_saved: Option<u32>,
    greater_or_equal: bool,
    scored: bool,
}

#[derive(Deserialize)]
struct RetentionCall {
    step: u32,
    score: Option<Number>,
    kept_steps: Vec<u32>,
}

pub fn retention(trace: &RetentionTrace) -> Result<(), Failure> {
    let RetentionConfig { n_saved, greater_or_equal, scored } = trace.config;
    if scored {
        let policy = ModelCheckpoint::by_score().with_greater_or_equal(greater_or_equal);
        replay_retention(policy, n_saved, &trace.calls)
    } else {
        // Without a score, every call saves, and the step ranks the checkpoints. All kept checkpoints have different
        // steps, so `greater_or_equal` has no effect.
        replay_retention(ModelCheckpoint::every(1).map_err(rejected)?, n_saved, &trace.calls)
    }
}

fn replay_retention<F>(
    policy: ModelCheckpoint<TABLE_SIZE, F>,
    n_saved: Option<u32>,
    calls: &[RetentionCall],
) -> Result<(), Failure> {
    let policy = policy.with_step_source(StepSource::Iteration);
    let mut policy = match n_saved {
        Some(n_saved) => policy.with_n_saved(n_saved).map_err(rejected)?,
        None => policy.keep_all(),
    };
    let mut medium = BTreeSet::new();
    for (index, call) in calls.iter().enumerate() {
        let counters = Counters { epoch: 0, iteration: call.step };
        if let Some(decision) = policy.update_at(&counters, call.score.map(Number::as_f32)) {
            medium.insert(decision.step);
            if let Some(evicted) = policy.record_commit(decision) {
                medium.remove(&evicted.step);
            }
        }
        let expected: BTreeSet<u32> = call.kept_steps.iter().copied().collect();
        expect_equal(index, "kept_steps", &expected, &medium)?;
        // The table of the policy has at most `TABLE_SIZE` entries. If all checkpoints are kept and they do not fit, it
        // contains only the best ones, so the replay does not compare it then.
        if n_saved.is_some() || medium.len() <= TABLE_SIZE {
            let table: BTreeSet<u32> = policy.kept().iter().map(|kept| kept.step).collect();
            expect_equal(index, "kept_steps of the policy", &expected, &table)?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct FilesTrace {
    pub config: FilesConfig,
    pub calls: Vec<FilesCall>,
}

#[derive(Deserialize)]
pub struct FilesConfig {
    pub filename_prefix: String,
    pub extension: String,
    pub names: Vec<String>,
    pub n_saved: u32,
    pub save_interval: Option<u32>,
    pub score_name: Option<String>,
    pub scored: bool,
}

#[derive(Deserialize)]
pub struct FilesCall {
    pub score: Option<Number>,
    pub files: Vec<String>,
}

impl FilesConfig {
    /// Adds the settings of the trace to a policy (the rule that decides which checkpoints are kept) that ranks by
    /// score.
    fn configure<F: Scored>(
        &self,
        policy: ModelCheckpoint<TABLE_SIZE, F>,
    ) -> Result<ModelCheckpoint<TABLE_SIZE, F>, ConfigError> {
        let policy = policy.with_n_saved(self.n_saved)?;
        match &self.score_name {
            Some(name) => policy.with_score_name(static_name(name)),
            None => Ok(policy),
        }
    }

    /// The file names of one checkpoint.
    fn files<'a>(&'a self, step: u32, score: Option<f32>) -> impl Iterator<Item = String> + 'a {
        let score = self.score_name.as_deref().zip(score);
        self.names.iter().map(move |object| {
            let (prefix, extension) = (&*self.filename_prefix, &*self.extension);
            FileName { prefix, object, step, score, extension }.to_string()
        })
    }
}

/// Returns the score name of a trace as a static string, which the library requires. The function leaks the memory of
/// each name once.
fn static_name(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    // A panic of another thread leaves the set valid, so a poisoned lock can be used.
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name) {
        Some(known) => known,
        None => {
            let leaked: &'static str = name.to_owned().leak();
            names.insert(leaked);
            leaked
        }
    }
}

pub fn model_checkpoint(trace: &FilesTrace) -> Result<(), Failure> {
    let config = &trace.config;
    match (config.save_interval, config.scored, &config.score_name) {
        (None, true, _) => {
            replay_files(trace, config.configure(ModelCheckpoint::by_score()).map_err(rejected)?)?;
            let score = |state: &State<f32>| state.output.unwrap_or(f32::NAN);
            directory::replay(trace, config.configure(ModelCheckpoint::best_by(score)).map_err(rejected)?)
        }
        (Some(calls), false, None) => {
            let policy = ModelCheckpoint::every(calls).and_then(|policy| policy.with_n_saved(config.n_saved));
            let policy = policy.map_err(rejected)?;
            replay_files(trace, policy.clone())?;
            directory::replay(trace, policy)
        }
        // The library saves either by interval or by score, and only a score has a name. Its interface cannot express
        // the settings below.
        (Some(_), true, _) => Err(rejected("both a save interval and a score")),
        (None, false, _) => Err(rejected("neither a save interval nor a score")),
        (Some(_), false, Some(_)) => Err(rejected("a score name without a score")),
    }
}

fn replay_files<F>(trace: &FilesTrace, mut policy: ModelCheckpoint<TABLE_SIZE, F>) -> Result<(), Failure> {
    let config = &trace.config;
    let mut medium = BTreeSet::new();
    for (index, call) in trace.calls.iter().enumerate() {
        if let Some(decision @ SaveDecision { step, score }) = policy.update(call.score.map(Number::as_f32)) {
            medium.extend(config.files(step, score));
            if let Some(evicted) = policy.record_commit(decision) {
                config.files(evicted.step, evicted.score()).for_each(|file| _ = medium.remove(&file));
            }
        }
        let expected: BTreeSet<String> = call.files.iter().cloned().collect();
        expect_equal(index, "files", &expected, &medium)?;
    }
    Ok(())
}
