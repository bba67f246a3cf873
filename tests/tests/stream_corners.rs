//! The checkpoint's stream at its limits: how it is written, what is refused at the last byte, and what is handed out.

use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::convert::Infallible;
use training_monitor::checkpoint::{
    self, Contents, Crc32, DecodeError, EncodeError, Header, Inspect, Loader, MAX_ITEMS, Objects, One, StateDict,
    Visit, VisitMut, VisitTensors, VisitTensorsMut,
};
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor::engine::After;
use training_monitor::record::{Record, RestoreError};
use training_monitor::{Engine, StopReason, Timer, event::Never};

fn contents(header: Header<'_>) -> Contents<'_> {
    Contents { header, record: None, only: None, allow_non_finite: false }
}

fn encode<T: Objects + ?Sized>(contents: &Contents<'_>, objects: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    checkpoint::encode::<Crc32, _, _>(&mut bytes, contents, objects).unwrap();
    bytes
}

/// The same stream with other bytes and the checksum that belongs to them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A checkpoint of one whole value, `m`.
struct Whole<S>(S);
impl<S: Serialize + serde::de::DeserializeOwned> Objects for Whole<S> {
    fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
        v.value("m", &self.0)
    }
    fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.value("m", &mut self.0)
    }
}

/// A stream of an object `m` with the bytes of one value, which claims to be of `len`.
fn with_value(len: u8, value: &[u8]) -> Vec<u8> {
    let bytes = encode(&contents(Header::default()), &Whole(7_u8));
    // What follows: its length, itself, the checksum.
    let head = &bytes[..bytes.len() - 6];
    sealed([head, &[len], value, &[0; 4]].concat())
}

fn load<T: Objects + ?Sized>(bytes: &[u8], objects: &mut T) -> Result<checkpoint::Info, DecodeError<Infallible>> {
    checkpoint::load::<Crc32, _>(bytes, objects, None)
}

#[test]
fn numbers_have_all_their_bits() {
    let mut values = [1.0_f32; 3];
    let header = Header { step: u32::MAX, sequence: 1 << 28, iteration: (1 << 28) - 1, ..Header::default() };
    let bytes = encode(&contents(header), &One("m", &mut values));
    let info = load(&bytes, &mut One("m", &mut [0.0_f32; 3])).unwrap();
    assert_eq!((info.step, info.sequence, info.iteration), (u32::MAX, 1 << 28, (1 << 28) - 1));
    // The fifth byte of the step, behind magic and version, has four bits.
    assert_eq!(bytes[5..10], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    for fifth in [0x10, 0x1F, 0x7F, 0x80, 0x8F, 0xFF] {
        let mut wrong = bytes.clone();
        wrong[9] = fifth;
        assert_eq!(load(&sealed(wrong), &mut One("m", &mut values)).unwrap_err(), DecodeError::Malformed, "{fifth:x}");
    }
}

#[test]
fn a_value_is_its_bytes_and_no_others() {
    let mut value = Whole(true);
    for (len, bytes, expected) in [
        (1, &[0][..], Ok(false)),
        (1, &[1], Ok(true)),
        // Neither of the two.
        (1, &[2], Err(DecodeError::Malformed)),
        // More and fewer than were announced.
        (2, &[1, 0], Err(DecodeError::Malformed)),
        (0, &[1], Err(DecodeError::Malformed)),
    ] {
        assert_eq!(load(&with_value(len, bytes), &mut value).map(|_| value.0), expected, "{len} {bytes:?}");
    }
    // Strings are 64 bytes at most together, and longer numbers of bytes than a number's own 16 are such a string.
    for len in [0_usize, 15, 16, 17, 63, 64, 65] {
        let text = Whole("t".repeat(len));
        let mut read = Whole(String::new());
        let result = load(&encode(&contents(Header::default()), &text), &mut read).map(|_| read.0);
        assert_eq!(result, if len <= 64 { Ok(text.0) } else { Err(DecodeError::ValueTooLarge) });
    }
}

thread_local! {
    static READ: Cell<u32> = const { Cell::new(0) };
}

/// Counts how often one is read.
#[derive(Serialize, Clone, Copy)]
struct Counted(u8);
impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        READ.set(READ.get() + 1);
        u8::deserialize(from).map(Counted)
    }
}

/// A value that claims to be longer than the stream ends with the stream.
#[test]
fn a_value_ends_with_the_stream() {
    // 65535 elements follow, says the value, and there are six bytes to the end.
    let bytes = with_value(5, &[0xFF, 0xFF, 0x03, 1, 1]);
    READ.set(0);
    let result = load(&bytes, &mut Whole(Vec::<Counted>::new()));
    assert_eq!(result.unwrap_err(), DecodeError::Truncated);
    assert!(READ.get() <= 8, "{}", READ.get());
}

/// As many tensors as are asked for.
struct Many(usize);
impl StateDict for Many {
    fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
        (0..self.0).try_for_each(|index| v.tensor(&index.to_string(), &[1], &[index as f32]))
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        (0..self.0).try_for_each(|index| v.tensor(&index.to_string(), &mut [0.0]))
    }
}

