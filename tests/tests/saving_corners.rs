//! Saving where only a reader of its code looks: stores that do not do what they say, checkpoints that do not fit, what an
//! observer is told, and what is not written twice.

use std::cell::RefCell;
use training_monitor::checkpoint::{DecodeError, EncodeError, Encoded, Header, Objects, One, Visit, VisitMut};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{ConfigError, OnError, Save, Step};
use training_monitor::handlers::saving::Report;
use training_monitor::record::Record;
use training_monitor::store::ram::{Ram, RamError};
use training_monitor::store::{Opening, Store, Stored};
use training_monitor::{Engine, Handler, ModelCheckpoint, TerminateOnNan};
use training_monitor_std::test_support::store::{Fault, Faulty, Operation};

type Model = One<'static, [f32; 2]>;
const MODEL: Model = One("m", [1.0, 2.0]);

fn machine(n_saved: u32) -> ModelCheckpoint<3> {
    ModelCheckpoint::builder().save_interval(1).n_saved(n_saved).step(Step::Iteration).build().unwrap()
}

fn save(step: u32) -> Save {
    Save { step, score: None }
}

/// RAM that tells of what it has removed all the same, and of two streams a checkpoint.
#[derive(Default)]
struct Stubborn {
    ram: Ram<6, 512>,
    removed: Vec<u32>,
    refuses: bool,
}

impl Store for Stubborn {
    type Error = RamError;
    type Writer<'a> = <Ram<6, 512> as Store>::Writer<'a>;
    type Reader<'a> = <Ram<6, 512> as Store>::Reader<'a>;
    type Checksum = <Ram<6, 512> as Store>::Checksum;

    fn create(&mut self, opening: &Opening<'_>) -> Result<Self::Writer<'_>, RamError> {
        self.ram.create(opening)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), RamError> {
        self.ram.commit(header, last)
    }
    fn stored(&mut self, index: u32) -> Result<Option<Stored>, RamError> {
        self.ram.stored(index)
    }
    fn parts(&mut self, step: u32) -> Result<u32, RamError> {
        Ok(2 * self.ram.parts(step)?)
    }
    fn open(&mut self, step: u32, _: u32) -> Result<Self::Reader<'_>, RamError> {
        self.ram.open(step, 0)
    }
    fn remove(&mut self, step: u32) -> Result<(), RamError> {
        self.removed.push(step);
        if self.refuses { Err(RamError::NotFound) } else { Ok(()) }
    }
}

/// To sweep ends, whatever a store does: each that has to go is asked for once.
#[test]
fn a_sweep_ends_with_a_store_that_removes_nothing() {
    for refuses in [false, true] {
        let mut saving = machine(2).attach(IterationCompleted, Stubborn { refuses, ..Stubborn::default() }).unwrap();
        for step in 1..=4 {
            saving.save(save(step), step, None, &MODEL).unwrap();
        }
        let kept: Vec<u32> = saving.machine().kept().iter().map(|entry| entry.step).collect();
        assert_eq!(kept, [3, 4]);
        // 1 once after the third save; then before and after the fourth, with 2 at its end.
        assert_eq!(saving.store().removed, [1, 1, 1, 2]);
    }
}

#[test]
fn a_lent_store_is_the_store() {
    let mut store = Stubborn::default();
    let mut saving = machine(3).attach(IterationCompleted, &mut store).unwrap();
    saving.save(save(1), 1, None, &MODEL).unwrap();
    let mut lent = &mut store;
    assert_eq!((Store::parts(&mut lent, 1), Store::parts(&mut lent, 2)), (Ok(2), Ok(0)));
    Store::remove(&mut lent, 1).unwrap();
    assert_eq!(store.removed, [1]);
    // Two streams of one checkpoint, each with the same tensors, are not one of ours.
    let mut saving = machine(3).attach(IterationCompleted, store).unwrap();
    assert_eq!(saving.load_step(1, &mut MODEL.clone()).unwrap_err(), DecodeError::Malformed);
}

