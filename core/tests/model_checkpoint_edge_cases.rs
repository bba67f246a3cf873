//! Edge cases of `ModelCheckpoint` that mutation testing found: stores that do not remove checkpoints, checkpoints
//! without a needed object, calls of the observer, retries, and saves that a restart interrupted.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;

use std::cell::RefCell;
use training_monitor::ConfigError;
use training_monitor::checkpoint::{DecodeError, EncodeError, Encoded, Header, Named, ObjectVisitor, Objects};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, OnError, SaveDecision, StepSource};
use training_monitor::run_record::{ResumePoint, RunRecord};
use training_monitor::store::ram::{Ram, RamError};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
use training_monitor::{Engine, Handler, ModelCheckpoint};
use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};

type Model = Named<'static, [f32; 2]>;
fn model() -> Model {
    Named::new("m", [1.0, 2.0])
}

fn policy(n_saved: u32) -> ModelCheckpoint<3> {
    ModelCheckpoint::every(1).unwrap().with_n_saved(n_saved).unwrap().with_step_source(StepSource::Iteration)
}

fn decision(step: u32) -> SaveDecision {
    SaveDecision { step, score: None }
}

/// A store in RAM that never removes a checkpoint, and reports two streams for each checkpoint.
#[derive(Default)]
struct NonRemoving {
    ram: Ram<6, 512>,
    /// The sequence number of each call of `remove`. It is equal to the step number in these tests.
    removals: Vec<u32>,
    /// If true, each call of `remove` returns an error, as on a faulty medium.
    fails: bool,
}

