//! A directory to which a program saves checkpoints by the rules of a `ModelCheckpoint`.

use crate::error::CheckpointError;
use crate::handlers::setting_error;
use crate::save::Contents;
use crate::{long_work, shortest};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::EncodeError;
use training_monitor::event::{Counters, Never};
use training_monitor::handlers::model_checkpoint::ranking::RankedCheckpoint;
use training_monitor::handlers::model_checkpoint::{
    CheckpointHandler, NoScore, SaveDecision, ScoreArgument, StepSource,
};
use training_monitor_std::Directory;
use training_monitor_std::directory::{DirectoryError, OpenError};
use training_monitor_std::tool::stream::StreamObjects;

/// The largest number of checkpoints that a policy can keep, besides all.
const MAX_SAVED: usize = 255;

type Handler<F> = CheckpointHandler<MAX_SAVED, Never, Directory, F>;

enum AnyHandler {
    Latest(Handler<NoScore>),
    Best(Handler<ScoreArgument>),
}

macro_rules! with_handler {
    ($handler:expr, $name:ident => $call:expr) => {
        match $handler {
            AnyHandler::Latest($name) => $call,
            AnyHandler::Best($name) => $call,
        }
    };
}

/// Saves checkpoints to a directory, ranks them, and removes those without a rank.
#[pyclass(module = "training_monitor._native")]
pub struct CheckpointDirectory(AnyHandler);

/// Converts the error of an open to an exception.
pub fn open_error(error: &OpenError) -> PyErr {
    match error {
        OpenError::Directory(error) => directory_error(error),
        other => PyValueError::new_err(other.to_string()),
    }
}

fn directory_error(error: &DirectoryError) -> PyErr {
    match error {
        DirectoryError::Io { cause, .. } => match cause.raw_os_error() {
            Some(number) => PyOSError::new_err((number, error.to_string())),
            None => PyOSError::new_err(error.to_string()),
        },
        _ => CheckpointError::new_err(error.to_string()),
    }
}

fn save_error(error: EncodeError<DirectoryError>) -> PyErr {
    match error {
        EncodeError::Io(error) => directory_error(&error),
        error => CheckpointError::new_err(error.to_string()),
    }
}

/// Sets the settings that both policies have.
fn configure<F>(
    policy: ModelCheckpoint<MAX_SAVED, F>,
    n_saved: Option<u32>,
    allow_non_finite: bool,
) -> PyResult<ModelCheckpoint<MAX_SAVED, F>> {
    let policy = policy.with_step_source(StepSource::Iteration).with_allow_non_finite(allow_non_finite);
    match n_saved {
        Some(n_saved) => policy.with_n_saved(n_saved).map_err(setting_error),
        None => Ok(policy.keep_all()),
    }
}

#[pymethods]
impl CheckpointDirectory {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "the settings of Ignite's ModelCheckpoint")]
    fn new(
        dirname: PathBuf,
        filename_prefix: String,
        scored: bool,
        score_name: Option<String>,
        n_saved: Option<u32>,
        greater_or_equal: bool,
        atomic: bool,
        require_empty: bool,
        create_dir: bool,
        allow_non_finite: bool,
    ) -> PyResult<Self> {
        let builder = Directory::builder(dirname, filename_prefix).single_file(true).atomic(atomic);
        let builder = builder.require_empty(require_empty).create_dir(create_dir);
        let open = || builder.open().map_err(|error| open_error(&error));
        let attach_error = |error| directory_error(&error);
        let handler = if scored {
            let mut policy = ModelCheckpoint::by_score().with_greater_or_equal(greater_or_equal);
            if let Some(name) = score_name {
                // The core crate needs a name that lives as long as the program. A program has few handlers.
                policy = policy.with_score_name(name.leak()).map_err(setting_error)?;
            }
            let policy = configure(policy, n_saved, allow_non_finite)?;
            AnyHandler::Best(policy.attach(Never, open()?).map_err(attach_error)?)
        } else {
            let policy = configure(ModelCheckpoint::every(1).map_err(setting_error)?, n_saved, allow_non_finite)?;
            AnyHandler::Latest(policy.attach(Never, open()?).map_err(attach_error)?)
        };
        Ok(CheckpointDirectory(handler))
    }

    /// Returns the score of the checkpoint to save, in a tuple, or `None` if there is nothing to save.
    fn decide(&self, step: u32, score: Option<f32>) -> Option<(Option<f64>,)> {
        let counters = Counters { iteration: step, epoch: 0 };
        let decision = with_handler!(&self.0, handler => handler.policy().clone().update_at(&counters, score));
        decision.map(|decision| (decision.score.map(shortest),))
    }

    /// Saves a checkpoint, ranks it, and removes the checkpoint without a rank.
    fn save(
        &mut self,
        py: Python<'_>,
        step: u32,
        score: Option<f32>,
        iteration: u32,
        contents: Contents<'_>,
    ) -> PyResult<()> {
        let stream = contents.to_stream(Path::new("the checkpoint"))?;
        let decision = SaveDecision { step, score };
        let mut objects = StreamObjects { object_names: &[], objects: &stream.objects, error: None };
        let handler = &mut self.0;
        let saved = long_work::run(py, || {
            Ok(with_handler!(handler, handler => handler.save(decision, iteration, None, &mut objects)))
        })?;
        match (saved, objects.error) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(error)) => Err(crate::error::exception(error)),
            (Err(error), None) => Err(save_error(error)),
        }
    }

    /// The steps and the scores of the kept checkpoints, from the worst to the best.
    fn kept(&self) -> Vec<(u32, Option<f64>)> {
        with_handler!(&self.0, handler => handler.policy().kept().iter().map(entry).collect())
    }

    /// The step and the score of the latest kept checkpoint.
    fn latest(&self) -> Option<(u32, Option<f64>)> {
        with_handler!(&self.0, handler => handler.policy().latest()).as_ref().map(entry)
    }
}

fn entry(checkpoint: &RankedCheckpoint) -> (u32, Option<f64>) {
    (checkpoint.step, checkpoint.score().map(shortest))
}
