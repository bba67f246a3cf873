//! Edge cases of the flash store that mutation testing found: the limits of a region, the size and alignment of driver
//! calls, and streams that are longer or shorter than announced.

use training_monitor::checkpoint::{self, Contents, Crc32, Encoded, Header, Named};
use training_monitor::embedded_io::Write;
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::store::flash::{RegionError, Slots, SlotsError};
use training_monitor::store::{Store, StreamSpec};

/// A simulated flash that records all write calls and has no power failures.
struct RecordingFlash<const READ: usize, const WRITE: usize, const ERASE: usize> {
    bytes: Vec<u8>,
    /// For each write call: the number of bytes, and whether their address in memory is a multiple of four.
    writes: Vec<(usize, bool)>,
    /// The addresses of worn-out cells. A write to such a cell returns `Ok` but changes nothing.
    worn: std::ops::Range<usize>,
}

impl<const R: usize, const W: usize, const E: usize> RecordingFlash<R, W, E> {
    fn new(len: usize) -> Self {
        RecordingFlash { bytes: vec![0xFF; len], writes: Vec::new(), worn: 0..0 }
    }
}

impl<const R: usize, const W: usize, const E: usize> ErrorType for RecordingFlash<R, W, E> {
    type Error = NorFlashErrorKind;
}

impl<const R: usize, const W: usize, const E: usize> ReadNorFlash for RecordingFlash<R, W, E> {
    const READ_SIZE: usize = R;
    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let start = offset as usize;
        let bytes = self.bytes.get(start..start + buffer.len()).ok_or(NorFlashErrorKind::OutOfBounds)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const R: usize, const W: usize, const E: usize> NorFlash for RecordingFlash<R, W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.bytes[from as usize..to as usize].fill(0xFF);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.writes.push((bytes.len(), bytes.as_ptr().cast::<u32>().is_aligned()));
        for (address, byte) in (offset as usize..).zip(bytes) {
            if !self.worn.contains(&address) {
                self.bytes[address] = *byte;
            }
        }
        Ok(())
    }
}

/// Opens a store with two slots of `slot` bytes each. Returns the maximum length of a stream.
fn open_slots<const R: usize, const W: usize, const E: usize>(slot: usize) -> Result<u32, RegionError> {
    let store: Slots<_, 2, Crc32> = Slots::open(RecordingFlash::<R, W, E>::new(2 * slot), 0..2 * slot as u32)?;
    Ok(store.max_stream_len())
}

#[test]
fn an_invalid_region_is_rejected_with_the_reason() {
    // The first 96 bytes of a slot are metadata. At least 8 bytes must remain for the checkpoint.
    assert_eq!(open_slots::<1, 1, 8>(104), Ok(8));
    assert_eq!(open_slots::<1, 1, 8>(96), Err(RegionError::TooSmall { slot: 96 }));
    assert_eq!(open_slots::<1, 1, 8>(88), Err(RegionError::TooSmall { slot: 88 }));
    assert_eq!(open_slots::<1, 1, 1>(103), Err(RegionError::TooSmall { slot: 103 }));
    // The read size and the write size must divide 32. The erase size must be a multiple of both.
    let flash = |read, write, erase| Err(RegionError::Geometry { read, write, erase });
    assert_eq!(open_slots::<1, 64, 256>(256), flash(1, 64, 256));
    assert_eq!(open_slots::<1, 3, 256>(256), flash(1, 3, 256));
    assert_eq!(open_slots::<64, 1, 256>(256), flash(64, 1, 256));
    assert_eq!(open_slots::<1, 32, 48>(288), flash(1, 32, 48));
    assert_eq!(open_slots::<32, 1, 48>(288), flash(32, 1, 48));
    assert_eq!(open_slots::<0, 1, 256>(256), flash(0, 1, 256));
    assert_eq!(open_slots::<1, 0, 256>(256), flash(1, 0, 256));
    assert_eq!(open_slots::<1, 1, 0>(256), flash(1, 1, 0));
    let open = |from, to| {
        Slots::<_, 2, Crc32>::open(RecordingFlash::<1, 1, 128>::new(512), from..to).map(|store| store.max_stream_len())
    };
    assert_eq!(open(0, 512), Ok(160));
    assert_eq!(open(0, 640), Err(RegionError::OutOfBounds { capacity: 512 }));
    assert_eq!(open(256, 256), Err(RegionError::OutOfBounds { capacity: 512 }));
    assert_eq!(open(64, 320), Err(RegionError::NotAligned { erase: 128, slots: 2 }));
    assert_eq!(open(0, 384), Err(RegionError::NotAligned { erase: 128, slots: 2 }));
    let one =
        Slots::<_, 1, Crc32>::open(RecordingFlash::<1, 1, 128>::new(512), 0..512).map(|store| store.max_stream_len());
    assert_eq!(one, Err(RegionError::TooFewSlots));
}

const LEN: u32 = 130;

fn spec() -> StreamSpec<'static> {
    StreamSpec { header: Header::default(), object: None, stream_index: 0, stream_count: 1, len: LEN }
}