impl Store for NonRemoving {
    type Error = RamError;
    type Writer<'a> = <Ram<6, 512> as Store>::Writer<'a>;
    type Reader<'a> = <Ram<6, 512> as Store>::Reader<'a>;
    type Checksum = <Ram<6, 512> as Store>::Checksum;

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, RamError> {
        self.ram.create(spec)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), RamError> {
        self.ram.commit(header, last)
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, RamError> {
        self.ram.checkpoint(index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, RamError> {
        Ok(2 * self.ram.stream_count(sequence)?)
    }
    fn open(&mut self, sequence: u32, _: u32) -> Result<Self::Reader<'_>, RamError> {
        self.ram.open(sequence, 0)
    }
    fn remove(&mut self, sequence: u32) -> Result<(), RamError> {
        self.removals.push(sequence);
        if self.fails { Err(RamError::NotFound) } else { Ok(()) }
    }
}

/// The handler tries each eviction at most once after a save. A save therefore ends even if the store removes nothing.
#[test]
fn evictions_end_with_a_store_that_removes_nothing() {
    for fails in [false, true] {
        let store = NonRemoving { fails, ..NonRemoving::default() };
        let mut handler = policy(2).attach(IterationCompleted, store).unwrap();
        for step in 1..=4 {
            handler.save(decision(step), step, None, &mut model()).unwrap();
        }
        let kept: Vec<u32> = handler.policy().kept().iter().map(|entry| entry.step).collect();
        assert_eq!(kept, [3, 4]);
        // After the third save, the handler tries to remove step 1. After the fourth save, it tries to remove the
        // steps 1 and 2.
        assert_eq!(handler.store().removals, [1, 1, 2]);
    }
}

#[test]
fn a_mutable_reference_to_a_store_is_a_store() {
    let mut store = NonRemoving::default();
    let mut handler = policy(3).attach(IterationCompleted, &mut store).unwrap();
    handler.save(decision(1), 1, None, &mut model()).unwrap();
    let mut reference = &mut store;
    assert_eq!((Store::stream_count(&mut reference, 1), Store::stream_count(&mut reference, 2)), (Ok(2), Ok(0)));
    Store::remove(&mut reference, 1).unwrap();
    assert_eq!(store.removals, [1]);
    // This store returns the same stream twice, so each tensor of the checkpoint occurs twice. Such a checkpoint is
    // malformed.
    let mut handler = policy(3).attach(IterationCompleted, store).unwrap();
    assert_eq!(handler.load_step(1, &mut model()).unwrap_err(), DecodeError::Malformed);
}

#[test]
fn a_ram_store_accepts_streams_up_to_its_capacity() {
    let mut ram = Ram::<2, 100>::new();
    let spec = |len| StreamSpec { header: Header::default(), object: None, stream_index: 0, stream_count: 1, len };
    assert!(ram.create(&spec(100)).is_ok());
    assert_eq!(ram.create(&spec(101)).err(), Some(RamError::TooLong));
    assert_eq!((ram.stream_count(0), ram.open(0, 0).err()), (Ok(0), Some(RamError::NotFound)));
    // The announced length is 1 byte. The writer accepts more bytes than that, up to the capacity of 100 bytes.
    let mut writer = ram.create(&spec(1)).unwrap();
    let mut write = |len| embedded_io::Write::write(&mut writer, &[7; 100][..len]);
    assert_eq!(
        (write(99), write(2), write(1), write(1)),
        (Ok(99), Err(RamError::TooLong), Ok(1), Err(RamError::TooLong))
    );
    embedded_io::Write::write(&mut ram.create(&spec(1)).unwrap(), &[7]).unwrap();
    ram.commit(&Header { sequence: 5, ..Header::default() }, &Encoded { len: 1, crc: 0 }).unwrap();
    assert_eq!((ram.stream_count(5), ram.stream_count(0)), (Ok(1), Ok(0)));
    let mut full = Ram::<1, 100>::default();
    embedded_io::Write::write(&mut full.create(&spec(1)).unwrap(), &[7]).unwrap();
    full.commit(&Header::default(), &Encoded { len: 1, crc: 0 }).unwrap();
    assert_eq!(full.create(&spec(1)).err(), Some(RamError::Full));
    assert_eq!(full.commit(&Header::default(), &Encoded { len: 1, crc: 0 }), Err(RamError::NotFound));
}

#[test]
fn a_commit_in_ram_needs_the_announced_bytes() {
    let mut ram = Ram::<2, 100>::new();
    for (announced, written, committed) in [(2, 1, 2), (1, 2, 1), (2, 2, 1)] {
        let header = Header::default();
        let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: announced };
        embedded_io::Write::write(&mut ram.create(&spec).unwrap(), &[7; 2][..written]).unwrap();
        assert_eq!(ram.commit(&header, &Encoded { len: committed, crc: 0 }), Err(RamError::Incomplete));
        assert_eq!(ram.checkpoint(0), Ok(None));
    }
}

#[test]
fn a_save_after_the_last_sequence_number_is_an_error() {
    let mut ram = Ram::<5, 512>::new();
    let header = Header { sequence: u32::MAX - 1, ..Header::default() };
    let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: 1 };
    embedded_io::Write::write(&mut ram.create(&spec).unwrap(), &[7]).unwrap();
    ram.commit(&header, &Encoded { len: 1, crc: 0 }).unwrap();
    let mut handler = policy(3).attach(IterationCompleted, ram).unwrap();
    handler.save(decision(1), 1, None, &mut model()).unwrap();
    assert_eq!(handler.save(decision(2), 2, None, &mut model()), Err(EncodeError::NoSequenceLeft));
    assert_eq!(handler.store_mut().checkpoint(1).unwrap().map(|meta| meta.sequence), Some(u32::MAX));
    assert_eq!(handler.store_mut().checkpoint(2), Ok(None));
}

#[test]
fn the_observer_receives_the_evicted_step() {
    let saves = RefCell::new(Vec::new());
    let mut handler =
        policy(2).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap().observe(|event: &CheckpointEvent<_>| {
            if let CheckpointEvent::Saved { decision, evicted, .. } = event {
                saves.borrow_mut().push((decision.step, *evicted));
            }
        });
    // The second save of step 3 replaces the first one, so no other checkpoint is evicted.
    for step in [1, 2, 3, 3, 4] {
        handler.save(decision(step), step, None, &mut model()).unwrap();
    }
    assert_eq!(*saves.borrow(), [(1, None), (2, None), (3, Some(1)), (3, None), (4, Some(2))]);
}