#[test]
fn ram_takes_what_fits_to_the_last_byte() {
    let mut ram = Ram::<2, 100>::new();
    let opening = |len| Opening { header: Header::default(), object: None, part: 0, parts: 1, len };
    assert!(ram.create(&opening(100)).is_ok());
    assert_eq!(ram.create(&opening(101)).err(), Some(RamError::TooLong));
    assert_eq!((ram.parts(0), ram.open(0, 0).err()), (Ok(0), Some(RamError::NotFound)));
    // More than was announced is taken, more than there is room for is not.
    let mut writer = ram.create(&opening(1)).unwrap();
    let mut write = |len| embedded_io::Write::write(&mut writer, &[7; 100][..len]);
    assert_eq!(
        (write(99), write(2), write(1), write(1)),
        (Ok(99), Err(RamError::TooLong), Ok(1), Err(RamError::TooLong))
    );
    ram.create(&opening(1)).unwrap();
    ram.commit(&Header { step: 5, ..Header::default() }, &Encoded { len: 1, crc: 0 }).unwrap();
    assert_eq!((ram.parts(5), ram.parts(0)), (Ok(1), Ok(0)));
    let mut full = Ram::<1, 100>::default();
    full.create(&opening(1)).unwrap();
    full.commit(&Header::default(), &Encoded { len: 1, crc: 0 }).unwrap();
    assert_eq!(full.create(&opening(1)).err(), Some(RamError::Full));
    assert_eq!(full.commit(&Header::default(), &Encoded { len: 1, crc: 0 }), Err(RamError::NotFound));
}

#[test]
fn an_observer_is_told_what_went() {
    let told = RefCell::new(Vec::new());
    let mut saving = machine(2).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap().observe(
        |report: &Report<'_, RamError>| {
            if let Report::Saved { save, removed, .. } = report {
                told.borrow_mut().push((save.step, *removed));
            }
        },
    );
    // The second of step 3 takes the place of the first, which is no removal.
    for step in [1, 2, 3, 3, 4] {
        saving.save(save(step), step, None, &MODEL).unwrap();
    }
    assert_eq!(*told.borrow(), [(1, None), (2, None), (3, Some(1)), (3, None), (4, Some(2))]);
}

#[test]
fn a_failed_save_is_tried_as_often_as_was_said() {
    for (retries, fails, tries, saved) in [(0, 1, 1, false), (2, 2, 3, true), (2, 3, 3, false), (1, 0, 1, true)] {
        let told = RefCell::new(Vec::new());
        let mut creates = 0;
        let store = Faulty::new(Ram::<4, 512>::new(), |operation| {
            creates += u32::from(operation == Operation::Create);
            if operation == Operation::Create && creates <= fails { Fault::Before } else { Fault::None }
        });
        let machine = ModelCheckpoint::<3>::builder().save_interval(1).on_error(OnError::Retry(retries));
        let mut saving =
            machine.build().unwrap().attach(IterationCompleted, store).unwrap().observe(|report: &Report<'_, _>| {
                if let Report::SaveFailed { retrying, .. } = report {
                    told.borrow_mut().push(*retrying);
                }
            });
        let mut model = MODEL;
        Engine::new(1).run(&mut model, 0..1, &mut saving, |_, batch, _| batch).unwrap();
        assert_eq!(saving.last_error().is_none(), saved, "{retries} {fails}");
        drop(saving);
        assert_eq!(creates, tries);
        let expected: Vec<bool> = (0..fails).map(|failed| failed < u32::from(retries)).collect();
        assert_eq!(*told.borrow(), expected);
    }
}

