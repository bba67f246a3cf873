//! `ModelCheckpoint` with a store that fails at any step, against the ranking's model and the store's own truth.
//!
//! Whatever fails: what the observer was told was saved is on the medium bit by bit as long as it ranks, a failed save
//! changes neither ranking nor kept checkpoints, and once nothing fails any more the store has exactly what is kept.

use super::input;
use crate::models::number::Number;
use crate::models::ranking::{Count, ModelCheckpoint as Model};
use crate::models::stream;
use arbitrary::Arbitrary;
use embedded_io::Read;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use training_monitor::checkpoint::One;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{OnError, Save, ScoreFunction};
use training_monitor::handlers::saving::{Report, Saving};
use training_monitor::store::Store;
use training_monitor::store::ram::{Ram, RamError};
use training_monitor::{Engine, ModelCheckpoint, State};
use training_monitor_std::test_support::store::{Fault, FaultError, Faulty, Operation};

#[derive(Arbitrary, Debug)]
struct Input {
    /// 0: by score.
    interval: u8,
    n_saved: u8,
    or_equal: bool,
    on_error: u8,
    /// Fails after so many operations that went well.
    faults: Vec<(u8, Failure)>,
    operations: Vec<Operations>,
}

/// [`Fault`], drawn from bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Failure {
    None,
    Before,
    After,
    Short,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::None => Fault::None,
            Failure::Before => Fault::Before,
            Failure::After => Fault::After,
            Failure::Short => Fault::Short,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operations {
    Iterate(Number),
    Restart { resume: bool },
}

/// Places in the table, and one more in the store.
const TABLE: usize = 3;

type Disk = Ram<{ TABLE + 1 }, 192>;

/// Which operations are to fail, in the order they come.
#[derive(Default)]
struct Plan {
    faults: RefCell<Vec<(u8, Fault)>>,
    /// Whether listing may fail: each store here and in the std adapter does it from memory once it is attached.
    attaching: Cell<bool>,
}

impl Plan {
    fn next(&self, operation: Operation) -> Fault {
        if operation == Operation::List && !self.attaching.get() {
            return Fault::None;
        }
        let mut faults = self.faults.borrow_mut();
        match faults.last_mut() {
            None => Fault::None,
            Some((left, _)) if *left > 0 => {
                *left -= 1;
                Fault::None
            }
            Some(_) => faults.pop().map_or(Fault::None, |(_, fault)| fault),
        }
    }
}

/// The weights that a step may have: those that were saved last, and those of saves of this number that failed since.
type Written = BTreeMap<u32, Vec<[f32; 3]>>;

/// What the observer was told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Told {
    Saved(Save),
    Failed(Save),
}

/// Weights that are of one save alone.
fn weights(iteration: u32, number: u32) -> [f32; 3] {
    [iteration as f32, number as f32, -0.0]
}

/// Saves that fail.
pub fn saving(data: &[u8]) {
    let Some(input) = input::<Input>(data) else { return };
    let builder = ModelCheckpoint::<TABLE>::builder()
        .n_saved(1 + u32::from(input.n_saved) % TABLE as u32)
        .greater_or_equal(input.or_equal)
        .on_error(match input.on_error % 3 {
            0 => OnError::Stop,
            1 => OnError::Continue,
            _ => OnError::Retry(input.on_error / 3 % 4),
        });
    match input.interval % 4 {
        0 => drive(&input, || {
            builder.score_function(|state: &State<f32>| state.output.unwrap_or(0.0)).build().expect("good settings")
        }),
        interval => {
            drive(&input, || builder.save_interval(u32::from(interval)).build().expect("good settings"));
        }
    }
}

type Handler<F, D, B> = Saving<TABLE, IterationCompleted, Faulty<Disk, D>, F, B>;

