//! Flash chips and drivers that differ from a plain NOR flash: other erased values, errors for blank units, aligned
//! buffers, failing reads and failing blocks. No such difference may lose a committed checkpoint.

use training_monitor::checkpoint::{Named, ObjectVisitor, Objects};
use training_monitor::embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use training_monitor::event::EpochCompleted;
use training_monitor::handlers::model_checkpoint::{
    CheckpointEvent, CheckpointHandler, NoScore, OnError, SaveDecision,
};
use training_monitor::run_record::RestoreError;
use training_monitor::store::Store;
use training_monitor::store::flash::{RegionError, Slots};
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_std::test_support::flash::{Flash, Interruption};

/// The error of a simulated driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct DriverError;

impl NorFlashError for DriverError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// How a simulated driver differs from a plain one.
#[derive(Clone, Default)]
struct Behaviour {
    /// An erased byte at this address reads as this value.
    erased: Option<fn(u32) -> u8>,
    /// A read of a unit that was not programmed since its erase fails.
    blank_fails: bool,
    /// A read into a buffer that is not aligned to 4 bytes fails, as in the QSPI driver of embassy-nrf.
    requires_alignment: bool,
    /// The reads that fail, counted from 0.
    failing_reads: std::ops::Range<u64>,
    /// The reads that start in this range of addresses fail.
    unreadable: std::ops::Range<u32>,
    /// An erase or a write in this range of addresses fails.
    bad: std::ops::Range<u32>,
}

/// A flash with write granules of `W` bytes and erase blocks of 256 bytes.
#[derive(Clone)]
struct Device<const W: usize, const R: usize> {
    bytes: Vec<u8>,
    programmed: Vec<bool>,
    reads: u64,
    /// The address of the last read that failed.
    failed_at: Option<u32>,
    behaviour: Behaviour,
}

impl<const W: usize, const R: usize> Device<W, R> {
    fn new(capacity: usize, behaviour: Behaviour) -> Self {
        Device { bytes: vec![0; capacity], programmed: vec![false; capacity], reads: 0, failed_at: None, behaviour }
    }
}

impl<const W: usize, const R: usize> ErrorType for Device<W, R> {
    type Error = DriverError;
}

impl<const W: usize, const R: usize> ReadNorFlash for Device<W, R> {
    const READ_SIZE: usize = R;
    fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), DriverError> {
        let fails = self.behaviour.failing_reads.contains(&self.reads) || self.behaviour.unreadable.contains(&at);
        self.reads += 1;
        let aligned = !self.behaviour.requires_alignment || to.as_ptr().cast::<u32>().is_aligned();
        let units = (at as usize).is_multiple_of(R) && to.len().is_multiple_of(R);
        let blank = self.programmed[at as usize..][..to.len()].iter().any(|programmed| !programmed);
        if fails || !aligned || !units || (blank && self.behaviour.blank_fails) {
            self.failed_at = Some(at);
            return Err(DriverError);
        }
        for (address, place) in (at..).zip(to) {
            let erased = self.behaviour.erased.map_or(0xFF, |erased| erased(address));
            *place = if self.programmed[address as usize] { self.bytes[address as usize] } else { erased };
        }
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const W: usize, const R: usize> NorFlash for Device<W, R> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = 256;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), DriverError> {
        if self.behaviour.bad.contains(&from) {
            return Err(DriverError);
        }
        self.programmed[from as usize..to as usize].fill(false);
        Ok(())
    }
    fn write(&mut self, at: u32, from: &[u8]) -> Result<(), DriverError> {
        assert!((at as usize).is_multiple_of(W) && from.len().is_multiple_of(W));
        if self.behaviour.bad.contains(&at) {
            return Err(DriverError);
        }
        let range = at as usize..at as usize + from.len();
        assert!(!self.programmed[range.clone()].contains(&true), "granules at {at} are programmed twice");
        self.bytes[range.clone()].copy_from_slice(from);
        self.programmed[range].fill(true);
        Ok(())
    }
}

