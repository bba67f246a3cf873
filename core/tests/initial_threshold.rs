//! Tests of `ModelCheckpoint::with_initial_threshold`.

use training_monitor::checkpoint::Named;
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, SaveDecision, ScoreArgument, ScoreFunction};
use training_monitor::run_record::RunRecord;
use training_monitor::store::Store;
use training_monitor::store::ram::Ram;
use training_monitor::{ConfigError, Engine, Event, EventFilter, Handler, ModelCheckpoint, State, on};

type Place = Ram<4, 512>;

fn policy(threshold: f32) -> ModelCheckpoint<2, ScoreArgument> {
    ModelCheckpoint::by_score().with_initial_threshold(threshold).unwrap()
}

/// Returns the steps of the scores that the policy saves.
fn saved(mut policy: ModelCheckpoint<2, ScoreArgument>, scores: &[f32]) -> Vec<u32> {
    let mut steps = Vec::new();
    for score in scores {
        if let Some(decision) = policy.update(Some(*score)) {
            steps.push(decision.step);
            policy.record_commit(decision);
        }
    }
    steps
}

#[test]
fn a_nan_is_no_threshold() {
    let error = ModelCheckpoint::<2>::by_score().with_initial_threshold(f32::NAN).err();
    assert_eq!(error, Some(ConfigError::InitialThreshold));
    let error = ModelCheckpoint::<2>::best_by(|_: &State<f32>| 0.0).with_initial_threshold(-f32::NAN).err();
    assert_eq!(error, Some(ConfigError::InitialThreshold));
}

#[test]
fn only_a_score_above_the_threshold_is_saved() {
    let (max, infinity, nan) = (f32::MAX, f32::INFINITY, f32::NAN);
    for (threshold, scores, expected) in [
        (0.5, &[0.25, 0.5, 0.5_f32.next_up(), 0.25, 1.0, 0.75][..], &[3, 5, 6][..]),
        // The threshold also limits the second place of the table.
        (0.5, &[1.0, 0.25, 0.375, 0.625], &[1, 4]),
        (0.5, &[nan, infinity, nan, -infinity], &[2]),
        (-0.0, &[0.0, -0.0, 1e-45], &[3]),
        (max, &[max, infinity], &[2]),
        (infinity, &[max, infinity, nan], &[]),
        (-infinity, &[-infinity, nan, -max, 1.0], &[3, 4]),
    ] {
        assert_eq!(saved(policy(threshold), scores), expected, "{threshold} {scores:?}");
        // An equal score is not above the threshold.
        assert_eq!(saved(policy(threshold).with_greater_or_equal(true), scores), expected, "{threshold} {scores:?}");
    }
    assert_eq!(saved(policy(0.5).keep_all(), &[1.0, 0.5, 0.75, 0.625, nan, 0.25]), [1, 3, 4]);
    // Without a threshold, the first scores are always saved, unless they are NaN.
    assert_eq!(saved(ModelCheckpoint::by_score(), &[f32::NAN, f32::NEG_INFINITY, -1.0]), [2, 3]);
}

#[test]
fn a_score_that_is_not_passed_is_not_saved() {
    assert_eq!(policy(0.5).update(None), None);
    let mut after_reset = policy(0.5);
    after_reset.reset();
    assert_eq!(after_reset.update(Some(0.5)), None);
    assert_eq!(after_reset.update(Some(0.75)), Some(SaveDecision { step: 2, score: Some(0.75) }));
}

fn list(store: &mut Place) -> Vec<(u32, Option<f32>)> {
    let mut all = Vec::new();
    while let Some(meta) = store.checkpoint(all.len() as u32).unwrap() {
        all.push((meta.step, meta.score));
    }
    all
}

