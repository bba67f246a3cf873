//! Runs one case on a medium.

use super::case::{JudgedFailure, JudgedSave, PowerFailureCase};
use super::model::{JudgedObjects, Model};
use super::violation::{PowerFailureRule, PowerFailureViolation};
use crate::test_support::{Medium, PowerMedium};
use core::fmt::Display;
use training_monitor::checkpoint::RankingRule;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, SaveDecision};
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor::{ConfigError, ModelCheckpoint};

type Fault = (PowerFailureRule, String);
type Handler<S, F> = CheckpointHandler<3, IterationCompleted, S, F>;
type Policy<F> = Result<ModelCheckpoint<3, F>, ConfigError>;

fn fault(rule: PowerFailureRule, details: impl Display) -> Fault {
    (rule, details.to_string())
}

/// Runs a case. Returns the number of operations after the last power failure.
pub(super) fn run<M: PowerMedium>(medium: &mut M, case: &PowerFailureCase) -> Result<u64, PowerFailureViolation> {
    let attempts = Vec::new();
    let mut run = Run { medium, case, model: Model { rule: case.rule, n_saved: case.n_saved, attempts }, done: 0 };
    run.run().map_err(|(rule, details)| PowerFailureViolation { rule, case: case.clone(), details })
}

struct Run<'r, M> {
    medium: &'r mut M,
    case: &'r PowerFailureCase,
    model: Model,
    /// The number of saves that are done.
    done: usize,
}

impl<M: PowerMedium> Run<'_, M> {
    fn run(&mut self) -> Result<u64, Fault> {
        for (index, JudgedFailure { after, seed }) in self.case.failures.iter().enumerate() {
            let start = self.medium.operations();
            let planned = start.saturating_add(*after);
            self.medium.cut_power_at(planned, *seed);
            let result = self.session();
            let operations = self.medium.operations();
            self.medium.restore_power();
            if operations > planned.saturating_add(1) {
                let details = format!("{} operations were counted after the power failure", operations - planned - 1);
                return Err(fault(PowerFailureRule::FailsAsPlanned, details));
            }
            if operations <= planned {
                result?;
                // The first session performs the same operations in each run. The number of operations after a restart
                // depends on how often the store is opened.
                if index == 0 {
                    let details = format!("the power did not fail in {} operations", operations - start);
                    return Err(fault(PowerFailureRule::FailsAsPlanned, details));
                }
            }
        }
        let start = self.medium.operations();
        // Between two power failures there is no check, so that the second one can interrupt the opening of the store.
        if !self.case.failures.is_empty() {
            self.check()?;
        }
        self.session()?;
        let operations = self.medium.operations() - start;
        self.check()?;
        Ok(operations)
    }

    /// Opens the store and performs the saves that are not done yet, until the first error.
    fn session(&mut self) -> Result<(), Fault> {
        match self.case.rule {
            RankingRule::Latest => self.session_with(ModelCheckpoint::every(1)),
            RankingRule::Best => self.session_with(Ok(ModelCheckpoint::by_score())),
        }
    }

    fn session_with<F>(&mut self, policy: Policy<F>) -> Result<(), Fault> {
        let Run { medium, case, model, done } = self;
        let mut handler = attach(*medium, policy, case.n_saved)?;
        while let Some(save) = case.saves.get(*done) {
            if is_accepted(&handler, case, save) {
                let number = model.start(*save);
                let score = (case.rule == RankingRule::Best).then(|| f32::from(save.score));
                let decision = SaveDecision { step: save.step, score };
                let result = handler.save(decision, number, None, &mut JudgedObjects::of_attempt(number));
                result.map_err(|error| {
                    fault(PowerFailureRule::Saves, format_args!("the save of step {} failed: {error}", save.step))
                })?;
                model.acknowledge();
            }
            *done += 1;
        }
        Ok(())
    }

    /// Opens the store, and compares its checkpoints with the model.
    fn check(&mut self) -> Result<(), Fault> {
        match self.case.rule {
            RankingRule::Latest => self.check_with(ModelCheckpoint::every(1)),
            RankingRule::Best => self.check_with(Ok(ModelCheckpoint::by_score())),
        }
    }

    fn check_with<F>(&mut self, policy: Policy<F>) -> Result<(), Fault> {
        let is_unstable = self.medium.is_unstable();
        let Run { medium, case, model, .. } = self;
        let mut handler = attach(*medium, policy, case.n_saved)?;
        let listed = list(handler.store_mut(), model.attempts.len())?;
        let mut intact = Vec::new();
        for meta in &listed {
            let CheckpointMeta { step, sequence, iteration, .. } = *meta;
            let name = format!("the checkpoint with sequence number {sequence} and step {step}");
            let score = |score: u8| (case.rule == RankingRule::Best).then(|| f32::from(score));
            let attempt = model.attempt(iteration);
            let attempt = attempt.filter(|attempt| attempt.step == step && score(attempt.score) == meta.score);
            let Some(attempt) = attempt else {
                return Err(fault(PowerFailureRule::ListsOnlySaved, format_args!("{name} was never saved")));
            };
            let mut objects = JudgedObjects::of_attempt(0);
            match handler.load_step(step, &mut objects) {
                Ok(info) if info.sequence == sequence && objects == JudgedObjects::of_attempt(iteration) => {
                    intact.push(iteration);
                }
                Ok(_) => {
                    return Err(fault(PowerFailureRule::ListsOnlySaved, format_args!("{name} contains other data")));
                }
                // A read of an unstable bit can differ from the read at opening.
                Err(_) if is_unstable && !attempt.is_saved => (),
                Err(error) => {
                    let saved = (PowerFailureRule::KeepsSaved, PowerFailureRule::CompleteOrAbsent);
                    let rule = if attempt.is_saved { saved.0 } else { saved.1 };
                    return Err(fault(rule, format_args!("{name} is listed, but cannot be loaded: {error}")));
                }
            }
        }
        let ranking = model.ranking(&intact);
        match ranking.iter().find(|attempt| !intact.contains(&attempt.number)) {
            None => Ok(()),
            Some(lost) => {
                let steps: Vec<u32> = listed.iter().map(|meta| meta.step).collect();
                let details = format_args!("step {} is lost; the store lists the steps {steps:?}", lost.step);
                Err(fault(PowerFailureRule::KeepsSaved, details))
            }
        }
    }
}

