//! Tests of the layout of a flash slot, which other programs may read, and of several stores on one flash driver.

use std::cell::RefCell;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{self, Crc32, Named, SeriesId, model_signature};
use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::CheckpointMeta;
use training_monitor::store::flash::layout::{
    CommitRecord, RECORD_LEN, RECORD_MAGIC, RecordBytes, SEAL_LEN, SEAL_OFFSET, STREAM_OFFSET, SealState, seal_bytes,
};
use training_monitor::store::flash::{SharedError, SharedNorFlash, Slots, SlotsError};
use training_monitor_std::test_support::flash::Flash;

const SLOT: u32 = 512;
/// The flash address at which the region (the flash area of the store) starts, in bytes.
const START: u32 = 256;

type Chip = Flash<4, 256>;

/// Returns a flash with the checkpoints of steps 1 and 2. Only the second one has a score.
fn saved_flash() -> Chip {
    let mut flash = Chip::new(2048, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, START..START + 3 * SLOT).unwrap();
    let mut handler = ModelCheckpoint::<2>::by_score().attach(IterationCompleted, store).unwrap();
    for (step, score) in [(1, None), (2, Some(0.75))] {
        let mut model = Named::new("m", [step as f32; 5]);
        handler.save(SaveDecision { step, score }, 10 * step, None, &mut model).unwrap();
    }
    drop(handler);
    flash
}

/// Returns the record of the slot with this index, and the bytes of the slot after the record.
fn slot(flash: &Chip, index: u32) -> (RecordBytes, &[u8]) {
    let slot = &flash.image()[(START + index * SLOT) as usize..][..SLOT as usize];
    let (record, rest) = slot.split_at(SEAL_OFFSET as usize);
    (record.try_into().unwrap(), rest)
}

#[test]
fn another_program_can_read_the_record_and_the_stream_of_a_slot() {
    let flash = saved_flash();
    for (index, step, score) in [(0, 1, None), (1, 2, Some(0.75))] {
        let (bytes, rest) = slot(&flash, index);
        let record = CommitRecord::from_bytes::<Crc32>(&bytes).unwrap();
        let stream = &rest[(STREAM_OFFSET - SEAL_OFFSET) as usize..][..record.len as usize];
        let mut model = Named::new("m", [0.0; 5]);
        let info = checkpoint::load(stream, &mut model, None).unwrap();
        let series = info.series;
        assert_eq!(Ok(series.model), model_signature(&mut model));
        assert_eq!(record.meta, CheckpointMeta { sequence: step, step, run: 0, iteration: 10 * step, score, series });
        assert_eq!((u32::from(record.index), record.size), (index, SLOT));
        assert_eq!((record.erases, record.total_erases), (1, step));
        // At the save of step 2, slot 0 contained the durable checkpoint of step 1.
        assert_eq!((record.durable, record.failed), ([0, 1][index as usize], 0));
        assert_eq!((info.step, model.object), (step, [step as f32; 5]));
        // `to_bytes` encodes the record to the same bytes as on the flash. After these bytes, `to_bytes` returns zeros,
        // but the flash is erased (0xFF).
        let again = record.to_bytes::<Crc32>();
        assert_eq!((&again[..RECORD_LEN], &again[RECORD_LEN..]), (&bytes[..RECORD_LEN], &[0; 8][..]));
        assert_eq!((&bytes[..2], &bytes[RECORD_LEN..]), (&RECORD_MAGIC[..], &[0xFF; 8][..]));
        assert_eq!((RECORD_MAGIC, &bytes[2..4]), (*b"TM", &[2, 2][..]));
    }
    // The third slot (the flash area of one checkpoint) is erased, so it contains no valid record.
    assert_eq!(CommitRecord::from_bytes::<Crc32>(&slot(&flash, 2).0), None);
}

/// The fields of a record are at the documented offsets.
#[test]
fn a_record_has_the_documented_bytes() {
    let series = SeriesId { rule: 0x0D0C_0B0A, model: 0x1514_1312 };
    let meta = CheckpointMeta { sequence: 0x21, step: 0x22, run: 0x23, iteration: 0x24, score: Some(1.0), series };
    let record = CommitRecord {
        meta,
        index: 0xA5,
        last: 0xB6,
        size: 0x03_0201,
        len: 0x0403,
        erases: 0x31,
        total_erases: 0x32,
        durable: 0x4241,
        failed: 0x4443,
    };
    let bytes = record.to_bytes::<Crc32>();
    let words = [0x21, 0x23, 0x0D0C_0B0A, 0x1514_1312, 0x0403, 0x22, 0x24, 1.0_f32.to_bits(), 0x31, 0x32, 0x4443_4241];
    let words: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let mut expected = [&b"TM\xB6\x02\x01\x02\x03\xA5"[..], &words].concat();
    expected.extend(crc32fast::hash(&expected).to_le_bytes());
    assert_eq!((expected.len(), &bytes[..RECORD_LEN], &bytes[RECORD_LEN..]), (RECORD_LEN, &expected[..], &[0; 8][..]));
    let crc = u32::from_le_bytes(expected[RECORD_LEN - 4..].try_into().unwrap());
    assert_eq!(seal_bytes(&bytes), (!crc).to_le_bytes());
    assert_eq!(CommitRecord::from_bytes::<Crc32>(&bytes), Some(record));
    let no_score = CommitRecord { meta: CheckpointMeta { score: None, ..meta }, ..record };
    assert_eq!(CommitRecord::from_bytes::<Crc32>(&no_score.to_bytes::<Crc32>()), Some(no_score));
}

