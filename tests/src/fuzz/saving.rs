//! `ModelCheckpoint` with a store that fails at any operation, compared with the model of the ranking.
//!
//! The target checks three properties. A checkpoint that was reported as saved is stored bit for bit while it ranks. A
//! failed save changes neither the ranking nor the kept checkpoints. After a save without a fault, the store contains
//! exactly the kept checkpoints.

use super::decode;
use crate::models::number::Number;
use crate::models::ranking::{ModelCheckpoint as Model, StepSource};
use crate::models::stream;
use arbitrary::Arbitrary;
use embedded_io::Read;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use training_monitor::checkpoint::Named;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{
    CheckpointEvent, CheckpointHandler, GetScore, OnError, SaveDecision,
};
use training_monitor::store::Store;
use training_monitor::store::ram::{Ram, RamError};
use training_monitor::{Engine, ModelCheckpoint, RunError, State};
use training_monitor_std::test_support::store::{FaultyStore, FaultyStoreError, StoreFault, StoreOperation};

#[derive(Arbitrary, Debug)]
struct Input {
    /// The number of calls from one save to the next. 0 selects saves by score.
    interval: u8,
    n_saved: u8,
    or_equal: bool,
    on_error: u8,
    /// The number of successful operations before each fault, and the fault.
    faults: Vec<(u8, FaultInput)>,
    operations: Vec<Action>,
}

/// A [`StoreFault`] that can be decoded from bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum FaultInput {
    None,
    Before,
    After,
    Short,
}

