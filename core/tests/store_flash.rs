//! Tests of the flash store on a simulated flash: cost of a save, wear, limits of regions and streams, and worn-out
//! blocks.

#[path = "common/store_access.rs"]
mod store_access;

use store_access::{list_checkpoints, read_stream};
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{self, Contents, Encoded, Header, Named};
use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, SaveDecision};
use training_monitor::store::flash::layout::STREAM_OFFSET;
use training_monitor::store::flash::{RegionError, Slots, SlotsError};
use training_monitor::store::{Store, StreamSpec};
use training_monitor_std::test_support::flash::{ChipError, Flash, Interruption};

/// Saves one checkpoint for each number of weights in `lengths`. The steps are 1, 2, … The handler keeps the last
/// `n_saved` checkpoints.
fn save<F: NorFlash, const SLOTS: usize>(
    store: Slots<F, SLOTS>,
    n_saved: u32,
    lengths: &[usize],
) -> Result<(), String> {
    let policy = ModelCheckpoint::<4>::every(1).unwrap().with_n_saved(n_saved).unwrap();
    let mut handler = policy.attach(IterationCompleted, store).map_err(|error| error.to_string())?;
    for (index, length) in lengths.iter().enumerate() {
        let step = index as u32 + 1;
        let mut weights = vec![step as f32; *length];
        let mut objects = Named::new("m", &mut weights[..]);
        handler
            .save(SaveDecision { step, score: None }, step, None, &mut objects)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Checks how much one save erases and programs. The flash has the write size `W`, the erase size `E` and the read size
/// `R`.
fn check_cost<const W: usize, const E: usize, const R: usize>() {
    const SLOTS: usize = 3;
    for erased in [0xFF, 0] {
        for weights in [1000_usize, 1001, 5003] {
            let slot = (4 * weights + 400).next_multiple_of(E);
            let mut flash = Flash::<W, E, R>::with_image(vec![0x77; SLOTS * slot], erased);
            let region = 0..(SLOTS * slot) as u32;
            save(Slots::<_, SLOTS>::open(&mut flash, region.clone()).unwrap(), 2, &[weights]).unwrap();
            let mut store = Slots::<_, SLOTS>::open(&mut flash, region).unwrap();
            let stream = read_stream(&mut store, 1).unwrap();
            let info = checkpoint::load(&stream, &mut Named::new("m", &mut vec![0.0_f32; weights][..]), None).unwrap();
            assert_eq!(info.len as usize, stream.len());
            assert_eq!(flash.violations(), []);
            assert_eq!(flash.counts.erased as usize, (96 + stream.len()).div_ceil(E));
            let (programmed, payload) = (flash.counts.programmed as f64, stream.len() as f64);
            assert!(programmed <= 1.02 * payload || weights < 5000 && W >= 16, "{programmed} for {payload}");
            let granules = stream.len().next_multiple_of(W) + 56usize.next_multiple_of(W) + 4usize.next_multiple_of(W);
            assert_eq!(flash.counts.programmed as usize, granules);
        }
    }
}

#[test]
fn a_save_erases_and_programs_only_what_the_stream_needs() {
    check_cost::<1, 256, 1>();
    check_cost::<2, 512, 1>();
    check_cost::<4, 4096, 4>();
    check_cost::<8, 2048, 1>();
    check_cost::<16, 8192, 16>();
    check_cost::<32, 131_072, 32>();
}

#[test]
fn a_stream_may_fill_the_slot_but_not_exceed_it() {
    let mut flash = Flash::<8, 256>::new(1024, 0xFF);
    let mut store = Slots::<_, 2>::open(&mut flash, 0..1024).unwrap();
    let max = store.max_stream_len();
    assert_eq!(max, 512 - STREAM_OFFSET);
    let spec = |len| StreamSpec {
        header: Header { step: 1, ..Header::default() },
        object: None,
        stream_index: 0,
        stream_count: 1,
        len,
    };
    assert_eq!(store.create(&spec(max + 1)).map(|_| ()), Err(SlotsError::TooLong { len: max + 1, max }));

    let mut bytes: Vec<u8> = (0..max - 4).map(|byte| byte as u8).collect();
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    let encoded = Encoded { len: max, crc };
    assert_eq!(store.commit(&spec(max).header, &encoded), Err(SlotsError::Incomplete));
    let mut writer = store.create(&spec(max)).unwrap();
    // The write size of the flash is 8 bytes. The test writes pieces of 13 bytes and flushes after each piece, so most
    // pieces are not aligned.
    for piece in bytes.chunks(13) {
        embedded_io::Write::write_all(&mut writer, piece).unwrap();
        embedded_io::Write::flush(&mut writer).unwrap();
    }
    assert_eq!(embedded_io::Write::write(&mut writer, &[0]), Err(SlotsError::TooLong { len: max + 1, max }));
    assert_eq!(store.commit(&spec(max).header, &Encoded { len: max - 1, crc }), Err(SlotsError::Incomplete));
    assert_eq!(list_checkpoints(&mut store), Ok(vec![]));

    let mut writer = store.create(&spec(max)).unwrap();
    embedded_io::Write::write_all(&mut writer, &bytes).unwrap();
    // The announced checksum is wrong on purpose. `commit` must detect that this checksum does not match the written
    // bytes.
    let wrong = Encoded { len: max, crc: !crc };
    assert_eq!(store.commit(&spec(max).header, &wrong), Err(SlotsError::VerifyFailed));
    let mut writer = store.create(&spec(max)).unwrap();
    embedded_io::Write::write_all(&mut writer, &bytes).unwrap();
    store.commit(&spec(max).header, &encoded).unwrap();
    assert_eq!(read_stream(&mut store, 1), Ok(bytes));
    assert_eq!(flash.violations(), []);
}

#[test]
fn invalid_regions_are_rejected() {
    let mut flash = Flash::<4, 256>::new(4096, 0xFF);
    let mut open = |region| Slots::<_, 3>::open(&mut flash, region).map(|_| ());
    assert_eq!(open(0..1536), Ok(()));
    assert_eq!(open(0..768), Ok(()));
    assert_eq!(open(128..1664), Err(RegionError::NotAligned { erase: 256, slots: 3 }));
    assert_eq!(open(0..1024), Err(RegionError::NotAligned { erase: 256, slots: 3 }));
    assert_eq!(open(0..1537), Err(RegionError::NotAligned { erase: 256, slots: 3 }));
    assert_eq!(open(3072..4608), Err(RegionError::OutOfBounds { capacity: 4096 }));
    assert_eq!(open(512..512), Err(RegionError::OutOfBounds { capacity: 4096 }));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = open(1024..512);
    assert_eq!(reversed, Err(RegionError::OutOfBounds { capacity: 4096 }));
    assert!(matches!(Slots::<_, 1>::open(&mut flash, 0..512), Err(RegionError::TooFewSlots)));
    assert!(matches!(Slots::<_, 0>::open(&mut flash, 0..512), Err(RegionError::TooFewSlots)));
    let mut tiny = Flash::<4, 64>::new(256, 0xFF);
    assert!(matches!(Slots::<_, 2>::open(&mut tiny, 0..128), Err(RegionError::TooSmall { slot: 64 })));
    let mut coarse = Flash::<64, 256>::new(1024, 0xFF);
    let opened = Slots::<_, 2>::open(&mut coarse, 0..1024).map(|_| ());
    assert_eq!(opened, Err(RegionError::Geometry { read: 1, write: 64, erase: 256 }));
    let mut odd = Flash::<4, 256, 3>::new(1024, 0xFF);
    assert!(matches!(Slots::<_, 2>::open(&mut odd, 0..1024), Err(RegionError::Geometry { .. })));
}

#[test]
fn n_saved_without_a_spare_slot_is_an_error_of_the_save() {
    let mut flash = Flash::<4, 256>::new(768, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..768).unwrap();
    let error = save(store, 3, &[5, 5, 5, 5]).unwrap_err();
    assert!(error.contains("the store has 3 places; to keep 3 checkpoints, it needs one more"), "{error}");
}

#[test]
fn a_save_after_erase_ahead_erases_nothing() {
    let mut flash = Flash::<4, 256>::new(3 * 1024, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..3072).unwrap();
    let policy = ModelCheckpoint::<2>::every(1).unwrap();
    let mut handler = policy.attach(IterationCompleted, store).unwrap();
    let mut weights = [1.0_f32; 150];
    for step in 1..=6 {
        let before = handler.store().flash().counts.erased;
        let mut calls = 1;
        while !handler.store_mut().erase_ahead(700).unwrap() {
            calls += 1;
        }
        assert_eq!(handler.store().flash().counts.erased - before, 4);
        assert_eq!(calls, 4, "each call erases one block");
        let saved =
            handler.save(SaveDecision { step, score: None }, step, None, &mut Named::new("m", &mut weights[..]));
        saved.unwrap();
        assert_eq!(handler.store().flash().counts.erased - before, 4);
    }
    assert_eq!(handler.store().erases(), [2, 2, 2]);
    assert_eq!(
        handler.store_mut().erase_ahead(5000),
        Err(SlotsError::TooLong { len: 5000, max: 1024 - STREAM_OFFSET })
    );
    drop(handler);

    // After a restart, all three slots contain a checkpoint. `evict_unranked` removes the one that the ranking does not
    // keep.
    let store = Slots::<_, 3>::open(&mut flash, 0..3072).unwrap();
    let policy = ModelCheckpoint::<2>::every(1).unwrap();
    let mut handler = policy.attach(IterationCompleted, store).unwrap();
    assert_eq!(handler.store_mut().erase_ahead(700), Err(SlotsError::Full));
    handler.evict_unranked();
    assert_eq!(handler.store_mut().erase_ahead(700), Ok(false));
    assert_eq!(handler.store().erases(), [3, 2, 2]);
    assert_eq!(flash.violations(), []);
}

#[test]
fn erases_are_distributed_evenly_and_counted_across_resets() {
    let mut flash = Flash::<4, 256>::new(5 * 256, 0xFF);
    let policy = || ModelCheckpoint::<2>::every(1).unwrap();
    for save in 1..=100u32 {
        let store = Slots::<_, 5>::open(&mut flash, 0..1280).unwrap();
        let mut handler = policy().attach(IterationCompleted, store).unwrap();
        if save % 10 == 0 {
            handler.store_mut().flash_mut().cut_power_at(8, Interruption::Bits, 1);
        }
        let saved = handler.save(
            SaveDecision { step: save, score: None },
            save,
            None,
            &mut Named::new("m", &mut [1.0_f32; 5][..]),
        );
        assert_eq!(saved.is_ok(), save % 10 != 0);
        drop(handler);
        flash.power_on();
    }
    let store = Slots::<_, 5>::open(&mut flash, 0..1280).unwrap();
    let reported = store.erases();
    let actual: Vec<u32> = flash.block_erases.clone();
    assert_eq!(actual.iter().sum::<u32>(), 100);
    assert!(actual.iter().all(|erases| (18..=23).contains(erases)), "{actual:?}");
    // Ten saves were interrupted. The wear counts of the store may miss the erases of these saves. They must contain
    // all others, and not exceed the actual numbers.
    assert!(reported.iter().zip(&actual).all(|(reported, actual)| reported <= actual), "{reported:?} {actual:?}");
    assert!(reported.iter().sum::<u32>() >= 90, "{reported:?}");
}

/// A power failure during an erase can leave a slot whose record is intact, but whose stream cannot be read. A store that
/// forgets the erases of this slot uses it for all saves, until it has as many erases as the others.
#[test]
fn a_slot_with_an_unreadable_stream_keeps_its_number_of_erases() {
    let mut used = Flash::<4, 256>::new(4 * 256, 0xFF);
    save(Slots::<_, 4>::open(&mut used, 0..1024).unwrap(), 1, &[20; 40]).unwrap();
    let mut lost = 0;
    for seed in 0..30 {
        let mut flash = used.clone();
        flash.cut_power_at(0, Interruption::OneUnreadable, seed);
        let store = Slots::<_, 4>::open(&mut flash, 0..1024).unwrap();
        assert_eq!(store.erases(), [10; 4]);
        let mut handler = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
        let mut objects = Named::new("m", [1.0_f32; 20]);
        assert!(handler.save(SaveDecision { step: 41, score: None }, 41, None, &mut objects).is_err());
        drop(handler);
        flash.power_on();
        let mut store = Slots::<_, 4>::open(&mut flash, 0..1024).unwrap();
        assert_eq!(store.erases(), [10; 4], "seed {seed}");
        lost += u32::from(list_checkpoints(&mut store).unwrap().len() < 4);
    }
    assert!(lost > 0, "no slot was unreadable");
}

#[test]
fn a_step_that_is_saved_again_is_listed_once() {
    let mut flash = Flash::<4, 256>::new(1024, 0xFF);
    let policy = ModelCheckpoint::<3>::by_score();
    let store = Slots::<_, 4>::open(&mut flash, 0..1024).unwrap();
    let mut handler = policy.attach(IterationCompleted, store).unwrap();
    for (iteration, score) in [(1, 1.0), (2, 2.0), (3, 3.0)] {
        let save = SaveDecision { step: 7, score: Some(score) };
        handler.save(save, iteration, None, &mut Named::new("m", &mut [score; 3][..])).unwrap();
        assert_eq!(list_checkpoints(handler.store_mut()).unwrap().len(), 1);
    }
    drop(handler);
    let mut store = Slots::<_, 4>::open(&mut flash, 0..1024).unwrap();
    let all = list_checkpoints(&mut store).unwrap();
    assert_eq!(all.iter().map(|meta| (meta.step, meta.iteration)).collect::<Vec<_>>(), [(7, 3)]);
}

/// A flash with worn-out cells. A write to the given range returns `Ok` but changes nothing.
struct WornOut<'a>(&'a mut Flash<4, 256>, std::ops::Range<u32>);

impl training_monitor::embedded_storage::nor_flash::ErrorType for WornOut<'_> {
    type Error = ChipError;
}

