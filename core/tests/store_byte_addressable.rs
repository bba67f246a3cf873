//! Tests of the store in byte-addressable memory on a simulated FRAM or EEPROM: the contract of stores, power failures,
//! cost of a save, limits of regions and streams, worn-out cells, and several stores on one driver.

#[path = "common/store_access.rs"]
mod store_access;

use std::cell::RefCell;
use store_access::{list_checkpoints, read_stream};
use training_monitor::checkpoint::{self, Contents, EncodeError, Encoded, Header, Named};
use training_monitor::embedded_io::{Error as _, ErrorKind, Read, Write};
use training_monitor::embedded_storage::{ReadStorage, Storage};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, SaveDecision};
use training_monitor::store::byte_addressable::{
    ByteSlots, ByteSlotsError, EraseError, SharedStorage, SharedStorageError,
};
use training_monitor::store::flash::{RegionError, Slots};
use training_monitor::store::{Store, StreamSpec};
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_std::test_support::flash::Flash;
use training_monitor_std::test_support::memory::{Chip, ChipError, Interruption, Memory};
use training_monitor_std::test_support::random::Random;
use training_monitor_std::test_support::{JudgeOptions, Medium, PowerMedium, check_store, judge_power_failures};

/// A memory with pages of `PAGE` bytes, on which a store with `SLOTS` slots is opened. The region starts at 256.
struct Device<const SLOTS: usize, const PAGE: usize>(Memory);

impl<const SLOTS: usize, const PAGE: usize> Device<SLOTS, PAGE> {
    fn new(slot: usize) -> Self {
        Device(Memory::new(256 + SLOTS * slot, PAGE))
    }
}

impl<const SLOTS: usize, const PAGE: usize> Medium for Device<SLOTS, PAGE> {
    type Store<'a> = ByteSlots<Memory<&'a mut Chip>, SLOTS, PAGE>;
    type OpenError = RegionError;
    fn open(&mut self) -> Result<Self::Store<'_>, RegionError> {
        let end = self.0.image().len() as u32;
        ByteSlots::open(self.0.borrow_mut(), 256..end)
    }
}

impl<const SLOTS: usize, const PAGE: usize> PowerMedium for Device<SLOTS, PAGE> {
    fn operations(&self) -> u64 {
        self.0.counts.operations
    }
    fn cut_power_at(&mut self, operation: u64, seed: u64) {
        let effects = Interruption::all_of_overwrite(PAGE);
        let after = operation - self.0.counts.operations;
        self.0.cut_power_at(after, effects[seed as usize % effects.len()], seed);
    }
    fn restore_power(&mut self) {
        self.0.power_on();
    }
    fn is_unstable(&self) -> bool {
        self.0.is_unstable()
    }
}

fn check<const SLOTS: usize, const PAGE: usize>(slot: usize) {
    let mut device = Device::<SLOTS, PAGE>::new(slot);
    check_store(&mut device).unwrap_or_else(|violation| panic!("{SLOTS} slots, page {PAGE}: {violation}"));
    assert_eq!(device.0.violations(), []);
    assert!(device.0.image()[..256].iter().all(|byte| *byte == 0), "the store wrote outside its region");
}

#[test]
fn the_store_keeps_the_contract_with_every_page_size() {
    check::<2, 1>(256);
    check::<3, 1>(2048);
    check::<5, 4>(512);
    check::<3, 16>(256);
    check::<3, 32>(512);
    check::<2, 64>(1024);
    check::<3, 128>(768);
    check::<4, 256>(1024);
}

fn judge<const SLOTS: usize, const PAGE: usize>(slot: usize, effects: u64, second_failures: u64) -> u64 {
    let options = JudgeOptions { effects, second_failures };
    let report = judge_power_failures(|| Device::<SLOTS, PAGE>::new(slot), options);
    report.unwrap_or_else(|violation| panic!("page {PAGE}: {violation}")).cases
}

#[test]
fn the_judge_of_power_failures_finds_no_violation() {
    // All 13 effects on the pages of an EEPROM.
    assert!(judge::<4, 256>(1024, 13, 1) > 5000);
    assert!(judge::<3, 64>(1024, 13, 0) > 5000);
    assert!(judge::<3, 32>(512, 13, 0) > 5000);
    // A write of each byte of an FRAM is an operation.
    assert!(judge::<2, 1>(512, 2, 0) > 5000);
}

