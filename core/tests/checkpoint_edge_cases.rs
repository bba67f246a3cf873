//! Edge cases of the checkpoint format: the largest numbers, the longest values and names, the maximum number of
//! tensors, and the size of each write.

#[macro_use]
#[path = "common/named_errors.rs"]
mod named_errors;
#[path = "common/record_fixtures.rs"]
mod record_fixtures;
#[path = "common/streams.rs"]
mod streams;

use record_fixtures::copy_record;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::convert::Infallible;
use streams::{encode, with_correct_crc};
use training_monitor::checkpoint::{
    self, Contents, DecodeError, EncodeError, Header, Inspect, Loader, MAX_ITEMS, Named, Objects, ReadOnly, StateDict,
    TensorVisitor,
};
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor::engine::Phase;
use training_monitor::event::Never;
use training_monitor::run_record::{HandlerKind, RestoreError, RunRecord};
use training_monitor::{Engine, StopReason, Timer};

/// The contents of a checkpoint without score and run record.
const CONTENTS: Contents<'static> = Contents::new(0);

/// Objects that consist of one value, named `m`.
#[derive(Objects)]
struct Value<S: Serialize + serde::de::DeserializeOwned> {
    #[objects(value, rename = "m")]
    value: S,
}

fn value<S: Serialize + serde::de::DeserializeOwned>(value: S) -> Value<S> {
    Value { value }
}

/// Returns the bytes of a checkpoint with one value, named `m`. Its length field is set to `len`, which may differ from
/// the number of `bytes_of_value`.
fn with_value(len: u8, bytes_of_value: &[u8]) -> Vec<u8> {
    let bytes = encode(&CONTENTS, &mut value(7_u8));
    // The checkpoint ends with the length of the value (1 byte), the value (1 byte) and the checksum (4 bytes).
    let head = &bytes[..bytes.len() - 6];
    with_correct_crc([head, &[len], bytes_of_value, &[0; 4]].concat())
}

fn load<T: Objects + ?Sized>(bytes: &[u8], objects: &mut T) -> Result<checkpoint::Info, DecodeError<Infallible>> {
    checkpoint::load(bytes, objects, None)
}

#[test]
fn header_numbers_use_all_32_bits() {
    let mut values = [1.0_f32; 3];
    let header = Header { step: u32::MAX, sequence: 1 << 28, iteration: (1 << 28) - 1, ..Header::default() };
    let bytes = encode(&Contents { header, ..CONTENTS }, &mut Named::new("m", &mut values));
    let info = load(&bytes, &mut Named::new("m", &mut [0.0_f32; 3])).unwrap();
    assert_eq!((info.step, info.sequence, info.iteration), (u32::MAX, 1 << 28, (1 << 28) - 1));
    // The step follows the magic number, the version and the length. It is encoded as a varint (variable-length integer) of five
    // bytes. The fifth byte holds the highest four bits.
    assert_eq!(bytes[9..14], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    for fifth in [0x10, 0x1F, 0x7F, 0x80, 0x8F, 0xFF] {
        let mut damaged = bytes.clone();
        damaged[13] = fifth;
        let result = load(&with_correct_crc(damaged), &mut Named::new("m", &mut values));
        assert_eq!(result.unwrap_err(), DecodeError::Malformed, "{fifth:x}");
    }
}

#[test]
fn the_length_of_a_value_must_match_its_bytes() {
    let mut flag = value(true);
    for (len, bytes, expected) in [
        (1, &[0][..], Ok(false)),
        (1, &[1], Ok(true)),
        // A `bool` is encoded as 0 or 1. The byte 2 is malformed.
        (1, &[2], Err(DecodeError::Malformed)),
        // The length field is larger or smaller than the encoded value, so decoding fails.
        (2, &[1, 0], Err(DecodeError::Malformed)),
        (0, &[1], Err(DecodeError::Malformed)),
    ] {
        assert_eq!(load(&with_value(len, bytes), &mut flag).map(|_| flag.value), expected, "{len} {bytes:?}");
    }
    // The decoder limits the strings of one value to 64 bytes in total. Strings of up to 16 bytes and longer strings
    // are decoded by different code.
    for len in [0_usize, 15, 16, 17, 63, 64] {
        let mut text = value("t".repeat(len));
        let mut loaded = value(String::new());
        let result = load(&encode(&CONTENTS, &mut text), &mut loaded).map(|_| loaded.value);
        assert_eq!(result, Ok(text.value));
    }
    // With the feature `alloc`, a string has no limit. Without it, the encoder refuses a longer string, so the test
    // replaces the value in the stream.
    let bytes = with_value(66, &[&[65][..], &[b't'; 65]].concat());
    let mut text = value("old".to_string());
    if cfg!(feature = "alloc") {
        load(&bytes, &mut text).unwrap();
        assert_eq!(text.value, "t".repeat(65));
    } else {
        assert_named_error!(load(&bytes, &mut text), DecodeError::ValueTooLarge, "m");
        assert_eq!(text.value, "old");
    }
}

thread_local! {
    static DESERIALIZED: Cell<u32> = const { Cell::new(0) };
}

/// A byte that counts how often it is deserialized.
#[derive(Serialize, Clone, Copy)]
struct Counted(u8);
impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DESERIALIZED.set(DESERIALIZED.get() + 1);
        u8::deserialize(deserializer).map(Counted)
    }
}