impl ReadNorFlash for WornOut<'_> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), ChipError> {
        self.0.read(at, into)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for WornOut<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.0.erase(from, to)
    }
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), ChipError> {
        if self.1.contains(&at) { Ok(()) } else { self.0.write(at, bytes) }
    }
}

#[test]
fn a_slot_with_a_worn_out_block_is_detected_and_avoided() {
    let mut flash = Flash::<4, 256>::new(2048, 0xFF);
    // The second block of slot 1 is worn out.
    let store = Slots::<_, 4>::open(WornOut(&mut flash, 768..1024), 0..2048).unwrap();
    let policy = ModelCheckpoint::<2>::every(1).unwrap();
    let mut failed = Vec::new();
    let no_eviction_fails = |event: &CheckpointEvent<SlotsError<ChipError>>| {
        assert!(!matches!(event, CheckpointEvent::EvictionFailed { .. }))
    };
    let mut handler = policy.attach(IterationCompleted, store).unwrap().observe(no_eviction_fails);
    for step in 1..=12 {
        let save = SaveDecision { step, score: None };
        if handler.save(save, step, None, &mut Named::new("m", &mut [2.0_f32; 60][..])).is_err() {
            failed.push(step);
        }
    }
    assert_eq!(failed, [0; 0], "a failed save is repeated in another slot");
    assert_eq!(handler.store().erases()[1], 1, "the store tries the slot once, and then prefers the other slots");
    assert_eq!(handler.policy().kept().iter().map(|entry| entry.step).collect::<Vec<_>>(), [11, 12]);
}

