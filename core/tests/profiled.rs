//! The wrapper that measures one handler. It changes nothing else.

#[path = "common/slow_run.rs"]
mod slow_run;

use embedded_io::ErrorKind;
use slow_run::{Model, Time, data, model, step};
use std::cell::{Cell, RefCell};
use training_monitor::checkpoint::EncodeError;
use training_monitor::event::{Any, EpochCompleted, IterationCompleted, Never};
use training_monitor::handler::StartCheck;
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::run_record::{HandlerStates, RestoreError, ResumePoint, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, Event, Handler, ModelCheckpoint, Profiled, State};

/// Records the names of the methods that are called.
struct Spy<'a>(&'a RefCell<Vec<&'static str>>, bool);

impl Spy<'_> {
    fn call(&self, name: &'static str) {
        self.0.borrow_mut().push(name);
    }
}

const POINT: ResumePoint = ResumePoint { run: 1, sequence: 2, iteration: 3 };

impl Handler<Model, f32> for Spy<'_> {
    fn on_event(&mut self, _: Event, _: &mut Model, _: &mut State<f32>) {
        self.call("on_event");
    }
    fn persist(&mut self, _: &mut State<f32>, _: &mut HandlerStates<'_>) {
        self.call("persist");
    }
    fn check_start(&mut self, _: &mut Model, start: &mut StartCheck) {
        self.call("check_start");
        start.add_checkpoint(41, 0);
    }
    fn perform(&mut self, _: &mut Model, _: &mut State<f32>, _: &RunRecord<[u8]>) -> bool {
        self.call("perform");
        true
    }
    fn finish(&mut self, _: &mut Model) {
        self.call("finish");
    }
    fn rolls_back(&self) -> bool {
        self.1
    }
    fn save_error(&self) -> Option<EncodeError<ErrorKind>> {
        self.call("save_error");
        Some(EncodeError::Io(ErrorKind::Other))
    }
    fn newest_checkpoint(&mut self, _: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
        self.call("newest_checkpoint");
        Ok(Some(POINT))
    }
    fn damaged_checkpoints(&mut self) -> u32 {
        self.call("damaged_checkpoints");
        7
    }
    fn verify_checkpoint(
        &mut self,
        _: ResumePoint,
        _: &mut Model,
        _: &mut RunRecord<[u8]>,
    ) -> Result<bool, RestoreError> {
        self.call("verify_checkpoint");
        Ok(true)
    }
    fn load_checkpoint(&mut self, _: ResumePoint, _: &mut Model) -> Result<bool, RestoreError> {
        self.call("load_checkpoint");
        Ok(true)
    }
}

/// Every method of `Handler` reaches the handler, once, and its result is returned.
#[test]
fn every_method_is_passed_on() {
    let calls = RefCell::new(Vec::new());
    let handler: &mut dyn Handler<Model, f32> = &mut Profiled::new("spy", Spy(&calls, false), Any, || 0);
    let rolls_back = |rolls_back| {
        let handler = Profiled::new("spy", Spy(&calls, rolls_back), Any, || 0);
        Handler::<Model, f32>::rolls_back(&handler)
    };
    assert_eq!([rolls_back(false), rolls_back(true)], [false, true]);
    let mut model = model();
    let mut record = RunRecord::new();
    assert_eq!(handler.save_error(), Some(EncodeError::Io(ErrorKind::Other)));
    assert_eq!(handler.newest_checkpoint(None), Ok(Some(POINT)));
    assert_eq!(handler.damaged_checkpoints(), 7);
    assert_eq!(handler.verify_checkpoint(POINT, &mut model, &mut record), Ok(true));
    assert_eq!(handler.load_checkpoint(POINT, &mut model), Ok(true));
    handler.finish(&mut model);
    let mut engine = Engine::new(1);
    assert!(handler.perform(&mut model, engine.state_mut(), &record));
    let expected = [
        "save_error",
        "newest_checkpoint",
        "damaged_checkpoints",
        "verify_checkpoint",
        "load_checkpoint",
        "finish",
        "perform",
    ];
    assert_eq!(calls.take(), expected);
    // An engine calls the other methods.
    let mut handler = handler;
    engine.run(&mut model, 0..1, &mut handler, |_, _, _| 0.0).unwrap();
    assert_eq!(engine.state().run(), 42, "the handler has reported run 41");
    let events = ["on_event"; 8];
    assert_eq!(calls.take(), [&["persist", "check_start"][..], &events, &["finish"]].concat());
}

type Checkpoints = Ram<3, 512>;

