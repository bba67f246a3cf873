//! Hostile bytes for the decoder, compared with a second reader that was written from FORMAT.md alone. File names and
//! the text of scores, compared with a model of Python's rules.

use super::decode;
use crate::models::number::{Counter, Number};
use crate::models::score_text::score_text;
use crate::models::stream::{Checkpoint, HandlerState, Item, crc32, read};
use arbitrary::Arbitrary;
use training_monitor::checkpoint::{self, DecodeError, Info, Inspect, MAX_ITEMS, Tensor};
use training_monitor::run_record::RunRecord;
use training_monitor::{Objects, StateDict};
use training_monitor_std::directory::{FileName, ScoreText};

/// Collects the parts of a checkpoint stream that the library function `inspect` reports.
#[derive(Default)]
struct Content {
    score_name: Option<String>,
    /// The handler states of the run record: kind, tag and bytes.
    record: Option<Vec<HandlerState>>,
    object_names: Vec<String>,
    metadata: Vec<(String, Vec<u8>)>,
    writer: Option<String>,
    items: Vec<Item>,
}

impl Inspect for Content {
    fn score_name(&mut self, name: &str) {
        self.score_name = Some(name.into());
    }
    fn run(&mut self, record: &RunRecord<[u8]>) {
        let states = record.handlers().map(|(kind, tag, state)| (kind.code(), tag, state.to_vec()));
        self.record = Some(states.collect());
    }
    fn object_name(&mut self, name: &str) {
        self.object_names.push(name.into());
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        let description = Some((tensor.name.into(), tensor.element_type as u8, tensor.shape.to_vec()));
        self.items.push(Item { object: tensor.object.into(), tensor: description, data: Vec::new() });
    }
    fn value(&mut self, object: &str, _: u32) {
        self.items.push(Item { object: object.into(), tensor: None, data: Vec::new() });
    }
    fn writer(&mut self, version: &str) {
        self.writer = Some(version.into());
    }
    fn metadata(&mut self, name: &str, _: u32) {
        self.metadata.push((name.into(), Vec::new()));
    }
    fn payload(&mut self, bytes: &[u8]) {
        // All metadata come before the first tensor or value.
        let last = self.items.last_mut().map(|item| &mut item.data);
        let last = last.or(self.metadata.last_mut().map(|(_, value)| value));
        last.expect("a payload follows a tensor, a value or metadata").extend_from_slice(bytes);
    }
}

/// The objects into which the fuzz target loads hostile streams (checkpoint bytes that may be invalid).
#[derive(Objects)]
struct Model {
    #[objects(rename = "m")]
    network: Network,
    #[objects(value)]
    seed: u32,
    #[objects(value)]
    label: value::Label,
}

#[derive(StateDict)]
struct Network {
    #[state_dict(rename = "w")]
    weight: [[f32; 2]; 2],
    #[state_dict(rename = "b")]
    bias: [f32; 2],
}

mod value {
    /// A value with text. The decoder must limit the length of the text.
    #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
    pub struct Label {
        pub text: String,
        pub numbers: (u64, Option<i16>),
    }
}

impl Model {
    fn blank() -> Self {
        let label = value::Label { text: "original".into(), numbers: (7, None) };
        Model { network: Network { weight: [[9.0; 2]; 2], bias: [9.0; 2] }, seed: 9, label }
    }

    fn bits(&self) -> (Vec<u32>, u32, &value::Label) {
        let Network { weight, bias } = &self.network;
        (weight.iter().flatten().chain(bias).map(|value| value.to_bits()).collect(), self.seed, &self.label)
    }
}

/// The header fields of a sample that every stream has.
fn sample_numbers() -> checkpoint::Header<'static> {
    let series = checkpoint::Series { name: "s", rule: checkpoint::RankingRule::Best, model: 5 };
    checkpoint::Header { step: 3, sequence: 2, iteration: 700, series, ..Default::default() }
}

/// Returns a valid checkpoint stream of the object type `Model`. The fuzz target modifies it to get invalid streams.
pub fn sample() -> Vec<u8> {
    let header =
        checkpoint::Header { score: Some(-0.5), score_name: Some("accur"), run: 3, save_id: 77, ..sample_numbers() };
    let record =
        training_monitor::Engine::<f32>::new(1).record::<(), _>(&mut ()).expect("an empty record is large enough");
    let contents = checkpoint::Contents {
        header,
        record: Some(&record),
        single_object: None,
        allow_non_finite: true,
        metadata: &[("batch", &[1, 2]), ("firmware", b"1.2.3-a")],
    };
    let mut bytes = Vec::new();
    let encoded = checkpoint::encode(&mut bytes, &contents, &mut Model::blank());
    encoded.expect("writing to a Vec does not fail");
    bytes
}

