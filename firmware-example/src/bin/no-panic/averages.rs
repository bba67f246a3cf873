//! Calls the public functions of the averages, the limits and the gradient clipping.

use crate::format::{error, serde};
use crate::policies::any;
use core::hint::black_box;
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::gradient::{self, GradientLimit};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::spike_guard::stop_run;
use training_monitor::handlers::weight_average::AverageRule;
use training_monitor::{
    EarlyStopping, Engine, RunningAverage, ScoreLimits, SpikeGuard, State, TimeLimit, WeightAverage,
};

/// Calls all public functions of the averages, the limits and the gradient clipping, so that the linker checks them for
/// panics.
pub fn call_all() {
    running_average();
    match WeightAverage::exponential(any()).and_then(|average| average.with_warmup(any(), any())) {
        Err(failed) => error(&failed),
        Ok(average) => weight_average(average),
    }
    weight_average(WeightAverage::equal());
    time_limit();
    score_limits();
    spike_guard();
    gradient_limit();
    run(&mut ([0.0; 5], [0.0; 5]));
}

fn running_average() {
    match RunningAverage::new(any()) {
        Err(failed) => error(&failed),
        Ok(average) => {
            let average = average.with_name(black_box("loss"));
            let mut average = if any() { average.per_epoch() } else { average };
            black_box((average.update(any()), average.value()));
            defmt::info!("{}", average);
            average.reset();
            black_box(average);
        }
    }
}

fn weight_average<R: AverageRule + defmt::Format>(average: WeightAverage<R>) {
    let mut average = average.with_name(black_box("average"));
    let mut averages = black_box([0.0; 100]);
    let mut weights = black_box([0.0; 100]);
    let mut pairs = |pair: &mut dyn FnMut(&mut [f32], &mut [f32])| {
        let averages = averages.get_mut(..any()).unwrap_or_default();
        pair(averages, weights.get_mut(..any()).unwrap_or_default());
    };
    black_box((average.start(&mut pairs), WeightAverage::is_valid(&mut pairs)));
    while average.update(&mut pairs) {
        black_box((average.updates(), average.momentum()));
    }
    black_box(WeightAverage::swap(&mut pairs));
    defmt::info!("{}", average);
}

fn time_limit() {
    match TimeLimit::new(any()) {
        Err(failed) => error(&failed),
        Ok(limit) => {
            let mut limit = limit.with_name(black_box("night"));
            limit.start(any());
            while limit.update(any()) {
                defmt::info!("{}", limit);
            }
            limit.pause(any());
            black_box((limit.elapsed(), limit.limit(), limit.remaining()));
        }
    }
}

fn score_limits() {
    let limits = if any() { ScoreLimits::default() } else { ScoreLimits::new() };
    let limits = limits.with_mode(if any() { Mode::Max } else { Mode::Min }).with_check_finite(any());
    match limits.with_target(any()).and_then(|limits| limits.with_divergence_limit(any())) {
        Err(failed) => error(&failed),
        Ok(limits) => {
            black_box(limits.update(any()));
            defmt::info!("{}", limits);
        }
    }
}

fn spike_guard() {
    let guard = if any() { SpikeGuard::default() } else { SpikeGuard::new() };
    let guard = guard.with_mode(if any() { Mode::Max } else { Mode::Min }).with_warmup(any());
    let guard = guard.with_name(black_box("loss")).with_window(any());
    let tolerant = guard.and_then(|guard| guard.with_absolute_tolerance(any()));
    match tolerant.and_then(|guard| guard.with_relative_tolerance(any())) {
        Err(failed) => error(&failed),
        Ok(mut guard) => {
            let verdict = guard.update(any());
            defmt::info!("{} {}", guard, verdict);
            serde(&verdict);
            black_box((verdict.stop_reason(), guard.spike_count(), guard.mean(), guard.last()));
            guard.reset();
            black_box(guard);
        }
    }
}

fn gradient_limit() {
    let mut values = black_box([0.0; 100]);
    let mut slices = |visit: &mut dyn FnMut(&mut [f32])| visit(values.get_mut(..any()).unwrap_or_default());
    match GradientLimit::new(any()) {
        Err(failed) => error(&failed),
        Ok(limit) => {
            black_box((limit.clip_norm(&mut slices), limit.clip_largest(&mut slices)));
            limit.clip_values(&mut slices);
            defmt::info!("{}", limit);
        }
    }
    black_box((gradient::l2_norm(&mut slices), gradient::largest_magnitude(&mut slices)));
}

fn run(net: &mut ([f32; 5], [f32; 5])) {
    let types = black_box(RunTypes::<([f32; 5], [f32; 5]), f32, f32>::new());
    let (Ok(running), Ok(limit), Ok(stopping), Ok(ema)) =
        (RunningAverage::new(0.5), TimeLimit::new(9), EarlyStopping::new(3), WeightAverage::exponential(0.1))
    else {
        return;
    };
    let mut handlers = (
        running.attach(
            IterationCompleted,
            types.score(|state| state.output.unwrap_or(0.0)),
            types.store(|state, average| state.metrics = average),
        ),
        ema.attach(IterationCompleted, types.pairs(|(weights, averages), pair| pair(averages, weights))),
        WeightAverage::equal().attach(EpochCompleted, types.pairs(|(weights, averages), pair| pair(averages, weights))),
        limit.attach(IterationCompleted, any::<u64>),
        ScoreLimits::new().attach(EpochCompleted, types.score(|state| state.metrics)),
        SpikeGuard::new().attach(IterationCompleted, types.score(|state| state.output.unwrap_or(0.0)), stop_run),
        stopping
            .attach(EpochCompleted, types.score(|state| state.metrics))
            .with_warmup(any())
            .observe(|stopping: &EarlyStopping, _: &State<f32, f32>| _ = black_box(stopping.counter())),
    );
    let mut engine = Engine::with_metrics(any(), 0.0);
    if let Err(failed) = engine.run(net, 0..any(), &mut handlers, |_, _, _| any()) {
        error(&failed);
    }
    black_box(handlers.1.skipped());
    if let Ok(record) = engine.record::<([f32; 5], [f32; 5]), _>(&mut handlers)
        && let Err(failed) = engine.restore::<([f32; 5], [f32; 5]), _>(&record, &mut handlers)
    {
        error(&failed);
    }
}
