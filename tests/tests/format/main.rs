//! Holds the encoder and the decoder to FORMAT.md: plain structures decoded by postcard alone, golden files that every
//! later version must read, and every way in which bytes can be bad.
//!
//! `GOLDEN=write cargo test -p training-monitor-tests --test format` writes the golden files anew; do that only for
//! a new version of the format.

mod model;
mod plain;

use model::*;
use training_monitor::checkpoint::{
    self, Contents, Crc32, DecodeError, EncodeError, Header, Info, Inspect, Loader, Objects, One, StateDict, Tensor,
    Visit, VisitMut, VisitTensors, VisitTensorsMut,
};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};
use training_monitor::event::{EpochCompleted, IterationCompleted, Never};
use training_monitor::store::{Store, ram::Ram};
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, TerminateOnNan, Timer};

fn contents(header: Header<'_>) -> Contents<'_> {
    Contents { header, record: None, only: None, allow_non_finite: false }
}

fn header() -> Header<'static> {
    Header { step: 300, sequence: 5, iteration: 70_000, score: Some(-0.25), score_name: Some("val_loss") }
}

fn encode<T: Objects + ?Sized>(contents: &Contents<'_>, objects: &T) -> Vec<u8> {
    let mut bytes = Bytes::default();
    let written = checkpoint::encode::<Crc32, _, _>(&mut bytes, contents, objects).unwrap();
    assert_eq!(bytes.bytes.len(), written.len as usize);
    assert_eq!(checkpoint::measure::<std::convert::Infallible, _>(contents, objects), Ok(written.len));
    bytes.bytes
}

/// A writer that remembers the size of each write.
#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    writes: Vec<usize>,
}
impl ErrorType for Bytes {
    type Error = ErrorKind;
}
impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.bytes.extend(bytes);
        self.writes.push(bytes.len());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// A checkpoint taken in a run with all four handlers.
fn from_a_run() -> Vec<u8> {
    let mut model = Model::new(2);
    let mut ticks = 0u64;
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, |_: &Model, s: &State<f32>| s.output),
        EarlyStopping::new(3).unwrap().attach(EpochCompleted, |s: &State<f32>| s.output.unwrap()),
        Timer::new(0).attach(
            move || {
                ticks += 100;
                ticks
            },
            training_monitor::event::Started,
            Never,
            Never,
            IterationCompleted,
        ),
        ModelCheckpoint::<2>::builder()
            .score_function(|s: &State<f32>| s.output.unwrap())
            .score_name("acc")
            .build()
            .unwrap()
            .attach(EpochCompleted, Ram::<3, 2048>::new())
            .unwrap(),
    );
    Engine::new(3).run(&mut model, 0..4, &mut handlers, |_, batch, s| (batch * s.epoch()) as f32).unwrap();
    let mut store = handlers.3.into_store();
    let mut bytes = vec![0; 2048];
    let read = store.open(3, 0).unwrap().read(&mut bytes).unwrap();
    bytes.truncate(read);
    bytes
}

#[test]
fn postcard_reads_the_documented_structures() {
    let model = Model::new(1);
    let bytes = encode(&contents(header()), &model);
    let plain: plain::Checkpoint = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(&plain.magic, b"TMCK");
    assert_eq!((plain.version, plain.step, plain.sequence, plain.iteration), (1, 300, 5, 70_000));
    assert_eq!((plain.score, plain.score_name.as_deref()), (Some(-0.25), Some("val_loss")));
    assert_eq!((plain.set.len(), plain.run), (0, None));
    assert_eq!(u32::from_le_bytes(plain.crc), crc32fast::hash(&bytes[..bytes.len() - 4]));
    let names: Vec<_> = plain.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["net", "schedule", "momentum", "seed"]);
    let plain::Content::StateDict(tensors) = &plain.objects[0].content else { panic!() };
    assert_eq!((tensors[0].name.as_str(), tensors[0].shape.as_slice()), ("weight", &[5, 3][..]));
    let floats: Vec<f32> = tensors[1].data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(floats, model.bias);
    let plain::Content::Value(schedule) = &plain.objects[1].content else { panic!() };
    assert_eq!(postcard::from_bytes::<Schedule>(schedule).unwrap(), model.schedule);
    let run = postcard::from_bytes::<plain::Checkpoint>(&from_a_run()).unwrap().run.unwrap();
    assert_eq!((run.after, run.epoch, run.iteration, run.offset, run.epoch_length), (5, 3, 12, 4, 4));
    let kinds: Vec<_> = run.handlers.iter().map(|handler| handler.kind).collect();
    assert_eq!(kinds, [4, 1, 2, 3]);
    // Counter 0, best 9; 12 steps, running; three calls, step 3 with score 9 pending.
    assert_eq!(run.handlers[1].state, [&[0, 1][..], &9.0f32.to_le_bytes()].concat());
    assert_eq!(run.handlers[2].state.split_last_chunk::<2>().unwrap().1, &[12, 1]);
    assert_eq!(run.handlers[3].state, [&[3, 1, 3, 1][..], &9.0f32.to_le_bytes()].concat());
}