#[test]
fn min_interval_limits_the_number_of_erases() {
    use training_monitor::Engine;
    let saves = |interval: u32| {
        let mut flash = Flash::<4, 256>::new(768, 0xFF);
        let store = Slots::<_, 3>::open(&mut flash, 0..768).unwrap();
        let policy = ModelCheckpoint::<2>::best_by(|state| state.output.unwrap_or(0.0));
        let mut handler = policy.attach(IterationCompleted, store).unwrap().min_interval(interval);
        let mut weights = [0.0_f32; 3];
        let mut model = Named::new("m", &mut weights);
        Engine::new(1).run(&mut model, 0..100u32, &mut handler, |_, batch, _| batch as f32).unwrap();
        handler.store().erases().iter().sum::<u32>()
    };
    assert_eq!([saves(0), saves(1), saves(7), saves(50), saves(1000)], [100, 100, 15, 2, 1]);
}

#[test]
fn the_slots_and_a_small_checkpoint_stay_small() {
    println!("Slots<&mut Flash, 4>: {} bytes", size_of::<Slots<&mut Flash<4, 256>, 4>>());
    assert!(size_of::<Slots<(), 4>>() <= 264);
    let mut bytes = Vec::new();
    let encoded = checkpoint::encode(&mut bytes, &Contents::new(0), &mut Named::new("m", &mut [0.0_f32; 1])).unwrap();
    assert!(encoded.len <= 60, "a checkpoint of one weight has {} bytes", encoded.len);
}
