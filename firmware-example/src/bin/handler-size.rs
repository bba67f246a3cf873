//! Measures the code size of each handler.
//!
//! The environment variable `PART` selects one handler at compile time. The program contains an engine, a step, a
//! `ModelCheckpoint` and that handler. `PART=model-checkpoint` has no other handler. The difference of the two program
//! sizes is the size of the handler. The program is never executed. Its inputs come from `black_box`, so the compiler
//! cannot remove code for particular values.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "shared/size.rs"]
mod shared;

#[cfg(target_os = "none")]
mod firmware {
    // These crates provide the critical sections of `static_cell`.
    #[cfg(target_arch = "arm")]
    use cortex_m as _;
    #[cfg(target_arch = "riscv32")]
    use riscv as _;

    use super::shared::{any, is_same, loss, step};
    use core::hint::black_box;
    use static_cell::ConstStaticCell;
    use training_monitor::checkpoint::Named;
    use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted};
    use training_monitor::gradient::GradientLimit;
    use training_monitor::handlers::every_ticks::EveryTicks;
    use training_monitor::handlers::model_checkpoint::{CheckpointHandler, ScoreFunction};
    use training_monitor::handlers::schedules::{Cosine, StepDecay, Warmup};
    use training_monitor::handlers::spike_guard::stop_run;
    use training_monitor::store::ram::Ram;
    use training_monitor::{
        AdaptiveInterval, ConfigError, EarlyStopping, Engine, Handler, ModelCheckpoint, Profiler, ReduceOnPlateau,
        RollBack, RunningAverage, Schedule, ScoreLimits, SpikeGuard, State, TerminateOnNan, TimeLimit, Timer,
        WeightAverage, on,
    };

    static WEIGHTS: ConstStaticCell<[f32; 64]> = ConstStaticCell::new([0.0; 64]);
    static AVERAGES: ConstStaticCell<[f32; 64]> = ConstStaticCell::new([0.0; 64]);

    type Model = Named<'static, &'static mut [f32; 64]>;
    type Score = fn(&State<f32>) -> f32;
    type Checkpoints = CheckpointHandler<2, EpochCompleted, Ram<3, 512>, ScoreFunction<Score>>;

    const PART: &str = match option_env!("PART") {
        Some(part) => part,
        None => "model-checkpoint",
    };

    /// Returns true if `part` is the part that this build measures.
    const fn is_part(part: &str) -> bool {
        is_same(PART, part)
    }

    /// Runs the engine with the handler and a checkpoint handler.
    fn run<H: Handler<Model, f32>>(model: &mut Model, handler: H) {
        if let Some(checkpoints) = checkpoints() {
            run_handlers(model, (checkpoints, handler));
        }
    }

    fn run_handlers<H: Handler<Model, f32>>(model: &mut Model, mut handlers: H) {
        let mut engine = Engine::new(any());
        if engine.resume(model, &mut handlers).is_ok() {
            black_box(engine.run(model, 0..any(), &mut handlers, |model, batch, _| step(model, batch)).is_ok());
        }
    }

    fn checkpoints() -> Option<Checkpoints> {
        let score: Score = loss;
        ModelCheckpoint::best_by(score).attach(EpochCompleted, Ram::new()).ok()
    }

    fn rate(model: &mut Model, value: f32) {
        model[0] = value;
    }

    fn measure(model: &mut Model) -> Result<(), ConfigError> {
        if const { is_part("model-checkpoint") } {
            run(model, ());
        }
        if const { is_part("early-stopping") } {
            run(model, EarlyStopping::new(3)?.attach(EpochCompleted, loss));
        }
        if const { is_part("timer") } {
            run(model, Timer::new(any()).attach(any::<u64>).step(IterationCompleted));
        }
        if const { is_part("terminate-on-nan") } {
            run(model, TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output));
        }
        if const { is_part("score-limits") } {
            let limits = ScoreLimits::new().with_target(0.1)?.with_divergence_limit(9.0)?;
            run(model, limits.attach(EpochCompleted, loss));
        }
        if const { is_part("spike-guard") } {
            run(model, SpikeGuard::new().attach(IterationCompleted, loss, stop_run));
        }
        if const { is_part("profiler") } {
            run(model, Profiler::new().attach(any::<u64>));
        }
        if const { is_part("time-limit") } {
            run(model, TimeLimit::new(100)?.attach(IterationCompleted, any::<u64>));
        }
        if const { is_part("every-ticks") } {
            run(model, EveryTicks::new(100)?.attach(IterationCompleted, any::<u64>, 1));
        }
        if const { is_part("adaptive-interval") } {
            run(model, AdaptiveInterval::new().attach(IterationCompleted, any::<u64>, ()));
        }
        if const { is_part("running-average") } {
            let store = |_: &mut State<f32>, average| _ = black_box(average);
            run(model, RunningAverage::new(0.98)?.attach(IterationCompleted, loss, store));
        }
        if const { is_part("weight-average") } {
            let averages = AVERAGES.take();
            let average = WeightAverage::exponential(0.01)?
                .attach(IterationCompleted, |model: &mut Model, pair: &mut dyn FnMut(&mut [f32], &mut [f32])| {
                    pair(averages, &mut model[..])
                });
            run(model, average);
        }
        if const { is_part("reduce-on-plateau") } {
            run(model, ReduceOnPlateau::new(0.1)?.attach(EpochCompleted, loss, rate));
        }
        if const { is_part("step-decay") } {
            run(model, StepDecay::new(0.1, 10, 0.5)?.attach(IterationStarted, rate));
        }
        if const { is_part("warmup-and-cosine") } {
            let schedule = Warmup::new(Cosine::new(0.1, 1000)?, 0.0, 50)?;
            run(model, schedule.attach(IterationStarted, rate));
        }
        if const { is_part("gradient-limit") } {
            let limit = GradientLimit::new(1.0)?;
            let clip = move |model: &mut Model, _: &mut State<f32>| {
                _ = black_box(limit.clip_norm(|clip| clip(&mut model[..])))
            };
            run(model, on(IterationCompleted, clip));
        }
        if const { is_part("restore-best") }
            && let Some(checkpoints) = checkpoints()
        {
            run_handlers(model, (checkpoints.restore_best(), ()));
        }
        if const { is_part("roll-back") } {
            run(model, RollBack::new(3)?.attach(|model: &mut Model, _| model[0] *= 0.5));
        }
        Ok(())
    }

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        let mut model = Named::new("model", WEIGHTS.take());
        loop {
            black_box(measure(&mut model).is_ok());
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` builds it for a Cortex-M4F.");
}