#[test]
fn payloads_begin_at_multiples_of_four() {
    // Every phase, by names of every length; and payloads whose length takes one, two and three bytes.
    for len in [1usize, 31, 32, 5000] {
        for name in 1..=8 {
            let mut values = vec![1.5f32; len];
            let name = "n".repeat(name);
            let bytes = encode(&contents(Header::default()), &One(&name, values.as_mut_slice()));
            let payload = 1.5f32.to_le_bytes();
            let at = bytes.windows(4).position(|window| window == payload).unwrap();
            assert_eq!(at % 4, 0, "{len} elements, name {name}");
            let plain: plain::Checkpoint = postcard::from_bytes(&bytes).unwrap();
            let plain::Content::StateDict(tensors) = &plain.objects[0].content else { panic!() };
            assert!(tensors[0].pad.len() < 4 && tensors[0].pad.iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn what_was_saved_is_loaded_bit_for_bit() {
    let model = Model::new(3);
    let bytes = encode(&contents(header()), &model);
    let mut loaded = Model::blank();
    let info = checkpoint::load::<Crc32, _>(&bytes, &mut loaded, None).unwrap();
    assert_eq!(loaded, model);
    assert_eq!(loaded.momentum.map(f32::to_bits), model.momentum.map(f32::to_bits));
    assert_eq!((info.step, info.sequence, info.iteration, info.len as usize), (300, 5, 70_000, bytes.len()));
    // Only one object of several: the others are passed over.
    let mut momentum = [0.0f32; 7];
    checkpoint::load::<Crc32, _>(&bytes, &mut One("momentum", &mut momentum), None).unwrap();
    assert_eq!(momentum, model.momentum);
}

#[test]
fn no_write_is_smaller_than_the_buffer_but_the_last() {
    let mut writer = Bytes::default();
    checkpoint::encode::<Crc32, _, _>(&mut writer, &contents(header()), &Model::new(1)).unwrap();
    let (_, all_but_last) = writer.writes.split_last().unwrap();
    assert!(!all_but_last.is_empty());
    assert!(all_but_last.iter().all(|len| *len >= checkpoint::BUFFER), "{:?}", writer.writes);
}

#[test]
fn every_flipped_bit_and_every_cut_is_found_and_changes_nothing() {
    for bytes in [encode(&contents(header()), &Model::new(1)), from_a_run()] {
        let untouched = Model::blank();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut model = untouched.clone();
            assert!(checkpoint::load::<Crc32, _>(&bad, &mut model, None).is_err(), "bit {bit}");
            assert_eq!(model, untouched, "bit {bit}");
        }
        for len in 0..bytes.len() {
            let mut model = untouched.clone();
            let error = checkpoint::load::<Crc32, _>(&bytes[..len], &mut model, None).unwrap_err();
            assert_eq!(error, DecodeError::Truncated, "{len} bytes");
            assert_eq!(model, untouched);
        }
    }
}

/// Makes a bad stream good again as far as the checksum goes.
fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&crc);
    bytes
}

#[test]
fn foreign_newer_and_misfit_streams_have_their_own_errors() {
    let bytes = encode(&contents(header()), &Model::new(1));
    let load = |bytes: &[u8], model: &mut Model| {
        let before = model.clone();
        let error = checkpoint::load::<Crc32, _>(bytes, model, None).unwrap_err();
        assert_eq!(*model, before);
        error
    };
    assert_eq!(load(b"PK\x03\x04 a zip file", &mut Model::blank()), DecodeError::NotACheckpoint);
    let mut newer = bytes.clone();
    newer[4] = 2;
    assert_eq!(load(&with_crc(newer), &mut Model::blank()), DecodeError::Version { found: 2 });
    let mut longer = Model::blank();
    longer.bias.push(0.0);
    // "bias" is the third of the items in the order in which this model lends them: seed, schedule, bias.
    assert_eq!(load(&bytes, &mut longer), DecodeError::Length { item: 2, expected: 101, found: 100 });
    let mut other = [0.0f32; 3];
    let missing = checkpoint::load::<Crc32, _>(&bytes, &mut One("other", &mut other), None);
    assert_eq!(missing, Err(DecodeError::Missing { item: 0 }));
    // A tensor that is there twice, with a checksum that is right.
    let mut twice = Bytes::default();
    let pair = Twice(&mut [1.0; 3]);
    checkpoint::encode::<Crc32, _, _>(&mut twice, &contents(header()), &pair).unwrap();
    let mut one = [0.0f32; 3];
    let error = checkpoint::load::<Crc32, _>(&twice.bytes, &mut One("a", &mut one), None);
    assert_eq!((error, one), (Err(DecodeError::Malformed), [0.0; 3]));
}

struct Twice<'a>(&'a mut [f32; 3]);
impl Objects for Twice<'_> {
    fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("a", self.0)?;
        v.state_dict("a", self.0)
    }
    fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("a", self.0)
    }
}