fn spec(len: u32) -> StreamSpec<'static> {
    let header = Header { step: 1, ..Header::default() };
    StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len }
}

/// Returns bytes of a stream of this length. They end with their checksum.
fn stream(len: u32) -> (Vec<u8>, Encoded) {
    let mut random = Random::new(u64::from(len));
    let mut bytes: Vec<u8> = (0..len - 4).map(|_| random.byte()).collect();
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    (bytes, Encoded { len, crc })
}

/// Counts the calls and the bytes of a memory driver.
struct Counting<'a> {
    memory: &'a mut Memory,
    writes: Vec<(u32, usize)>,
    read: usize,
}

impl ReadStorage for Counting<'_> {
    type Error = ChipError;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        self.read += bytes.len();
        ReadStorage::read(self.memory, offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.memory.capacity()
    }
}

impl Storage for Counting<'_> {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        self.writes.push((offset, bytes.len()));
        self.memory.write(offset, bytes)
    }
}

/// Saves a stream in pieces of `piece` bytes, and checks the documented cost of the save. Returns the number of write
/// calls for the stream.
fn check_cost<const PAGE: usize>(len: u32, piece: usize, stream_at: u32) -> usize {
    let mut memory = Memory::new(4 * 4096, PAGE);
    let store = Counting { memory: &mut memory, writes: Vec::new(), read: 0 };
    let mut store = ByteSlots::<_, 4, PAGE>::open(store, 0..4 * 4096).unwrap();
    let (bytes, encoded) = stream(len);
    store.storage_mut().read = 0;
    let mut writer = store.create(&spec(len)).unwrap();
    bytes.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
    store.commit(&spec(len).header, &encoded).unwrap();
    assert_eq!(read_stream(&mut store, 1), Ok(bytes.clone()));
    let Counting { writes, read, .. } = store.into_inner();
    assert_eq!(read, bytes.len() + 60 + bytes.len(), "the last read is that of this test");
    assert_eq!(writes.iter().map(|(_, len)| len).sum::<usize>(), bytes.len() + 120);
    // The invalidation and the commit write the record and the seal, in this order.
    let lengths: Vec<usize> = writes.iter().map(|(_, len)| *len).collect();
    assert_eq!((&lengths[..2], &lengths[lengths.len() - 2..]), (&[56, 4][..], &[56, 4][..]));
    assert_eq!((writes[0], writes[1]), (writes[writes.len() - 2], writes[writes.len() - 1]));
    // Each page of the stream is written once, by a call that starts at the page.
    let stream_writes = &writes[2..writes.len() - 2];
    assert_eq!(stream_writes[0].0, stream_at);
    assert!(stream_writes.iter().all(|(at, _)| (*at as usize).is_multiple_of(PAGE)), "{stream_writes:?}");
    let pages = stream_at as usize / PAGE..(stream_at + len).div_ceil(PAGE as u32) as usize;
    assert!(memory.block_erases[pages].iter().all(|writes| *writes == 1));
    assert!(memory.block_erases.iter().all(|writes| *writes <= 2));
    stream_writes.len()
}

#[test]
fn a_save_writes_each_page_of_the_stream_once() {
    for len in [5, 31, 32, 33, 255, 256, 257, 1000, 3000] {
        assert_eq!(check_cost::<1>(len, 64, 96), (len as usize).div_ceil(64));
        assert_eq!(check_cost::<1>(len, 4096, 96), 1);
        assert_eq!(check_cost::<8>(len, 8, 96), (len as usize).div_ceil(8));
        for piece in [1, 7, 32, 64, 100, 256] {
            check_cost::<4>(len, piece, 96);
            check_cost::<32>(len, piece, 96);
            check_cost::<64>(len, piece, 256);
            check_cost::<128>(len, piece, 256);
            check_cost::<256>(len, piece, 256);
        }
        // A stream in one piece is at most two calls: all whole pages, and the rest.
        assert!(check_cost::<64>(len, 4096, 256) <= 2);
    }
}

