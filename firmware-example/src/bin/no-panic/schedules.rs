//! Calls the public functions of the schedules and of `ReduceOnPlateau`.

use crate::format::{error, serde};
use crate::policies::any;
use core::hint::black_box;
use training_monitor::event::{EpochCompleted, EpochStarted, GetBatchStarted, IterationStarted};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::handlers::schedules::{
    Anneal, Concat, ConcatArray, Constant, Cosine, CosineAnnealing, CosineRestarts, Cyclic, CyclicMode, Exponential,
    Lambda, Linear, LinearCyclical, MultiStep, OneCycle, PiecewiseLinear, Polynomial, StepDecay, Warmup,
};
use training_monitor::{ConfigError, Engine, ReduceOnPlateau, Schedule};

/// Calls all public functions of the schedules and of `ReduceOnPlateau`, so that the linker checks them for panics.
pub fn call_all() {
    decays();
    ramps();
    cosines();
    cycles();
    compositions();
    reduce_on_plateau();
    attached(&mut any());
}

/// Computes a value of a schedule.
fn value<S: Schedule + defmt::Format>(schedule: Result<S, ConfigError>) {
    match schedule {
        Ok(schedule) => {
            black_box((&schedule).value(any()));
            defmt::info!("{}", schedule);
        }
        Err(failed) => error(&failed),
    }
}

fn decays() {
    let milestones = black_box([1_u32; 10]);
    let milestones = milestones.get(..any()).unwrap_or(&milestones);
    value(StepDecay::new(any(), any(), any()));
    value(MultiStep::new(any(), milestones, any()));
    value(Exponential::new(any(), any()));
}

fn ramps() {
    value(Linear::new(any(), any(), any(), any()));
    value(Constant::new(any(), any(), any()));
    value(Polynomial::new(any(), any(), any()));
    let points = black_box([(1_u32, 1.0_f32); 10]);
    value(PiecewiseLinear::new(points.get(..any()).unwrap_or(&points)));
}

fn cosines() {
    value(Cosine::new(any(), any()).and_then(|cosine| cosine.with_eta_min(any())));
    let restarts = CosineRestarts::new(any(), any()).and_then(|cosine| cosine.with_eta_min(any()));
    value(restarts.and_then(|cosine| cosine.with_t_mult(any())));
    let anneal = if any() { Anneal::Cos } else { Anneal::Linear };
    serde(&anneal);
    let cycle = OneCycle::new(any(), any()).and_then(|cycle| cycle.with_pct_start(any()));
    let cycle = cycle.and_then(|cycle| cycle.with_div_factors(any(), any()));
    value(cycle.map(|cycle| cycle.with_anneal(anneal).with_three_phase(any())));
}

fn cycles() {
    let mode = if any() { CyclicMode::Triangular2 } else { CyclicMode::ExpRange(any()) };
    serde(&mode);
    value(Cyclic::new(any(), any(), any(), any()).and_then(|cyclic| cyclic.with_mode(mode)));
    let linear = LinearCyclical::new(any(), any(), any()).and_then(|linear| linear.with_cycle_mult(any()));
    let linear = linear.and_then(|linear| linear.with_value_mults(any(), any()));
    value(linear.map(|linear| if any() { linear.with_monotonic(any()) } else { linear }));
    let cosine = CosineAnnealing::new(any(), any(), any()).and_then(|cosine| cosine.with_cycle_mult(any()));
    let cosine = cosine.and_then(|cosine| cosine.with_value_mults(any(), any()));
    value(cosine.map(|cosine| cosine.with_warmup_duration(any())));
}

fn compositions() {
    let Ok(inner) = Cosine::new(any(), any()) else { return };
    value(Warmup::new(inner, any(), any()).and_then(|warmup| warmup.with_end_value(any())));
    value(Concat::new(inner, any(), inner));
    match ConcatArray::new([(inner, any()), (inner, any())], inner) {
        Ok(schedule) => _ = black_box(schedule.value(any())),
        Err(failed) => error(&failed),
    }
    black_box(Lambda(|step| black_box(step) as f32).value(any()));
}

fn plateau() -> Result<ReduceOnPlateau, ConfigError> {
    let mode = if any() { Mode::Max } else { Mode::Min };
    let threshold_mode = if any() { ThresholdMode::Abs } else { ThresholdMode::Rel };
    ReduceOnPlateau::new(any())?
        .with_mode(mode)
        .with_patience(any())
        .with_cooldown(any())
        .with_name(black_box("name"))
        .with_factor(any())?
        .with_threshold(any(), threshold_mode)?
        .with_min_value(any())?
        .with_eps(any())
}

fn reduce_on_plateau() {
    match plateau() {
        Err(failed) => error(&failed),
        Ok(mut plateau) => {
            black_box((plateau.update(any()), plateau.value(), plateau.bad_count()));
            black_box((plateau.best(), plateau.cooldown_left()));
            defmt::info!("{}", plateau);
            plateau.reset();
            black_box(plateau);
        }
    }
}

fn attached(rate: &mut f32) {
    let (Ok(plateau), Ok(cosine)) = (plateau(), Cosine::new(any(), any())) else { return };
    let types = black_box(RunTypes::<f32, f32>::new());
    let mut handlers = (
        cosine.attach(EpochStarted, types.parameter(|rate, value| *rate = value)),
        cosine.attach(GetBatchStarted, types.parameter(|rate, value| *rate = value)),
        cosine
            .attach(IterationStarted, types.parameter(|rate, value| *rate = value))
            .observe(|value, _| _ = black_box(value)),
        plateau.attach(
            EpochCompleted,
            types.score(|state| state.output.unwrap_or(0.0)),
            types.parameter(|rate, value| *rate = value),
        ),
    );
    let mut engine = Engine::<f32>::new(any());
    if let Ok(record) = engine.record::<f32, _>(&mut handlers)
        && let Err(failed) = engine.restore::<f32, _>(&record, &mut handlers)
    {
        error(&failed);
    }
    if let Err(failed) = engine.run(rate, 0..any(), &mut handlers, |rate, _, _| *rate) {
        error(&failed);
    }
    if let Err(failed) = engine.resume(rate, &mut handlers) {
        error(&failed);
    }
    black_box(handlers);
}