/// The list of a store whose checkpoints are all there is gone through to sweep, before and after, and not again.
#[test]
fn the_ranking_is_not_made_anew_without_need() {
    let lists = RefCell::new(0);
    let store = Faulty::new(Ram::<4, 512>::new(), |operation| {
        *lists.borrow_mut() += u32::from(operation == Operation::List);
        Fault::None
    });
    let mut saving = machine(3).attach(IterationCompleted, store).unwrap();
    saving.save(save(1), 1, None, &MODEL).unwrap();
    *lists.borrow_mut() = 0;
    saving.save(save(2), 2, None, &MODEL).unwrap();
    // One stored and the end; two and the end.
    assert_eq!(*lists.borrow(), 5);
}

fn newest(saving: &mut impl Handler<Model, u32>, below: Option<u32>) -> Option<u32> {
    saving.newest(below)
}

#[test]
fn the_newest_is_the_one_of_the_highest_iteration() {
    let mut saving = machine(3).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap();
    assert_eq!(newest(&mut saving, None), None);
    // The run went back from 20 to 10, and on.
    for (step, iteration) in [(1, 10), (2, 20), (3, 15)] {
        saving.save(save(step), iteration, None, &MODEL).unwrap();
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
        assert_eq!(newest(&mut saving, below), expected, "{below:?}");
    }
}

/// Several objects of which some may not be in a checkpoint.
struct Two([f32; 2], Option<[f32; 2]>);
impl Objects for Two {
    fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("m", &self.0)?;
        self.1.as_ref().map_or(Ok(()), |second| v.state_dict("second", second))
    }
    fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("m", &mut self.0)?;
        self.1.as_mut().map_or(Ok(()), |second| v.state_dict("second", second))
    }
}

#[test]
fn nothing_is_loaded_from_a_checkpoint_that_lacks_something() {
    let told = RefCell::new(Vec::new());
    let mut saving = machine(3).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap().observe(
        |report: &Report<'_, RamError>| {
            if let Report::LoadFailed { step, .. } = report {
                told.borrow_mut().push(*step);
            }
        },
    );
    saving.save(save(1), 1, None, &Two([1.0, 2.0], Some([3.0, 4.0]))).unwrap();
    saving.save(save(2), 2, None, &Two([5.0, 6.0], None)).unwrap();
    let mut model = Two([0.0; 2], Some([0.0; 2]));
    assert_eq!(saving.load_step(2, &mut model).unwrap_err(), DecodeError::Missing { item: 1 });
    assert_eq!((model.0, model.1), ([0.0; 2], Some([0.0; 2])));
    // The best that can be loaded is the one before, and the observer is told of the other.
    let info = saving.load_best(&mut model).unwrap().unwrap();
    assert_eq!((info.step, model.0, model.1), (1, [1.0, 2.0], Some([3.0, 4.0])));
    assert_eq!(*told.borrow(), [2]);
    let length = DecodeError::Length { item: 0, expected: 3, found: 2 };
    assert_eq!(saving.load_best(&mut One("m", [0.0_f32; 3])).unwrap_err(), length);
}

/// A run of one iteration that saves in `store`; what the store has then.
fn run_once(store: Ram<4, 512>) -> (Ram<4, 512>, Record) {
    let mut model = MODEL;
    let mut saving = machine(3).attach(IterationCompleted, store).unwrap();
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    assert!(engine.begin_iteration(&mut model, &mut saving));
    assert!(engine.end_iteration(0, &mut model, &mut saving));
    let mut record = Record::new();
    assert!(Handler::<Model, u32>::verify(&mut saving, 1, &mut model, &mut record));
    (saving.into_store(), record)
}

#[test]
fn what_was_written_before_the_cut_is_not_written_again() {
    let (store, _) = run_once(Ram::new());
    let creates = RefCell::new(0);
    let store = Faulty::new(store, |operation| {
        *creates.borrow_mut() += u32::from(operation == Operation::Create);
        Fault::None
    });
    let mut model = MODEL;
    let mut saving = machine(3).attach(IterationCompleted, store).unwrap();
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    assert_eq!(engine.resume(&mut model, &mut saving).unwrap().map(|resumed| resumed.iteration), Some(1));
    assert_eq!(*creates.borrow(), 0);
    assert!(engine.begin_iteration(&mut model, &mut saving));
    assert!(engine.end_iteration(0, &mut model, &mut saving));
    assert_eq!(*creates.borrow(), 1);
}