/// Runs one epoch for each score, with the best two scores above `threshold`, and a second series that resumes the run.
/// The run is interrupted after the epochs in `interruptions`. Returns the best checkpoints.
fn run(threshold: f32, interruptions: &[u32]) -> Vec<(u32, Option<f32>)> {
    let scores = [0.25, 0.75, 0.5, 0.625, 0.375, 0.875, 0.5];
    let (mut best, mut latest) = (Place::new(), Place::new());
    for interruption in interruptions.iter().chain(&[u32::MAX]) {
        let policy = ModelCheckpoint::<2>::best_by(|state: &State<f32>| state.output.unwrap_or(f32::NAN));
        let policy = policy.with_initial_threshold(threshold).unwrap();
        let mut handlers = (
            policy.attach(EpochCompleted, &mut best).unwrap(),
            ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, &mut latest).unwrap(),
            on(EpochCompleted.filter(|epoch| epoch == *interruption), |_, state| state.interrupt()),
        );
        let mut model = Named::new("model", [0.0_f32]);
        let mut engine = Engine::new(7).with_epoch_length(1);
        engine.resume(&mut model, &mut handlers).unwrap();
        engine.run(&mut model, &scores[..], &mut handlers, |_, score, _| *score).unwrap();
    }
    list(&mut best)
}

#[test]
fn an_interrupted_run_saves_the_same_checkpoints() {
    for (threshold, expected) in [
        (-1.0, &[(2, Some(0.75)), (6, Some(0.875))][..]),
        (0.5, &[(2, Some(0.75)), (6, Some(0.875))]),
        (0.75, &[(6, Some(0.875))]),
        (0.875, &[]),
    ] {
        assert_eq!(run(threshold, &[]), expected, "{threshold}");
        for epoch in 1..7 {
            assert_eq!(run(threshold, &[epoch]), expected, "{threshold}, interrupted after epoch {epoch}");
        }
        assert_eq!(run(threshold, &[1, 2, 3, 4, 5, 6]), expected, "{threshold}");
    }
}

type Score = fn(&State<f32>) -> f32;

fn attach(
    store: &mut Place,
    threshold: f32,
) -> CheckpointHandler<2, IterationCompleted, &mut Place, ScoreFunction<Score>> {
    let score: Score = |state| state.output.unwrap_or(f32::NAN);
    let policy = ModelCheckpoint::best_by(score).with_initial_threshold(threshold).unwrap();
    policy.attach(IterationCompleted, store).unwrap()
}

/// The next start of the program has a higher threshold. The stored checkpoints still rank, and are not removed without a
/// better one.
#[test]
fn stored_checkpoints_below_the_threshold_still_rank() {
    let mut store = Place::new();
    let mut model = Named::new("model", [0.0_f32]);
    let mut handler = attach(&mut store, 0.0);
    Engine::new(1).run(&mut model, &[0.25, 0.5][..], &mut handler, |_, score, _| *score).unwrap();
    let mut handler = attach(&mut store, 0.75);
    let steps = |policy: &ModelCheckpoint<2, _>| policy.kept().iter().map(|kept| kept.step).collect::<Vec<_>>();
    assert_eq!(steps(handler.policy()), [1, 2]);
    Engine::new(1).run(&mut model, &[0.625, 0.75, 0.875][..], &mut handler, |_, score, _| *score).unwrap();
    assert_eq!(steps(handler.policy()), [2, 5]);
    // A save that the program requests is not limited.
    handler.save(SaveDecision { step: 9, score: Some(0.625) }, 9, None, &mut model).unwrap();
    assert_eq!(steps(handler.policy()), [9, 5]);
    assert_eq!(list(&mut store).len(), 2);
}

/// A save was decided before a restart, and the next program has a higher threshold.
#[test]
fn a_pending_save_below_a_new_threshold_is_not_performed() {
    let start = |threshold: f32, record: Option<&RunRecord>| {
        let mut store = Place::new();
        let mut handler = attach(&mut store, threshold);
        let (mut engine, mut model) = (Engine::<f32>::new(1), Named::new("model", [0.0_f32]));
        match record {
            None => {
                // The handler decides to save, and the power fails before the save.
                engine.state_mut().output = Some(0.5);
                handler.on_event(Event::IterationCompleted, &mut model, engine.state_mut());
            }
            Some(record) => engine.restore::<Named<'_, [f32; 1]>, _>(record, &mut handler).unwrap(),
        }
        let record = engine.record::<Named<'_, [f32; 1]>, _>(&mut handler).unwrap();
        let saved = handler.perform(&mut model, engine.state_mut(), &record);
        (record, saved)
    };
    let (record, saved) = start(0.25, None);
    assert!(saved);
    assert!(start(0.25, Some(&record)).1);
    assert!(!start(0.75, Some(&record)).1);
}
