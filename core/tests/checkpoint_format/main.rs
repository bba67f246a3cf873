//! Tests of the encoder and the decoder against FORMAT.md, the documentation of the checkpoint format. The crate
//! postcard must decode a checkpoint into plain structures. Every later version must read the golden files, which are
//! checkpoints in the repository. The decoder must reject damaged checkpoints.
//!
//! The command `GOLDEN=write cargo test -p training-monitor --test checkpoint_format` overwrites the golden files. Use
//! it only for a new version of the format.

#[macro_use]
#[path = "../common/named_errors.rs"]
mod named_errors;
mod errors;
mod extensions;
mod format_md;
mod model;
#[path = "../common/streams.rs"]
mod streams;

use model::{Model, Reordered, Schedule};
use streams::encode;
use training_monitor::checkpoint::{
    self, Contents, Crc32, DecodeError, ElementType, Header, Info, Inspect, Loader, Named, RankingRule, Series,
    StateDict, Tensor, TensorView, TensorVisitor,
};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};
use training_monitor::event::{EpochCompleted, IterationCompleted, Never};
use training_monitor::run_record::HandlerKind;
use training_monitor::store::{Store, ram::Ram};
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, TerminateOnNan, Timer};

fn contents(header: Header<'_>) -> Contents<'_> {
    Contents { header, ..Contents::new(0) }
}

fn header() -> Header<'static> {
    Header {
        step: 300,
        sequence: 5,
        iteration: 70_000,
        score: Some(-0.25),
        score_name: Some("val_loss"),
        run: 7,
        series: Series { name: "nightly", rule: RankingRule::Best, model: 0x1234_5678 },
        save_id: 0,
    }
}

/// A writer that discards all bytes and records the size of each write.
#[derive(Default)]
struct WriteSizes(Vec<usize>);
impl ErrorType for WriteSizes {
    type Error = ErrorKind;
}
impl Write for WriteSizes {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.0.push(bytes.len());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// Returns the newest checkpoint of a run with four handlers: `TerminateOnNan`, `EarlyStopping`, `Timer` and
/// `ModelCheckpoint`.
fn checkpoint_of_a_run() -> Vec<u8> {
    let mut model = Model::new(2);
    let mut ticks = 0;
    let clock = move || {
        ticks += 100;
        ticks
    };
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, |_, s| &s.output),
        EarlyStopping::new(3).unwrap().attach(EpochCompleted, |s| s.output.unwrap()),
        Timer::new(0).attach(clock).pause(Never).step(IterationCompleted),
        ModelCheckpoint::<2>::best_by(|s| s.output.unwrap())
            .with_score_name("acc")
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
fn postcard_decodes_the_documented_structures() {
    let mut model = Model::new(1);
    let bytes = encode(&contents(header()), &mut model);
    let decoded: format_md::Checkpoint = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(&decoded.magic, b"TMCK");
    assert_eq!((decoded.version, decoded.step, decoded.sequence, decoded.iteration), (2, 300, 5, 70_000));
    assert_eq!((decoded.score, decoded.score_name.as_deref()), (Some(-0.25), Some("val_loss")));
    assert_eq!((decoded.object_names.len(), decoded.run), (0, None));
    let fields: Vec<_> = decoded.extensions.iter().map(|field| (field.id, field.required)).collect();
    assert_eq!(fields, [(1, false), (3, false)]);
    assert_eq!(u32::from_le_bytes(decoded.length) as usize, bytes.len());
    let identity = format_md::Identity { run: 7, name: "nightly".into(), rule: 1, model: 0x1234_5678, save_id: 0 };
    assert_eq!(postcard::from_bytes::<format_md::Identity>(&decoded.extensions[0].data), Ok(identity));
    assert_eq!(u32::from_le_bytes(decoded.crc), crc32fast::hash(&bytes[..bytes.len() - 4]));
    let names: Vec<_> = decoded.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["net", "schedule", "momentum", "seed"]);
    let format_md::Content::StateDict(tensors) = &decoded.objects[0].content else { panic!() };
    assert_eq!((tensors[0].name.as_str(), tensors[0].shape.as_slice()), ("weight", &[5, 3][..]));
    let floats: Vec<f32> = tensors[1].data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(floats, model.net.bias);
    let format_md::Content::Value(schedule) = &decoded.objects[1].content else { panic!() };
    assert_eq!(postcard::from_bytes::<Schedule>(schedule).unwrap(), model.schedule);
    let run = postcard::from_bytes::<format_md::Checkpoint>(&checkpoint_of_a_run()).unwrap().run.unwrap();
    assert_eq!((run.phase, run.epoch, run.iteration, run.offset, run.epoch_length), (5, 3, 12, 4, 4));
    let kinds: Vec<_> = run.handlers.iter().map(|handler| handler.kind).collect();
    assert_eq!(kinds, [4, 1, 2, 3]);
    assert_eq!((run.handlers[0].tag, run.handlers[2].tag), ([0, 0], [0, 0]), "these handlers have no settings");
    let (guard, stopping) = (HandlerKind::TERMINATE_ON_NAN, HandlerKind::EARLY_STOPPING);
    let (timer, checkpoint) = (HandlerKind::TIMER, HandlerKind::MODEL_CHECKPOINT);
    assert_eq!([guard, stopping, timer, checkpoint].map(HandlerKind::code), [4, 1, 2, 3]);
    // The state of EarlyStopping is the counter 0 and the best score 9.
    assert_eq!(run.handlers[1].state, [&[0, 1][..], &9.0f32.to_le_bytes()].concat());
    // The last two bytes of the timer state are the step count, 12, and the flag of a running timer, 1.
    assert_eq!(run.handlers[2].state.split_last_chunk::<2>().unwrap().1, &[12, 1]);
    // The state of ModelCheckpoint: it was called 3 times, and its save of step 3 with the score 9 is not complete yet.
    assert_eq!(run.handlers[3].state, [&[3, 1, 3, 1][..], &9.0f32.to_le_bytes()].concat());
}