/// Trains for `epochs` epochs and saves after each one. Returns the iteration from which the run resumed.
fn train<F: NorFlash>(flash: &mut F, epochs: u32, name: &'static str) -> Result<Option<u32>, String> {
    let store = Slots::<_, 3>::open(flash, 0..1536).map_err(|error| error.to_string())?;
    let policy = ModelCheckpoint::<2>::every(1).unwrap();
    let mut checkpoint = policy.attach(EpochCompleted, store).map_err(|error| error.to_string())?;
    let mut model = Named::new(name, [0.0_f32; 9]);
    let mut engine = Engine::new(epochs);
    let resumed = engine.resume(&mut model, &mut checkpoint).map_err(|error| error.to_string())?;
    engine.run(&mut model, 0..2, &mut checkpoint, |model, _, _| model[0] += 1.0).map_err(|error| error.to_string())?;
    let mut loaded = Named::new(name, [0.0_f32; 9]);
    checkpoint.load_best(&mut loaded).map_err(|error| error.to_string())?;
    assert_eq!(loaded[0], model[0]);
    Ok(resumed.map(|resumed| resumed.iteration))
}

#[test]
fn a_driver_that_requires_aligned_buffers_can_load_objects_of_every_name_length() {
    for name in ["m", "mo", "mod", "mode", "model", "a_model_with_a_long_name_0123456"] {
        let behaviour = || Behaviour { requires_alignment: true, ..Behaviour::default() };
        let mut flash = Device::<4, 4>::new(1536, behaviour());
        assert_eq!(train(&mut flash, 2, name), Ok(None), "{name}");
        assert_eq!(train(&mut flash, 4, name), Ok(Some(4)), "{name}");
        let mut flash = Device::<1, 4>::new(1536, behaviour());
        assert_eq!(train(&mut flash, 2, name), Ok(None), "{name}");
        assert_eq!(train(&mut flash, 4, name), Ok(Some(4)), "{name}");
    }
}

/// An object that consists of two texts. If both have more than 16 bytes, the loader reads them into one buffer, one
/// after the other.
struct Texts(&'static str, (String, String));

impl Objects for Texts {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.value(self.0, &mut self.1)
    }
}

/// The length of the name decides whether the second text starts at a multiple of the read unit. The length of the
/// first text decides whether the second text is read to an aligned address.
#[test]
fn a_driver_that_requires_aligned_buffers_can_load_values_at_every_offset() {
    for (name, first) in (0..16).map(|case| (&"name"[case / 4..], &"the first of two texts"[case % 4..])) {
        let mut flash = Device::<4, 4>::new(1536, Behaviour { requires_alignment: true, ..Behaviour::default() });
        let store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
        let mut checkpoint = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
        let texts = || (first.to_owned(), "0123456789 0123456789".to_owned());
        checkpoint.save(SaveDecision { step: 1, score: None }, 1, None, &mut Texts(name, texts())).unwrap();
        let mut loaded = Texts(name, Default::default());
        assert_eq!(
            checkpoint.load_best(&mut loaded).map(|info| info.map(|info| info.step)),
            Ok(Some(1)),
            "{name} {first}"
        );
        assert_eq!(loaded.1, texts(), "{name} {first}");
    }
}

#[test]
fn blank_units_that_cannot_be_read_are_never_read() {
    fn check<const W: usize, const R: usize>() {
        let mut flash = Device::<W, R>::new(1536, Behaviour { blank_fails: true, ..Behaviour::default() });
        assert_eq!(train(&mut flash, 3, "m"), Ok(None), "{W} {R}");
        assert_eq!(train(&mut flash, 6, "m"), Ok(Some(6)), "{W} {R}");
    }
    check::<1, 1>();
    check::<2, 1>();
    check::<4, 4>();
    check::<8, 1>();
    check::<16, 4>();
    check::<32, 32>();
    check::<1, 8>();
    check::<4, 16>();
}

/// The seal of an interrupted commit is incomplete, for each value of erased flash.
#[test]
fn no_erased_value_reads_as_a_seal() {
    let patterns: [fn(u32) -> u8; 4] =
        [|_| 0xFF, |_| 0, |at| [0x39, 0xE3][at as usize % 2], |at| ((at * 167) >> 3) as u8];
    for erased in patterns {
        let mut flash = Device::<4, 1>::new(1536, Behaviour { erased: Some(erased), ..Behaviour::default() });
        assert_eq!(train(&mut flash, 2, "m"), Ok(None));
        // The seal of the newest checkpoint, which is in slot 1, was not written.
        flash.programmed[512 + 64..512 + 96].fill(false);
        let mut store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
        let listed = [0, 1].map(|index| store.checkpoint(index).unwrap().unwrap().sequence);
        assert_eq!(listed.map(|sequence| store.is_durable(sequence)), [true, false]);
        assert_eq!(train(&mut flash, 4, "m"), Ok(Some(4)));
    }
}