/// Checks that the library and the second reader (a simple reader for this test) found the same content in a stream.
fn assert_same_content(info: &Info, content: Content, expected: &Checkpoint) {
    assert_eq!([info.step, info.sequence, info.iteration], expected.numbers);
    assert_eq!(info.score.map(f32::to_bits), expected.score);
    assert_eq!(content.score_name, expected.score_name);
    assert_eq!(
        (info.object_count as usize, content.object_names),
        (expected.object_names.len(), expected.object_names.clone())
    );
    assert_eq!((info.len as usize, info.crc), (expected.len, expected.crc));
    assert_eq!(content.items, expected.items);
    assert_eq!((content.metadata, content.writer), (expected.metadata.clone(), expected.writer.clone()));
    assert_eq!((info.has_run, content.record.is_some()), (expected.run.is_some(), expected.run.is_some()));
    assert_eq!([info.run, info.series.model, info.save_id], expected.identity);
    let len: usize = expected.run.iter().flatten().map(|(_, _, state)| 4 + state.len()).sum();
    // The library stores at most 128 bytes of handler states in a run record (the saved state of the engine and the
    // handlers). A record with more bytes is incomplete, so the test compares only shorter ones.
    if let (Some(record), Some(states), true) = (&content.record, &expected.run, len <= 128) {
        assert_eq!(record, states);
    }
}

/// The fuzz target for checkpoint streams. The first byte selects how the stream is built: from the bytes alone, with a
/// valid beginning, or by modifying a valid stream. It also selects whether the stream gets a correct length and a
/// correct checksum. Without them, the decoder would reject almost every stream early.
pub fn checkpoint_bytes(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let mut bytes = match kind % 4 {
        0 => rest.to_vec(),
        1 => [b"TMCK\x02\0\0\0\0", rest].concat(),
        _ => {
            let mut bytes = sample();
            bytes.truncate(bytes.len() - 4);
            for change in rest.chunks(3) {
                let &[index, kind, value] = change else { continue };
                let index = usize::from(index) % bytes.len();
                match kind % 4 {
                    0 => bytes[index] = value,
                    1 => bytes.insert(index, value),
                    2 => bytes[index] ^= 1 << (value % 8),
                    _ => bytes.truncate(index.max(1)),
                }
            }
            bytes
        }
    };
    let len = bytes.len() as u32 + 4;
    if let Some(field) = bytes.get_mut(5..9).filter(|_| kind / 4 % 4 > 1) {
        field.copy_from_slice(&len.to_le_bytes());
    }
    if kind / 4 % 4 != 0 {
        let crc = crc32(&bytes);
        bytes.extend(crc.to_le_bytes());
    }
    check(&bytes, usize::from(kind / 16) + 1);
}

/// Compares the library functions `inspect` and `load` with the second reader (a simple reader for this test).
/// `inspect` gets a buffer of `scratch` bytes.
fn check(bytes: &[u8], scratch: usize) {
    let expected = read(bytes);
    let mut content = Content::default();
    let inspected = checkpoint::inspect(&mut &*bytes, &mut vec![0; scratch], &mut content);
    match (&inspected, &expected) {
        (Ok(info), Some(checkpoint)) => assert_same_content(info, content, checkpoint),
        (Err(_), None) => (),
        (actual, expected) => panic!("{actual:?}, expected {expected:?}"),
    }
    // The library function `load` must change all objects, or none of them if the stream is invalid.
    let mut model = Model::blank();
    match checkpoint::load(bytes, &mut model, None) {
        Err(error) => {
            assert_eq!(model.bits(), Model::blank().bits(), "a failed load changed the objects");
            // A load may fail although the stream is valid: the stream can contain other objects or a value of another
            // type. Such a mismatch must not be reported as a format, version or checksum error.
            let is_mismatch =
                !matches!(error, DecodeError::NotACheckpoint | DecodeError::Version { .. } | DecodeError::Checksum);
            assert!(is_mismatch || expected.is_none(), "{error} for {expected:?}");
        }
        Ok(_) => {
            let expected = expected.expect("a stream that can be loaded is valid");
            let floats = |name: &str| -> Vec<u32> {
                let is_match = |item: &&Item| {
                    item.object == "m" && item.tensor.as_ref().is_some_and(|(tensor, ..)| tensor == name)
                };
                let tensors: Vec<&Item> = expected.items.iter().filter(is_match).collect();
                assert_eq!(tensors.len(), 1, "the tensor {name} occurs once");
                tensors[0].data.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four"))).collect()
            };
            assert_eq!([floats("w"), floats("b")].concat(), model.bits().0);
            assert!(model.label.text.len() <= 64 && expected.items.len() <= MAX_ITEMS + bytes.len());
        }
    }
}

#[derive(Arbitrary, Debug)]
struct NameInput<'a> {
    score: Option<Number>,
    step: Counter,
    prefix: &'a str,
    object: &'a str,
    score_name: &'a str,
}

/// The fuzz target for the names of checkpoint files and for the text of scores in these names.
pub fn names(data: &[u8]) {
    let Some(input) = decode::<NameInput<'_>>(data) else { return };
    let NameInput { prefix, object, score_name, .. } = input;
    let score = input.score.map(|score| (score_name, score.0));
    let name = FileName { prefix, object, step: input.step.0, score, extension: "ckpt" }.to_string();
    let mut parts: Vec<String> = vec![object.into(), input.step.0.to_string()];
    if !prefix.is_empty() {
        parts.insert(0, prefix.into());
    }
    if let Some((score_name, score)) = score {
        parts.push(format!("{score_name}={}", score_text(score)));
        assert_eq!(ScoreText(score).to_string(), score_text(score), "{:#010x}", score.to_bits());
    }
    assert_eq!(name, format!("{}.ckpt", parts.join("_")), "{input:?}");
}
