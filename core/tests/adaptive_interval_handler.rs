//! Tests of [`AdaptiveInterval`] as a handler: runs that save to flash, lose their power and resume.
#![cfg(feature = "nor-flash")]

use std::cell::Cell;
use training_monitor::checkpoint::Named;
use training_monitor::event::{Completed, IterationCompleted};
use training_monitor::handlers::adaptive_interval::WearBudget;
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, NoScore};
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError};
use training_monitor::store::flash::Slots;
use training_monitor::store::ram::Ram;
use training_monitor::store::{Store, Wear};
use training_monitor::{
    AdaptiveInterval, Engine, Event, EventFilter, Handler, ModelCheckpoint, Profiled, RollBack, State, StopReason, on,
};
use training_monitor_std::test_support::flash::{Flash, Interruption};

type Chip = Flash<4, 256>;

const BUDGET: WearBudget = WearBudget { erases: 1000, lifetime: 1_000_000, borrow: 10_000 };

fn settings() -> AdaptiveInterval {
    AdaptiveInterval::new().with_wear_budget(BUDGET).unwrap().with_continuous_clock()
}

/// Trains until the power fails or 400 iterations are complete. An iteration takes 10 ticks, and each reading of the clock
/// takes one. Returns the weight if the run is complete, and the state machine.
fn train(chip: &mut Chip, ticks: &Cell<u64>) -> (Option<f32>, AdaptiveInterval) {
    let clock = || {
        ticks.set(ticks.get() + 1);
        ticks.get()
    };
    let store = Slots::<_, 3>::open(chip, 0..3 * 512).unwrap();
    let checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted.or(Completed), store).unwrap();
    let mut handler = settings().attach(IterationCompleted, clock, checkpoint);
    let mut weight = Named::new("weight", [1.0_f32]);
    let mut engine = Engine::new(1);
    engine.resume(&mut weight, &mut handler).unwrap();
    let step = |weight: &mut Named<'_, [f32; 1]>, batch: u32, _: &mut State<()>| {
        ticks.set(ticks.get() + 10);
        weight[0] = weight[0].mul_add(1.01, batch as f32 * 1e-3);
    };
    let result = engine.run(&mut weight, 0..400, &mut handler, step);
    (result.is_ok().then_some(weight[0]), handler.interval)
}

/// A run that loses its power again and again ends with the same weight as an undisturbed one. Its erases stay within the
/// budget, and its starts and failures are counted.
#[test]
fn a_run_with_power_failures_ends_with_the_same_bits() {
    let mut chip = Chip::new(3 * 512, 0xFF);
    let (expected, undisturbed) = train(&mut chip, &Cell::new(0));
    assert!(expected.is_some());
    assert_eq!(undisturbed.state().starts(), 1);
    for seed in 0..40 {
        let (mut chip, ticks) = (Chip::new(3 * 512, 0xFF), Cell::new(0));
        let mut starts = 0;
        let weight = loop {
            starts += 1;
            assert!(starts < 1000, "seed {seed}: no progress");
            chip.cut_power_at(30 + seed * 7 % 90 + starts, Interruption::Bits, seed + starts);
            let (weight, interval) = train(&mut chip, &ticks);
            if weight.is_some() && !chip.is_off() {
                // The last save does not wait for the budget, and the erase of an interrupted save is charged afterwards.
                assert!(interval.state().debt() <= BUDGET.borrow + 2000, "seed {seed}: {}", interval.state().debt());
                assert!(u64::from(interval.state().starts()) <= starts);
                break weight;
            }
            chip.power_on();
            ticks.set(ticks.get() + 500);
        };
        assert_eq!(weight, expected, "seed {seed}");
        let erases = u64::from(Slots::<_, 3>::open(&mut chip, 0..3 * 512).unwrap().wear().erases);
        assert!(erases * 1000 <= ticks.get() + BUDGET.borrow, "seed {seed}: {erases} erases in {} ticks", ticks.get());
    }
}

/// A state that is restored in the same program (a roll-back) is not a restart.
#[test]
fn a_roll_back_is_not_a_failure() {
    let ticks = Cell::new(0);
    let clock = || {
        ticks.set(ticks.get() + 5);
        ticks.get()
    };
    let checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap();
    let mut rolled_back = false;
    let mut handlers = (
        AdaptiveInterval::new().attach(IterationCompleted, clock, checkpoint),
        RollBack::new(3).unwrap().attach(|_: &mut Named<'_, [f32; 1]>, _: &mut State<()>| ()),
        on(IterationCompleted.filter(|iteration| iteration == 20), |_, state: &mut State<()>| {
            if !std::mem::replace(&mut rolled_back, true) {
                state.terminate(StopReason::Spike);
            }
        }),
    );
    Engine::new(1).run(&mut Named::new("weight", [1.0_f32]), 0..40, &mut handlers, |_, _, _| ()).unwrap();
    assert_eq!(handlers.1.roll_back.count(), 1);
    let state = handlers.0.interval.state();
    assert_eq!((state.starts(), state.lost()), (1, 0.0));
}

fn handler(chip: &mut Chip) -> CheckpointHandler<1, IterationCompleted, Slots<&mut Chip, 3>, NoScore> {
    let store = Slots::open(chip, 0..3 * 512).unwrap();
    ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, store).unwrap()
}

