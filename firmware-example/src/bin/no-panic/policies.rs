//! Calls the public functions of the policies, the engine, the events and the NaN scan.

use crate::format::{display, error, serde};
use core::hint::black_box;
use training_monitor::engine::{Evaluator, IterBatches, Position};
use training_monitor::event::{
    Any, Completed, Counters, EpochCompleted, Interrupt, IterationCompleted, IterationStarted, Never, Started, User,
};
use training_monitor::finite::{self, Finite};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::adaptive_interval::WearBudget;
use training_monitor::handlers::early_stopping::{Mode, Progress, ThresholdMode};
use training_monitor::handlers::every_ticks::EveryTicks;
use training_monitor::handlers::model_checkpoint::ranking::{Order, RankedCheckpoint, Ranking};
use training_monitor::handlers::model_checkpoint::{NoScore, OnError, SaveDecision, StepSource};
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::run_record::{Persist, encode_handler_state, restore_handler_state};
use training_monitor::store::Wear;
use training_monitor::time::{Clock, WrappingClock};
use training_monitor::{
    AdaptiveInterval, Batches, EarlyStopping, Engine, Event, EventFilter, Handler, ModelCheckpoint, Profiled, Profiler,
    RollBack, State, StopReason, TerminateOnNan, Timer, UserEvent, on,
};

/// Returns a value that the compiler cannot predict, so that the compiler cannot remove a panic because of a known
/// input.
pub fn any<T: Default>() -> T {
    black_box(T::default())
}

/// Calls all public functions of the policies, the engine, the events and the NaN scan, so that the linker checks them
/// for panics.
pub fn call_all() {
    early_stopping();
    timer();
    model_checkpoint();
    terminate_on_nan();
    every_ticks();
    adaptive_interval();
    profiler();
    roll_back();
    events();
    float_text();
    engine(&mut any(), &mut [0.0; 24]);
}

fn early_stopping() {
    match EarlyStopping::new(any()) {
        Err(failed) => error(&failed),
        Ok(stopping) => {
            let mode = if any() { Mode::Max } else { Mode::Min };
            let kind = if any() { ThresholdMode::Abs } else { ThresholdMode::Rel };
            serde(&mode);
            serde(&kind);
            match stopping
                .with_name(black_box("name"))
                .with_mode(mode)
                .with_cumulative(any())
                .with_threshold(any(), kind)
                .and_then(|stopping| stopping.with_baseline(any()))
            {
                Err(failed) => error(&failed),
                Ok(mut stopping) => {
                    while stopping.update(any()) {
                        defmt::info!("{}", stopping);
                    }
                    let mut bytes = black_box([0; 20]);
                    black_box(encode_handler_state(&mut stopping, &mut bytes).is_ok());
                    black_box(restore_handler_state(&mut stopping, &bytes).is_ok());
                    if let Some(progress) = Progress::new(any(), Some(any())) {
                        stopping.restore(progress);
                    }
                    black_box((
                        stopping.counter(),
                        stopping.best_score(),
                        stopping.patience(),
                        stopping.remaining_patience(),
                    ));
                    stopping.reset();
                    black_box(stopping);
                }
            }
        }
    }
}

fn timer() {
    let mut clock = WrappingClock::new(any::<u32>);
    let mut timer = Timer::new(clock.now());
    if any() {
        timer = timer.without_average();
    }
    timer.reset(clock.now());
    timer.pause(any());
    timer.resume(any());
    timer.step();
    defmt::info!("{}", timer);
    black_box((timer.total(), timer.elapsed(any()), timer.value(any()), timer.seconds(any(), any())));
    black_box((timer.step_count(), timer.is_running()));
}