#[test]
fn a_checkpoint_has_so_many_items_at_most() {
    for count in [1, MAX_ITEMS - 1, MAX_ITEMS] {
        let bytes = encode(&contents(Header::default()), &One("m", Many(count)));
        load(&bytes, &mut One("m", Many(count))).unwrap();
        let missing = load(&bytes, &mut One("m", Many(count + 1)));
        assert_eq!(missing.unwrap_err(), DecodeError::Missing { item: count as u32 });
    }
    let measured = |count| checkpoint::measure::<(), _>(&contents(Header::default()), &One("m", Many(count)));
    assert_eq!(measured(MAX_ITEMS + 1), Err(EncodeError::TooManyItems));
    assert_eq!(measured(MAX_ITEMS + 2), Err(EncodeError::TooManyItems));
}

/// The second of two tensors is not asked for once the first was refused.
#[test]
fn a_refused_object_ends_the_visit() {
    struct Asked<'a>(&'a Cell<u32>, &'a str);
    impl StateDict for Asked<'_> {
        fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
            v.tensor(self.1, &[1], &[1.0])?;
            self.0.set(self.0.get() + 1);
            v.tensor("b", &[1], &[1.0])
        }
        fn tensors_mut<V: VisitTensorsMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
    }
    let asked = Cell::new(0);
    let measured = |name| checkpoint::measure::<(), _>(&contents(Header::default()), &One("m", Asked(&asked, name)));
    assert_eq!(measured("a/b"), Err(EncodeError::Name));
    assert_eq!(asked.get(), 0);
    assert!(measured("a").is_ok());
    assert!(asked.get() > 0);
}

/// A name has no byte that a file cannot bear: no separator, no control character; a space is a name.
#[test]
fn names_bear_everything_from_the_space_on() {
    let measured = |name: &str| checkpoint::measure::<(), _>(&contents(Header::default()), &One(name, [1.0_f32]));
    for name in ["", "\u{1f}", "\0", "a/b", "a\\b", &"n".repeat(33)] {
        assert_eq!(measured(name), Err(EncodeError::Name), "{name:?}");
    }
    for name in [" ", "!", "\u{7f}", "é", &"n".repeat(32)] {
        assert!(measured(name).is_ok(), "{name:?}");
    }
}

/// Takes everything; keeps how many bytes each write had.
#[derive(Default)]
struct Sizes(Vec<usize>);
impl ErrorType for Sizes {
    type Error = Infallible;
}
impl Write for Sizes {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.push(bytes.len());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A tensor goes from where it is to the writer, in large blocks.
#[test]
fn a_large_tensor_is_written_in_large_blocks() {
    let mut writer = Sizes::default();
    let weights = vec![0.5_f32; 10_000];
    checkpoint::encode::<Crc32, _, _>(&mut writer, &contents(Header::default()), &One("m", Plain(&weights))).unwrap();
    assert!(writer.0.len() < 12, "{:?}", writer.0);
    assert!(writer.0.contains(&8192), "{:?}", writer.0);
}

struct Plain<'a>(&'a [f32]);
impl StateDict for Plain<'_> {
    fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
        v.tensor("data", &[self.0.len() as u32], self.0)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
}

/// A writer whose flush fails has not written a checkpoint.
#[test]
fn a_failed_flush_is_a_failed_save() {
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
    struct Stuck;
    impl ErrorType for Stuck {
        type Error = Unflushed;
    }
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Unflushed> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<(), Unflushed> {
            Err(Unflushed)
        }
    }
    let result = checkpoint::encode::<Crc32, _, _>(&mut Stuck, &contents(Header::default()), &One("m", [1.0_f32]));
    assert_eq!(result.unwrap_err(), EncodeError::Io(Unflushed));
}

/// Objects can be lent, both ways.
#[test]
fn lent_objects_are_objects() {
    let mut values = [1.0_f32, 2.0];
    let mut model = One("m", &mut values);
    let bytes = encode(&contents(Header::default()), &&mut model);
    let mut read = One("m", [0.0_f32; 2]);
    load(&bytes, &mut &mut read).unwrap();
    assert_eq!(read.1, [1.0, 2.0]);
}

/// Who looks at nothing sees a stream to its end all the same.
#[test]
fn to_inspect_is_to_check() {
    struct Nothing;
    impl Inspect for Nothing {}
    let bytes = encode(&contents(Header { step: 9, ..Header::default() }), &One("m", [1.0_f32]));
    let info = checkpoint::inspect::<Crc32, _, _>(&mut &bytes[..], &mut [0; 8], &mut Nothing).unwrap();
    assert_eq!((info.step, info.len as usize, info.run), (9, bytes.len(), false));
    let mut damaged = bytes.clone();
    damaged[bytes.len() - 6] ^= 1;
    assert!(checkpoint::inspect::<Crc32, _, _>(&mut &damaged[..], &mut [0; 8], &mut Nothing).is_err());
    // Without room to read into there is nothing to be read.
    assert!(checkpoint::inspect::<Crc32, _, _>(&mut &bytes[..], &mut [], &mut Nothing).is_err());
    let mut loader_room = [0; 64];
    let mut one = One("m", [0.0_f32]);
    let mut loader = Loader::new(&mut one, &mut loader_room);
    assert_eq!(loader.verified::<()>(), Err(DecodeError::Missing { item: 0 }));
}