#[test]
fn payloads_start_at_multiples_of_four() {
    // Names of different lengths require 0 to 3 bytes of padding before the tensor data. The length of the data is
    // encoded in one, two or three bytes.
    for len in [1usize, 31, 32, 5000] {
        for name in 1..=8 {
            let mut values = vec![1.5f32; len];
            let name = "n".repeat(name);
            let bytes = encode(&contents(Header::default()), &mut Named::new(&name, values.as_mut_slice()));
            let payload = 1.5f32.to_le_bytes();
            let position = bytes.windows(4).position(|window| window == payload).unwrap();
            assert_eq!(position % 4, 0, "{len} elements, name {name}");
            let decoded: format_md::Checkpoint = postcard::from_bytes(&bytes).unwrap();
            let format_md::Content::StateDict(tensors) = &decoded.objects[0].content else { panic!() };
            assert!(tensors[0].pad.len() < 4 && tensors[0].pad.iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn a_saved_model_is_loaded_bit_for_bit() {
    let mut model = Model::new(3);
    let bytes = encode(&contents(header()), &mut model);
    let mut loaded = Model::blank();
    let info = checkpoint::load(&bytes, &mut loaded, None).unwrap();
    assert_eq!(loaded, model);
    assert_eq!(loaded.momentum.map(f32::to_bits), model.momentum.map(f32::to_bits));
    assert_eq!((info.step, info.sequence, info.iteration, info.len as usize), (300, 5, 70_000, bytes.len()));
    // The decoder finds objects and tensors by their names. The model may list them in another order.
    let mut reordered = Model::blank();
    checkpoint::load(&bytes, &mut Reordered(&mut reordered), None).unwrap();
    assert_eq!(reordered, model);
    // The loading model has only the object `momentum`. The decoder skips the other objects of the checkpoint.
    let mut momentum = [0.0f32; 7];
    checkpoint::load(&bytes, &mut Named::new("momentum", &mut momentum), None).unwrap();
    assert_eq!(momentum, model.momentum);
}

#[test]
fn all_writes_but_the_last_have_at_least_the_buffer_size() {
    let mut writer = WriteSizes::default();
    checkpoint::encode(&mut writer, &contents(header()), &mut Model::new(1)).unwrap();
    let (_, all_but_last) = writer.0.split_last().unwrap();
    assert!(!all_but_last.is_empty());
    assert!(all_but_last.iter().all(|len| *len >= checkpoint::BUFFER), "{:?}", writer.0);
}

#[test]
fn a_flipped_bit_or_a_truncation_is_an_error_and_leaves_the_model_unchanged() {
    for bytes in [encode(&contents(header()), &mut Model::new(1)), checkpoint_of_a_run()] {
        let original = Model::blank();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut model = original.clone();
            assert!(checkpoint::load(&damaged, &mut model, None).is_err(), "bit {bit}");
            assert_eq!(model, original, "bit {bit}");
        }
        for len in 0..bytes.len() {
            let mut model = original.clone();
            let error = checkpoint::load(&bytes[..len], &mut model, None).unwrap_err();
            assert_eq!(error, DecodeError::Truncated, "{len} bytes");
            assert_eq!(model, original);
        }
    }
}

/// A visitor that collects one line for each object name, tensor and value, and counts the bytes of tensor data.
#[derive(Default)]
struct Summary {
    lines: Vec<String>,
    payload_bytes: usize,
}
impl Inspect for Summary {
    fn object_name(&mut self, name: &str) {
        self.lines.push(format!("object {name}"));
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        self.lines.push(format!("{}.{} {:?}", tensor.object, tensor.name, tensor.shape));
    }
    fn payload(&mut self, bytes: &[u8]) {
        self.payload_bytes += bytes.len();
    }
    fn value(&mut self, object: &str, len: u32) {
        self.lines.push(format!("{object} {len}"));
    }
}

#[test]
fn a_stream_of_one_object_lists_all_objects_of_the_checkpoint() {
    let mut model = Model::new(4);
    let mut streams = Vec::new();
    for name in ["net", "schedule", "momentum", "seed"] {
        streams.push(encode(&Contents { single_object: Some(name), ..contents(header()) }, &mut model));
    }
    let mut summary = Summary::default();
    let info = checkpoint::inspect(&mut &streams[0][..], &mut [0; 16], &mut summary).unwrap();
    assert_eq!(info.object_count, 4);
    assert_eq!(
        summary.lines,
        ["object net", "object schedule", "object momentum", "object seed", "net.weight [5, 3]", "net.bias [100]"]
    );
    assert_eq!(summary.payload_bytes, 4 * 115);
    let mut loaded = Model::blank();
    let mut scratch = [0; 64];
    let mut reordered = Reordered(&mut loaded);
    let mut loader = Loader::new(&mut reordered, &mut scratch);
    for stream in &streams[1..] {
        loader.verify::<Crc32, _>(&mut &stream[..], None).unwrap();
    }
    // The loop has skipped the first stream, which contains the object "net". The reordered model lists the tensor
    // "bias" of this object first.
    assert_named_error!(loader.check_complete::<()>(), DecodeError::Missing, "bias");
    for stream in streams.iter().rev() {
        loader.verify::<Crc32, _>(&mut &stream[..], None).unwrap();
    }
    loader.check_complete::<()>().unwrap();
    for stream in &streams {
        loader.load::<Crc32, _>(&mut &stream[..]).unwrap();
    }
    assert_eq!(loaded, model);
}

/// Returns a checkpoint with metadata and a tensor of each element type, which has the same bytes for each type.
fn checkpoint_of_all_types() -> Vec<u8> {
    struct Types;
    impl StateDict for Types {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            for element_type in ElementType::ALL {
                let mut bytes: Vec<u8> = (0..24).map(|byte| byte * 11 + 2).collect();
                if element_type == ElementType::Bool {
                    bytes.iter_mut().for_each(|byte| *byte &= 1);
                }
                let shape = [24 / element_type.size()];
                visitor.tensor(element_type.name(), TensorView::from_bytes(element_type, &shape, &mut bytes))?;
            }
            Ok(())
        }
    }
    let metadata: &[(&str, &[u8])] = &[("device", b"A7"), ("raw", &[0, 255])];
    let allowed = Contents { metadata, allow_non_finite: true, ..contents(header()) };
    encode(&allowed, &mut Named::new("all", Types))
}

#[test]
fn the_encoder_writes_and_reads_the_golden_files() {
    let directory = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden"));
    let one = Contents { single_object: Some("net"), ..contents(Header { save_id: 0x89AB_CDEF, ..header() }) };
    let golden = [
        ("v2-all.ckpt", encode(&contents(header()), &mut Model::new(1))),
        ("v2-one.ckpt", encode(&one, &mut Model::new(1))),
        ("v2-bare.ckpt", encode(&contents(Header::default()), &mut Named::new("m", [0.5_f32, -0.25]))),
        ("v2-run.ckpt", checkpoint_of_a_run()),
        ("v2-types.ckpt", checkpoint_of_all_types()),
    ];
    for (name, encoded) in golden {
        let path = directory.join(name);
        if std::env::var_os("GOLDEN").is_some() {
            std::fs::write(&path, &encoded).unwrap();
        }
        let committed = std::fs::read(&path).unwrap();
        let info: Info = checkpoint::inspect(&mut &committed[..], &mut [0; 64], &mut ()).unwrap();
        assert_eq!(info.len as usize, committed.len(), "{name}");
        assert_eq!(committed, encoded, "{name}: the encoder must write the same bytes for version 2");
    }
    let mut model = Model::blank();
    let all = std::fs::read(directory.join("v2-all.ckpt")).unwrap();
    checkpoint::load(&all, &mut model, None).unwrap();
    assert_eq!(model, Model::new(1));
    // Version 1 was used before the first release. It is not supported.
    let mut model = Model::blank();
    let version_1 = std::fs::read(directory.join("v1-all.ckpt")).unwrap();
    assert_eq!(checkpoint::load(&version_1, &mut model, None), Err(DecodeError::Version { found: 1 }));
    assert_eq!(model, Model::blank());
}