fn model_checkpoint() {
    match ModelCheckpoint::<3>::every(any()) {
        Err(failed) => error(&failed),
        Ok(policy) => drop(black_box(if any() { policy.keep_all() } else { policy })),
    }
    let policy = ModelCheckpoint::<3>::by_score()
        .with_greater_or_equal(any())
        .with_step_source(if any() { StepSource::Calls } else { StepSource::Epoch })
        .with_on_error(if any() { OnError::Stop } else { OnError::Retry(any()) })
        .with_allow_non_finite(any())
        .with_metadata(black_box(&[("firmware", b"1.4.0")]));
    let named =
        policy.with_score_name(black_box("score")).and_then(|policy| policy.with_series_name(black_box("best")));
    let named = named.and_then(|policy| policy.with_initial_threshold(any()));
    match named.and_then(|policy| policy.with_n_saved(any())) {
        Err(failed) => error(&failed),
        Ok(mut policy) => {
            let save = policy.update(any()).or(policy.update_at(&counters(), any()));
            let save = save.unwrap_or(SaveDecision { step: any(), score: any() });
            defmt::info!("{}", save);
            serde(&save);
            black_box((policy.record_commit(save), policy.restore_entry(save), policy.best(), policy.latest()));
            black_box((policy.kept(), policy.calls()));
            policy.reset();
            black_box(policy.with_score_source(NoScore));
        }
    }

    let order = if any() { Order::Score } else { Order::Latest };
    let mut ranking = Ranking::<3>::new(any(), order, any());
    let entry = RankedCheckpoint::new(any(), any());
    black_box((ranking.accepts(&entry), ranking.insert(entry), ranking.best(), ranking.is_full(), entry.score()));
    black_box(ranking.entries());
    ranking.clear();
    black_box(ranking);
}

fn terminate_on_nan() {
    let values = black_box([0.0_f32; 100]);
    let values = values.get(..any()).unwrap_or(&values);
    black_box((finite::all_finite(values), finite::first_non_finite(values)));
    black_box(finite::all_finite_f64(black_box(&[0.0, 1.0])));
    let deep = (any::<f32>(), [any::<f64>(); 3], Some(values), (any::<u32>(), [[any::<f32>(); 2]; 2]));
    black_box(deep.is_finite());
    let mut guard = TerminateOnNan::default();
    black_box((guard.check(&deep), guard.check(values), guard.check_stripe(values)));
    defmt::info!("{}", guard);
    match guard.with_schedule(any()) {
        Err(failed) => error(&failed),
        Ok(mut guard) => {
            black_box((guard.check(&deep), guard.check(values), guard.check_stripe(values)));
            defmt::info!("{}", guard);
        }
    }
}

fn adaptive_interval() {
    let budget = WearBudget { erases: any(), lifetime: any(), borrow: any() };
    let interval = AdaptiveInterval::new().with_continuous_clock().with_name(black_box("interval"));
    let interval = interval.with_max_overhead(any()).and_then(|interval| interval.with_wear_budget(budget));
    match interval {
        Err(failed) => error(&failed),
        Ok(mut interval) => {
            let wear = Wear { erases: any(), interrupted: any() };
            let state = black_box(*interval.state());
            interval.restart(state, any(), wear);
            interval.start(any());
            black_box(interval.update(any()));
            interval.begin_save();
            interval.end_save(any(), any(), any(), wear);
            interval.pause(any());
            black_box((interval.interval(), interval.limit(), interval.mean_time_between_failures()));
            let state = interval.state();
            black_box((state.starts(), state.lost(), state.save_duration(), state.debt(), state.remaining_life()));
            black_box(state.limit());
            defmt::info!("{}", interval);
            display(&interval);
            let mut handler = interval.attach(Any, any::<u64>, ());
            let _ = Engine::<f32>::new(any()).run(&mut (), 0..any(), &mut handler, |_, _, _| any());
            black_box(handler.interval);
        }
    }
}

fn every_ticks() {
    match EveryTicks::new(any()) {
        Err(failed) => error(&failed),
        Ok(every) => {
            let mut every = every.with_name(black_box("every"));
            every.start(any());
            black_box((every.update(any()), every.elapsed()));
            defmt::info!("{}", every);
            let mut handler = every.attach(Any, any::<u64>, any());
            let _ = Engine::<f32>::new(any()).run(&mut (), 0..any(), &mut handler, |_, _, _| any());
            black_box(handler.every_ticks);
        }
    }
}