/// Every reason and every number of a run comes back from the stream as it went there.
#[test]
fn a_run_comes_back_as_it_was() {
    let reasons = [
        None,
        Some(StopReason::EarlyStopping),
        Some(StopReason::NonFinite),
        Some(StopReason::SaveFailed),
        Some(StopReason::StepFailed),
        Some(StopReason::User(0)),
        Some(StopReason::User(255)),
    ];
    for stop in reasons {
        for max_epochs in [None, Some(0), Some(u32::MAX)] {
            let mut record = Record::new();
            record.engine.after = After::EpochCompleted;
            record.engine.epoch = 3;
            (record.engine.iteration, record.engine.offset, record.engine.drawn) = (70_000, 9, u32::MAX);
            (record.engine.max_epochs, record.engine.stop, record.engine.stop_epoch) =
                (max_epochs, stop, stop.is_some());
            let contents = Contents { record: Some(&record), ..contents(Header::default()) };
            let bytes = encode(&contents, &One("m", [1.0_f32]));
            let mut read = Record::new();
            let info = checkpoint::load::<Crc32, _>(&bytes, &mut One("m", [0.0_f32]), Some(&mut read)).unwrap();
            assert!(info.run);
            assert_eq!(read, record);
        }
    }
}

fn timer() -> impl training_monitor::Handler<(), u32> {
    Timer::new(0).attach(|| 0, Never, Never, Never, Never)
}

/// Lengths and counts in a run are a byte each; from 128 on they are not ones of ours.
#[test]
fn a_run_with_too_many_states_is_malformed() {
    let record = Record::new();
    let contents = Contents { record: Some(&record), ..contents(Header::default()) };
    let whole = encode(&contents, &One("m", [1.0_f32]));
    // Behind the header's eight bytes and `set`: the flag, ten bytes of the engine, the count of states, here none.
    let at = whole.iter().rposition(|byte| *byte == b'm').unwrap() - 3;
    assert_eq!(whole[at..at + 4], [0, 1, 1, b'm']);
    let inspected = |states: &[u8]| {
        let bytes = sealed([&whole[..at], states, &whole[at + 1..]].concat());
        checkpoint::inspect::<Crc32, _, _>(&mut &bytes[..], &mut [0; 64], &mut ()).map(|info| info.run)
    };
    // The payload has to begin at a multiple of four: states of 4 n + 1 bytes, with their count, leave it there.
    let one = |len: u8, bytes: usize| [&[1, 200, len][..], &vec![0; bytes]].concat();
    assert_eq!(inspected(&[0]), Ok(true));
    assert_eq!(inspected(&one(126, 126)), Ok(true));
    for (len, bytes) in [(128, 130), (129, 130), (255, 254)] {
        assert_eq!(inspected(&one(len, bytes)), Err(DecodeError::Malformed), "{len}");
    }
    let two = [&[2, 200, 127][..], &[0; 127], &[201, 1, 0]].concat();
    assert_eq!((two.len() % 4, inspected(&two)), (1, Ok(true)));
    let many = |count: u8| [&[count][..], &[200, 0].repeat(count.into())].concat();
    assert_eq!(inspected(&many(126)), Ok(true));
    for count in [128, 130, 254] {
        assert_eq!(inspected(&many(count)), Err(DecodeError::Malformed), "{count}");
    }
}

/// A timer's total has 64 bits in a record: ten bytes, of which the last has one bit; its steps have 32.
#[test]
fn a_record_is_read_to_its_last_bit() {
    let record = Engine::<u32>::new(1).record::<(), _>(&mut timer()).unwrap();
    let contents = Contents { record: Some(&record), ..contents(Header::default()) };
    let whole = encode(&contents, &One("m", [1.0_f32]));
    let state: Vec<u8> =
        record.handlers().flat_map(|(kind, state)| [&[kind, state.len() as u8][..], state].concat()).collect();
    let at = whole.windows(state.len()).position(|window| window == state).unwrap();
    let restore = |state: &[u8]| {
        let bytes = [
            &whole[..at],
            &[2, state.len() as u8],
            state,
            &whole[at + 2 + record.handlers().next().unwrap().1.len()..],
        ]
        .concat();
        // The payload's place has moved; only the run is looked at, and the stream's own checksum.
        struct Run(Option<Record>);
        impl Inspect for Run {
            fn run(&mut self, record: &Record) {
                self.0 = Some(record.clone());
            }
        }
        let mut seen = Run(None);
        let _ = checkpoint::inspect::<Crc32, _, _>(&mut &sealed(bytes)[..], &mut [0; 64], &mut seen);
        Engine::<u32>::new(1).restore::<(), _>(&seen.0.unwrap(), &mut timer())
    };
    let long = |last: u8| [&[0xFF; 9][..], &[last]].concat();
    let number = |last: u8| [&[0xFF; 4][..], &[last]].concat();
    let malformed = Err(RestoreError::Malformed { kind: 2 });
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
