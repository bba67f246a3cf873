//! Hostile bytes for the decoder, held against a reader that was written from FORMAT.md alone; names and scores
//! against Python's rules by hand.

use super::input;
use crate::models::name::score_text;
use crate::models::number::{Counter, Number};
use crate::models::stream::{Checkpoint, Object, crc32, read};
use arbitrary::Arbitrary;
use training_monitor::checkpoint::{
    self, Crc32, DecodeError, Info, Inspect, MAX_ITEMS, Objects, StateDict, Tensor, Visit, VisitMut, VisitTensors,
    VisitTensorsMut,
};
use training_monitor::name::{FileName, ScoreText};
use training_monitor::record::Record;

/// Collects what a stream holds.
#[derive(Default)]
struct Seen {
    score_name: Option<String>,
    record: Option<Record>,
    set: Vec<String>,
    objects: Vec<Object>,
}

impl Inspect for Seen {
    fn score_name(&mut self, name: &str) {
        self.score_name = Some(name.into());
    }
    fn run(&mut self, record: &Record) {
        self.record = Some(record.clone());
    }
    fn set(&mut self, name: &str) {
        self.set.push(name.into());
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        let of = Some((tensor.name.into(), tensor.shape.to_vec()));
        self.objects.push(Object { name: tensor.object.into(), tensor: of, data: Vec::new() });
    }
    fn value(&mut self, object: &str, _: u32) {
        self.objects.push(Object { name: object.into(), tensor: None, data: Vec::new() });
    }
    fn payload(&mut self, bytes: &[u8]) {
        let last = self.objects.last_mut().expect("a payload belongs to something");
        last.data.extend_from_slice(bytes);
    }
}

/// The user's objects that hostile streams are loaded into.
#[derive(Clone, PartialEq, Debug)]
struct Model {
    weight: [f32; 4],
    bias: Vec<f32>,
    seed: u32,
    label: value::Label,
}

/// A value with text in it, which has to be bounded.
mod value {
    /// Text of any length.
    #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
    pub struct Label {
        pub text: String,
        pub numbers: (u64, Option<i16>),
    }
}

impl Model {
    fn blank() -> Self {
        let label = value::Label { text: "as it was".into(), numbers: (7, None) };
        Model { weight: [9.0; 4], bias: vec![9.0; 2], seed: 9, label }
    }

    fn bits(&self) -> (Vec<u32>, u32, &value::Label) {
        (self.weight.iter().chain(&self.bias).map(|value| value.to_bits()).collect(), self.seed, &self.label)
    }
}

impl StateDict for Model {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("w", &[2, 2], &self.weight)?;
        visitor.tensor("b", &[2], &self.bias)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("w", &mut self.weight)?;
        visitor.tensor("b", &mut self.bias)
    }
}

struct All(Model);

impl Objects for All {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("m", &self.0)?;
        visitor.value("seed", &self.0.seed)?;
        visitor.value("label", &self.0.label)
    }
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("m", &mut self.0)?;
        visitor.value("seed", &mut self.0.seed)?;
        visitor.value("label", &mut self.0.label)
    }
}

/// A whole stream of `Model`, to be changed.
pub fn sample() -> Vec<u8> {
    let header =
        checkpoint::Header { step: 3, sequence: 2, iteration: 700, score: Some(-0.5), score_name: Some("acc") };
    let record = training_monitor::Engine::<f32>::new(1).record::<(), _>(&mut ()).expect("nothing fits");
    let contents = checkpoint::Contents { header, record: Some(&record), only: None, allow_non_finite: true };
    let mut bytes = Vec::new();
    let written = checkpoint::encode::<Crc32, _, _>(&mut bytes, &contents, &All(Model::blank()));
    written.expect("a Vec takes anything");
    bytes
}

fn agrees(info: &Info, seen: Seen, with: &Checkpoint) {
    assert_eq!([info.step, info.sequence, info.iteration], with.numbers);
    assert_eq!(info.score.map(f32::to_bits), with.score);
    assert_eq!(seen.score_name, with.score_name);
    assert_eq!((info.set as usize, seen.set), (with.set.len(), with.set.clone()));
    assert_eq!((info.len as usize, info.crc), (with.len, with.crc));
    assert_eq!(seen.objects, with.objects);
    assert_eq!((info.run, seen.record.is_some()), (with.run.is_some(), with.run.is_some()));
    let all: usize = with.run.iter().flatten().map(|(_, state)| 2 + state.len()).sum();
    // What does not fit can be looked at, but its states are not whole.
    if let (Some(record), Some(states), true) = (&seen.record, &with.run, all <= 128) {
        assert!(record.handlers().eq(states.iter().map(|(kind, state)| (*kind, &state[..]))));
    }
}

/// Hostile bytes. The first says whether they are to get a right beginning and a right checksum, without which little
/// of the decoder would ever be reached, or are changes of a stream that is right.
pub fn checkpoint_bytes(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let mut bytes = match kind % 4 {
        0 => rest.to_vec(),
        1 => [b"TMCK\x01", rest].concat(),
        _ => {
            let mut bytes = sample();
            bytes.truncate(bytes.len() - 4);
            for change in rest.chunks(3) {
                let &[at, how, value] = change else { continue };
                let at = usize::from(at) % bytes.len();
                match how % 4 {
                    0 => bytes[at] = value,
                    1 => bytes.insert(at, value),
                    2 => bytes[at] ^= 1 << (value % 8),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            bytes
        }
    };
    // Without this a change would be told by the checksum alone.
    if kind / 4 % 4 != 0 {
        let crc = crc32(&bytes);
        bytes.extend(crc.to_le_bytes());
    }
    judge(&bytes, usize::from(kind / 16) + 1);
}

fn judge(bytes: &[u8], scratch: usize) {
    let expected = read(bytes);
    let mut seen = Seen::default();
    let inspected = checkpoint::inspect::<Crc32, _, _>(&mut &*bytes, &mut vec![0; scratch], &mut seen);
    match (&inspected, &expected) {
        (Ok(info), Some(with)) => agrees(info, seen, with),
        (Err(_), None) => (),
        (got, with) => panic!("{got:?} for {with:?}"),
    }
    // Loading gives all or nothing.
    let mut all = All(Model::blank());
    match checkpoint::load::<Crc32, _>(bytes, &mut all, None) {
        Err(error) => {
            assert_eq!(all.0.bits(), Model::blank().bits(), "changed by what could not be loaded");
            // A whole stream may still not be of these objects; a value of another type may end too early.
            let other =
                !matches!(error, DecodeError::NotACheckpoint | DecodeError::Version { .. } | DecodeError::Checksum);
            assert!(other || expected.is_none(), "{error} for {expected:?}");
        }
        Ok(_) => {
            let with = expected.expect("what was loaded is whole");
            let floats = |name: &str| -> Vec<u32> {
                let tensor = |object: &&Object| {
                    object.name == "m" && object.tensor.as_ref().is_some_and(|(tensor, _)| tensor == name)
                };
                let found: Vec<&Object> = with.objects.iter().filter(tensor).collect();
                assert_eq!(found.len(), 1, "{name} is there once");
                found[0].data.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four"))).collect()
            };
            assert_eq!([floats("w"), floats("b")].concat(), all.0.bits().0);
            assert!(all.0.label.text.len() <= 64 && with.objects.len() <= MAX_ITEMS + bytes.len());
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

/// Names of files, and the text of scores.
pub fn names(data: &[u8]) {
    let Some(input) = input::<NameInput<'_>>(data) else { return };
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
