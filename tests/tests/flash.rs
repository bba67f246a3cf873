//! The simulated flash is as strict as it says, and the slots cost what they say.

use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{self, Contents, Crc32, Encoded, Header, One};
use training_monitor::embedded_storage::nor_flash::{NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::Save;
use training_monitor::handlers::saving::Report;
use training_monitor::store::slots::{RegionError, Slots, SlotsError};
use training_monitor::store::{Opening, Store};
use training_monitor_tests::flash::{Fault, Flash, Outcome, Violation};
use training_monitor_tests::power_cut::{list, read};

#[test]
fn the_flash_holds_its_user_to_the_contract() {
    let mut flash = Flash::<4, 256>::new(1024, 0xFF);
    assert_eq!(flash.write(2, &[0; 4]), Err(Fault::Contract(NorFlashErrorKind::NotAligned)));
    assert_eq!(flash.write(0, &[0; 3]), Err(Fault::Contract(NorFlashErrorKind::NotAligned)));
    assert_eq!(flash.erase(0, 1280), Err(Fault::Contract(NorFlashErrorKind::OutOfBounds)));
    assert_eq!(flash.violations().len(), 3);
    // A fresh flash is not known to be erased.
    flash.write(8, &[0; 4]).unwrap();
    assert_eq!(flash.violations()[3], Violation::Reprogrammed { at: 8 });
    flash.erase(0, 256).unwrap();
    flash.write(8, &[0x0F; 4]).unwrap();
    flash.write(8, &[0xF0; 4]).unwrap();
    assert_eq!(flash.image()[8..12], [0; 4]);
    assert_eq!(flash.violations().len(), 5);
    assert_eq!((flash.counts.erased, flash.counts.programmed, flash.block_erases[0]), (1, 12, 1));
}

#[test]
fn the_other_erased_value_is_as_good() {
    let mut flash = Flash::<1, 256>::new(256, 0);
    flash.erase(0, 256).unwrap();
    flash.write(0, &[0x0F]).unwrap();
    flash.write(0, &[0xF0]).unwrap();
    assert_eq!(flash.image()[..2], [0xFF, 0]);
}

#[test]
fn outcomes_are_what_they_are_called() {
    let cut = |outcome, erase: bool| {
        let mut flash = Flash::<8, 256>::new(256, 0xFF);
        flash.erase(0, 256).unwrap();
        if erase {
            flash.write(0, &[0x11; 256]).unwrap();
        }
        flash.cut_at(0, outcome, 9);
        let failed = if erase { flash.erase(0, 256) } else { flash.write(0, &[0x11; 16]) };
        assert_eq!(failed, Err(Fault::Off));
        assert_eq!(flash.read(0, &mut [0]), Err(Fault::Off));
        flash.power_on();
        flash
    };
    let image = |outcome, erase| cut(outcome, erase).image().to_vec();
    assert_eq!(image(Outcome::Nothing, false), [0xFF; 256]);
    assert_eq!(image(Outcome::Whole, false)[..9], [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0xFF]);
    assert_eq!(image(Outcome::ButOne, false)[6..9], [0x11, 0xFF, 0xFF]);
    // Only bits that were to change.
    assert!(image(Outcome::Bits, false)[..8].iter().all(|byte| byte & 0x11 == 0x11));
    assert_ne!(image(Outcome::Bits, false)[..8], [0x11; 8]);
    assert_eq!(image(Outcome::Nothing, true), [0x11; 256]);
    assert_eq!(image(Outcome::Zero, true), [0; 256]);
    assert_eq!(image(Outcome::TailZero, true)[127..129], [0x11, 0]);
    assert!(image(Outcome::AlmostErased, true).iter().filter(|byte| **byte != 0x11).count() <= 4);
    for (outcome, erase) in [(Outcome::Unreadable, false), (Outcome::Unreadable, true)] {
        assert_eq!(cut(outcome, erase).read(0, &mut [0; 8]), Err(Fault::Unreadable));
    }
    for (outcome, erase) in [(Outcome::Unstable, false), (Outcome::OneUnstable, false), (Outcome::OneUnstable, true)] {
        let mut flash = cut(outcome, erase);
        assert!(flash.is_unstable());
        let mut reads = Vec::new();
        for _ in 0..40 {
            let mut bytes = [0; 256];
            flash.read(0, &mut bytes).unwrap();
            reads.push(bytes);
        }
        assert!(reads.iter().any(|bytes| bytes != &reads[0]), "{outcome}");
        flash.erase(0, 256).unwrap();
        assert!(!flash.is_unstable());
    }
}

/// Saves `lengths` of weights as steps 1, 2, …; keeps `n`.
fn save<F: NorFlash, const SLOTS: usize>(store: Slots<F, SLOTS>, n: u32, lengths: &[usize]) -> Result<(), String> {
    let machine = ModelCheckpoint::<4>::builder().save_interval(1).n_saved(n).build().unwrap();
    let mut saving = machine.attach(IterationCompleted, store).map_err(|error| error.to_string())?;
    for (index, length) in lengths.iter().enumerate() {
        let step = index as u32 + 1;
        let mut weights = vec![step as f32; *length];
        let objects = One("m", &mut weights[..]);
        saving.save(Save { step, score: None }, step, None, &objects).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn costs<const W: usize, const E: usize, const R: usize>() {
    const SLOTS: usize = 3;
    for erased in [0xFF, 0] {
        for weights in [1000_usize, 1001, 5003] {
            let slot = (4 * weights + 400).next_multiple_of(E);
            let mut flash = Flash::<W, E, R>::with_image(vec![0x77; SLOTS * slot], erased);
            let region = 0..(SLOTS * slot) as u32;
            save(Slots::<_, SLOTS>::open(&mut flash, region.clone()).unwrap(), 2, &[weights]).unwrap();
            let mut store = Slots::<_, SLOTS>::open(&mut flash, region).unwrap();
            let stream = read(&mut store, 1).unwrap();
            let info = checkpoint::load::<Crc32, _>(&stream, &mut One("m", &mut vec![0.0; weights][..]), None).unwrap();
            assert_eq!(info.len as usize, stream.len());
            assert_eq!(flash.violations(), []);
            assert_eq!(flash.counts.erased as usize, (96 + stream.len()).div_ceil(E));
            let (programmed, payload) = (flash.counts.programmed as f64, stream.len() as f64);
            assert!(programmed <= 1.02 * payload || weights < 5000 && W == 32, "{programmed} for {payload}");
            let granules = stream.len().next_multiple_of(W) + 44usize.next_multiple_of(W) + 8usize.next_multiple_of(W);
            assert_eq!(flash.counts.programmed as usize, granules);
        }
    }
}

#[test]
fn a_save_costs_what_it_says() {
    costs::<1, 256, 1>();
    costs::<2, 512, 1>();
    costs::<4, 4096, 4>();
    costs::<8, 2048, 1>();
    costs::<16, 8192, 16>();
    costs::<32, 131_072, 32>();
}

#[test]
fn the_whole_room_can_be_used_and_not_more() {
    let mut flash = Flash::<8, 256>::new(1024, 0xFF);
    let mut store = Slots::<_, 2>::open(&mut flash, 0..1024).unwrap();
    let room = store.room();
    assert_eq!(room, 512 - 96);
    let opening =
        |len| Opening { header: Header { step: 1, ..Header::default() }, object: None, part: 0, parts: 1, len };
    assert_eq!(store.create(&opening(room + 1)).map(|_| ()), Err(SlotsError::TooLong { len: room + 1, room }));

    let mut bytes: Vec<u8> = (0..room - 4).map(|byte| byte as u8).collect();
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    let encoded = Encoded { len: room, crc };
    assert_eq!(store.commit(&opening(room).header, &encoded), Err(SlotsError::Incomplete));
    let mut writer = store.create(&opening(room)).unwrap();
    // Odd pieces, from odd places, with flushes between.
    for piece in bytes.chunks(13) {
        embedded_io::Write::write_all(&mut writer, piece).unwrap();
        embedded_io::Write::flush(&mut writer).unwrap();
    }
    assert_eq!(embedded_io::Write::write(&mut writer, &[0]), Err(SlotsError::TooLong { len: room + 1, room }));
    assert_eq!(store.commit(&opening(room).header, &Encoded { len: room - 1, crc }), Err(SlotsError::Incomplete));
    assert_eq!(list(&mut store), Ok(vec![]));

    let mut writer = store.create(&opening(room)).unwrap();
    embedded_io::Write::write_all(&mut writer, &bytes).unwrap();
    // Not the sum of what was written.
    let wrong = Encoded { len: room, crc: !crc };
    assert_eq!(store.commit(&opening(room).header, &wrong), Err(SlotsError::Unreadable));
    let mut writer = store.create(&opening(room)).unwrap();
    embedded_io::Write::write_all(&mut writer, &bytes).unwrap();
    store.commit(&opening(room).header, &encoded).unwrap();
    assert_eq!(read(&mut store, 1), Ok(bytes));
    assert_eq!(flash.violations(), []);
}

#[test]
fn regions_that_cannot_be_are_refused() {
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
    let refused = Slots::<_, 2>::open(&mut coarse, 0..1024).map(|_| ());
    assert_eq!(refused, Err(RegionError::Flash { read: 1, write: 64, erase: 256 }));
    let mut odd = Flash::<4, 256, 3>::new(1024, 0xFF);
    assert!(matches!(Slots::<_, 2>::open(&mut odd, 0..1024), Err(RegionError::Flash { .. })));
}

#[test]
fn too_few_slots_for_what_is_kept_is_an_error_of_the_save() {
    let mut flash = Flash::<4, 256>::new(768, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..768).unwrap();
    let error = save(store, 3, &[5, 5, 5, 5]).unwrap_err();
    assert!(error.contains("every slot holds a checkpoint that is kept"), "{error}");
}

#[test]
fn erasing_ahead_leaves_no_erase_to_the_save() {
    let mut flash = Flash::<4, 256>::new(3 * 1024, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..3072).unwrap();
    let machine = ModelCheckpoint::<2>::builder().save_interval(1).n_saved(2).build().unwrap();
    let mut saving = machine.attach(IterationCompleted, store).unwrap();
    let mut weights = [1.0; 150];
    for step in 1..=6 {
        let before = saving.store().flash().counts.erased;
        let mut calls = 1;
        while !saving.store_mut().erase_ahead(700).unwrap() {
            calls += 1;
        }
        assert_eq!(saving.store().flash().counts.erased - before, 4);
        assert_eq!(calls, 4, "a block a call");
        let saved = saving.save(Save { step, score: None }, step, None, &One("m", &mut weights[..]));
        saved.unwrap();
        assert_eq!(saving.store().flash().counts.erased - before, 4);
    }
    assert_eq!(saving.store().erases(), [2, 2, 2]);
    assert_eq!(saving.store_mut().erase_ahead(5000), Err(SlotsError::TooLong { len: 5000, room: 1024 - 96 }));
    drop(saving);

    // After a reset all three look kept, until what is beyond two is swept.
    let store = Slots::<_, 3>::open(&mut flash, 0..3072).unwrap();
    let machine = ModelCheckpoint::<2>::builder().save_interval(1).n_saved(2).build().unwrap();
    let mut saving = machine.attach(IterationCompleted, store).unwrap();
    assert_eq!(saving.store_mut().erase_ahead(700), Err(SlotsError::Full));
    saving.sweep();
    assert_eq!(saving.store_mut().erase_ahead(700), Ok(false));
    assert_eq!(saving.store().erases(), [3, 2, 2]);
    assert_eq!(flash.violations(), []);
}

#[test]
fn wear_is_even_and_outlives_resets() {
    let mut flash = Flash::<4, 256>::new(5 * 256, 0xFF);
    let machine = || ModelCheckpoint::<2>::builder().save_interval(1).n_saved(2).build().unwrap();
    for save in 1..=100u32 {
        let store = Slots::<_, 5>::open(&mut flash, 0..1280).unwrap();
        let mut saving = machine().attach(IterationCompleted, store).unwrap();
        if save % 10 == 0 {
            saving.store_mut().flash_mut().cut_at(8, Outcome::Bits, 1);
        }
        let saved = saving.save(Save { step: save, score: None }, save, None, &One("m", &mut [1.0; 5][..]));
        assert_eq!(saved.is_ok(), save % 10 != 0);
        drop(saving);
        flash.power_on();
    }
    let store = Slots::<_, 5>::open(&mut flash, 0..1280).unwrap();
    let told = store.erases();
    let done: Vec<u32> = flash.block_erases.clone();
    assert_eq!(done.iter().sum::<u32>(), 100);
    assert!(done.iter().all(|erases| (18..=23).contains(erases)), "{done:?}");
    // Only those of the ten cut saves are forgotten.
    assert!(told.iter().zip(&done).all(|(told, done)| told <= done), "{told:?} {done:?}");
    assert!(told.iter().sum::<u32>() >= 90, "{told:?}");
}

#[test]
fn a_step_that_is_saved_again_is_there_once() {
    let mut flash = Flash::<4, 256>::new(1024, 0xFF);
    let machine = ModelCheckpoint::<3>::builder().scored().n_saved(3).build().unwrap();
    let store = Slots::<_, 4>::open(&mut flash, 0..1024).unwrap();
    let mut saving = machine.attach(IterationCompleted, store).unwrap();
    for (iteration, score) in [(1, 1.0), (2, 2.0), (3, 3.0)] {
        let save = Save { step: 7, score: Some(score) };
        saving.save(save, iteration, None, &One("m", &mut [score; 3][..])).unwrap();
        assert_eq!(list(saving.store_mut()).unwrap().len(), 1);
    }
    drop(saving);
    let mut store = Slots::<_, 4>::open(&mut flash, 0..1024).unwrap();
    let all = list(&mut store).unwrap();
    assert_eq!(all.iter().map(|stored| (stored.step, stored.iteration)).collect::<Vec<_>>(), [(7, 3)]);
}

/// A flash whose programs do nothing in one block, and say nothing: it is worn out.
struct WornOut<'a>(&'a mut Flash<4, 256>, std::ops::Range<u32>);

impl training_monitor::embedded_storage::nor_flash::ErrorType for WornOut<'_> {
    type Error = Fault;
}

impl ReadNorFlash for WornOut<'_> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), Fault> {
        self.0.read(at, into)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for WornOut<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.0.erase(from, to)
    }
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Fault> {
        if self.1.contains(&at) { Ok(()) } else { self.0.write(at, bytes) }
    }
}