#[test]
fn a_failed_save_is_retried_the_configured_number_of_times() {
    for (retries, failures, attempts, is_saved) in
        [(0, 1, 1, false), (2, 2, 3, true), (2, 3, 3, false), (1, 0, 1, true)]
    {
        let retrying_flags = RefCell::new(Vec::new());
        let mut creates = 0;
        let store = FaultyStore::new(Ram::<4, 512>::new(), |operation| {
            creates += u32::from(operation == StoreOperation::Create);
            if operation == StoreOperation::Create && creates <= failures {
                StoreFault::Before
            } else {
                StoreFault::None
            }
        });
        let policy = ModelCheckpoint::<3>::every(1).unwrap().with_on_error(OnError::Retry(retries));
        let mut handler = policy.attach(IterationCompleted, store).unwrap().observe(|event: &CheckpointEvent<_>| {
            if let CheckpointEvent::SaveFailed { retrying, .. } = event {
                retrying_flags.borrow_mut().push(*retrying);
            }
        });
        let mut model = model();
        Engine::new(1).run(&mut model, 0..1, &mut handler, |_, batch, _| batch).unwrap();
        assert_eq!(handler.last_error().is_none(), is_saved, "{retries} retries, {failures} failures");
        drop(handler);
        assert_eq!(creates, attempts);
        let expected: Vec<bool> = (0..failures).map(|failure| failure < u32::from(retries)).collect();
        assert_eq!(*retrying_flags.borrow(), expected);
    }
}

/// A save lists the stored checkpoints before and after writing, to evict what is not needed, and once for each ranked
/// one, to find out whether it is missing. It does not list them again to rebuild the ranking, because no checkpoint is
/// missing.
#[test]
fn a_save_does_not_rebuild_a_complete_ranking() {
    let lists = RefCell::new(0);
    let store = FaultyStore::new(Ram::<4, 512>::new(), |operation| {
        *lists.borrow_mut() += u32::from(operation == StoreOperation::List);
        StoreFault::None
    });
    let mut handler = policy(3).attach(IterationCompleted, store).unwrap();
    handler.save(decision(1), 1, None, &mut model()).unwrap();
    *lists.borrow_mut() = 0;
    handler.save(decision(2), 2, None, &mut model()).unwrap();
    // Each listed checkpoint and each end of a list takes one call. The first list has one checkpoint (2 calls), and
    // the others have two (3 calls each).
    assert_eq!(*lists.borrow(), 8);
}

fn newest(handler: &mut impl Handler<Model, u32>, below: Option<u32>) -> Option<u32> {
    // These checkpoints are saved without an engine, so the number of their run is 0.
    let below = below.map(|iteration| ResumePoint { run: 0, iteration, sequence: 0 });
    handler.newest_checkpoint(below).unwrap().map(|point| point.iteration)
}

#[test]
fn the_newest_checkpoint_has_the_highest_iteration() {
    let mut handler = policy(3).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap();
    assert_eq!(newest(&mut handler, None), None);
    // The run was resumed from the checkpoint of iteration 10. It saves at iteration 15, although a checkpoint of
    // iteration 20 exists.
    for (step, iteration) in [(1, 10), (2, 20), (3, 15)] {
        handler.save(decision(step), iteration, None, &mut model()).unwrap();
    }
    for (below, expected) in [
        (None, Some(20)),
        (Some(21), Some(20)),
        (Some(20), Some(15)),
        (Some(16), Some(15)),
        (Some(15), Some(10)),
        (Some(10), None),
        (Some(0), None),
    ] {
        assert_eq!(newest(&mut handler, below), expected, "{below:?}");
    }
}

/// A listing of one or two objects: `m`, and `second` if the second field is `Some`.
struct Two([f32; 2], Option<[f32; 2]>);
impl Objects for Two {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("m", &mut self.0)?;
        self.1.as_mut().map_or(Ok(()), |second| visitor.state_dict("second", second))
    }
}

#[test]
fn a_checkpoint_without_a_needed_object_is_not_loaded() {
    let failed_loads = RefCell::new(Vec::new());
    let mut handler =
        policy(3).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap().observe(|event: &CheckpointEvent<_>| {
            if let CheckpointEvent::LoadFailed { step, .. } = event {
                failed_loads.borrow_mut().push(*step);
            }
        });
    handler.save(decision(1), 1, None, &mut Two([1.0, 2.0], Some([3.0, 4.0]))).unwrap();
    handler.save(decision(2), 2, None, &mut Two([5.0, 6.0], None)).unwrap();
    let mut model = Two([0.0; 2], Some([0.0; 2]));
    assert_named_error!(handler.load_step(2, &mut model), DecodeError::Missing, "data");
    assert_eq!((model.0, model.1), ([0.0; 2], Some([0.0; 2])));
    // Step 2 has another model, so it belongs to another series. `load_best` loads step 1, which has this model.
    let info = handler.load_best(&mut model).unwrap().unwrap();
    assert_eq!((info.step, model.0, model.1), (1, [1.0, 2.0], Some([3.0, 4.0])));
    assert_eq!(*failed_loads.borrow(), [0; 0]);
    let error = handler.load_best(&mut Named::new("m", [0.0_f32; 3])).unwrap_err();
    assert!(matches!(error, DecodeError::Shape { dimension: 0, expected: 3, found: 2, .. }), "{error:?}");
    // The series of this model has no checkpoint, so `load_best` has tried the others, the newest first.
    assert_eq!(*failed_loads.borrow(), [2, 1]);
}

