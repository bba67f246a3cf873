//! Tests of an attached `SpikeGuard`: its action, its state in a checkpoint, and interrupted runs.

use training_monitor::checkpoint::Named;
use training_monitor::event::{EpochCompleted, IterationCompleted, Never};
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::spike_guard::SpikeVerdict::{NonFinite, Normal, Spike};
use training_monitor::handlers::spike_guard::stop_run;
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, Event, EventFilter, Handler, ModelCheckpoint, SpikeGuard, State, StopReason, on};

fn output(state: &State<f32>) -> f32 {
    state.output.unwrap_or(0.0)
}

#[test]
fn the_action_decides_what_happens() {
    let spiky = [1.0, 1.0, 9.0, 1.0, f32::NAN, 1.0, 9.0, 1.0];
    for (values, reason, iteration) in [
        (&spiky[..], StopReason::Spike, 3),
        (&spiky[3..], StopReason::NonFinite, 2),
        (&[1.0, 2.0][..], StopReason::MaxEpochs, 2),
    ] {
        let mut guard = SpikeGuard::new().attach(IterationCompleted, output, stop_run);
        let outcome = Engine::new(1).run(&mut (), values, &mut guard, |(), value, _| *value).unwrap();
        assert_eq!((outcome.reason, outcome.iteration), (reason, iteration), "{values:?}");
    }
    // The guard counts, and the action records the iterations.
    let mut found = Vec::new();
    let mut guard = SpikeGuard::new().attach(
        IterationCompleted,
        output,
        |guard: &mut SpikeGuard, verdict, state: &mut State<f32>| {
            found.push((state.iteration(), guard.spike_count(), verdict));
        },
    );
    let outcome = Engine::new(1).run(&mut (), &spiky[..], &mut guard, |(), value, _| *value).unwrap();
    assert_eq!((outcome.reason, guard.spike_guard.spike_count()), (StopReason::MaxEpochs, 3));
    assert_eq!(found, [(3, 1, Spike), (5, 2, NonFinite), (7, 3, Spike)]);
    assert_eq!(Normal.stop_reason(), None);
    // After three spikes, the action accepts the new level.
    let mut guard = SpikeGuard::new().attach(IterationCompleted, output, |guard, _, _| {
        if guard.spike_count() == 3 {
            guard.reset();
        }
    });
    let levels = [1.0, 9.0, 9.0, 9.0, 9.0, 10.0];
    Engine::new(1).run(&mut (), &levels[..], &mut guard, |(), value, _| *value).unwrap();
    assert_eq!((guard.spike_guard.spike_count(), guard.spike_guard.mean()), (0, Some(9.5)));
}

#[test]
fn a_new_run_starts_with_a_new_guard() {
    let mut guard = SpikeGuard::new().attach(IterationCompleted, output, |_, _, _| ());
    let mut engine = Engine::new(1);
    for _ in 0..2 {
        engine.run(&mut (), &[1.0, 9.0, 1.0][..], &mut guard, |(), value, _| *value).unwrap();
        assert_eq!((guard.spike_guard.spike_count(), guard.spike_guard.mean()), (1, Some(1.0)));
        engine.restart();
    }
}

/// A loss that falls, with two spikes and a NaN.
fn loss(iteration: u32) -> f32 {
    match iteration {
        5 | 14 => 20.0,
        9 => f32::NAN,
        _ => 4.0 / iteration as f32,
    }
}

/// Runs twenty iterations. The run is interrupted after each iteration in `interruptions`. Returns the spikes, with the
/// number of each, and the final guard.
fn run(interruptions: &[u32]) -> (Vec<(u32, u32)>, SpikeGuard) {
    let mut store = Ram::<3, 512>::new();
    let mut found = Vec::new();
    let mut last = SpikeGuard::new();
    for interruption in interruptions.iter().chain(&[u32::MAX]) {
        let guard = SpikeGuard::new().with_warmup(2).with_window(4).unwrap();
        let mut handlers = (
            guard.attach(IterationCompleted, output, |guard, _, state| {
                found.push((state.iteration(), guard.spike_count()));
            }),
            ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, &mut store).unwrap(),
            on(IterationCompleted.filter(|value| value == *interruption), |_, state| state.interrupt()),
        );
        let (mut engine, mut model) = (Engine::new(1), Named::new("model", [0.0_f32]));
        engine.resume(&mut model, &mut handlers).unwrap();
        engine.run(&mut model, 0..20, &mut handlers, |_, _, state: &mut State<f32>| loss(state.iteration())).unwrap();
        last = handlers.0.spike_guard;
    }
    (found, last)
}

