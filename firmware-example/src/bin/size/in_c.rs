//! The parts that also exist as programs in C, in `core/c/tests/boards`. What the library for C learns at run time, these
//! parts learn at run time, too, where the name of the part says so.

use super::firmware::Model;
use super::shared::{Flash, any, step};
use core::hint::black_box;
use training_monitor::checkpoint::Crc32;
use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted, Never};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, NoScore, SaveDecision};
use training_monitor::store::Store;
use training_monitor::store::flash::{RunTimeGeometry, Slots};
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, TerminateOnNan, Timer};

/// Opens two regions of the flash.
fn regions<const BEST: usize, const LATEST: usize>() -> Option<(Slots<Flash, BEST>, Slots<Flash, LATEST>)> {
    Some((Slots::open(Flash, 0..any()).ok()?, Slots::open(Flash, any()..any()).ok()?))
}

/// Early stopping whose settings are known at run time only, as in the library for C.
pub fn stopping_with_any_settings(model: &mut Model<'_>) {
    let threshold = if any() { ThresholdMode::Abs } else { ThresholdMode::Rel };
    let Ok(stopping) = EarlyStopping::new(any()) else { return };
    let Ok(stopping) = stopping.with_threshold(any(), threshold) else { return };
    let mode = if any() { Mode::Max } else { Mode::Min };
    let Ok(mut stopping) = stopping.with_mode(mode).with_cumulative(any()).with_baseline(any()) else { return };
    while !stopping.update(step(model, any())) {}
}

/// The counterpart of `core/c/tests/boards/save-load.c`: checkpoints in flash, without an engine.
pub fn save_and_load(model: &mut Model<'_>) {
    let Ok(slots) = Slots::<_, 3>::open(Flash, 0..any()) else { return };
    let Ok(best) = ModelCheckpoint::<2>::by_score().attach(Never, slots) else { return };
    load_and_save(best, model);
}

/// The same with settings and flash sizes that are known at run time only, as in the library for C.
pub fn save_and_load_with_any_settings(model: &mut Model<'_>) {
    let geometry =
        RunTimeGeometry { read_size: any(), write_size: any(), erase_size: any(), slots: any(), reserved: 0 };
    let slots = Slots::<_, 8, Crc32, RunTimeGeometry>::open_with_geometry(Flash, any()..any(), geometry);
    let policy = if any() {
        let Ok(latest) = ModelCheckpoint::<7>::every(any()) else { return };
        latest.with_score_source(NoScore)
    } else {
        let best = ModelCheckpoint::by_score().with_greater_or_equal(any()).with_score_name(black_box("loss"));
        let Ok(Ok(best)) = best.map(|best| best.with_initial_threshold(any())) else { return };
        best.with_score_source(NoScore)
    };
    let Ok(Ok(policy)) = policy.with_n_saved(any()).map(|policy| policy.with_series_name(black_box("series"))) else {
        return;
    };
    if let Ok(slots) = slots
        && let Ok(best) = policy.with_allow_non_finite(any()).attach(Never, slots)
    {
        load_and_save(best, model);
    }
}

fn load_and_save<'a, S: Store, F, const N: usize>(mut best: CheckpointHandler<N, Never, S, F>, model: &mut Model<'a>) {
    if best.load_best(model).is_ok() {
        let decision = SaveDecision { step: any(), score: any() };
        black_box(best.save(decision, any(), None, model).is_ok());
    }
}

/// The counterpart of `core/c/tests/boards/everything.c`: two guards, early stopping, a timer, two series in flash, and
/// a custom loop.
pub fn everything(model: &mut Model<'_>) {
    let types = RunTypes::<Model<'_>, f32, f32>::new();
    let Some((best, latest)) = regions::<3, 2>() else { return };
    let Ok(stopping) = EarlyStopping::new(5) else { return };
    let Ok(weights) = TerminateOnNan::new().with_schedule(38) else { return };
    let policy = ModelCheckpoint::<2>::best_by(types.score(|state| -state.metrics)).with_score_name("val_loss");
    let Ok(Ok(best)) = policy.map(|policy| policy.attach(EpochCompleted, best)) else { return };
    let Ok(Ok(latest)) = ModelCheckpoint::<1>::every(1).map(|policy| policy.attach(EpochCompleted, latest)) else {
        return;
    };
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        weights.attach_slices(IterationCompleted, types.slices(|model: &Model<'_>, check| check(&model[..]))),
        stopping.attach(EpochCompleted, types.score(|state| -state.metrics)),
        Timer::new(0).attach(any::<u64>).pause(IterationCompleted).resume(IterationStarted).step(IterationCompleted),
        best,
        latest,
    );
    let mut engine = Engine::<f32, f32>::with_metrics(60, 0.0).with_epoch_length(38);
    if engine.resume(model, &mut handlers).is_err() {
        return;
    }
    while let Ok(true) = engine.begin_iteration(model, &mut handlers) {
        if engine.state().is_last_in_epoch() {
            engine.state_mut().metrics = any();
        }
        engine.end_iteration(any(), model, &mut handlers);
    }
    let (.., best, _) = &mut handlers;
    black_box(best.load_best(model).is_ok());
}
