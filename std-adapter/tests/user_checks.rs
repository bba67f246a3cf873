//! The checks that users run on their own stores and drivers: correct ones pass, and deliberate mistakes are found.

use core::convert::Infallible;
use training_monitor::store::flash::{RegionError, Slots};
use training_monitor::store::ram::Ram;
use training_monitor_std::test_support::{Medium, check_store, flash::Flash};

struct RamMedium<const SLOTS: usize, const SIZE: usize>(Ram<SLOTS, SIZE>);

impl<const SLOTS: usize, const SIZE: usize> Medium for RamMedium<SLOTS, SIZE> {
    type Store<'a> = &'a mut Ram<SLOTS, SIZE>;
    type OpenError = Infallible;
    /// `Ram` accepts a commit of an incomplete stream.
    const DETECTS_INCOMPLETE: bool = false;
    fn open(&mut self) -> Result<Self::Store<'_>, Infallible> {
        Ok(&mut self.0)
    }
}

struct FlashMedium<const W: usize, const E: usize, const R: usize, const SLOTS: usize>(Flash<W, E, R>);

impl<const W: usize, const E: usize, const R: usize, const SLOTS: usize> Medium for FlashMedium<W, E, R, SLOTS> {
    type Store<'a> = Slots<&'a mut Flash<W, E, R>, SLOTS>;
    type OpenError = RegionError;
    fn open(&mut self) -> Result<Self::Store<'_>, RegionError> {
        let end = self.0.image().len() as u32;
        Slots::open(&mut self.0, 0..end)
    }
}

#[test]
fn the_stores_of_the_library_keep_the_contract() {
    check_store(&mut RamMedium(Ram::<2, 256>::new())).unwrap_or_else(|violation| panic!("{violation}"));
    check_store(&mut RamMedium(Ram::<3, 1000>::new())).unwrap_or_else(|violation| panic!("{violation}"));
    check_slots::<1, 256, 1, 3>(2, 0xFF);
    check_slots::<4, 256, 1, 2>(1, 0xFF);
    check_slots::<8, 256, 1, 3>(2, 0);
    check_slots::<16, 512, 4, 4>(1, 0xFF);
    check_slots::<32, 256, 32, 5>(3, 0xFF);
    check_slots::<2, 4096, 8, 3>(2, 0xFF);
}

fn check_slots<const W: usize, const E: usize, const R: usize, const SLOTS: usize>(blocks: usize, erased: u8) {
    let mut medium = FlashMedium::<W, E, R, SLOTS>(Flash::new(blocks * SLOTS * E, erased));
    check_store(&mut medium).unwrap_or_else(|violation| panic!("{W} {E} {R} {SLOTS}: {violation}"));
    assert_eq!(medium.0.violations(), []);
}