fn attach<M: Medium, F>(medium: &mut M, policy: Policy<F>, n_saved: u32) -> Result<Handler<M::Store<'_>, F>, Fault> {
    let rule = PowerFailureRule::Opens;
    let policy = policy.and_then(|policy| policy.with_n_saved(n_saved)).map_err(|error| fault(rule, error))?;
    let store = medium.open().map_err(|error| fault(rule, format_args!("the store cannot be opened: {error}")))?;
    let attached = policy.attach(IterationCompleted, store);
    attached.map_err(|error| fault(rule, format_args!("the checkpoints cannot be listed: {error}")))
}

/// Returns whether the ranking accepts a checkpoint. A save that it does not accept is skipped, as in a run.
fn is_accepted<S: Store, F>(handler: &Handler<S, F>, case: &PowerFailureCase, save: &JudgedSave) -> bool {
    let kept = handler.policy().kept();
    let same_step = kept.iter().find(|entry| entry.step == save.step);
    let worst = kept.first().filter(|_| kept.len() >= usize::from(handler.policy().places()));
    let rival = same_step.or(worst).and_then(|entry| entry.score());
    case.rule == RankingRule::Latest || rival.is_none_or(|score| f32::from(save.score) > score)
}

/// Returns the listed checkpoints. There can be at most `max`.
fn list<S: Store>(store: &mut S, max: usize) -> Result<Vec<CheckpointMeta>, Fault> {
    let mut listed: Vec<CheckpointMeta> = Vec::new();
    let rule = PowerFailureRule::Opens;
    for index in 0.. {
        let result = store.checkpoint(index);
        match result.map_err(|error| fault(rule, format_args!("`checkpoint({index})` failed: {error}")))? {
            None => break,
            Some(meta) if listed.last().is_some_and(|last| last.sequence >= meta.sequence) => {
                let details = format_args!("the checkpoint {} is listed out of order", meta.sequence);
                return Err(fault(rule, details));
            }
            Some(_) if listed.len() >= max => {
                return Err(fault(rule, format_args!("the store lists more than {max} checkpoints")));
            }
            Some(meta) => listed.push(meta),
        }
    }
    Ok(listed)
}
