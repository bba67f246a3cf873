//! A run that is cut after any event and goes on from the record of that moment gives the log of a run that was never
//! cut: over random scripts, at every event of each.

use training_monitor::event::{Completed, EpochCompleted, EpochStarted, IterationCompleted, IterationStarted};
use training_monitor::record::Record;
use training_monitor::{EarlyStopping, Engine, Event, Handler, State, StopReason, TerminateOnNan, Timer};
use training_monitor_tests::script::{Actor, Entry, Log, Recorder, Script};

const SCRIPTS: u64 = 600;

/// Takes the record of the run after every event, as a checkpoint of that event would have it, with the length of the
/// log at that moment.
#[derive(Default)]
struct Cutter {
    wants: bool,
    cuts: Vec<(usize, Record)>,
}

impl Handler<Log, u32> for Cutter {
    fn on_event(&mut self, _: Event, _: &mut Log, state: &mut State<u32>) {
        self.wants = true;
        state.request_act();
    }
    fn pending(&self) -> bool {
        self.wants
    }
    fn act(&mut self, log: &mut Log, _: &mut State<u32>, record: &Record) -> bool {
        self.wants = false;
        self.cuts.push((log.len(), record.clone()));
        // Nothing was saved, so nothing is announced.
        false
    }
}

fn go_on<H: Handler<Log, u32>>(script: &Script, engine: &mut Engine<u32>, handlers: &mut H) -> Log {
    let mut log = Log::new();
    let step = |log: &mut Log, batch, state: &mut State<u32>| {
        log.push(Entry::step(batch, state));
        script.step(state);
        batch
    };
    engine.run(&mut log, 0..script.batches, handlers, step).expect("a script has data");
    log
}

fn fresh(script: &Script) -> Engine<u32> {
    Engine::new(script.max_epochs).with_epoch_length(script.epoch_length)
}

#[test]
fn a_run_cut_after_any_event_goes_on_as_if_it_had_not_been() {
    let mut events = 0;
    for seed in 0..SCRIPTS {
        let script = Script::with_batch_events(seed);
        let mut handlers = (Recorder, Actor(&script), Cutter::default());
        let mut whole = fresh(&script);
        let uncut = go_on(&script, &mut whole, &mut handlers);
        let outcome = whole.outcome();
        for (length, record) in handlers.2.cuts {
            // After the last event of a run there is nothing to go on with; the next run is another one.
            if length == uncut.len() {
                continue;
            }
            let mut engine = fresh(&script);
            engine.restore(&record, &mut (Recorder, Actor(&script))).expect("its own record");
            let rest = go_on(&script, &mut engine, &mut (Recorder, Actor(&script)));
            assert_eq!(rest, uncut[length..], "script {seed} cut after {length}: {script:?}\n{record:?}");
            assert_eq!(engine.outcome(), outcome, "script {seed} cut after {length}");
            events += 1;
        }
    }
    assert!(events > 10_000, "{events}");
}

/// The ticks that pass in a step and between steps.
const WORK: u64 = 7;

/// What a run with real handlers comes to: everything they remember, and how the run ended.
#[derive(PartialEq, Debug)]
struct Memory {
    counter: u32,
    best: Option<f32>,
    total: u64,
    steps: u32,
    outcome: Option<training_monitor::Outcome>,
}

/// A run with the handlers that remember something, cut by `cut` if given; its memory and its cuts.
fn remembered(cut: Option<&Record>) -> (Memory, Vec<(usize, Record)>) {
    let clock = std::cell::Cell::new(0_u64);
    let scores = [1, 5, 4, 3, 6, 2, 2, 1, 1, 1, 1, 1];
    let timer =
        Timer::new(0).attach(|| clock.get(), EpochStarted, EpochCompleted, IterationStarted, IterationCompleted);
    let stopping = EarlyStopping::new(4).expect("a patience").attach(IterationCompleted, |state: &State<u32>| {
        f32::from(u8::try_from(state.output.unwrap_or(0)).unwrap_or(0))
    });
    let guard = TerminateOnNan::new().attach(Completed, |_: &Log, _: &State<u32>| 0.0_f32);
    let mut handlers = (timer, stopping, Recorder, guard, Cutter::default());
    let mut engine = Engine::new(4);
    if let Some(record) = cut {
        engine.restore(record, &mut handlers).expect("its own record");
    }
    let mut log = Log::new();
    let step = |_: &mut Log, score: &u32, _: &mut State<u32>| {
        clock.set(clock.get() + WORK);
        *score
    };
    engine.run(&mut log, &scores[..], &mut handlers, step).expect("there is data");
    let (timer, stopping) = (handlers.0.timer, handlers.1.early_stopping);
    let memory = Memory {
        counter: stopping.counter(),
        best: stopping.best_score(),
        total: timer.elapsed(clock.get()),
        steps: timer.step_count(),
        outcome: engine.outcome(),
    };
    (memory, handlers.4.cuts)
}

#[test]
fn what_handlers_remember_survives_a_cut_after_any_event() {
    let (whole, cuts) = remembered(None);
    let expected = Memory {
        counter: 4,
        best: Some(6.0),
        total: 9 * WORK,
        steps: 9,
        outcome: Some(training_monitor::Outcome { reason: StopReason::EarlyStopping, epoch: 1, iteration: 9 }),
    };
    assert_eq!(whole, expected);
    let last = cuts.len() - 1;
    for (length, record) in &cuts[..last] {
        assert_eq!(remembered(Some(record)).0, whole, "cut after {length}");
    }
}