fn profiler() {
    let mut statistics = TickStatistics::new();
    while any() {
        statistics.update(any());
    }
    black_box((statistics.count(), statistics.total(), statistics.min(), statistics.max()));
    black_box((statistics.mean(), statistics.deviation()));
    display(statistics);
    defmt::info!("{}", statistics);

    let mut profiler = if any() { Profiler::default() } else { Profiler::new() };
    while any() {
        profiler.update(if any() { Event::Started } else { Event::GetBatchStarted }, any());
    }
    display(profiler);
    defmt::info!("{}", profiler);
    black_box((profiler.fetch(), profiler.step(), profiler.other(), profiler.epoch()));
    let profiler = profiler.with_saved_statistics().attach(WrappingClock::new(any::<u32>));
    let mut handlers = (
        profiler.observe(EpochCompleted, |profiler: &Profiler| _ = black_box(profiler.step())),
        Profiled::new(black_box("timer"), Timer::new(any()).attach(any::<u64>), Any, any::<u64>),
    );
    let mut engine = Engine::<f32, (), 512>::with_record_capacity(any(), ());
    let _ = engine.run(&mut (), 0..any(), &mut handlers, |_, _, _| any());
    if let Ok(record) = engine.record::<(), _>(&mut handlers)
        && let Err(failed) = engine.restore::<(), _>(&record, &mut handlers)
    {
        error(&failed);
    }
    black_box((handlers.1.events(), handlers.1.actions()));
    display(handlers.1);
}

fn roll_back() {
    match RollBack::new(any()) {
        Err(failed) => error(&failed),
        Ok(mut roll_back) => {
            let reason = if any() { Some(StopReason::NonFinite) } else { None };
            black_box((roll_back.update(reason), roll_back.complete(), roll_back.count()));
            defmt::info!("{}", roll_back);
            let mut handler = roll_back.attach(|_: &mut (), _| {});
            let stop = on(Any, |_, state: &mut State<f32>| state.terminate(StopReason::NonFinite));
            let _ = Engine::<f32>::new(any()).run(&mut (), 0..any(), &mut (stop, &mut handler), |_, _, _| any());
            black_box(handler.roll_back);
        }
    }
}

fn counters() -> Counters {
    Counters { epoch: any(), iteration: any() }
}

fn events() {
    let event = if any() { Event::EpochCompleted } else { Event::User(UserEvent { id: any(), value: any() }) };
    defmt::info!("{}", event);
    serde(&event);
    black_box(event.value(&counters()));
    let narrowed =
        EpochCompleted.every(any()).and_then(|when| when.every(any())).map(|when| when.after(any()).before(any()));
    match narrowed {
        Err(failed) => error(&failed),
        Ok(when) => {
            let mut when = when.or(User(any())).or(Interrupt).or(Any).or(Never).or(event).filter(|value| value > any());
            black_box(when.matches(event, &counters()));
        }
    }
    if let Ok(mut once) = IterationCompleted.once(any()) {
        black_box(once.matches(event, &counters()));
    }
}

/// The standard library formats floats with code in which the compiler cannot rule out a panic. The feature
/// `float-text` includes that code, so that `check` can verify that this program then fails to link.
fn float_text() {
    if cfg!(feature = "float-text") {
        display(any::<f32>());
    }
}