/// Runs three epochs of a run that early stopping and two checkpoint handlers observe. With `is_profiled`, each of them
/// is wrapped. Returns the last record, the counter of early stopping
/// and the kept checkpoints as text, because a checkpoint without a score is not equal to itself.
fn run(is_profiled: bool, best: &mut Checkpoints, latest: &mut Checkpoints, max_epochs: u32) -> String {
    let time = Time::new(0);
    let score = |state: &State<f32>| -(state.epoch() as f32);
    let stopping = EarlyStopping::new(9).unwrap().attach(EpochCompleted, score);
    let best = ModelCheckpoint::<2>::best_by(score).attach(EpochCompleted, best).unwrap();
    let latest = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, latest).unwrap();
    let (mut engine, mut model) = (Engine::<f32>::new(max_epochs), model());
    macro_rules! run {
        ($handlers:expr) => {{
            let mut handlers = $handlers;
            engine.resume(&mut model, &mut handlers).unwrap();
            engine.run(&mut model, data(&time), &mut handlers, step(&time)).unwrap();
            (engine.record::<Model, _>(&mut handlers).unwrap(), handlers)
        }};
    }
    if is_profiled {
        let clock = time.clock();
        let (record, (stopping, best, latest)) = run!((
            Profiled::new("stopping", stopping, EpochCompleted, clock),
            Profiled::new("best", best, EpochCompleted, clock),
            Profiled::new("latest", latest, IterationCompleted, clock),
        ));
        let kept = (best.handler.policy().kept().to_vec(), latest.handler.policy().kept().to_vec());
        format!("{record:?} {} {kept:?}", stopping.handler.early_stopping.counter())
    } else {
        let (record, (stopping, best, latest)) = run!((stopping, best, latest));
        let kept = (best.policy().kept().to_vec(), latest.policy().kept().to_vec());
        format!("{record:?} {} {kept:?}", stopping.early_stopping.counter())
    }
}

/// A run with the wrapper resumes from the checkpoints of a run without it, and the reverse.
#[test]
fn the_wrapper_changes_no_checkpoint() {
    let mut results = Vec::new();
    for starts in [[false, false], [false, true], [true, false], [true, true]] {
        let (mut best, mut latest) = (Checkpoints::new(), Checkpoints::new());
        let first = run(starts[0], &mut best, &mut latest, 2);
        let second = run(starts[1], &mut best, &mut latest, 3);
        results.push((first, second));
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
}

/// A handler that requests an action at each n-th iteration. The action takes ticks, and may fail.
struct Worker<'a> {
    ticks: &'a Cell<u64>,
    every: u32,
    duration: u64,
    saves: bool,
    is_pending: bool,
}

impl Handler<Model, f32> for Worker<'_> {
    fn on_event(&mut self, event: Event, _: &mut Model, state: &mut State<f32>) {
        if event == Event::IterationCompleted {
            self.ticks.set(self.ticks.get() + u64::from(state.iteration()));
            if state.iteration().is_multiple_of(self.every) {
                self.is_pending = true;
                state.request_action();
            }
        }
    }
    fn perform(&mut self, _: &mut Model, _: &mut State<f32>, _: &RunRecord<[u8]>) -> bool {
        let performs = std::mem::take(&mut self.is_pending);
        if performs {
            self.ticks.set(self.ticks.get() + self.duration);
        }
        performs && self.saves
    }
}

fn numbers(statistics: &TickStatistics) -> (u32, u64, u64, u64) {
    (statistics.count(), statistics.total(), statistics.min(), statistics.max())
}

#[test]
fn each_handler_has_its_own_events_and_actions() {
    let ticks = Cell::new(0);
    let clock = || ticks.get();
    let worker = |every, duration, saves| Worker { ticks: &ticks, every, duration, saves, is_pending: false };
    let mut handlers = (
        Profiled::new("fast", worker(1, 10, true), IterationCompleted, clock),
        Profiled::new("slow", worker(3, 100, true), IterationCompleted, clock),
        Profiled::new("failing", worker(2, 1000, false), Any, clock),
        Profiled::new("unmeasured", worker(4, 0, true), Never, clock),
        Profiled::new("idle", (), IterationCompleted, clock),
    );
    let mut engine = Engine::<f32>::new(1);
    for _ in 0..2 {
        // The second run starts with empty statistics.
        engine.run(&mut model(), 0..6, &mut handlers, |_, _, _| 0.0).unwrap();
        let (fast, slow, failing, unmeasured, idle) = &handlers;
        assert_eq!((numbers(fast.events()), numbers(fast.actions())), ((6, 21, 1, 6), (6, 60, 10, 10)));
        assert_eq!((numbers(slow.events()), numbers(slow.actions())), ((6, 21, 1, 6), (2, 200, 100, 100)));
        // All events: 4 for each iteration, 4 for the run and its epoch, 6 saved checkpoints.
        assert_eq!(numbers(failing.events()), (4 * 6 + 4 + 6, 21, 0, 6));
        assert_eq!(numbers(failing.actions()), (3, 3000, 1000, 1000), "a failed action is counted");
        assert_eq!((unmeasured.events().count(), unmeasured.actions().count()), (0, 1));
        assert_eq!((numbers(idle.events()), numbers(idle.actions())), ((6, 0, 0, 0), (0, 0, 0, 0)));
    }
    let rows = handlers.1.to_string();
    let lines: Vec<&str> = rows.lines().collect();
    assert_eq!(lines.len(), 2, "{rows}");
    assert!(lines[0].starts_with("slow  ") && lines[1].starts_with("  actions  "), "{rows}");
    assert!(lines.iter().all(|line| line.len() == TickStatistics::HEADER.len()), "{rows}");
    assert_eq!(handlers.4.to_string().lines().count(), 1);
}

/// A clock that runs backwards adds nothing.
#[test]
fn a_clock_that_runs_backwards_adds_nothing() {
    let mut now = u64::MAX;
    let clock = || {
        now -= 1;
        now
    };
    let mut handler = Profiled::new("handler", (), Any, clock);
    Engine::<f32>::new(1).run(&mut model(), 0..6, &mut handler, |_, _, _| 0.0).unwrap();
    assert_eq!((handler.events().total(), handler.events().count()), (0, 28));
}