/// The flash store counts the erases of its slots, and finds the remains of an interrupted save at the next opening.
#[test]
fn a_flash_store_reports_its_wear() {
    let mut chip = Chip::new(3 * 512, 0xFF);
    assert_eq!(Slots::<_, 3>::open(&mut chip, 0..3 * 512).unwrap().wear(), Wear::default());
    let mut weight = Named::new("weight", [1.0_f32]);
    let save = |chip: &mut Chip, weight: &mut Named<'_, [f32; 1]>, batches: u32| {
        let store = Slots::<_, 3>::open(chip, 0..3 * 512).unwrap();
        let mut handler = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
        let _ = Engine::new(1).run(weight, 0..batches, &mut handler, |_, _, _: &mut State<()>| ());
        handler.store_mut().wear().erases
    };
    assert_eq!(save(&mut chip, &mut weight, 5), 5);
    let wear = Wear { erases: 5, interrupted: 0 };
    // Every handler that contains a handler passes its wear on.
    fn wear_of<H: Handler<Named<'static, [f32; 1]>, ()>>(mut handler: H) -> Wear {
        handler.wear()
    }
    assert_eq!(wear_of(handler(&mut chip)), wear);
    assert_eq!(wear_of((handler(&mut chip), ())), wear);
    assert_eq!(wear_of([Some(&mut handler(&mut chip))]), wear);
    assert_eq!(wear_of(handler(&mut chip).restore_best()), wear);
    assert_eq!(wear_of(handler(&mut chip).in_background([0; 512])), wear);
    assert_eq!(wear_of(Profiled::new("saving", handler(&mut chip), IterationCompleted, || 0)), wear);
    assert_eq!(wear_of(AdaptiveInterval::new().attach(IterationCompleted, || 0, handler(&mut chip))), wear);
    assert_eq!(Slots::<_, 3>::open(&mut chip, 0..3 * 512).unwrap().wear(), Wear { erases: 5, interrupted: 0 });
    chip.cut_power_at(4, Interruption::Bits, 1);
    save(&mut chip, &mut weight, 1);
    chip.power_on();
    assert_eq!(Slots::<_, 3>::open(&mut chip, 0..3 * 512).unwrap().wear(), Wear { erases: 5, interrupted: 1 });
}

/// A handler of another program that writes the given state.
struct Writer((u16, u8, [f32; 5], u8, u8, u64, u64));

impl<T: ?Sized, O> Handler<T, O> for Writer {
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O>) {}
    fn persist(&mut self, _: &mut State<O>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

impl Persist for Writer {
    const KIND: HandlerKind = HandlerKind::ADAPTIVE_INTERVAL;
    type State = (u16, u8, [f32; 5], u8, u8, u64, u64);
    fn tag(&self) -> u16 {
        AdaptiveInterval::new().attach(IterationCompleted, || 0, ()).tag()
    }
    fn save(&mut self) -> Self::State {
        self.0
    }
    fn restore(&mut self, _: Self::State) {}
}

/// A state with a number that no program writes is refused, and changes nothing.
#[test]
fn an_invalid_state_is_refused() {
    let valid = (3, 2, [1e4, 50.0, 10.0, 200.0, 0.0], 3, 0, 70, 900);
    let restored = |state| {
        let mut engine = Engine::<()>::new(1);
        engine.run(&mut (), 0..3, &mut Writer(state), |(), _, _| ()).unwrap();
        let record = engine.record::<(), _>(&mut Writer(state)).unwrap();
        let mut handler = AdaptiveInterval::new().attach(IterationCompleted, || 1000, ());
        let result = Engine::<()>::new(1).restore::<(), _>(&record, &mut handler);
        (result.map(|_| ()), handler.interval)
    };
    let (result, interval) = restored(valid);
    assert_eq!(result, Ok(()));
    assert_eq!((interval.state().starts(), interval.state().debt()), (4, 70));
    assert_eq!(interval.mean_time_between_failures(), (1e4 + 100.0) / 4.0);
    for invalid in [
        (3, 2, [f32::NAN, 50.0, 10.0, 200.0, 0.0], 3, 0, 70, 900),
        (3, 2, [1e4, -1.0, 10.0, 200.0, 0.0], 3, 0, 70, 900),
        (3, 2, [1e4, 50.0, f32::INFINITY, 200.0, 0.0], 3, 0, 70, 900),
        (3, 2, [1e4, 50.0, 10.0, 200.0, 0.0], 4, 0, 70, 900),
        (3, 2, [1e4, 50.0, 10.0, 200.0, 0.0], 3, 2, 70, 900),
    ] {
        let (result, interval) = restored(invalid);
        assert_eq!(result, Err(RestoreError::Malformed { kind: HandlerKind::ADAPTIVE_INTERVAL }), "{invalid:?}");
        assert_eq!(interval, AdaptiveInterval::new());
    }
}