/// A read error does not mean that a slot is empty.
#[test]
fn one_failing_read_changes_nothing() {
    let mut flash = Device::<4, 1>::new(1536, Behaviour::default());
    train(&mut flash, 3, "m").unwrap();
    let reads = flash.reads;
    train(&mut flash, 3, "m").unwrap();
    for read in 0..flash.reads - reads {
        flash.behaviour.failing_reads = flash.reads + read..flash.reads + read + 1;
        assert_eq!(train(&mut flash, 3, "m"), Ok(Some(6)), "read {read}");
    }
}

#[test]
fn an_unreadable_slot_is_reported_and_is_not_erased_while_another_one_is_free() {
    let mut flash = Device::<4, 1>::new(1536, Behaviour::default());
    train(&mut flash, 2, "m").unwrap();
    // Slot 1 contains the newest checkpoint.
    flash.behaviour.unreadable = 512..1024;
    let store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
    assert_eq!(store.unreadable_slots(), 1);
    let mut checkpoint = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
    let mut model = Named::new("m", [0.0_f32; 9]);
    let mut engine = Engine::<()>::new(3);
    let resumed = engine.resume(&mut model, &mut checkpoint).unwrap().unwrap();
    assert_eq!((resumed.iteration, resumed.skipped), (2, 1));
    checkpoint.save(SaveDecision { step: 9, score: None }, 9, None, &mut model).unwrap();
    drop(checkpoint);
    // The save used slot 2. The checkpoint in slot 1 is readable again after the fault.
    flash.behaviour.unreadable = 0..0;
    let mut store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
    let steps = [0, 1, 2].map(|index| store.checkpoint(index).unwrap().map(|meta| meta.step));
    assert_eq!(steps, [Some(1), Some(2), Some(9)]);
}

/// Opening reads slots with the same step several times. If all attempts of one read fail meanwhile, no committed
/// checkpoint may be treated as the remains of an interrupted save, which the next save erases. A seal that cannot be read
/// is the exception: some flashes return an error for a unit whose write was interrupted, so the seal counts as
/// incomplete. The older checkpoint of the same step then remains.
#[test]
fn reads_that_fail_while_the_store_is_opened_lose_no_checkpoint_of_a_repeated_step() {
    /// A slot has 512 bytes. Its record comes first, then its seal.
    const SEAL_OF_SLOT_2: u32 = 2 * 512 + 64;
    fn save<F: NorFlash>(flash: &mut F, steps_and_weights: &[(u32, f32)]) {
        let store = Slots::<_, 5>::open(flash, 0..2560).unwrap();
        let mut checkpoint = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
        for (step, weight) in steps_and_weights {
            let mut model = Named::new("m", [*weight; 9]);
            checkpoint.save(SaveDecision { step: *step, score: None }, *step, None, &mut model).unwrap();
        }
    }
    let mut flash = Device::<4, 1>::new(2560, Behaviour::default());
    save(&mut flash, &[(1, 1.0), (2, 2.0), (2, 2.5)]);
    let reads = flash.reads;
    Slots::<_, 5>::open(&mut flash, 0..2560).unwrap();
    let opening = flash.reads - reads;
    let (mut cases, mut unsealed) = (0, 0);
    for read in 0..opening {
        let mut flash = flash.clone();
        // All attempts of this read fail.
        flash.behaviour.failing_reads = flash.reads + read..flash.reads + read + 3;
        save(&mut flash, &[(3, 3.0)]);
        flash.behaviour.failing_reads = 0..0;
        let newest_is_unsealed = flash.failed_at == Some(SEAL_OF_SLOT_2);
        unsealed += u32::from(newest_is_unsealed);
        let expected = [(2, if newest_is_unsealed { 2.0 } else { 2.5 }), (3, 3.0)];
        let store = Slots::<_, 5>::open(&mut flash, 0..2560).unwrap();
        let mut checkpoint = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
        for (step, weight) in expected {
            let mut model = Named::new("m", [0.0_f32; 9]);
            let found = checkpoint.load_step(step, &mut model).unwrap();
            assert_eq!((found.step, model[0]), (step, weight), "read {read} of {opening}");
        }
        cases += 1;
    }
    assert!(cases > 100 && unsealed > 0, "{cases} cases, {unsealed} with an unreadable seal");
}

