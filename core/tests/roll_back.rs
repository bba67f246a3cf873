//! Tests of the roll-back: to which checkpoint it returns, when it gives up, and that power failures do not change the
//! result.

use training_monitor::event::{
    Any, Completed, EpochCompleted, Event, GetBatchStarted, Interrupt, IterationCompleted, IterationStarted,
    RolledBack, User,
};
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::store::flash::Slots;
use training_monitor::store::ram::Ram;
use training_monitor::{
    ConfigError, EarlyStopping, Engine, EventFilter, ModelCheckpoint, Objects, Outcome, RollBack, RunError,
    ScoreLimits, State, StateDict, StopReason, TerminateOnNan, UserEvent, on,
};
use training_monitor_std::test_support::flash::{self, Flash};

#[derive(Objects, Clone, PartialEq, Debug)]
struct Model {
    net: Net,
}

/// A weight that overflows while the learning rate is greater than 1, and the learning rate.
#[derive(StateDict, Clone, PartialEq, Debug)]
struct Net {
    weight: [f32; 3],
    learning_rate: [f32; 1],
}

impl Model {
    fn new(learning_rate: f32) -> Self {
        Model { net: Net { weight: [1.0, -2.0, 0.5], learning_rate: [learning_rate] } }
    }

    fn step(&mut self, batch: u32) -> f32 {
        let rate = self.net.learning_rate[0];
        for weight in &mut self.net.weight {
            *weight -= rate * (2.0 * *weight + 0.01 * batch as f32);
        }
        self.net.weight.iter().map(|weight| weight * weight).sum()
    }
}

fn halve(model: &mut Model, _: &mut State<f32>) {
    model.net.learning_rate[0] *= 0.5;
}

#[test]
fn limit_of_zero_is_refused_and_the_state_machine_counts() {
    assert_eq!(RollBack::new(0), Err(ConfigError::RollBacks));
    let mut roll_back = RollBack::new(2).unwrap();
    assert!(!roll_back.update(None));
    assert!(!roll_back.update(Some(StopReason::EarlyStopping)));
    assert!(!roll_back.update(Some(StopReason::User(1))));
    assert!(roll_back.update(Some(StopReason::NonFinite)));
    assert!(!roll_back.update(Some(StopReason::NonFinite)), "the first request is not performed yet");
    assert_eq!((roll_back.complete(), roll_back.count()), (1, 1));
    assert!(roll_back.update(Some(StopReason::Diverged)));
    assert_eq!((roll_back.complete(), roll_back.count()), (2, 2));
    assert!(RollBack::new(1).unwrap().update(Some(StopReason::Spike)));
    assert!(!roll_back.update(Some(StopReason::NonFinite)), "the limit is reached");
}

/// Runs 300 iterations with a save every ten, and returns the outcome, the model and the number of roll-backs.
fn run_in_ram(learning_rate: f32, max: u32) -> (Outcome, Model, u32, Vec<(Event, u32)>) {
    let mut model = Model::new(learning_rate);
    let mut events = Vec::new();
    let mut handlers = (
        ModelCheckpoint::<1>::every(10).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        RollBack::new(max).unwrap().attach(halve),
        on(RolledBack, |_, state: &mut State<f32>| events.push((Event::RolledBack, state.iteration()))),
    );
    let outcome = Engine::new(1).run(&mut model, 0..300, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
    let count = handlers.2.roll_back.count();
    (outcome, model, count, events)
}

#[test]
fn run_continues_from_the_newest_checkpoint_with_the_changed_learning_rate() {
    let (outcome, model, count, events) = run_in_ram(3.0, 2);
    assert_eq!((outcome.reason, outcome.iteration, count), (StopReason::MaxEpochs, 300, 2));
    assert_eq!(model.net.learning_rate[0], 0.75);
    // A loss of f32::MAX is exceeded after about 28 iterations at a rate of 3, and after 64 at a rate of 1.5.
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|(_, iteration)| iteration % 10 == 0), "{events:?}");
}

#[test]
fn run_stops_with_the_requested_reason_after_the_last_roll_back() {
    let (outcome, model, count, _) = run_in_ram(3.0, 1);
    assert_eq!((outcome.reason, count), (StopReason::NonFinite, 1));
    assert_eq!(model.net.learning_rate[0], 1.5);
}