#[test]
fn an_interrupted_run_finds_the_same_spikes() {
    let expected = run(&[]);
    assert_eq!(expected.0, [(5, 1), (9, 2), (14, 3)]);
    for iteration in 1..20 {
        assert_eq!(run(&[iteration]), expected, "interrupted after iteration {iteration}");
    }
    let all: Vec<u32> = (1..20).collect();
    assert_eq!(run(&all), expected);
}

/// A handler whose state has the given bytes.
struct Fixture((u32, u32, Option<f32>, Option<f32>));

impl Persist for Fixture {
    const KIND: HandlerKind = HandlerKind::SPIKE_GUARD;
    type State = (u32, u32, Option<f32>, Option<f32>);
    fn save(&mut self) -> Self::State {
        self.0
    }
    fn restore(&mut self, _: Self::State) {}
}

impl Handler<(), f32> for Fixture {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

fn restore(state: (u32, u32, Option<f32>, Option<f32>)) -> Result<SpikeGuard, RestoreError> {
    let record = Engine::<f32>::new(1).record(&mut Fixture(state)).unwrap();
    let mut handler = SpikeGuard::new().attach(Never, output, stop_run);
    Engine::<f32>::new(1).restore::<(), _>(&record, &mut handler).map(|()| handler.spike_guard)
}

#[test]
fn an_impossible_state_is_malformed() {
    let error = RestoreError::Malformed { kind: HandlerKind::SPIKE_GUARD };
    for (values, mean, last) in [
        (1, Some(f32::NAN), Some(1.0)),
        (1, Some(1.0), Some(f32::INFINITY)),
        (1, None, Some(1.0)),
        (1, Some(1.0), None),
        (1, None, None),
        (0, Some(1.0), Some(1.0)),
    ] {
        assert_eq!(restore((values, 0, mean, last)), Err(error), "{values} {mean:?} {last:?}");
    }
    let guard = restore((3, 2, Some(1.0), Some(0.5))).unwrap();
    assert_eq!((guard.spike_count(), guard.mean(), guard.last()), (2, Some(1.0), Some(0.5)));
    assert_eq!(restore((0, 7, None, None)).map(|guard| guard.spike_count()), Ok(7));
}

#[test]
fn the_counts_stop_at_their_maximum() {
    let mut guard = restore((u32::MAX, u32::MAX, Some(1.0), Some(1.0))).unwrap();
    assert_eq!((guard.update(f32::NAN), guard.spike_count()), (NonFinite, u32::MAX));
    assert_eq!((guard.update(1.0), guard.update(9.0), guard.mean()), (Normal, Spike, Some(1.0)));
}

/// The encoding that FORMAT.md specifies.
#[test]
fn the_state_has_the_documented_bytes() {
    let state = |record: &RunRecord| {
        let states: Vec<_> = record.handlers().map(|(kind, _, bytes)| (kind.code(), bytes.to_vec())).collect();
        states[0].clone()
    };
    let mut guard = SpikeGuard::new().attach(IterationCompleted, output, |_, _, _| ());
    let mut engine = Engine::new(1);
    assert_eq!(state(&engine.record::<(), _>(&mut guard).unwrap()), (12, vec![0, 0, 0, 0]));
    engine.run(&mut (), &[1.0, 2.0, 9.0][..], &mut guard, |(), value, _| *value).unwrap();
    let bytes = [&[2, 1, 1][..], &1.5_f32.to_le_bytes(), &[1], &2.0_f32.to_le_bytes()].concat();
    assert_eq!(state(&engine.record::<(), _>(&mut guard).unwrap()), (12, bytes));
    assert_eq!(HandlerKind::SPIKE_GUARD.to_string(), "SpikeGuard");
    // The longest state.
    let longest = restore((u32::MAX, u32::MAX, Some(1.0), Some(1.0))).unwrap();
    let mut handler = longest.attach(EpochCompleted, output, stop_run);
    let record = Engine::<f32>::new(1).record::<(), _>(&mut handler).unwrap();
    assert_eq!(record.handlers().next().unwrap().2.len(), SpikeGuard::MAX_LEN);
}

#[test]
fn the_tag_depends_on_every_setting() {
    let guard = SpikeGuard::new();
    let mut tags = [
        guard,
        guard.with_mode(Mode::Max),
        guard.with_window(11).unwrap(),
        guard.with_warmup(2),
        guard.with_absolute_tolerance(1.0).unwrap(),
        guard.with_relative_tolerance(1.0).unwrap(),
        guard.with_name("loss"),
    ]
    .map(|guard| guard.tag());
    let mut updated = guard;
    updated.update(1.0);
    assert_eq!(updated.tag(), tags[0]);
    tags.sort_unstable();
    assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "{tags:x?}");
}