/// Opening the store does not list the damaged checkpoint. The resume uses an older one and counts the damaged one.
#[test]
fn a_damaged_newest_checkpoint_is_counted() {
    let mut flash = Device::<4, 1>::new(1536, Behaviour::default());
    train(&mut flash, 2, "m").unwrap();
    // The stream of the newest checkpoint, which is in slot 1, starts at offset 96.
    flash.bytes[512 + 96 + 20] ^= 1;
    let store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
    let mut checkpoint = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
    let resumed = Engine::<()>::new(3).resume(&mut Named::new("m", [0.0_f32; 9]), &mut checkpoint).unwrap().unwrap();
    assert_eq!((resumed.iteration, resumed.skipped), (2, 1));
}

/// If only unreadable slots are left, the run does not silently start again.
#[test]
fn unreadable_checkpoints_are_an_error_of_the_resume() {
    let mut flash = Device::<4, 1>::new(1536, Behaviour::default());
    train(&mut flash, 2, "m").unwrap();
    flash.behaviour.unreadable = 0..1024;
    let store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
    let mut checkpoint = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
    let result = Engine::<()>::new(3).resume(&mut Named::new("m", [0.0_f32; 9]), &mut checkpoint);
    assert_eq!(result, Err(RestoreError::NoneLoadable { skipped: 2 }));
}

#[test]
fn a_failing_block_is_skipped_and_remembered() {
    for bad in [0..256, 256..512, 512..768, 1024..1280] {
        let mut flash = Device::<4, 1>::new(1536, Behaviour { bad: bad.clone(), ..Behaviour::default() });
        let mut fewer = 0;
        for start in 1..=6 {
            let store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
            if start > 3 {
                // The first three starts have tried each slot.
                assert_eq!(store.usable_slots(), 2, "{bad:?}, opening of start {start}");
            }
            let policy = ModelCheckpoint::<2>::every(1).unwrap();
            let mut checkpoint = policy.attach(EpochCompleted, store).unwrap().observe(|event: &CheckpointEvent<_>| {
                fewer += u32::from(matches!(event, CheckpointEvent::FewerPlaces { places: 1 }));
                assert!(!matches!(event, CheckpointEvent::SaveFailed { .. }), "{event}");
            });
            // The first decision already counts with fewer checkpoints.
            assert_eq!(checkpoint.policy().places(), if start > 3 { 1 } else { 2 }, "{bad:?}, start {start}");
            // The checkpoint with its record needs both blocks of a slot.
            let mut model = Named::new("m", [0.0_f32; 60]);
            let mut engine = Engine::new(start);
            let resumed = engine.resume(&mut model, &mut checkpoint).unwrap();
            assert_eq!(resumed.map_or(0, |resumed| resumed.epoch), start - 1, "{bad:?}");
            engine.run(&mut model, 0..2, &mut checkpoint, |model, _, _| model[0] += 1.0).unwrap();
            if start > 2 {
                assert_eq!(checkpoint.store().usable_slots(), 2, "{bad:?}, start {start}");
            }
        }
        assert!(fewer >= 1, "{bad:?}");
    }
}

/// The last loadable checkpoint is never overwritten.
#[test]
fn with_one_usable_slot_the_save_fails_and_keeps_the_checkpoint() {
    let mut flash = Device::<4, 1>::new(1536, Behaviour { bad: 512..1536, ..Behaviour::default() });
    let store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
    let policy = ModelCheckpoint::<2>::every(1).unwrap().with_on_error(OnError::Continue);
    let mut checkpoint = policy.attach(EpochCompleted, store).unwrap();
    let mut model = Named::new("m", [0.0_f32; 9]);
    let mut engine = Engine::new(4);
    engine.run(&mut model, 0..2, &mut checkpoint, |model, _, _| model[0] += 1.0).unwrap();
    assert!(checkpoint.last_error().is_some());
    assert_eq!(checkpoint.load_best(&mut model).unwrap().map(|info| info.step), Some(1));
}

/// A save that replaces a checkpoint without a seal destroys it. If the save fails, the checkpoint that was removed before is
/// the last one.
#[test]
fn a_failed_save_over_an_unsealed_checkpoint_keeps_the_removed_one() {
    let mut flash = Device::<4, 1>::new(1024, Behaviour::default());
    let mut model = Named::new("m", [0.0_f32; 9]);
    let decision = |step| SaveDecision { step, score: None };
    let mut checkpoint = attach_one(&mut flash);
    checkpoint.save(decision(1), 1, None, &mut model).unwrap();
    checkpoint.save(decision(2), 2, None, &mut model).unwrap();
    drop(checkpoint);
    // Power failed before the seal of the second checkpoint was written. Then its slot fails.
    flash.programmed[512 + 64..512 + 68].fill(false);
    flash.behaviour.bad = 512 + 96..1024;
    let mut checkpoint = attach_one(&mut flash);
    assert_eq!(checkpoint.load_best(&mut model).unwrap().map(|info| info.step), Some(2));
    for step in [3, 4] {
        assert!(checkpoint.save(decision(step), step, None, &mut model).is_err());
        assert_eq!(checkpoint.load_best(&mut model).unwrap().map(|info| info.step), Some(1));
    }
    drop(checkpoint);
    assert_eq!(attach_one(&mut flash).load_best(&mut model).unwrap().map(|info| info.step), Some(1));
}