#[test]
fn a_damaged_record_is_refused() {
    let (bytes, _) = slot(&saved_flash(), 1);
    let expected = CommitRecord::from_bytes::<Crc32>(&bytes).unwrap();
    assert_eq!(CommitRecord::from_bytes_unverified(&bytes), Some(expected));
    for byte in 0..RECORD_LEN {
        let mut damaged = bytes;
        damaged[byte] ^= 1;
        assert_eq!(CommitRecord::from_bytes::<Crc32>(&damaged), None, "byte {byte}");
        // `from_bytes_unverified` checks only the magic number (two bytes) and the version (the fourth byte). So it
        // accepts a record that is damaged in another byte.
        assert_eq!(CommitRecord::from_bytes_unverified(&damaged).is_some(), ![0, 1, 3].contains(&byte), "byte {byte}");
    }
}

#[test]
fn the_state_of_a_seal_follows_from_its_bytes() {
    let flash = saved_flash();
    let (record, rest) = slot(&flash, 1);
    let seal: [u8; SEAL_LEN] = rest[..SEAL_LEN].try_into().unwrap();
    assert_eq!((seal, SealState::new(&seal, &record)), (seal_bytes(&record), SealState::Complete));
    for erased in [0, 0xFF, 0x5A] {
        assert_eq!(SealState::new(&[erased; SEAL_LEN], &record), SealState::Incomplete);
    }
    for byte in 0..SEAL_LEN {
        let mut partial = [0xFF; SEAL_LEN];
        partial[byte] = seal[byte] & 0x7F;
        assert_eq!(SealState::new(&partial, &record), SealState::Incomplete, "byte {byte}");
        let mut damaged = seal;
        damaged[byte] ^= 1;
        assert_eq!(SealState::new(&damaged, &record), SealState::Incomplete, "byte {byte}");
    }
    // A seal (the end mark of a save) matches only its own record. With the record of another slot, its state is
    // `Incomplete`.
    assert_eq!(SealState::new(&seal, &slot(&flash, 0).0), SealState::Incomplete);
}

#[test]
fn two_stores_share_one_flash() {
    let flash = RefCell::new(Chip::new(2048, 0xFF));
    let shared = SharedNorFlash(&flash);
    let open = |from| Slots::<_, 2>::open(shared, from..from + 2 * SLOT).unwrap();
    let policy = || ModelCheckpoint::<1>::every(1).unwrap();
    let mut first = policy().attach(IterationCompleted, open(0)).unwrap();
    let mut second = policy().attach(IterationCompleted, open(2 * SLOT)).unwrap();
    let decision = |step| SaveDecision { step, score: None };
    first.save(decision(1), 1, None, &mut Named::new("m", [1.0])).unwrap();
    second.save(decision(2), 2, None, &mut Named::new("m", [2.0])).unwrap();
    first.save(decision(3), 3, None, &mut Named::new("m", [3.0])).unwrap();
    let mut model = Named::new("m", [0.0]);
    assert_eq!(first.load_best(&mut model).unwrap().map(|info| info.step), Some(3));
    assert_eq!(second.load_best(&mut model).unwrap().map(|info| info.step), Some(2));
    assert_eq!((model.object, flash.borrow().violations()), ([2.0], &[][..]));
}

#[test]
fn a_borrowed_flash_is_in_use() {
    let flash = RefCell::new(Chip::new(2048, 0xFF));
    let mut shared = SharedNorFlash(&flash);
    assert_eq!((shared.capacity(), shared.read(0, &mut [0; 4])), (2048, Ok(())));
    let store = Slots::<_, 2>::open(shared, 0..2 * SLOT).unwrap();
    let mut handler = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
    let borrowed = flash.borrow_mut();
    assert_eq!(shared.read(0, &mut [0; 4]), Err(SharedError::InUse));
    assert_eq!(shared.erase(0, 256), Err(SharedError::InUse));
    assert_eq!(shared.write(0, &[0; 4]), Err(SharedError::InUse));
    let error = handler.save(SaveDecision { step: 1, score: None }, 1, None, &mut Named::new("m", [1.0])).unwrap_err();
    assert_eq!(error, checkpoint::EncodeError::Io(SlotsError::Flash(SharedError::InUse)));
    drop(borrowed);
    handler.save(SaveDecision { step: 1, score: None }, 1, None, &mut Named::new("m", [1.0])).unwrap();
}