#[test]
fn several_roll_backs_to_one_checkpoint_all_change_the_model() {
    // At a rate of 100, the weights overflow before iteration 10, so both roll-backs return to iteration 1.
    let mut model = Model::new(100.0);
    let mut handlers = (
        ModelCheckpoint::<1>::every(1)
            .unwrap()
            .attach(IterationCompleted.once(1).unwrap(), Ram::<2, 512>::new())
            .unwrap(),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        RollBack::new(9).unwrap().attach(halve),
    );
    let outcome = Engine::new(1).run(&mut model, 0..300, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
    assert_eq!((outcome.reason, handlers.2.roll_back.count()), (StopReason::MaxEpochs, 7));
    assert_eq!(model.net.learning_rate[0], 100.0 / 128.0);
}

#[test]
fn without_a_checkpoint_the_run_stops() {
    let mut model = Model::new(3.0);
    let mut handlers = (
        ModelCheckpoint::<1>::every(1).unwrap().attach(EpochCompleted, Ram::<2, 512>::new()).unwrap(),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        RollBack::new(2).unwrap().attach(halve),
    );
    let outcome = Engine::new(1).run(&mut model, 0..300, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
    assert_eq!((outcome.reason, handlers.2.roll_back.count()), (StopReason::NonFinite, 0));
    assert_eq!(model.net.learning_rate[0], 3.0);
}

#[test]
fn checkpoint_of_an_older_run_is_not_used() {
    let checkpoints = ModelCheckpoint::<1>::every(10).unwrap();
    let mut handlers = (
        checkpoints.attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        RollBack::new(2).unwrap().attach(halve),
    );
    for (learning_rate, reason) in [(0.1, StopReason::MaxEpochs), (1.0e30, StopReason::NonFinite)] {
        let mut model = Model::new(learning_rate);
        let mut engine = Engine::new(1);
        let outcome = engine.run(&mut model, 0..20, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
        assert_eq!((outcome.reason, handlers.2.roll_back.count()), (reason, 0));
    }
}

/// A handler can request the termination at an event that `RollBack` does not handle. `Terminate` follows.
#[test]
fn termination_at_another_event_is_rolled_back() {
    let mut model = Model::new(0.1);
    let (mut requests, mut rolled_back) = (0, 0);
    let mut handlers = (
        ModelCheckpoint::<1>::every(10).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        on(IterationStarted, |_, state: &mut State<f32>| {
            if state.iteration() == 15 && requests == 0 {
                requests += 1;
                state.terminate(StopReason::Diverged);
            }
        }),
        RollBack::new(2).unwrap().attach(halve),
        on(RolledBack, |_, state: &mut State<f32>| rolled_back = state.iteration()),
    );
    let outcome = Engine::new(1).run(&mut model, 0..20, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
    assert_eq!((outcome.reason, handlers.2.roll_back.count()), (StopReason::MaxEpochs, 1));
    assert_eq!(rolled_back, 10);
}

/// The batches of a range have no end that the range itself finds, so the engine must still know the length of the data.
#[test]
fn data_restarts_at_its_end_after_a_roll_back() {
    let mut model = Model::new(0.1);
    let (mut batches, mut requests) = (Vec::new(), 0);
    let mut handlers = (
        ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        on(IterationCompleted, |_, state: &mut State<f32>| {
            if state.iteration() == 2 && requests == 0 {
                requests += 1;
                state.terminate(StopReason::Diverged);
            }
        }),
        RollBack::new(1).unwrap().attach(halve),
    );
    let mut engine = Engine::new(2).with_epoch_length(4);
    let outcome = engine.run(&mut model, 0..3, &mut handlers, |model, batch, _| {
        batches.push(batch);
        model.step(batch)
    });
    assert_eq!(outcome.unwrap().iteration, 8);
    assert_eq!(batches, [0, 1, 1, 2, 0, 1, 2, 0, 1]);
}

/// A request to interrupt the run takes effect although the run is rolled back at the same event.
#[test]
fn interrupt_at_the_event_of_a_roll_back_is_not_lost() {
    let mut model = Model::new(0.1);
    let (mut requests, mut interruptions) = (0, 0);
    let mut handlers = (
        ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        on(IterationCompleted, |_, state: &mut State<f32>| {
            if state.iteration() == 3 && requests == 0 {
                requests += 1;
                state.terminate(StopReason::Diverged);
                state.interrupt();
            }
        }),
        RollBack::new(1).unwrap().attach(halve),
        on(Interrupt, |_, _: &mut State<f32>| interruptions += 1),
    );
    let mut engine = Engine::new(1);
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let outcome = engine.run(&mut model, 0..5, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
        outcomes.push((outcome.reason, outcome.iteration));
    }
    assert_eq!(outcomes, [(StopReason::Interrupted, 2), (StopReason::MaxEpochs, 5)]);
    assert_eq!((handlers.2.roll_back.count(), interruptions), (1, 1));
}

/// A divergence has finite weights. A save at the same event would make them the newest checkpoint.
#[test]
fn nothing_is_saved_at_the_event_that_requests_the_roll_back() {
    let mut model = Model::new(1.2);
    let mut events = Vec::new();
    let mut handlers = (
        ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        ScoreLimits::new()
            .with_mode(Mode::Min)
            .with_divergence_limit(1.0e6)
            .unwrap()
            .attach(IterationCompleted, |state: &State<f32>| state.output.unwrap_or(0.0)),
        RollBack::new(1).unwrap().attach(halve),
        on(Any, |model: &mut Model, state: &mut State<f32>| {
            events.push((state.iteration(), model.net.weight.iter().all(|weight| weight.abs() < 1.0e3)));
        }),
    );
    let outcome = Engine::new(1).run(&mut model, 0..300, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
    assert_eq!((outcome.reason, handlers.2.roll_back.count()), (StopReason::MaxEpochs, 1));
    let bad = events.iter().position(|(_, is_small)| !is_small).unwrap();
    let after = events[bad..].iter().find(|(_, is_small)| *is_small).unwrap();
    assert_eq!(after.0, events[bad].0 - 1, "the run continues from the checkpoint of the previous iteration");
}

/// Runs 20 iterations with a save at `save_at`. The iteration 15 requests a roll-back once, at the same event.
fn request_at_the_event_of_a_save<W: EventFilter + Copy>(save_at: W) -> (Outcome, u32, Vec<u32>) {
    let mut model = Model::new(0.1);
    let (mut requests, mut rolled_back) = (0, Vec::new());
    let mut handlers = (
        on(IterationCompleted, |_, state: &mut State<f32>| {
            state.fire(UserEvent { id: 1, value: 0 }).expect("the queue is empty");
        }),
        ModelCheckpoint::<1>::every(1).unwrap().attach(save_at, Ram::<2, 512>::new()).unwrap(),
        on(save_at, |_, state: &mut State<f32>| {
            if state.iteration() == 15 && requests == 0 {
                requests += 1;
                state.terminate(StopReason::Diverged);
            }
        }),
        RollBack::new(2).unwrap().attach(halve),
        on(RolledBack, |_, state: &mut State<f32>| rolled_back.push(state.iteration())),
    );
    let outcome = Engine::new(1).run(&mut model, 0..20, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
    let count = handlers.3.roll_back.count();
    (outcome, count, rolled_back)
}

/// A checkpoint of the event would contain the request to terminate, so the run could not continue from it.
#[test]
fn at_no_event_is_a_checkpoint_saved_whose_run_is_rolled_back() {
    let outcome = Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 20 };
    assert_eq!(request_at_the_event_of_a_save(IterationCompleted), (outcome, 1, vec![14]));
    assert_eq!(request_at_the_event_of_a_save(IterationStarted), (outcome, 1, vec![14]));
    assert_eq!(request_at_the_event_of_a_save(GetBatchStarted), (outcome, 1, vec![14]));
    assert_eq!(request_at_the_event_of_a_save(User(1)), (outcome, 1, vec![14]));
}

#[test]
fn handlers_in_options_arrays_and_references_roll_back() {
    let roll_back = RollBack::new(1).unwrap().attach(halve);
    fn rolls_back(handler: &impl training_monitor::Handler<Model, f32>) -> bool {
        handler.rolls_back()
    }
    assert!(rolls_back(&roll_back) && rolls_back(&Some(roll_back)) && rolls_back(&[roll_back]));
    assert!(rolls_back(&((), (roll_back, ()))) && rolls_back(&&mut roll_back.clone()));
    assert!(!rolls_back(&()) && !rolls_back(&((), ())) && !rolls_back(&None::<training_monitor::Timer>.map(|_| ())));
}

/// In a custom loop, the roll-back happens in `end_iteration`.
#[test]
fn custom_loop_rolls_back_to_the_same_bits() {
    let mut model = Model::new(3.0);
    let mut handlers = (
        ModelCheckpoint::<1>::every(10).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        RollBack::new(2).unwrap().attach(halve),
    );
    let mut engine = Engine::new(1).with_epoch_length(300);
    while engine.begin_iteration(&mut model, &mut handlers).unwrap() {
        let batch = engine.state().offset();
        let loss = model.step(batch);
        engine.end_iteration(loss, &mut model, &mut handlers);
    }
    let (outcome, expected, ..) = run_in_ram(3.0, 2);
    assert_eq!((engine.outcome(), model), (Some(outcome), expected));
}

/// Resumes the run from the flash and continues until the run ends or power fails.
fn session<const W: usize, const E: usize>(flash: &mut Flash<W, E>) -> Result<(Outcome, Model, u32, u32), RunError> {
    let size = flash.image().len() as u32;
    let store = Slots::<_, 3>::open(flash, 0..size).unwrap();
    let mut model = Model::new(6.0);
    let loss = |state: &State<f32>| state.output.unwrap_or(f32::INFINITY);
    let mut handlers = (
        ModelCheckpoint::<2>::every(4).unwrap().attach(IterationCompleted, store).unwrap(),
        EarlyStopping::new(40).unwrap().with_mode(Mode::Min).attach(IterationCompleted, loss),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        RollBack::new(4).unwrap().attach(halve),
    );
    let mut engine = Engine::new(4);
    engine.resume(&mut model, &mut handlers).unwrap();
    let outcome = engine.run(&mut model, 0..15, &mut handlers, |model, batch, _| model.step(batch))?;
    Ok((outcome, model, handlers.1.early_stopping.counter(), handlers.3.roll_back.count()))
}

fn interrupt_every_operation<const W: usize, const E: usize>(erased: u8) {
    let new_flash = || Flash::<W, E>::new(3 * 512_usize.next_multiple_of(E), erased);
    let mut flash = new_flash();
    flash.log = Some(Vec::new());
    let expected = session(&mut flash).unwrap();
    assert!(expected.3 >= 2, "the run must roll back several times: {expected:?}");
    let operations = flash.log.take().unwrap();
    for (operation, is_erase) in operations.iter().enumerate() {
        let interruptions = flash::Interruption::all(*is_erase, W);
        for choice in [0, operation * 7, operation * 7 + 3] {
            let interruption = interruptions[choice % interruptions.len()];
            let mut flash = new_flash();
            flash.cut_power_at(operation as u64, interruption, operation as u64);
            let mut result = session(&mut flash);
            assert!(result.is_err() || flash.is_off(), "operation {operation}: power did not fail");
            if result.is_err() || flash.is_off() {
                flash.power_on();
                result = session(&mut flash);
            }
            assert_eq!(result.unwrap(), expected, "operation {operation}, {interruption}");
            assert_eq!(flash.violations(), []);
        }
    }
}

#[test]
fn power_failure_at_any_operation_does_not_change_the_result() {
    interrupt_every_operation::<4, 256>(0xFF);
    interrupt_every_operation::<32, 512>(0);
}

#[test]
fn a_new_run_can_be_rolled_back_as_often_as_the_first_one() {
    let mut handlers = (
        ModelCheckpoint::<1>::every(10).unwrap().attach(IterationCompleted, Ram::<2, 512>::new()).unwrap(),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        RollBack::new(2).unwrap().attach(halve),
    );
    let mut engine = Engine::new(1);
    for _ in 0..2 {
        let mut model = Model::new(3.0);
        let outcome = engine.run(&mut model, 0..300, &mut handlers, |model, batch, _| model.step(batch)).unwrap();
        assert_eq!((outcome.reason, handlers.2.roll_back.count()), (StopReason::MaxEpochs, 2));
    }
}

/// After the end of the run, there is nothing to roll back, and a checkpoint of `Completed` is saved.
#[test]
fn a_termination_at_the_end_of_the_run_prevents_no_save() {
    let mut store = Ram::<2, 512>::new();
    let mut handlers = (
        ModelCheckpoint::<1>::every(1).unwrap().attach(Completed, &mut store).unwrap(),
        on(Completed, |_: &mut Model, state: &mut State<f32>| state.terminate(StopReason::Diverged)),
        RollBack::new(2).unwrap().attach(halve),
    );
    let result = Engine::new(1).run(&mut Model::new(0.1), 0..3, &mut handlers, |model, batch, _| model.step(batch));
    assert!(result.is_ok());
    assert_eq!((handlers.0.policy().kept().len(), handlers.2.roll_back.count()), (1, 0));
}
