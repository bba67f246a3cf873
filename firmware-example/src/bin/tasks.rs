//! Training under an async executor: one task trains and yields to other tasks during each step.
//!
//! The engine is not asynchronous. The task calls `begin_iteration` and `end_iteration` in a custom loop. Between these
//! two calls the task may await anything, for example a sensor sample, a radio or a flash operation.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
#[path = "../board/log.rs"]
mod log;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board;
    use core::cell::Cell;
    use critical_section::Mutex;
    use digits_workload::data::Split;
    use digits_workload::train::{Hyper, Trainee};
    use embassy_executor::{Executor, Spawner};
    use embassy_futures::yield_now;
    use static_cell::{ConstStaticCell, StaticCell};
    use training_monitor::event::{EpochCompleted, IterationCompleted};
    use training_monitor::{EarlyStopping, Engine, State, TerminateOnNan, on};

    type Small = Trainee<10, 16>;

    static TRAINEE: ConstStaticCell<Small> = ConstStaticCell::new(Small::new());
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    /// Number of times the `blink` task has run.
    static BLINKS: Mutex<Cell<u32>> = Mutex::new(Cell::new(0));

    #[embassy_executor::task]
    async fn train(trainee: &'static mut Small) {
        trainee.init(1, Hyper::default());
        let Ok(stopping) = EarlyStopping::new(2) else { board::exit(1) };
        let mut handlers = (
            TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
            on(EpochCompleted, |trainee: &mut Small, state: &mut State<f32, f32>| {
                state.metrics = -trainee.evaluate(Split::Validation).loss;
            }),
            stopping.attach(EpochCompleted, |state| state.metrics),
        );
        let mut engine = Engine::with_metrics(2, f32::NEG_INFINITY).with_epoch_length(Small::BATCHES);
        while engine.begin_iteration(trainee, &mut handlers) == Ok(true) {
            let loss = trainee.step(engine.state().epoch(), engine.state().offset());
            // The executor runs the other tasks here. A real program would await its next samples.
            yield_now().await;
            engine.end_iteration(loss, trainee, &mut handlers);
        }
        let blinks = critical_section::with(|cs| BLINKS.borrow(cs).get());
        if let Some(outcome) = engine.outcome() {
            defmt::info!("{} after epoch {=u32}; loss {=f32}", outcome.reason, outcome.epoch, -engine.state().metrics);
        }
        defmt::info!("{=u32} blinks during training", blinks);
        board::exit(if blinks >= Small::BATCHES { 0 } else { 1 })
    }

    #[embassy_executor::task]
    async fn blink() {
        loop {
            critical_section::with(|cs| BLINKS.borrow(cs).set(BLINKS.borrow(cs).get() + 1));
            yield_now().await;
        }
    }

    fn start(spawner: Spawner) {
        match (train(TRAINEE.take()), blink()) {
            (Ok(train), Ok(blink)) => {
                spawner.spawn(train);
                spawner.spawn(blink);
            }
            _ => board::exit(1),
        }
    }

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        EXECUTOR.init(Executor::new()).run(start)
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        board::exit(101)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` builds it and runs it in emulators.");
}