#[test]
fn deserialization_of_a_value_stops_at_the_end_of_the_stream() {
    // The value claims to be a list of 65535 elements, but only six more bytes follow.
    let bytes = with_value(5, &[0xFF, 0xFF, 0x03, 1, 1]);
    DESERIALIZED.set(0);
    let result = load(&bytes, &mut value(Vec::<Counted>::new()));
    assert_eq!(result.unwrap_err(), DecodeError::Malformed);
    assert!(DESERIALIZED.get() <= 8, "{}", DESERIALIZED.get());
}

/// A state dict with the given number of tensors. The name of each tensor is its index.
struct Many(usize);
impl StateDict for Many {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        (0..self.0).try_for_each(|index| visitor.tensor(&index.to_string(), &mut [index as f32]))
    }
}

#[test]
fn a_checkpoint_has_at_most_max_items() {
    for count in [1, MAX_ITEMS - 1, MAX_ITEMS] {
        let bytes = encode(&CONTENTS, &mut Named::new("m", Many(count)));
        load(&bytes, &mut Named::new("m", Many(count))).unwrap();
        let result = load(&bytes, &mut Named::new("m", Many(count + 1)));
        if count == MAX_ITEMS {
            assert_eq!(result.unwrap_err(), DecodeError::TooManyItems);
        } else {
            assert_named_error!(result, DecodeError::Missing, count.to_string());
        }
    }
    let measured = |count| checkpoint::measure(&CONTENTS, &mut Named::new("m", Many(count)));
    assert_eq!(measured(MAX_ITEMS + 1), Err(EncodeError::TooManyItems));
    assert_eq!(measured(MAX_ITEMS + 2), Err(EncodeError::TooManyItems));
}

/// The encoder rejects the name of the first tensor. The listing must then stop before the second tensor.
#[test]
fn an_invalid_tensor_ends_the_visit() {
    /// A state dict with two tensors. The text is the name of the first tensor. The cell counts how often the second
    /// tensor is listed.
    struct Counting<'a>(&'a Cell<u32>, &'a str);
    impl StateDict for Counting<'_> {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.tensor(self.1, &mut [1.0])?;
            self.0.set(self.0.get() + 1);
            visitor.tensor("b", &mut [1.0])
        }
    }
    let visits = Cell::new(0);
    let measure = |name| checkpoint::measure(&CONTENTS, &mut Named::new("m", Counting(&visits, name)));
    assert_named_error!(measure("a/b"), EncodeError::Name, "a/b");
    assert_eq!(visits.get(), 0);
    assert!(measure("a").is_ok());
    assert!(visits.get() > 0);
}

/// Object names can become parts of file names. Therefore `/`, `\` and all control characters are invalid. An error
/// shows a control character below U+0080 as a question mark.
#[test]
fn names_may_contain_all_characters_except_separators_and_control_characters() {
    let measured = |name: &str| checkpoint::measure(&CONTENTS, &mut Named::new(name, [1.0_f32]));
    for (name, shown) in [
        ("", ""),
        ("\u{1f}", "?"),
        ("\0", "?"),
        ("a/b", "a/b"),
        ("a\\b", "a\\b"),
        ("a\u{7f}", "a?"),
        (&"n".repeat(256), &"n".repeat(96)),
    ] {
        assert_named_error!(measured(name), EncodeError::Name, shown);
    }
    // The control characters U+0080 to U+009F take two bytes.
    for name in ["\u{80}a", "a\u{9f}"] {
        assert!(matches!(measured(name), Err(EncodeError::Name { .. })), "{name:?}");
    }
    // U+00A0 is the first character after the control characters. Its encoding begins with the same byte as theirs.
    for name in [" ", "!", "~", "\u{a0}", "é", "ÂŸ", &"n".repeat(255)] {
        assert!(measured(name).is_ok(), "{name:?}");
    }
}

