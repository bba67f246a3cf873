//! A load from memory on a host first verifies the checksum of all bytes. The later passes do not compute it again, and
//! the first of them skips most tensors. It must have the result of a load through a reader: the same model, or the same
//! error and an unchanged model.

#[path = "common/streams.rs"]
mod streams;

use std::convert::Infallible;
use streams::{encode, with_correct_crc};
use training_monitor::checkpoint::{self, Contents, Crc32, DecodeError, Header, Info, Loader, Objects, StateDict};
use training_monitor::run_record::RunRecord;

#[derive(StateDict, Clone, PartialEq, Debug)]
struct Net {
    weight: [f32; 20],
    mask: [bool; 5],
    steps: [u16; 3],
}

#[derive(Objects, Clone, PartialEq, Debug)]
struct Model {
    net: Net,
    #[objects(value)]
    epoch: u32,
}

fn model() -> Model {
    let net = Net { weight: [0.0; 20], mask: [false; 5], steps: [0; 3] };
    Model { net, epoch: 0 }
}

fn stream() -> Vec<u8> {
    let net = Net { weight: [0.25; 20], mask: [true, false, true, true, false], steps: [1, 2, 3] };
    let header = Header { step: 300, sequence: 7, iteration: 70_000, score: Some(0.5), ..Header::default() };
    let mut record = RunRecord::new();
    (record.engine.epoch, record.engine.iteration) = (3, 70_000);
    let contents = Contents { header, record: Some(&record), ..Contents::new(0) };
    encode(&contents, &mut Model { net, epoch: 9 })
}

type Loaded = (Result<Info, DecodeError<Infallible>>, Model, u32);

fn load_from_memory(bytes: &[u8]) -> Loaded {
    let (mut model, mut record) = (model(), RunRecord::new());
    let result = checkpoint::load(bytes, &mut model, Some(&mut record));
    (result, model, record.engine.iteration)
}

fn load_from_reader(bytes: &[u8]) -> Loaded {
    let (mut model, mut record, mut scratch) = (model(), RunRecord::new(), [0; 64]);
    let mut loader = Loader::new(&mut model, &mut scratch);
    let result = loader.verify::<Crc32, _>(&mut &bytes[..], Some(&mut record)).and_then(|_| {
        loader.check_complete()?;
        loader.load::<Crc32, _>(&mut &bytes[..])
    });
    (result, model, record.engine.iteration)
}

/// Loads the same bytes in both ways, and returns whether they are a valid checkpoint.
fn compare(bytes: &[u8], change: &str) -> bool {
    let (from_memory, from_reader) = (load_from_memory(bytes), load_from_reader(bytes));
    assert_eq!(from_memory.0, from_reader.0, "{change}");
    assert_eq!(from_memory.1, from_reader.1, "{change}");
    let is_valid = from_memory.0.is_ok();
    assert!(is_valid || from_memory.1 == model(), "{change}: an invalid stream has changed the model");
    assert!(!is_valid || from_memory.2 == from_reader.2, "{change}");
    is_valid
}

#[test]
fn an_intact_stream_is_loaded() {
    let bytes = stream();
    assert!(compare(&bytes, "no change"));
    let (result, model, iteration) = load_from_memory(&bytes);
    let info = result.unwrap();
    assert_eq!((info.len as usize, info.step, iteration), (bytes.len(), 300, 70_000));
    assert_eq!((model.net.weight[19], model.net.mask[3], model.net.steps[2], model.epoch), (0.25, true, 3, 9));
    assert!(compare(&[&bytes[..], &[1, 2, 3]].concat(), "bytes after the stream"));
}

#[test]
fn a_damaged_stream_has_the_error_of_a_reader() {
    let bytes = stream();
    for len in 0..bytes.len() {
        assert!(!compare(&bytes[..len], &format!("cut to {len} bytes")));
    }
    let mut valid = 0;
    for index in 0..bytes.len() {
        for mask in [1, 2, 3, 0x40, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[index] ^= mask;
            assert!(!compare(&changed, &format!("byte {index} ^ {mask:#x}")));
            // A stream of another writer, which is complete and has the right checksum.
            let is_valid = compare(&with_correct_crc(changed), &format!("byte {index} ^ {mask:#x}, right checksum"));
            valid += usize::from(is_valid);
        }
    }
    // For example, other weights are valid, and a mask of 2 is not.
    assert!(valid > 400, "{valid}");
}