impl From<FaultInput> for StoreFault {
    fn from(fault: FaultInput) -> Self {
        match fault {
            FaultInput::None => StoreFault::None,
            FaultInput::Before => StoreFault::Before,
            FaultInput::After => StoreFault::After,
            FaultInput::Short => StoreFault::Short,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action {
    Iterate(Number),
    Restart { resume: bool },
}

/// The maximum number of kept checkpoints. The store has one slot more, for the checkpoint that is being saved.
const TABLE: usize = 3;

type Medium = Ram<{ TABLE + 1 }, 192>;

/// The planned faults of the store. The list is in reverse order, because the next fault is taken from the end.
#[derive(Default)]
struct FaultPlan {
    faults: RefCell<Vec<(u8, StoreFault)>>,
    /// Whether an operation that lists the checkpoints may fail. It may fail only during `attach`, because the stores
    /// of the library later list their checkpoints from memory.
    is_attaching: Cell<bool>,
}

impl FaultPlan {
    fn next(&self, operation: StoreOperation) -> StoreFault {
        if operation == StoreOperation::List && !self.is_attaching.get() {
            return StoreFault::None;
        }
        let mut faults = self.faults.borrow_mut();
        match faults.last_mut() {
            None => StoreFault::None,
            Some((operations_left, _)) if *operations_left > 0 => {
                *operations_left -= 1;
                StoreFault::None
            }
            Some(_) => faults.pop().map_or(StoreFault::None, |(_, fault)| fault),
        }
    }
}

/// For each step, the weights that its checkpoint may contain: those of the last successful save, and those of failed
/// saves since.
type PossibleWeights = BTreeMap<u32, Vec<[f32; 3]>>;

/// A report about a save that the handler sends to the observer of the test.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Notification {
    Saved(SaveDecision),
    Failed(SaveDecision),
}

/// Returns weights that are different for each save, so that the test recognizes which save wrote a stored checkpoint.
fn weights(iteration: u32, number: u32) -> [f32; 3] {
    [iteration as f32, number as f32, -0.0]
}

/// The fuzz target for `ModelCheckpoint` with a store whose operations fail at random.
pub fn saving(data: &[u8]) {
    let Some(input) = decode::<Input>(data) else { return };
    match input.interval % 4 {
        0 => {
            let policy = ModelCheckpoint::best_by(|state: &State<f32>| state.output.unwrap_or(0.0));
            run_operations(&input, policy.with_greater_or_equal(input.or_equal));
        }
        interval => run_operations(&input, ModelCheckpoint::every(u32::from(interval)).expect("a valid interval")),
    }
}

type Handler<F, D, B> = CheckpointHandler<TABLE, IterationCompleted, FaultyStore<Medium, D>, F, B>;

/// Performs the operations. A restart ends a session and starts the next one with the same medium.
fn run_operations<F: GetScore<f32, ()> + Clone>(input: &Input, policy: ModelCheckpoint<TABLE, F>) {
    let n_saved = 1 + usize::from(input.n_saved) % TABLE;
    let policy = policy.with_n_saved(n_saved as u32).expect("a valid number").with_on_error(match input.on_error % 3 {
        0 => OnError::Stop,
        1 => OnError::Continue,
        _ => OnError::Retry(input.on_error / 3 % 4),
    });
    let plan = FaultPlan::default();
    *plan.faults.borrow_mut() = input.faults.iter().map(|(after, fault)| (*after, (*fault).into())).collect();
    let notifications = RefCell::new(Vec::new());
    let observe = |event: &CheckpointEvent<'_, FaultyStoreError<RamError>>| match event {
        CheckpointEvent::Saved { decision, .. } => notifications.borrow_mut().push(Notification::Saved(*decision)),
        CheckpointEvent::SaveFailed { decision, .. } => {
            notifications.borrow_mut().push(Notification::Failed(*decision))
        }
        _ => (),
    };
    let interval = Some(u32::from(input.interval % 4)).filter(|interval| *interval > 0);
    let mut model = Model {
        interval,
        n_saved: Some(n_saved),
        capacity: TABLE,
        // Only a policy that ranks checkpoints by score has the setting `or_equal` (equal scores may enter the
        // ranking).
        or_equal: input.or_equal && interval.is_none(),
        step_source: StepSource::Calls,
        calls: 0,
        kept: Vec::new(),
        committed: Vec::new(),
    };
    let mut possible = PossibleWeights::new();
    let mut medium = Medium::new();
    let mut number = 0;
    let mut operations = input.operations.iter().copied().take(48).peekable();
    while operations.peek().is_some() {
        let decide = |operation: StoreOperation| plan.next(operation);
        let backup = medium.clone();
        plan.is_attaching.set(true);
        let attached = policy.clone().attach(IterationCompleted, FaultyStore::new(medium, decide));
        plan.is_attaching.set(false);
        let Ok(handler) = attached else {
            // The store failed to list its checkpoints, and its content is unchanged. The next turn of the loop
            // attaches again.
            medium = backup;
            continue;
        };
        let mut handler = handler.observe(observe);
        model.reset();
        let restored = listed(handler.store_mut().inner_mut());
        for (step, score) in restored {
            model.restore_entry(step, score);
        }
        let mut engine = Engine::new(1).with_epoch_length(u32::MAX);
        let mut objects = Named::new("m", weights(0, 0));
        if let Some(Action::Restart { resume: true }) = operations.peek() {
            if let Ok(Some(resumed)) = engine.resume(&mut objects, &mut handler) {
                let calls = possible.iter().find(|(_, weights)| weights.contains(&objects)).map(|(step, _)| *step);
                assert_eq!(objects[0], resumed.iteration as f32, "{input:?}");
                model.calls = calls.unwrap_or_else(|| panic!("{objects:?} was never saved in {input:?}"));
            }
            apply_notifications(&notifications, &mut model, &mut possible, *objects, input);
        }
        if let Some(Action::Restart { .. }) = operations.peek() {
            operations.next();
        }
        while let Some(Action::Iterate(Number(score))) = operations.peek().copied() {
            operations.next();
            engine.restart();
            match engine.begin_iteration(&mut objects, &mut handler) {
                Ok(true) => (),
                // A resumed run can repeat a save. If the repeated save fails, the run ends.
                Ok(false) | Err(RunError::SaveFailed(_)) => continue,
                Err(error) => panic!("{error:?} in {input:?}"),
            }
            number += 1;
            *objects = weights(engine.state().iteration(), number);
            let is_fault_free = plan.faults.borrow().is_empty();
            let decision = model.update(1, engine.state().iteration(), Some(score));
            engine.end_iteration(score, &mut objects, &mut handler);
            let attempts = notifications.borrow().len();
            assert_eq!(attempts > 0, decision.is_some(), "{input:?}");
            let is_saved = apply_notifications(&notifications, &mut model, &mut possible, *objects, input);
            assert!(is_saved || decision.is_none() || !is_fault_free, "a save failed without a fault in {input:?}");
            check(&mut handler, &model, &possible, is_fault_free && is_saved, input);
        }
        // The session ends. Only the medium (the storage in memory) remains, as after a restart of a device.
        medium = handler.into_store().into_inner();
    }
}

/// Returns step and score of all stored checkpoints.
fn listed(medium: &mut Medium) -> Vec<(u32, Option<f32>)> {
    let mut all = Vec::new();
    while let Ok(Some(meta)) = medium.checkpoint(all.len() as u32) {
        all.push((meta.step, meta.score));
    }
    all
}

/// Updates the model with the notifications of the observer. Returns whether a save succeeded.
fn apply_notifications(
    notifications: &RefCell<Vec<Notification>>,
    model: &mut Model,
    possible: &mut PossibleWeights,
    weights: [f32; 3],
    input: &Input,
) -> bool {
    let notifications = notifications.take();
    for (index, notification) in notifications.iter().enumerate() {
        let is_last = index + 1 == notifications.len();
        match notification {
            Notification::Saved(decision) => {
                assert!(is_last, "retried after a successful save: {input:?}");
                let entry = model.entry(decision.step, decision.score);
                model.record_commit(entry);
                possible.insert(decision.step, vec![weights]);
            }
            // A failed save may have stored the checkpoint anyway.
            Notification::Failed(decision) => possible.entry(decision.step).or_default().push(weights),
        }
    }
    matches!(notifications.last(), Some(Notification::Saved(_)))
}

/// Compares the ranking (the table of kept checkpoints) and the stored checkpoints with the model. If `is_exact` is
/// set, the last save succeeded without a fault, so the store must contain the kept checkpoints, and no others if there
/// are `n_saved`. Fewer may include a checkpoint whose save returned an error after its commit.
fn check<F, D: FnMut(StoreOperation) -> StoreFault, B>(
    handler: &mut Handler<F, D, B>,
    model: &Model,
    possible: &PossibleWeights,
    is_exact: bool,
    input: &Input,
) {
    let kept: Vec<u32> = handler.policy().kept().iter().map(|kept| kept.step).collect();
    let expected: Vec<u32> = model.kept.iter().map(|kept| kept.step).collect();
    assert_eq!(kept, expected, "{input:?}");
    assert_eq!(handler.policy().calls(), model.calls, "{input:?}");
    assert_eq!(handler.policy().latest().map(|latest| latest.step), model.latest(), "{input:?}");
    let n_saved = model.n_saved.unwrap_or(usize::MAX);
    let medium = handler.store_mut().inner_mut();
    for step in &kept {
        let mut bytes = [0; 192];
        let listed = (0..).map_while(|index| medium.checkpoint(index).expect("a RAM store lists"));
        let sequence = { listed }.find(|meta| meta.step == *step).map_or(0, |meta| meta.sequence);
        let result = medium.open(sequence, 0).and_then(|mut reader| reader.read(&mut bytes));
        let len = result.unwrap_or_else(|error| panic!("step {step} is kept but not stored ({error}) in {input:?}"));
        let content = stream::read(&bytes[..len]).unwrap_or_else(|| panic!("step {step} is damaged in {input:?}"));
        let values = content.items[0].data.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
        let values: Vec<f32> = values.collect();
        assert!(possible[step].iter().any(|weights| *weights == values[..]), "step {step}: {values:?} in {input:?}");
    }
    if is_exact {
        let stored: Vec<u32> = listed(medium).into_iter().map(|(step, _)| step).collect();
        let has_all =
            kept.iter().all(|step| stored.contains(step)) && stored.iter().all(|step| possible.contains_key(step));
        assert!(
            has_all && (stored.len() == kept.len() || stored.len() <= n_saved),
            "after a save without a fault, the store contains {stored:?} instead of {kept:?}: {input:?}"
        );
    }
}