/// A writer that discards all bytes and records the size of each write.
#[derive(Default)]
struct WriteSizes(Vec<usize>);
impl ErrorType for WriteSizes {
    type Error = Infallible;
}
impl Write for WriteSizes {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.push(bytes.len());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The encoder passes the elements of a large tensor directly to the writer. It does not copy them to its small buffer
/// first.
#[test]
#[cfg_attr(feature = "small", ignore = "the feature passes all bytes through the buffer")]
fn a_large_tensor_is_written_in_large_blocks() {
    let mut writer = WriteSizes::default();
    let mut model = Named::new("m", ReadOnly { shape: &[10_000], elements: &[0.5_f32; 10_000] });
    checkpoint::encode(&mut writer, &CONTENTS, &mut model).unwrap();
    // 128 bytes are not in blocks of 8 KiB: the start of the stream, and the end of the tensor with the checksum.
    let large = writer.0.iter().filter(|size| **size == 8192).count();
    assert_eq!((large, writer.0.len() < large + 4), (4, true), "{:?}", writer.0);
}

#[test]
fn an_error_of_flush_is_an_error_of_encode() {
    #[derive(Debug, PartialEq)]
    struct Unflushed;
    impl std::fmt::Display for Unflushed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("not flushed")
        }
    }
    impl std::error::Error for Unflushed {}
    impl training_monitor::embedded_io::Error for Unflushed {
        fn kind(&self) -> training_monitor::embedded_io::ErrorKind {
            training_monitor::embedded_io::ErrorKind::Other
        }
    }
    struct FailingFlush;
    impl ErrorType for FailingFlush {
        type Error = Unflushed;
    }
    impl Write for FailingFlush {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Unflushed> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<(), Unflushed> {
            Err(Unflushed)
        }
    }
    let result = checkpoint::encode(&mut FailingFlush, &CONTENTS, &mut Named::new("m", [1.0_f32]));
    assert_eq!(result.unwrap_err(), EncodeError::Io(Unflushed));
}

#[test]
fn references_to_objects_can_be_saved_and_loaded() {
    let mut values = [1.0_f32, 2.0];
    let mut model = Named::new("m", &mut values);
    let bytes = encode(&CONTENTS, &mut &mut model);
    let mut loaded = Named::new("m", [0.0_f32; 2]);
    load(&bytes, &mut &mut loaded).unwrap();
    assert_eq!(loaded.object, [1.0, 2.0]);
}

#[test]
fn inspect_verifies_the_stream_even_if_the_visitor_ignores_everything() {
    struct Ignore;
    impl Inspect for Ignore {}
    let bytes = encode(&Contents::new(9), &mut Named::new("m", [1.0_f32]));
    let info = checkpoint::inspect(&mut &bytes[..], &mut [0; 8], &mut Ignore).unwrap();
    assert_eq!((info.step, info.len as usize, info.has_run), (9, bytes.len(), false));
    let mut damaged = bytes.clone();
    damaged[bytes.len() - 6] ^= 1;
    assert!(checkpoint::inspect(&mut &damaged[..], &mut [0; 8], &mut Ignore).is_err());
    // `inspect` cannot read into an empty scratch buffer, so it returns an error.
    assert!(checkpoint::inspect(&mut &bytes[..], &mut [], &mut Ignore).is_err());
    let mut scratch = [0; 64];
    let mut model = Named::new("m", [0.0_f32]);
    let mut loader = Loader::new(&mut model, &mut scratch);
    assert_named_error!(loader.check_complete::<()>(), DecodeError::Missing, "data");
}

#[test]
fn a_run_record_is_loaded_unchanged() {
    let reasons = [
        None,
        Some(StopReason::EarlyStopping),
        Some(StopReason::NonFinite),
        Some(StopReason::SaveFailed),
        Some(StopReason::StepFailed),
        Some(StopReason::User(0)),
        Some(StopReason::User(255)),
        Some(StopReason::TimeLimit),
        Some(StopReason::TargetReached),
        Some(StopReason::Diverged),
        Some(StopReason::Interrupted),
        Some(StopReason::Spike),
    ];
    for stop in reasons {
        for max_epochs in [None, Some(0), Some(u32::MAX)] {
            let mut record = RunRecord::new();
            record.engine.phase = Phase::EpochCompleted;
            record.engine.epoch = 3;
            (record.engine.iteration, record.engine.offset, record.engine.data_offset) = (70_000, 9, u32::MAX);
            (record.engine.max_epochs, record.engine.stop, record.engine.stop_epoch) =
                (max_epochs, stop, stop.is_some());
            let contents = Contents { record: Some(&record), ..CONTENTS };
            let bytes = encode(&contents, &mut Named::new("m", [1.0_f32]));
            let mut loaded = RunRecord::new();
            let info = checkpoint::load(&bytes, &mut Named::new("m", [0.0_f32]), Some(&mut loaded)).unwrap();
            assert!(info.has_run);
            assert_eq!(loaded, record);
        }
    }
}