#[test]
fn a_worn_out_block_is_noticed_and_gone_round_when_there_is_a_slot_to_spare() {
    let mut flash = Flash::<4, 256>::new(2048, 0xFF);
    // Slot 1's second block.
    let store = Slots::<_, 4>::open(WornOut(&mut flash, 768..1024), 0..2048).unwrap();
    let machine = ModelCheckpoint::<2>::builder().save_interval(1).n_saved(2).build().unwrap();
    let mut failed = Vec::new();
    let reports = |report: &Report<'_, SlotsError<Fault>>| assert!(!matches!(report, Report::RemovalFailed { .. }));
    let mut saving = machine.attach(IterationCompleted, store).unwrap().observe(reports);
    for step in 1..=12 {
        let save = Save { step, score: None };
        if saving.save(save, step, None, &One("m", &mut [2.0; 60][..])).is_err() {
            failed.push(step);
        }
    }
    assert_eq!(failed, [2], "tried once, then last of all");
    assert_eq!(saving.machine().kept().iter().map(|entry| entry.step).collect::<Vec<_>>(), [11, 12]);
}

#[test]
fn a_minimum_interval_spares_the_flash() {
    use training_monitor::{Engine, State};
    let saves = |interval: u32| {
        let mut flash = Flash::<4, 256>::new(768, 0xFF);
        let store = Slots::<_, 3>::open(&mut flash, 0..768).unwrap();
        let machine = ModelCheckpoint::<2>::builder()
            .score_function(|state: &State<f32>| state.output.unwrap_or(0.0))
            .n_saved(2)
            .build()
            .unwrap();
        let mut saving = machine.attach(IterationCompleted, store).unwrap().min_interval(interval);
        let mut weights = [0.0_f32; 3];
        let mut model = One("m", &mut weights);
        Engine::new(1).run(&mut model, 0..100u32, &mut saving, |_, batch, _| batch as f32).unwrap();
        saving.store().erases().iter().sum::<u32>()
    };
    assert_eq!([saves(0), saves(1), saves(7), saves(50), saves(1000)], [100, 100, 15, 2, 1]);
}

#[test]
fn sizes() {
    println!("Slots<&mut Flash, 4>: {} bytes", size_of::<Slots<&mut Flash<4, 256>, 4>>());
    assert!(size_of::<Slots<(), 4>>() <= 200);
    let contents = Contents { header: Header::default(), record: None, only: None, allow_non_finite: false };
    let mut bytes = Vec::new();
    let written = checkpoint::encode::<Crc32, _, _>(&mut bytes, &contents, &One("m", &mut [0.0_f32; 1])).unwrap();
    assert!(written.len < 40, "an empty checkpoint fits the smallest slot");
}