/// One life of the device after another.
fn drive<F: ScoreFunction<State<f32>>>(input: &Input, build: impl Fn() -> ModelCheckpoint<TABLE, F>) {
    let plan = Plan::default();
    *plan.faults.borrow_mut() = input.faults.iter().map(|(after, failure)| (*after, (*failure).into())).collect();
    let told = RefCell::new(Vec::new());
    let observe = |report: &Report<'_, FaultError<RamError>>| match report {
        Report::Saved { save, .. } => told.borrow_mut().push(Told::Saved(*save)),
        Report::SaveFailed { save, .. } => told.borrow_mut().push(Told::Failed(*save)),
        _ => (),
    };
    let mut model = Model {
        interval: Some(u32::from(input.interval % 4)).filter(|interval| *interval > 0),
        n_saved: Some(1 + usize::from(input.n_saved) % TABLE),
        table: TABLE,
        or_equal: input.or_equal,
        count: Count::Calls,
        calls: 0,
        kept: Vec::new(),
        committed: Vec::new(),
    };
    let mut written = Written::new();
    let mut disk = Disk::new();
    let mut number = 0;
    let mut operations = input.operations.iter().copied().take(48).peekable();
    while operations.peek().is_some() {
        let decide = |operation: Operation| plan.next(operation);
        let kept_disk = disk.clone();
        plan.attaching.set(true);
        let attached = build().attach(IterationCompleted, Faulty::new(disk, decide));
        plan.attaching.set(false);
        let Ok(handler) = attached else {
            // The medium cannot be listed. Nothing was changed; it is tried again.
            disk = kept_disk;
            continue;
        };
        let mut handler = handler.observe(observe);
        model.reset();
        let found = listed(handler.store_mut().inner_mut());
        for (step, score) in found {
            model.found(step, score);
        }
        let mut engine = Engine::new(1).with_epoch_length(u32::MAX);
        let mut objects = One("m", weights(0, 0));
        if let Some(Operations::Restart { resume: true }) = operations.peek() {
            if let Ok(Some(resumed)) = engine.resume(&mut objects, &mut handler) {
                let calls = written.iter().find(|(_, all)| all.contains(&objects.1)).map(|(step, _)| *step);
                assert_eq!(objects.1[0], resumed.iteration as f32, "{input:?}");
                model.calls = calls.unwrap_or_else(|| panic!("{objects:?} was never saved in {input:?}"));
            }
            tell(&told, &mut model, &mut written, objects.1, input);
        }
        if let Some(Operations::Restart { .. }) = operations.peek() {
            operations.next();
        }
        while let Some(Operations::Iterate(Number(score))) = operations.peek().copied() {
            operations.next();
            engine.restart();
            if !engine.begin_iteration(&mut objects, &mut handler) {
                continue;
            }
            number += 1;
            objects.1 = weights(engine.state().iteration(), number);
            let quiet = plan.faults.borrow().is_empty();
            let decided = model.call(1, engine.state().iteration(), Some(score));
            engine.end_iteration(score, &mut objects, &mut handler);
            let attempts = told.borrow().len();
            assert_eq!(attempts > 0, decided.is_some(), "{input:?}");
            let saved = tell(&told, &mut model, &mut written, objects.1, input);
            assert!(saved || decided.is_none() || !quiet, "a save failed on its own in {input:?}");
            judge(&mut handler, &model, &written, quiet && saved, input);
        }
        // The power goes: only the medium is left.
        disk = handler.into_store().into_inner();
    }
}

/// Step and score of all that the store has.
fn listed(disk: &mut Disk) -> Vec<(u32, Option<f32>)> {
    let mut all = Vec::new();
    while let Ok(Some(stored)) = disk.stored(all.len() as u32) {
        all.push((stored.step, stored.score));
    }
    all
}

/// The model learns what was saved. Whether anything was.
fn tell(told: &RefCell<Vec<Told>>, model: &mut Model, written: &mut Written, weights: [f32; 3], input: &Input) -> bool {
    let told = told.take();
    for (index, what) in told.iter().enumerate() {
        let last = index + 1 == told.len();
        match what {
            Told::Saved(save) => {
                assert!(last, "tried again after it was saved: {input:?}");
                let entry = model.entry(save.step, save.score);
                model.commit(entry);
                written.insert(save.step, vec![weights]);
            }
            // It may have got there all the same.
            Told::Failed(save) => written.entry(save.step).or_default().push(weights),
        }
    }
    matches!(told.last(), Some(Told::Saved(_)))
}

/// Ranking and medium are as the model has them.
fn judge<F, D: FnMut(Operation) -> Fault, B>(
    handler: &mut Handler<F, D, B>,
    model: &Model,
    written: &Written,
    quiet: bool,
    input: &Input,
) {
    let kept: Vec<u32> = handler.machine().kept().iter().map(|kept| kept.step).collect();
    let expected: Vec<u32> = model.kept.iter().map(|kept| kept.step).collect();
    assert_eq!(kept, expected, "{input:?}");
    assert_eq!(handler.machine().calls(), model.calls, "{input:?}");
    assert_eq!(handler.machine().latest().map(|latest| latest.step), model.latest(), "{input:?}");
    let disk = handler.store_mut().inner_mut();
    for step in &kept {
        let mut bytes = [0; 192];
        let read = disk.open(*step, 0).and_then(|mut reader| reader.read(&mut bytes));
        let len = read.unwrap_or_else(|error| panic!("{step} is kept and not stored ({error}) in {input:?}"));
        let found = stream::read(&bytes[..len]).unwrap_or_else(|| panic!("{step} is damaged in {input:?}"));
        let values = found.objects[0].data.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
        let values: Vec<f32> = values.collect();
        assert!(written[step].iter().any(|may| *may == values[..]), "{values:?} as step {step} in {input:?}");
    }
    if quiet {
        let mut stored: Vec<u32> = listed(disk).into_iter().map(|(step, _)| step).collect();
        let mut kept = kept;
        stored.sort_unstable();
        kept.sort_unstable();
        assert_eq!(stored, kept, "nothing else is left after a save without a fault in {input:?}");
    }
}