#[test]
fn a_stream_may_fill_the_slot_but_not_exceed_it() {
    fn check<const PAGE: usize>(max: u32) {
        let mut memory = Memory::new(2048, PAGE);
        let mut store = ByteSlots::<_, 2, PAGE>::open(memory.borrow_mut(), 0..2048).unwrap();
        assert_eq!(store.max_stream_len(), max);
        let too_long = ByteSlotsError::TooLong { len: max + 1, max };
        assert_eq!((store.check(&spec(max)), store.check(&spec(max + 1))), (Ok(()), Err(too_long)));
        let (bytes, encoded) = stream(max);
        assert_eq!(store.commit(&spec(max).header, &encoded), Err(ByteSlotsError::Incomplete));
        let mut writer = store.create(&spec(max)).unwrap();
        for piece in bytes.chunks(13) {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
        }
        assert_eq!(writer.write(&[]), Ok(0));
        assert_eq!(writer.write(&[0]), Err(too_long));
        // A refused stream discards the one that was started before.
        assert_eq!(store.create(&spec(max + 1)).map(|_| ()), Err(too_long));
        assert_eq!(store.create(&spec(u32::MAX)).map(|_| ()), Err(ByteSlotsError::TooLong { len: u32::MAX, max }));
        assert_eq!(store.commit(&spec(max).header, &encoded), Err(ByteSlotsError::Incomplete));
        assert_eq!(list_checkpoints(&mut store), Ok(vec![]));

        for (announced, expected) in [
            (Encoded { len: max - 1, ..encoded }, Err(ByteSlotsError::Incomplete)),
            (Encoded { crc: !encoded.crc, ..encoded }, Err(ByteSlotsError::VerifyFailed)),
            (encoded, Ok(())),
        ] {
            let mut writer = store.create(&spec(max)).unwrap();
            writer.write_all(&bytes).unwrap();
            assert_eq!(store.commit(&spec(max).header, &announced), expected);
        }
        // One byte is missing.
        let mut writer = store.create(&spec(max)).unwrap();
        writer.write_all(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(store.commit(&spec(max).header, &encoded), Err(ByteSlotsError::Incomplete));
        assert_eq!(read_stream(&mut store, 1), Ok(bytes.clone()));
        let mut reader = store.open(0, 0).unwrap();
        let mut start = [0; 3];
        assert_eq!((reader.read(&mut start), start[..] == bytes[..3]), (Ok(3), true));
        assert_eq!(store.open(9, 0).map(|_| ()), Err(ByteSlotsError::NotFound));
        let mut store = ByteSlots::<_, 2, PAGE>::open(memory.borrow_mut(), 0..2048).unwrap();
        assert_eq!(read_stream(&mut store, 1), Ok(bytes));
        assert_eq!(memory.violations(), []);
    }
    check::<1>(1024 - 96);
    check::<32>(1024 - 96);
    check::<64>(1024 - 512);
    check::<256>(1024 - 512);
}

#[test]
fn invalid_regions_are_rejected() {
    let mut memory = Memory::new(4096, 1);
    let mut open = |region| ByteSlots::<_, 3>::open(memory.borrow_mut(), region).map(|_| ());
    assert_eq!((open(0..1536), open(256..1024), open(256..4096)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(open(128..1664), Err(RegionError::NotAligned { erase: 256, slots: 3 }));
    assert_eq!(open(0..1024), Err(RegionError::NotAligned { erase: 256, slots: 3 }));
    assert_eq!(open(0..1537), Err(RegionError::NotAligned { erase: 256, slots: 3 }));
    assert_eq!(open(0..384), Err(RegionError::NotAligned { erase: 256, slots: 3 }));
    assert_eq!(open(3072..4608), Err(RegionError::OutOfBounds { capacity: 4096 }));
    assert_eq!(open(512..512), Err(RegionError::OutOfBounds { capacity: 4096 }));
    assert_eq!(open(0..u32::MAX), Err(RegionError::OutOfBounds { capacity: 4096 }));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = open(1024..512);
    assert_eq!(reversed, Err(RegionError::OutOfBounds { capacity: 4096 }));
    let mut few = |_| ByteSlots::<_, 1>::open(memory.borrow_mut(), 0..512).map(|_| ());
    assert_eq!(few(0), Err(RegionError::TooFewSlots));
    assert!(matches!(ByteSlots::<_, 0>::open(memory.borrow_mut(), 0..512), Err(RegionError::TooFewSlots)));
    // With pages of more than 32 bytes, the first and the last 256 bytes of a slot contain no stream.
    let mut eeprom = Memory::new(4096, 64);
    let mut open = |end| ByteSlots::<_, 2, 64>::open(eeprom.borrow_mut(), 0..end).map(|store| store.max_stream_len());
    assert_eq!(open(512), Err(RegionError::TooSmall { slot: 256 }));
    assert_eq!(open(1024), Err(RegionError::TooSmall { slot: 512 }));
    assert_eq!((open(1536), open(4096)), (Ok(256), Ok(2048 - 512)));
}

/// Saves `steps` with the last `n_saved` of them kept, and returns the steps that the store lists afterwards.
fn save<S: Store<Error: core::error::Error>>(store: S, n_saved: u32, steps: core::ops::Range<u32>) -> Vec<u32> {
    let policy = ModelCheckpoint::<4>::every(1).unwrap().with_n_saved(n_saved).unwrap();
    let mut handler = policy.attach(IterationCompleted, store).unwrap_or_else(|_| panic!("the store can be listed"));
    for step in steps {
        let saved =
            handler.save(SaveDecision { step, score: None }, step, None, &mut Named::new("m", [step as f32; 9]));
        saved.unwrap_or_else(|error| panic!("step {step}: {error}"));
    }
    list_checkpoints(handler.store_mut()).unwrap().iter().map(|meta| meta.step).collect()
}

/// With pages of up to 32 bytes, the memory contains the same bytes as a flash. The tool can therefore read them.
#[test]
fn small_pages_have_the_flash_layout() {
    let mut flash = Flash::<1, 256>::new(1536, 0);
    let mut memory = Memory::new(1536, 32);
    save(Slots::<_, 3>::open(&mut flash, 0..1536).unwrap(), 2, 1..6);
    save(ByteSlots::<_, 3, 32>::open(memory.borrow_mut(), 0..1536).unwrap(), 2, 1..6);
    assert!(flash.image().starts_with(b"TM"));
    assert_eq!(flash.image(), memory.image());
}

#[test]
fn a_region_of_another_layout_is_refused_until_it_is_erased() {
    fn other(result: Result<(), RegionError>) {
        assert!(matches!(result, Err(RegionError::OtherLayout { .. })), "{result:?}");
    }
    let mut memory = Memory::new(8192, 1);
    save(ByteSlots::<_, 3>::open(memory.borrow_mut(), 1024..7168).unwrap(), 2, 1..3);
    let before = memory.image().to_vec();
    other(ByteSlots::<_, 2>::open(memory.borrow_mut(), 1024..7168).map(|_| ()));
    other(ByteSlots::<_, 6>::open(memory.borrow_mut(), 1024..7168).map(|_| ()));
    other(ByteSlots::<_, 3>::open(memory.borrow_mut(), 512..6656).map(|_| ()));
    other(ByteSlots::<_, 3>::open(memory.borrow_mut(), 768..8448 - 768).map(|_| ()));
    // Page sizes up to 32 have one layout, and larger page sizes have another one.
    assert!(ByteSlots::<_, 3, 32>::open(memory.borrow_mut(), 1024..7168).is_ok());
    let found = ByteSlots::<_, 3, 64>::open(memory.borrow_mut(), 1024..7168).map(|_| ());
    assert_eq!(found, Err(RegionError::OtherLayout { address: 1024, slot: 2048, index: 0, slots: 3 }));
    assert_eq!((memory.image(), memory.counts.operations > 0), (&before[..], true));

    let region = 1024..7168;
    assert_eq!(ByteSlots::<_, 3, 64>::erase_region(memory.borrow_mut(), region.clone()), Ok(()));
    assert!(memory.image()[1024..7168].iter().all(|byte| *byte == 0));
    assert_eq!(save(ByteSlots::<_, 3, 64>::open(memory.borrow_mut(), region.clone()).unwrap(), 2, 1..3), [1, 2]);
    assert!(ByteSlots::<_, 3, 256>::open(memory.borrow_mut(), region.clone()).is_ok());
    let found = ByteSlots::<_, 3, 32>::open(memory.borrow_mut(), region.clone()).map(|_| ());
    assert_eq!(found, Err(RegionError::OtherLayout { address: 1024, slot: 2048, index: 0, slots: 3 }));
    other(ByteSlots::<_, 2, 64>::open(memory.borrow_mut(), region.clone()).map(|_| ()));
    other(ByteSlots::<_, 6, 64>::open(memory.borrow_mut(), 1024..7168).map(|_| ()));
    other(ByteSlots::<_, 3, 64>::open(memory.borrow_mut(), 512..6656).map(|_| ()));
}

#[test]
fn erasing_a_region_writes_nothing_outside_it() {
    let mut memory = Memory::with_image(vec![0xA5; 4096], 1);
    type Slots3<'a> = ByteSlots<Memory<&'a mut Chip>, 3>;
    assert_eq!(Slots3::erase_region(memory.borrow_mut(), 100..1001), Ok(()));
    let image = memory.image();
    assert!(image[100..1001].iter().all(|byte| *byte == 0) && image[..100].iter().all(|byte| *byte == 0xA5));
    assert!(image[1001..].iter().all(|byte| *byte == 0xA5));
    let out_of_bounds = Err(EraseError::OutOfBounds { capacity: 4096 });
    assert_eq!(Slots3::erase_region(memory.borrow_mut(), 4000..4097), out_of_bounds);
    assert_eq!(Slots3::erase_region(memory.borrow_mut(), 7..7), out_of_bounds);
    memory.cut_power_at(20, Interruption::Nothing, 0);
    let failed = Slots3::erase_region(memory.borrow_mut(), 0..4096);
    assert_eq!(failed, Err(EraseError::Memory(ChipError::PowerOff)));
    assert_eq!(failed.unwrap_err().to_string(), "the driver of the memory failed: PowerOff");
}

#[test]
fn overwrites_are_distributed_evenly_and_counted_across_resets() {
    let mut memory = Memory::new(5 * 256, 1);
    for step in 1..=100 {
        let store = ByteSlots::<_, 5>::open(memory.borrow_mut(), 0..1280).unwrap();
        save(store, 2, step..step + 1);
    }
    let store = ByteSlots::<_, 5>::open(memory.borrow_mut(), 0..1280).unwrap();
    assert_eq!((store.overwrites(), store.usable_slots(), store.unreadable_slots()), ([20; 5], 5, 0));
}

/// A memory in which some cells keep their value: a write to them returns `Ok` but changes nothing.
struct WornOut<'a>(&'a mut Memory, core::ops::Range<usize>);

impl ReadStorage for WornOut<'_> {
    type Error = ChipError;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        ReadStorage::read(self.0, offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl Storage for WornOut<'_> {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        let worn = self.0.image()[self.1.clone()].to_vec();
        self.0.write(offset, bytes)?;
        self.0.image_mut()[self.1.clone()].copy_from_slice(&worn);
        Ok(())
    }
}

#[test]
fn a_slot_with_a_worn_out_cell_is_detected_and_avoided() {
    // A byte of the record, of the seal and of the stream of slot 1, in both layouts.
    fn check<const PAGE: usize>(worn: usize) {
        let mut memory = Memory::with_image(vec![0xA5; 4 * 1024], PAGE);
        let store = ByteSlots::<_, 4, PAGE>::open(WornOut(&mut memory, worn..worn + 1), 0..4096).unwrap();
        let mut failed = 0;
        let observer = |event: &CheckpointEvent<'_, ByteSlotsError<ChipError>>| {
            failed += u32::from(matches!(event, CheckpointEvent::SaveFailed { .. }));
        };
        let policy = ModelCheckpoint::<2>::every(1).unwrap();
        let mut handler = policy.attach(IterationCompleted, store).unwrap().observe(observer);
        for step in 1..=12 {
            let mut model = Named::new("m", [2.0_f32; 60]);
            handler.save(SaveDecision { step, score: None }, step, None, &mut model).unwrap();
        }
        assert!(handler.store().overwrites()[1] <= 2, "{worn}: the store tries the slot, and then prefers the others");
        assert_eq!(handler.policy().kept().iter().map(|entry| entry.step).collect::<Vec<_>>(), [11, 12], "{worn}");
        drop(handler);
        assert_eq!(failed, 0, "a failed save is repeated in another slot");
    }
    [1024 + 20, 1024 + 65, 1024 + 100].into_iter().for_each(check::<1>);
    [1024 + 165, 2048 - 255, 1024 + 300].into_iter().for_each(check::<64>);
}

