//! The flash slots where only a reader of their code looks: regions at their limits, how a driver is called, streams that
//! are not what was announced.

use training_monitor::checkpoint::{self, Contents, Crc32, Encoded, Header, One};
use training_monitor::embedded_io::Write;
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::store::slots::{RegionError, Slots, SlotsError};
use training_monitor::store::{Opening, Store};

/// Flash that is always well; keeps how it was written: bytes a call, and whether they were in words.
struct Plain<const READ: usize, const WRITE: usize, const ERASE: usize> {
    bytes: Vec<u8>,
    writes: Vec<(usize, bool)>,
    /// Where what is written does not stay, without the driver's noticing.
    worn: std::ops::Range<usize>,
}

impl<const R: usize, const W: usize, const E: usize> Plain<R, W, E> {
    fn new(len: usize) -> Self {
        Plain { bytes: vec![0xFF; len], writes: Vec::new(), worn: 0..0 }
    }
}

impl<const R: usize, const W: usize, const E: usize> ErrorType for Plain<R, W, E> {
    type Error = NorFlashErrorKind;
}

impl<const R: usize, const W: usize, const E: usize> ReadNorFlash for Plain<R, W, E> {
    const READ_SIZE: usize = R;
    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let from = self.bytes.get(at as usize..at as usize + into.len()).ok_or(NorFlashErrorKind::OutOfBounds)?;
        into.copy_from_slice(from);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const R: usize, const W: usize, const E: usize> NorFlash for Plain<R, W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.bytes[from as usize..to as usize].fill(0xFF);
        Ok(())
    }
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.writes.push((bytes.len(), bytes.as_ptr().cast::<u32>().is_aligned()));
        for (index, byte) in bytes.iter().enumerate().map(|(index, byte)| (at as usize + index, byte)) {
            if !self.worn.contains(&index) {
                self.bytes[index] = *byte;
            }
        }
        Ok(())
    }
}

fn opened<const R: usize, const W: usize, const E: usize>(slot: usize) -> Result<u32, RegionError> {
    let store: Slots<_, 2, Crc32> = Slots::open(Plain::<R, W, E>::new(2 * slot), 0..2 * slot as u32)?;
    Ok(store.room())
}

#[test]
fn a_region_is_refused_for_what_is_wrong_with_it() {
    // 96 bytes before a stream, of which the shortest has more than 8.
    assert_eq!(opened::<1, 1, 8>(104), Ok(8));
    assert_eq!(opened::<1, 1, 8>(96), Err(RegionError::TooSmall { slot: 96 }));
    assert_eq!(opened::<1, 1, 8>(88), Err(RegionError::TooSmall { slot: 88 }));
    assert_eq!(opened::<1, 1, 1>(103), Err(RegionError::TooSmall { slot: 103 }));
    // Units that no record fits into, and blocks that are not whole ones of them.
    let flash = |read, write, erase| Err(RegionError::Flash { read, write, erase });
    assert_eq!(opened::<1, 64, 256>(256), flash(1, 64, 256));
    assert_eq!(opened::<1, 3, 256>(256), flash(1, 3, 256));
    assert_eq!(opened::<64, 1, 256>(256), flash(64, 1, 256));
    assert_eq!(opened::<1, 32, 48>(288), flash(1, 32, 48));
    assert_eq!(opened::<32, 1, 48>(288), flash(32, 1, 48));
    assert_eq!(opened::<0, 1, 256>(256), flash(0, 1, 256));
    assert_eq!(opened::<1, 0, 256>(256), flash(1, 0, 256));
    assert_eq!(opened::<1, 1, 0>(256), flash(1, 1, 0));
    let open = |from, to| Slots::<_, 2, Crc32>::open(Plain::<1, 1, 128>::new(512), from..to).map(|store| store.room());
    assert_eq!(open(0, 512), Ok(160));
    assert_eq!(open(0, 640), Err(RegionError::OutOfBounds { capacity: 512 }));
    assert_eq!(open(256, 256), Err(RegionError::OutOfBounds { capacity: 512 }));
    assert_eq!(open(64, 320), Err(RegionError::NotAligned { erase: 128, slots: 2 }));
    assert_eq!(open(0, 384), Err(RegionError::NotAligned { erase: 128, slots: 2 }));
    let one = Slots::<_, 1, Crc32>::open(Plain::<1, 1, 128>::new(512), 0..512).map(|store| store.room());
    assert_eq!(one, Err(RegionError::TooFewSlots));
}

const LEN: u32 = 130;