/// Of two handlers one had written when the power went: the other writes now, though its store has another checkpoint of the
/// same iteration.
#[test]
fn what_was_not_written_before_the_cut_is_written_after_it() {
    let mut model = MODEL;
    let both = |first, second| {
        (machine(3).attach(IterationCompleted, first).unwrap(), machine(3).attach(IterationCompleted, second).unwrap())
    };
    let mut handlers = both(Ram::<4, 512>::new(), Ram::<4, 512>::new());
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    assert!(engine.begin_iteration(&mut model, &mut handlers));
    assert!(engine.end_iteration(0, &mut model, &mut handlers));
    let mut other = machine(3).attach(IterationCompleted, Ram::<4, 512>::new()).unwrap();
    other.save(save(9), 1, None, &model).unwrap();
    let mut handlers = both(handlers.0.into_store(), other.into_store());
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    engine.resume(&mut model, &mut handlers).unwrap().unwrap();
    let steps = |saving: &ModelCheckpoint<3>| saving.kept().iter().map(|entry| entry.step).collect::<Vec<_>>();
    assert_eq!(steps(handlers.0.machine()), [1]);
    assert_eq!(steps(handlers.1.machine()), [1, 9]);
}

#[test]
fn a_score_name_is_as_long_as_a_name() {
    let build = |name| ModelCheckpoint::<1>::builder().scored().score_name(name).build().map(|_| ());
    const LONGEST: &str = "a234567890b234567890c234567890d2";
    assert_eq!(LONGEST.len(), training_monitor::checkpoint::MAX_NAME);
    assert_eq!(build(LONGEST), Ok(()));
    assert_eq!(build("a234567890b234567890c234567890d23"), Err(ConfigError::ScoreName));
    assert_eq!(build(""), Err(ConfigError::ScoreName));
}

#[test]
fn a_nan_is_saved_where_that_is_wanted() {
    let save_nan = |allow| {
        let machine = ModelCheckpoint::<1>::builder().save_interval(1).allow_non_finite(allow).build().unwrap();
        let mut saving = machine.attach(IterationCompleted, Ram::<2, 512>::new()).unwrap();
        saving.save(save(1), 1, None, &One("m", [f32::NAN]))
    };
    assert_eq!(save_nan(false), Err(EncodeError::NonFinite));
    assert_eq!(save_nan(true), Ok(()));
}

/// A guard over slices takes its phase back, and no more of it than its cadence has now.
#[test]
fn a_striped_guard_goes_on_with_its_phase() {
    let guard = |every: u32| {
        let guard = TerminateOnNan::default().with_cadence(every.try_into().unwrap());
        guard.watch(IterationCompleted, |model: &Model, look: &mut dyn FnMut(&[f32])| look(&model.1))
    };
    let mut before = guard(3);
    let mut engine = Engine::<u32>::new(1).with_epoch_length(2);
    engine.run(&mut MODEL.clone(), 0..2, &mut before, |_, batch, _| batch).unwrap();
    let record = engine.record::<Model, _>(&mut before).unwrap();
    let restored = |every| {
        let mut after = guard(every);
        Engine::<u32>::new(1).restore::<Model, _>(&record, &mut after).unwrap();
        after.terminate_on_nan
    };
    assert_eq!(restored(3), before.terminate_on_nan);
    // Two of three calls were done; of two, one: the second half is next.
    assert!(restored(2).check_stripe(&[0.0, f32::NAN]));
    assert!(!restored(2).check_stripe(&[f32::NAN, 0.0]));
    assert!(restored(1).check_stripe(&[0.0, f32::NAN]));
}