#[test]
fn n_saved_without_a_spare_slot_is_an_error_of_the_save() {
    let mut memory = Memory::new(768, 1);
    let store = ByteSlots::<_, 3>::open(memory.borrow_mut(), 0..768).unwrap();
    let mut handler = ModelCheckpoint::<3>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
    let error =
        handler.save(SaveDecision { step: 1, score: None }, 1, None, &mut Named::new("m", [0.0_f32])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the store has 3 places; to keep 3 checkpoints, it needs one more"), "{text}");
}

#[test]
fn several_stores_share_one_driver() {
    let memory = RefCell::new(Memory::new(2048, 1));
    let open = |from: u32| ByteSlots::<_, 2>::open(SharedStorage(&memory), from..from + 1024).unwrap();
    let mut handlers = (
        ModelCheckpoint::<1>::every(1).unwrap().attach(EpochCompleted, open(0)).unwrap(),
        ModelCheckpoint::<1>::best_by(|state| -state.output.unwrap_or(f32::MAX))
            .attach(EpochCompleted, open(1024))
            .unwrap(),
    );
    let mut model = Named::new("m", [0.0_f32]);
    Engine::new(3)
        .run(&mut model, 0..4, &mut handlers, |model, batch, _| {
            model[0] += 1.0;
            batch as f32 + model[0]
        })
        .unwrap();
    let kept = |entry: Option<training_monitor::handlers::model_checkpoint::ranking::RankedCheckpoint>| {
        entry.map(|entry| entry.step)
    };
    assert_eq!((kept(handlers.0.policy().latest()), kept(handlers.1.policy().best())), (Some(3), Some(1)));

    let mut shared = SharedStorage(&memory);
    assert_eq!((shared.capacity(), shared.read(0, &mut [0; 4])), (2048, Ok(())));
    let borrowed = memory.borrow_mut();
    assert_eq!(shared.read(0, &mut [0; 4]), Err(SharedStorageError::InUse));
    assert_eq!(shared.write(0, &[0; 4]), Err(SharedStorageError::InUse));
    assert_eq!(shared.capacity(), 0);
    let error = handlers.0.save(SaveDecision { step: 9, score: None }, 9, None, &mut model).unwrap_err();
    assert_eq!(error, EncodeError::Io(ByteSlotsError::Memory(SharedStorageError::InUse)));
    drop(borrowed);
    handlers.0.save(SaveDecision { step: 9, score: None }, 9, None, &mut model).unwrap();
}

#[test]
fn every_error_has_a_kind_and_a_text() {
    type Error = ByteSlotsError<ChipError>;
    let errors = [
        (Error::Memory(ChipError::PowerOff), ErrorKind::Other, "the driver of the memory failed: PowerOff"),
        (Error::TooLong { len: 9, max: 8 }, ErrorKind::OutOfMemory, "has 9 bytes, but a slot has room for 8"),
        (Error::Full, ErrorKind::OutOfMemory, "n_saved + 1"),
        (Error::NotFound, ErrorKind::NotFound, "no slot contains the checkpoint"),
        (Error::Incomplete, ErrorKind::InvalidInput, "before its whole stream was written"),
        (Error::VerifyFailed, ErrorKind::InvalidData, "does not contain the bytes"),
    ];
    for (error, kind, text) in errors {
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(text), "{error}");
    }
    let mut memory = Memory::new(768, 1);
    let mut store = ByteSlots::<_, 2>::open(memory.borrow_mut(), 0..512).unwrap();
    let len = checkpoint::measure(&Contents::new(0), &mut Named::new("m", [0.0_f32])).unwrap();
    for step in 1..=2 {
        let (bytes, encoded) = stream(len);
        let header = Header { step, sequence: step, ..Header::default() };
        let mut writer = store.create(&StreamSpec { header, ..spec(len) }).unwrap();
        writer.write_all(&bytes).unwrap();
        store.commit(&header, &encoded).unwrap();
    }
    assert_eq!(store.create(&spec(len)).map(|_| ()), Err(ByteSlotsError::Full));
    // After a failed write, the stream is lost.
    store.remove(1).unwrap();
    store.create(&spec(len)).unwrap().write_all(&[1]).unwrap();
    store.storage_mut().cut_power_at(61, Interruption::Nothing, 0);
    let mut writer = store.create(&spec(len)).unwrap();
    writer.write_all(&[1]).unwrap();
    assert_eq!(writer.write(&[2]), Err(ByteSlotsError::Memory(ChipError::PowerOff)));
    assert_eq!(writer.write(&[2]), Err(ByteSlotsError::TooLong { len: 2, max: 0 }));
    assert!(store.storage().is_off());
}