fn opening() -> Opening<'static> {
    Opening { header: Header::default(), object: None, part: 0, parts: 1, len: LEN }
}

/// Writes 128 bytes that begin `shift` bytes behind a word, all at once as far as the store takes them.
fn written<const W: usize>(shift: usize) -> Vec<(usize, bool)> {
    let mut store: Slots<_, 2, Crc32> = Slots::open(Plain::<1, W, 256>::new(512), 0..512).unwrap();
    let mut room = [0_u32; 40];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut room);
    bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
    let bytes = &bytes[shift..shift + 128];
    let mut writer = store.create(&opening()).unwrap();
    writer.write_all(bytes).unwrap();
    assert_eq!(store.flash().bytes[96..224], *bytes);
    store.into_inner().writes
}

/// A driver that writes words gets words, where its callers' bytes lie: at once if they are in words, otherwise a granule at a
/// time, out of one. A driver that writes bytes gets them at once.
#[test]
fn whole_granules_go_to_the_driver_as_they_are() {
    assert_eq!(written::<4>(0), [(128, true)]);
    assert_eq!(written::<4>(1), [(4, true); 32]);
    assert_eq!(written::<8>(0), [(128, true)]);
    assert_eq!(written::<8>(2), [(8, true); 16]);
    assert_eq!(written::<1>(0), [(128, true)]);
    assert_eq!(written::<1>(1), [(128, false)]);
    assert_eq!(written::<2>(1), [(128, false)]);
}

#[test]
fn a_commit_is_of_the_stream_that_was_announced() {
    let commit = |bytes: usize, len: u32| {
        let mut store: Slots<_, 2, Crc32> = Slots::open(Plain::<1, 1, 256>::new(512), 0..512).unwrap();
        let mut writer = store.create(&opening()).unwrap();
        writer.write_all(&vec![0; bytes]).unwrap();
        store.commit(&Header::default(), &Encoded { len, crc: 0 })
    };
    assert_eq!(commit(LEN as usize - 1, LEN), Err(SlotsError::Incomplete));
    assert_eq!(commit(LEN as usize, LEN - 1), Err(SlotsError::Incomplete));
    assert_eq!(commit(LEN as usize - 1, LEN - 1), Err(SlotsError::Incomplete));
    // All there, but not what its checksum says.
    assert_eq!(commit(LEN as usize, LEN), Err(SlotsError::Unreadable));
    let mut store: Slots<_, 2, Crc32> = Slots::open(Plain::<1, 1, 256>::new(512), 0..512).unwrap();
    assert_eq!(store.commit(&Header::default(), &Encoded { len: 0, crc: 0 }), Err(SlotsError::Incomplete));
}

fn is_firm<S: Store>(mut store: S) -> bool {
    store.is_firm(0)
}

/// A cell that no longer takes a bit is found before the save is called one: in the stream, the record, or the seal. What
/// an opening makes of it then: whether the checkpoint is listed, and has its place for good; of a store that is lent, too.
#[test]
fn what_does_not_stay_is_not_committed() {
    // Record, seal and stream of the first slot.
    for (worn, expected, listed, firm) in [
        (0..0, Ok(()), true, true),
        (16..17, Err(SlotsError::Unreadable), false, true),
        (64..72, Err(SlotsError::Unreadable), true, false),
        // One byte of eight: for an opening that is a seal, for a save it is not.
        (70..71, Err(SlotsError::Unreadable), true, true),
        (100..101, Err(SlotsError::Unreadable), false, true),
    ] {
        let mut flash = Plain::<1, 1, 256>::new(512);
        flash.worn = worn.clone();
        let mut store: Slots<_, 2, Crc32> = Slots::open(flash, 0..512).unwrap();
        let contents = Contents { header: Header::default(), record: None, only: None, allow_non_finite: false };
        let model = One("m", [1.0_f32; 4]);
        let len = checkpoint::measure::<(), _>(&contents, &model).unwrap();
        let mut writer = store.create(&Opening { len, ..opening() }).unwrap();
        let last = checkpoint::encode::<Crc32, _, _>(&mut writer, &contents, &model).unwrap();
        assert_eq!(store.commit(&Header::default(), &last), expected, "{worn:?}");
        let mut store: Slots<_, 2, Crc32> = Slots::open(store.into_inner(), 0..512).unwrap();
        assert_eq!(store.stored(0).unwrap().is_some(), listed, "{worn:?}");
        assert_eq!((is_firm(&mut store), is_firm(store)), (firm, firm), "{worn:?}");
    }
}