/// Runs one iteration and saves to `store`. Returns the store, and the run record of the saved checkpoint.
fn run_once(store: Ram<4, 512>) -> (Ram<4, 512>, RunRecord) {
    let mut model = model();
    let mut handler = policy(3).attach(IterationCompleted, store).unwrap();
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    assert_eq!(engine.begin_iteration(&mut model, &mut handler), Ok(true));
    assert!(engine.end_iteration(0, &mut model, &mut handler));
    let mut record = RunRecord::new();
    let point = ResumePoint { run: 1, iteration: 1, sequence: 1 };
    assert_eq!(Handler::<Model, u32>::verify_checkpoint(&mut handler, point, &mut model, &mut record), Ok(true));
    (handler.into_store(), record)
}

#[test]
fn a_save_completed_before_the_restart_is_not_repeated() {
    let (store, _) = run_once(Ram::new());
    let creates = RefCell::new(0);
    let store = FaultyStore::new(store, |operation| {
        *creates.borrow_mut() += u32::from(operation == StoreOperation::Create);
        StoreFault::None
    });
    let mut model = model();
    let mut handler = policy(3).attach(IterationCompleted, store).unwrap();
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    assert_eq!(engine.resume(&mut model, &mut handler).unwrap().map(|resumed| resumed.iteration), Some(1));
    assert_eq!(*creates.borrow(), 0);
    assert_eq!(engine.begin_iteration(&mut model, &mut handler), Ok(true));
    assert!(engine.end_iteration(0, &mut model, &mut handler));
    assert_eq!(*creates.borrow(), 1);
}

/// Two handlers save in the same iteration, but the power fails between their saves. After the restart, the second
/// handler repeats its save, although its store contains another checkpoint of this iteration.
#[test]
fn a_save_missing_at_the_restart_is_made_after_it() {
    let mut model = model();
    let both = |first, second| {
        (policy(3).attach(IterationCompleted, first).unwrap(), policy(3).attach(IterationCompleted, second).unwrap())
    };
    let mut handlers = both(Ram::<4, 512>::new(), Ram::<4, 512>::new());
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    assert_eq!(engine.begin_iteration(&mut model, &mut handlers), Ok(true));
    assert!(engine.end_iteration(0, &mut model, &mut handlers));
    let mut other = policy(3).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap();
    other.save(decision(9), 1, None, &mut model).unwrap();
    let mut handlers = both(handlers.0.into_store(), other.into_store());
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    engine.resume(&mut model, &mut handlers).unwrap().unwrap();
    let steps = |handler: &ModelCheckpoint<3>| handler.kept().iter().map(|entry| entry.step).collect::<Vec<_>>();
    assert_eq!(steps(handlers.0.policy()), [1]);
    // The second handler saves step 1 after step 9, so step 1 is its latest checkpoint.
    assert_eq!(steps(handlers.1.policy()), [9, 1]);
}

#[test]
fn a_score_name_may_have_up_to_max_name_bytes() {
    let build = |name| ModelCheckpoint::<1>::by_score().with_score_name(name).map(|_| ());
    let too_long: &str = "n".repeat(training_monitor::checkpoint::MAX_NAME + 1).leak();
    assert_eq!(build(&too_long[1..]), Ok(()));
    assert_eq!(build(too_long), Err(ConfigError::ScoreName));
    assert_eq!(build(""), Err(ConfigError::ScoreName));
}

#[test]
fn a_nan_is_saved_only_if_allow_non_finite_is_set() {
    let save_nan = |allow| {
        let policy = ModelCheckpoint::<1>::every(1).unwrap().with_allow_non_finite(allow);
        let mut handler = policy.attach(IterationCompleted, Ram::<2, 512>::new()).unwrap();
        handler.save(decision(1), 1, None, &mut Named::new("m", [f32::NAN]))
    };
    assert_named_error!(save_nan(false), EncodeError::NonFinite, "data");
    assert_eq!(save_nan(true), Ok(()));
}