fn engine(model: &mut u32, weights: &mut [f32]) {
    let Ok(stopping) = EarlyStopping::new(3) else { return };
    let evaluator_stopping = stopping.attach(Completed, |state| state.output.unwrap_or(0.0));
    let evaluator = Evaluator::new(Engine::<f32>::new(1), evaluator_stopping);
    let evaluator = evaluator.run_at(EpochCompleted, |model: &mut u32, state: &mut State<f32>, engine, handlers| {
        if let Ok(outcome) = engine.run(model, 0..any(), handlers, |_, _, _| any()) {
            state.terminate_if_stopped(&outcome);
        }
    });
    let types = black_box(RunTypes::<u32, f32>::new());
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, types.reference(|_, state| &state.output)),
        TerminateOnNan::new().attach_slices(IterationCompleted, types.slices(|_, check| check(weights))),
        stopping
            .attach(EpochCompleted, types.score(|state| state.output.unwrap_or(0.0)))
            .observe(|stopping, _| defmt::info!("{=u32}", stopping.remaining_patience())),
        Timer::new(0)
            .attach(any::<u64>)
            .start(Started)
            .pause(Completed)
            .resume(IterationCompleted)
            .step(IterationStarted)
            .observe(Completed, |timer: &Timer, now| _ = black_box(timer.value(now))),
        Timer::new(0).attach(any::<u64>),
        Some(on(Any, types.function(|_, state| call_state(state)))),
        [on(Any, |_: &mut u32, _: &mut State<f32>| ()); 2],
        evaluator,
    );
    black_box((handlers.1.first_non_finite(), handlers.3.value(), handlers.3.seconds(any())));
    let mut engine = Engine::with_metrics(any(), ()).with_epoch_length(any());
    engine.start_after_epoch(any(), any());
    run(&mut engine, model, &[1.0, 2.0][..], &mut handlers);
    run(&mut engine, model, 0..any(), &mut handlers);
    run(&mut engine, model, IterBatches([1.0_f32].iter()), &mut handlers);
    loop {
        match engine.begin_iteration(model, &mut handlers) {
            Ok(true) => (),
            Ok(false) => break,
            Err(failed) => error(&failed),
        }
        engine.end_iteration(any(), model, &mut handlers);
        engine.set_data_length(any());
        engine.end_data(model, &mut handlers);
        engine.fire(UserEvent { id: any(), value: any() }, model, &mut handlers);
    }
    match engine.record::<u32, _>(&mut handlers) {
        Err(full) => error(&full),
        Ok(record) => {
            record.handlers().for_each(|(kind, tag, state)| {
                display(kind);
                black_box((kind.code(), tag, state));
            });
            if let Err(failed) = engine.restore::<u32, _>(&record, &mut handlers) {
                error(&failed);
            }
        }
    }
    if let Ok(Some(resumed)) = engine.resume(model, &mut handlers) {
        defmt::info!("{}", resumed);
    }
    defmt::info!("{} {}", engine.engine_state(), engine.outcome());
    black_box((engine.state().output, engine.outcome()));
    black_box(engine.state_mut());
    engine.restart();
    black_box(engine);
}

fn call_state(state: &mut State<f32>) {
    state.terminate_epoch();
    state.interrupt();
    state.terminate(StopReason::User(any()));
    state.set_max_epochs(any());
    state.request_action();
    if let Err(full) = state.fire(UserEvent { id: any(), value: any() }) {
        error(&full);
    }
    black_box((state.epoch(), state.iteration(), state.offset(), state.epoch_length(), state.max_epochs()));
    black_box((state.counters(), state.stop_reason(), state.is_last_in_epoch()));
}

fn run<D: Batches, H: Handler<u32, f32>>(engine: &mut Engine<f32>, model: &mut u32, mut data: D, handlers: &mut H) {
    black_box((
        data.len(),
        data.is_empty(),
        data.get(Position { epoch: any(), offset: any(), data_offset: any() }).is_some(),
    ));
    let result = engine.try_run(model, data, handlers, |_, _, _| if any() { Ok(any()) } else { Err(StepError) });
    match result {
        Ok(outcome) => {
            defmt::info!("{}", outcome);
            serde(&outcome);
        }
        Err(failed) => error(&failed),
    }
}

/// The error type of a step function.
#[derive(Debug, defmt::Format)]
pub struct StepError;

impl core::fmt::Display for StepError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the step failed")
    }
}

impl core::error::Error for StepError {}