#[test]
fn what_cannot_be_saved_is_refused_before_a_byte_is_written() {
    struct Named(&'static str, Vec<f32>, u32);
    impl StateDict for Named {
        fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
            (0..self.2).try_for_each(|_| v.tensor(self.0, &[self.1.len() as u32], &self.1))
        }
        fn tensors_mut<V: VisitTensorsMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
            v.tensor(self.0, &mut self.1)
        }
    }
    struct Nothing;
    impl Objects for Nothing {
        fn objects<V: Visit>(&self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
        fn objects_mut<V: VisitMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
    }
    fn refused<T: Objects>(objects: &T) -> EncodeError<ErrorKind> {
        checkpoint::measure::<ErrorKind, _>(&contents(header()), objects).unwrap_err()
    }
    let fine = || Named("w", vec![1.0], 1);
    assert_eq!(refused(&Nothing), EncodeError::NoObjects);
    for name in ["a/b", "a\\b", "", "a\nb", "abcdefghijklmnopqrstuvwxyz_0123456789"] {
        assert_eq!(refused(&One(name, fine())), EncodeError::Name, "{name:?}");
        let tensor: &'static str = name;
        assert_eq!(refused(&One("m", Named(tensor, vec![1.0], 1))), EncodeError::Name, "{name:?}");
    }
    assert_eq!(refused(&One("m", Named("w", vec![1.0], 257))), EncodeError::TooManyItems);
    struct Shaped(&'static [u32]);
    impl StateDict for Shaped {
        fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
            v.tensor("w", self.0, &[1.0; 6])
        }
        fn tensors_mut<V: VisitTensorsMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
            Ok(())
        }
    }
    for shape in [&[5][..], &[2, 4], &[], &[u32::MAX, u32::MAX], &[1, 1, 1, 1, 1, 1, 6]] {
        assert_eq!(refused(&One("m", Shaped(shape))), EncodeError::Shape, "{shape:?}");
    }
    assert!(
        checkpoint::measure::<std::convert::Infallible, _>(&contents(header()), &One("m", Shaped(&[1, 2, 3]))).is_ok()
    );
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(refused(&One("m", Named("w", vec![0.0, bad], 1))), EncodeError::NonFinite);
    }
    let allowed = Contents { allow_non_finite: true, ..contents(header()) };
    let bytes = encode(&allowed, &One("m", Named("w", vec![f32::NAN], 1)));
    let mut loaded = Named("w", vec![0.0], 1);
    checkpoint::load::<Crc32, _>(&bytes, &mut One("m", &mut loaded), None).unwrap();
    assert!(loaded.1[0].is_nan());
}