/// Keeps one checkpoint in two slots.
fn attach_one(flash: &mut Device<4, 1>) -> CheckpointHandler<1, EpochCompleted, Slots<&mut Device<4, 1>, 2>, NoScore> {
    let store = Slots::open(flash, 0..1024).unwrap();
    ModelCheckpoint::<1>::every(1).unwrap().attach(EpochCompleted, store).unwrap()
}

/// A start that reads an interrupted seal as complete treats the checkpoint as durable. Later starts must agree.
#[test]
fn an_unstable_seal_does_not_lose_the_best_checkpoint() {
    type Small = Flash<1, 256>;
    // Runs the saves that are left of `scores`, as the firmware of one start does.
    fn start(flash: &mut Small, scores: &'static [f32]) -> Vec<u32> {
        let store = Slots::<_, 3>::open(flash, 0..768).unwrap();
        let policy = ModelCheckpoint::<2>::best_by(|state| scores[state.epoch() as usize - 1]);
        let mut checkpoint = policy.attach(EpochCompleted, store).unwrap();
        let mut model = Named::new("m", [0.0_f32; 4]);
        let mut engine = Engine::new(u32::try_from(scores.len()).unwrap());
        if engine.resume(&mut model, &mut checkpoint).is_ok() {
            let _ = engine.run(&mut model, 0..1, &mut checkpoint, |_, _, _| ());
        }
        checkpoint.policy().kept().iter().map(|kept| kept.step).collect()
    }
    let mut lost = 0;
    let mut cases = 0;
    for interruption in [Interruption::Unstable, Interruption::OneUnstable] {
        for seed in 0..300 {
            let mut flash = Small::new(768, 0xFF);
            start(&mut flash, &[0.3]);
            let before = flash.counts.operations;
            let mut trial = flash.clone();
            start(&mut trial, &[0.3, 0.9]);
            // The last operations of the save write the four bytes of its seal.
            let last = trial.counts.operations - before;
            for operation in last - 4..last {
                let mut flash = flash.clone();
                flash.cut_power_at(operation, interruption, seed);
                start(&mut flash, &[0.3, 0.9]);
                flash.power_on();
                start(&mut flash, &[0.3, 0.9, 0.5]);
                let kept = start(&mut flash, &[0.3, 0.9, 0.5, 0.6]);
                cases += 1;
                lost += u32::from(!kept.contains(&2));
            }
        }
    }
    assert_eq!((lost, cases), (0, 2400));
}

#[test]
fn a_region_of_another_division_is_refused_until_it_is_erased() {
    let mut flash = Flash::<4, 256>::new(4096, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..1536).unwrap();
    let mut checkpoint = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
    let mut model = Named::new("m", [0.0_f32; 9]);
    Engine::new(2).run(&mut model, 0..2, &mut checkpoint, |_, _, _| ()).unwrap();
    drop(checkpoint);
    let before = flash.image().to_vec();
    let other = |result: Result<(), RegionError>| assert!(matches!(result, Err(RegionError::OtherLayout { .. })));
    other(Slots::<_, 2>::open(&mut flash, 0..1536).map(|_| ()));
    other(Slots::<_, 6>::open(&mut flash, 0..1536).map(|_| ()));
    other(Slots::<_, 3>::open(&mut flash, 0..3072).map(|_| ()));
    other(Slots::<_, 3>::open(&mut flash, 512..2048).map(|_| ()));
    other(Slots::<_, 3>::open(&mut flash, 256..1792).map(|_| ()));
    assert_eq!(flash.image(), before);
    Slots::<_, 2>::erase_region(&mut flash, 0..1536).unwrap();
    let mut store = Slots::<_, 2>::open(&mut flash, 0..1536).unwrap();
    assert_eq!(store.checkpoint(0), Ok(None));
}