fn timer() -> impl training_monitor::Handler<(), u32> {
    Timer::new(0).attach(|| 0).start(Never).pause(Never)
}

/// A run record (saved state of engine and handlers) has at most 32 handler states. It stores the length of each state
/// as one byte. A length of 128 or more is invalid.
#[test]
fn a_run_record_with_too_many_or_too_long_states_is_malformed() {
    let record = RunRecord::new();
    let contents = Contents { record: Some(&record), ..CONTENTS };
    let stream = encode(&contents, &mut Named::new("m", [1.0_f32]));
    // The checkpoint contains, in this order: the number of handler states (0), the number of objects (1), the length
    // of the object name (1), and the object name `m`.
    let position = stream.iter().rposition(|byte| *byte == b'm').unwrap() - 3;
    assert_eq!(stream[position..position + 4], [0, 1, 1, b'm']);
    let inspect = |states: &[u8]| {
        let bytes = with_correct_crc([&stream[..position], states, &stream[position + 1..]].concat());
        checkpoint::inspect(&mut &bytes[..], &mut [0; 64], &mut ()).map(|info| info.has_run)
    };
    // The tensor data must start at a multiple of four. The test replaces one byte by 4 n + 1 bytes, so the data moves
    // by 4 n bytes.
    let one = |len: u8, bytes: usize| [&[1, 200, 0, 0, len][..], &vec![0; bytes]].concat();
    assert_eq!(inspect(&[0]), Ok(true));
    assert_eq!(inspect(&one(124, 124)), Ok(true));
    for (len, bytes) in [(128, 128), (129, 128), (255, 256)] {
        assert_eq!(inspect(&one(len, bytes)), Err(DecodeError::Malformed), "{len}");
    }
    let two = [&[2, 200, 0, 0, 127][..], &[0; 127], &[201, 0, 0, 1, 0]].concat();
    assert_eq!((two.len() % 4, inspect(&two)), (1, Ok(true)));
    let many = |count: u8| [&[count][..], &[200, 0, 0, 0].repeat(count.into())].concat();
    assert_eq!(inspect(&many(32)), Ok(true));
    for count in [33, 64, 127, 128, 254] {
        assert_eq!(inspect(&many(count)), Err(DecodeError::Malformed), "{count}");
    }
}

/// The state of a timer contains a 64-bit total time and a 32-bit step count, both as varints (variable-length
/// integers). Encoded numbers with more bits are rejected.
#[test]
fn a_handler_state_is_decoded_to_the_last_bit_of_its_numbers() {
    let record = Engine::<u32>::new(1).record::<(), _>(&mut timer()).unwrap();
    let contents = Contents { record: Some(&record), ..CONTENTS };
    let stream = encode(&contents, &mut Named::new("m", [1.0_f32]));
    let (kind, tag, state) = record.handlers().next().unwrap();
    let state = [&[kind.code()][..], &tag.to_le_bytes(), &[state.len() as u8], state].concat();
    let position = stream.windows(state.len()).position(|window| window == state).unwrap();
    let rest = &stream[position + state.len()..];
    let restore = |state: &[u8]| {
        let bytes = [&stream[..position], &[2, 0, 0, state.len() as u8], state, rest].concat();
        /// A visitor that keeps the run record.
        struct Run(Option<RunRecord>);
        impl Inspect for Run {
            fn run(&mut self, record: &RunRecord<[u8]>) {
                self.0 = Some(copy_record(record));
            }
        }
        let mut run = Run(None);
        // The test needs only the run record, which `inspect` decodes first. The changed state can move the tensor data
        // to an invalid position, so a later error is ignored.
        let _ = checkpoint::inspect(&mut &with_correct_crc(bytes)[..], &mut [0; 64], &mut run);
        Engine::<u32>::new(1).restore::<(), _>(&run.0.unwrap(), &mut timer())
    };
    let long = |last: u8| [&[0xFF; 9][..], &[last]].concat();
    let number = |last: u8| [&[0xFF; 4][..], &[last]].concat();
    let malformed = Err(RestoreError::Malformed { kind: HandlerKind::TIMER });
    for (last, expected) in [(0x00, Ok(())), (0x01, Ok(())), (0x02, malformed), (0x7F, malformed), (0x81, malformed)] {
        assert_eq!(restore(&[long(last), vec![0, 0]].concat()), expected, "{last:x}");
    }
    for (last, expected) in [(0x00, Ok(())), (0x0F, Ok(())), (0x10, malformed), (0x8F, malformed)] {
        assert_eq!(restore(&[&[0][..], &number(last), &[0]].concat()), expected, "{last:x}");
    }
    for (flag, expected) in [(0, Ok(())), (1, Ok(())), (2, malformed)] {
        assert_eq!(restore(&[0, 0, flag]), expected, "{flag}");
    }
}