#[test]
fn an_io_error_keeps_its_cause_and_ok_zero_is_an_error() {
    /// Takes so many bytes a write, for so many writes.
    struct Failing(usize, Result<usize, ErrorKind>);
    impl ErrorType for Failing {
        type Error = ErrorKind;
    }
    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Ok(bytes.len().min(5)) // short writes are legal
                }
                None => self.1,
            }
        }
        fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }
    let model = Model::new(1);
    let whole = encode(&contents(header()), &model).len();
    for writes in 0..whole / 5 {
        let mut full = Failing(writes, Err(ErrorKind::OutOfMemory));
        let error = checkpoint::encode::<Crc32, _, _>(&mut full, &contents(header()), &model);
        assert_eq!(error, Err(EncodeError::Io(ErrorKind::OutOfMemory)), "after {writes} writes");
    }
    let mut silent = Failing(2, Ok(0));
    let error = checkpoint::encode::<Crc32, _, _>(&mut silent, &contents(header()), &model);
    assert_eq!(error, Err(EncodeError::WriteZero));
}

/// Notes everything it is shown.
#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    bytes: usize,
}
impl Inspect for Seen {
    fn set(&mut self, name: &str) {
        self.lines.push(format!("set {name}"));
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        self.lines.push(format!("{}.{} {:?}", tensor.object, tensor.name, tensor.shape));
    }
    fn payload(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }
    fn value(&mut self, object: &str, len: u32) {
        self.lines.push(format!("{object} {len}"));
    }
}

#[test]
fn streams_of_one_object_name_their_whole_set() {
    let model = Model::new(4);
    let mut streams = Vec::new();
    for name in ["net", "schedule", "momentum", "seed"] {
        streams.push(encode(&Contents { only: Some(name), ..contents(header()) }, &model));
    }
    let mut seen = Seen::default();
    let info = checkpoint::inspect::<Crc32, _, _>(&mut &streams[0][..], &mut [0; 16], &mut seen).unwrap();
    assert_eq!(info.set, 4);
    assert_eq!(
        seen.lines,
        ["set net", "set schedule", "set momentum", "set seed", "net.weight [5, 3]", "net.bias [100]"]
    );
    assert_eq!(seen.bytes, 4 * 115);
    let mut loaded = Model::blank();
    let mut scratch = [0; 64];
    let mut loader = Loader::new(&mut loaded, &mut scratch);
    for stream in &streams[1..] {
        loader.verify::<Crc32, _>(&mut &stream[..], None).unwrap();
    }
    // One stream short: net's bias, the third item lent, is missing.
    assert_eq!(loader.verified::<()>(), Err(DecodeError::Missing { item: 2 }));
    for stream in streams.iter().rev() {
        loader.verify::<Crc32, _>(&mut &stream[..], None).unwrap();
    }
    loader.verified::<()>().unwrap();
    for stream in &streams {
        loader.load::<Crc32, _>(&mut &stream[..]).unwrap();
    }
    assert_eq!(loaded, model);
}

#[test]
fn golden_files_are_read_and_written() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let golden = [
        ("v1-all.ckpt", encode(&contents(header()), &Model::new(1))),
        ("v1-one.ckpt", encode(&Contents { only: Some("net"), ..contents(header()) }, &Model::new(1))),
        ("v1-bare.ckpt", encode(&contents(Header::default()), &One("m", &mut [0.5, -0.25]))),
        ("v1-run.ckpt", from_a_run()),
    ];
    for (name, now) in golden {
        let path = directory.join(name);
        if std::env::var_os("GOLDEN").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let committed = std::fs::read(&path).unwrap();
        let info: Info = checkpoint::inspect::<Crc32, _, _>(&mut &committed[..], &mut [0; 64], &mut ()).unwrap();
        assert_eq!(info.len as usize, committed.len(), "{name}");
        assert_eq!(committed, now, "{name}: version 1 must be written as it always was");
    }
    // Written when `drawn` was counted on from epoch to epoch. How such a run goes on: `engine_data`.
    let before = std::fs::read(directory.join("v1-run-counting-on.ckpt")).unwrap();
    let drawn = |bytes: &[u8]| postcard::from_bytes::<plain::Checkpoint>(bytes).unwrap().run.map(|run| run.drawn);
    assert_eq!((drawn(&before), drawn(&from_a_run())), (Some(12), Some(4)));
    checkpoint::load::<Crc32, _>(&before, &mut Model::blank(), None).unwrap();
    let mut model = Model::blank();
    let all = std::fs::read(directory.join("v1-all.ckpt")).unwrap();
    checkpoint::load::<Crc32, _>(&all, &mut model, None).unwrap();
    assert_eq!(model, Model::new(1));
}