/// Writes 128 bytes to a stream and returns the write calls of the driver. The address of the bytes is `shift` bytes
/// above a multiple of four.
fn driver_writes<const W: usize>(shift: usize) -> Vec<(usize, bool)> {
    let mut store: Slots<_, 2, Crc32> = Slots::open(RecordingFlash::<1, W, 256>::new(512), 0..512).unwrap();
    let mut words = [0_u32; 40];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
    let bytes = &bytes[shift..shift + 128];
    let mut writer = store.create(&spec()).unwrap();
    writer.write_all(bytes).unwrap();
    assert_eq!(store.flash().bytes[96..224], *bytes);
    store.into_inner().writes
}

/// A driver with a write size of 4 bytes or more may require source addresses that are multiples of four. The store
/// therefore copies other bytes to an aligned buffer first. It passes aligned bytes to the driver in one call.
#[test]
fn the_driver_receives_aligned_bytes_if_its_write_size_needs_them() {
    assert_eq!(driver_writes::<4>(0), [(128, true)]);
    assert_eq!(driver_writes::<4>(1), [(4, true); 32]);
    assert_eq!(driver_writes::<8>(0), [(128, true)]);
    assert_eq!(driver_writes::<8>(2), [(8, true); 16]);
    assert_eq!(driver_writes::<1>(0), [(128, true)]);
    assert_eq!(driver_writes::<1>(1), [(128, false)]);
    assert_eq!(driver_writes::<2>(1), [(128, false)]);
}

#[test]
fn commit_rejects_a_stream_of_another_length_than_announced() {
    let commit = |bytes: usize, len: u32| {
        let mut store: Slots<_, 2, Crc32> = Slots::open(RecordingFlash::<1, 1, 256>::new(512), 0..512).unwrap();
        let mut writer = store.create(&spec()).unwrap();
        writer.write_all(&vec![0; bytes]).unwrap();
        store.commit(&Header::default(), &Encoded { len, crc: 0 })
    };
    assert_eq!(commit(LEN as usize - 1, LEN), Err(SlotsError::Incomplete));
    assert_eq!(commit(LEN as usize, LEN - 1), Err(SlotsError::Incomplete));
    assert_eq!(commit(LEN as usize - 1, LEN - 1), Err(SlotsError::Incomplete));
    // The length is correct, but the checksum does not match the written bytes.
    assert_eq!(commit(LEN as usize, LEN), Err(SlotsError::VerifyFailed));
    let mut store: Slots<_, 2, Crc32> = Slots::open(RecordingFlash::<1, 1, 256>::new(512), 0..512).unwrap();
    assert_eq!(store.commit(&Header::default(), &Encoded { len: 0, crc: 0 }), Err(SlotsError::Incomplete));
}

fn first_is_durable<S: Store>(mut store: S) -> bool {
    store.is_durable(0)
}

/// `commit` reads back everything that was written, so it detects worn-out cells. The test then opens the store again
/// and checks whether the checkpoint is listed and durable.
#[test]
fn commit_detects_worn_out_cells_in_record_seal_and_stream() {
    for (worn, expected, is_listed, is_durable) in [
        // No cell is worn out: the commit succeeds, and the checkpoint is listed and durable.
        (0..0, Ok(()), true, true),
        // A byte of the commit record is worn out: the record is invalid, so the checkpoint is not listed.
        (16..17, Err(SlotsError::VerifyFailed), false, true),
        // The whole seal (the end mark of a save) is worn out: the checkpoint is listed but not durable.
        (64..68, Err(SlotsError::VerifyFailed), true, false),
        // One byte of the seal (the end mark of a save): a seal is complete only if all its bytes are correct.
        (66..67, Err(SlotsError::VerifyFailed), true, false),
        // A byte of the stream (the encoded checkpoint) is worn out: the checkpoint is not listed.
        (100..101, Err(SlotsError::VerifyFailed), false, true),
    ] {
        let mut flash = RecordingFlash::<1, 1, 256>::new(512);
        flash.worn = worn.clone();
        let mut store: Slots<_, 2, Crc32> = Slots::open(flash, 0..512).unwrap();
        let contents = Contents::new(0);
        let mut model = Named::new("m", [1.0_f32; 4]);
        let len = checkpoint::measure(&contents, &mut model).unwrap();
        let mut writer = store.create(&StreamSpec { len, ..spec() }).unwrap();
        let last = checkpoint::encode(&mut writer, &contents, &mut model).unwrap();
        assert_eq!(store.commit(&Header::default(), &last), expected, "{worn:?}");
        let mut store: Slots<_, 2, Crc32> = Slots::open(store.into_inner(), 0..512).unwrap();
        assert_eq!(store.checkpoint(0).unwrap().is_some(), is_listed, "{worn:?}");
        // `&mut` to a store is a store, too. It must give the same answer as the store itself.
        assert_eq!((first_is_durable(&mut store), first_is_durable(store)), (is_durable, is_durable), "{worn:?}");
    }
}
