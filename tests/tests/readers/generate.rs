//! Random checkpoints, and their encoding with the library.

use crate::plain::{Content, Data, Extension, Object, Run, SIZES, Stream, Tensor, Value, write};
use std::collections::HashSet;
use training_monitor::checkpoint::{
    self, Contents, ElementType, Header, Inspect, ObjectVisitor, Objects, RankingRule, Series, StateDict, TensorView,
    TensorVisitor,
};
use training_monitor::run_record::RunRecord;
use training_monitor_tests::random::Random;

/// A checkpoint that the library can write.
#[derive(Debug)]
pub struct Checkpoint {
    /// The stream that the library writes.
    pub stream: Stream,
    /// All objects of the checkpoint. The stream contains all of them, or one.
    objects: Vec<Object>,
}

/// Returns a random checkpoint.
pub fn checkpoint(random: &mut Random) -> Checkpoint {
    let mut names = Names::default();
    let objects: Vec<_> = (0..1 + random.below(3)).map(|_| object(&mut names, random)).collect();
    let is_single = random.once_in(4);
    let (object_names, written) = if is_single {
        let names = objects.iter().map(|object| object.name.clone()).collect();
        (names, vec![random.pick(&objects).clone()])
    } else {
        (Vec::new(), objects.clone())
    };
    let identity = Data::Identity {
        run: number(random),
        series_name: optional(random, name).unwrap_or_default(),
        rule: random.below(2) as u8,
        model: number(random),
        save_id: number(random),
    };
    let mut extensions = vec![Extension { id: 1, required: false, data: identity }];
    if random.once_in(3) {
        let mut names = Names::default();
        let mut list: Vec<_> = (0..1 + random.below(3)).map(|_| (names.next(random), bytes(random, 20))).collect();
        list.sort();
        extensions.push(Extension { id: 2, required: false, data: Data::Metadata(list) });
    }
    // The encoder writes the version of the crate, which is the version of the whole workspace.
    let version = env!("CARGO_PKG_VERSION").to_owned();
    extensions.push(Extension { id: 3, required: false, data: Data::Writer(version) });
    let score = |random: &mut Random| {
        let bits = *random.pick(&[0, 0x8000_0000, 0x7F80_0000, 0xFF80_0000, 0x3F80_0000, 0xBE80_0000, 1]);
        if random.once_in(2) { bits } else { random.bits() as u32 & 0xBFFF_FFFF }
    };
    let stream = Stream {
        step: number(random),
        sequence: number(random),
        iteration: number(random),
        score: optional(random, score),
        score_name: optional(random, name),
        object_names,
        extensions,
        run: optional(random, run),
        objects: written,
    };
    Checkpoint { stream, objects }
}

/// Different names.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn next(&mut self, random: &mut Random) -> String {
        loop {
            let name = name(random);
            if self.0.insert(name.clone()) {
                return name;
            }
        }
    }
}

fn name(random: &mut Random) -> String {
    const CHARACTERS: [char; 14] = ['a', 'b', 'w', '.', '_', ' ', '0', '~', 'é', '\u{A0}', 'ß', '日', '\u{FFFD}', '😀'];
    let len = if random.once_in(25) { 255 } else { 1 + random.below(9) };
    let mut name = String::new();
    while name.len() < len {
        let choice = if random.once_in(3) { &CHARACTERS[..] } else { &CHARACTERS[..8] };
        let character = *random.pick(choice);
        // The remaining bytes can be fewer than the character has.
        name.push(if name.len() + character.len_utf8() <= len { character } else { 'x' });
    }
    name
}

fn number(random: &mut Random) -> u32 {
    match random.below(4) {
        0 => 0,
        1 => random.below(200) as u32,
        2 => (random.bits() >> (32 + random.below(32))) as u32,
        _ => *random.pick(&[127, 128, 16_383, 16_384, u32::MAX - 1, u32::MAX]),
    }
}

fn bytes(random: &mut Random, below: usize) -> Vec<u8> {
    (0..random.below(below)).map(|_| random.byte()).collect()
}

fn optional<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    if random.once_in(2) { Some(value(random)) } else { None }
}

fn run(random: &mut Random) -> Run {
    let count = if random.once_in(20) { 32 } else { random.below(4) };
    let handler = |random: &mut Random| {
        let below = if random.once_in(20) { 128 } else { 8 };
        (random.byte(), random.bits() as u16, bytes(random, below))
    };
    Run {
        numbers: [0; 5].map(|_| number(random)),
        phase: random.below(11) as u32,
        max_epochs: optional(random, number),
        stop: optional(random, |random| (random.below(6) as u32, random.byte())),
        stop_epoch: random.once_in(2),
        handlers: (0..count).map(|_| handler(random)).collect(),
    }
}

fn object(names: &mut Names, random: &mut Random) -> Object {
    let name = names.next(random);
    if random.once_in(4) {
        let value = match random.below(5) {
            0 => Value::Unit,
            1 => Value::Number(number(random)),
            2 => Value::Pair((random.byte(), 0.5)),
            3 => Value::Text(self::name(random).chars().take(8).collect()),
            _ => Value::List((0..random.below(80)).map(|_| random.bits() as u16).collect()),
        };
        let encoded = match &value {
            Value::Unit => postcard::to_allocvec(&()),
            Value::Number(number) => postcard::to_allocvec(number),
            Value::Pair(pair) => postcard::to_allocvec(pair),
            Value::Text(text) => postcard::to_allocvec(text),
            Value::List(list) => postcard::to_allocvec(list),
        };
        return Object { name, content: Content::Value(value, encoded.expect("a value that postcard supports")) };
    }
    let mut names = Names::default();
    let tensors = (0..random.below(4)).map(|_| tensor(names.next(random), random)).collect();
    Object { name, content: Content::StateDict(tensors) }
}

fn tensor(name: String, random: &mut Random) -> Tensor {
    let element_type = random.below(SIZES.len()) as u8;
    let mut shape: Vec<u32> = (0..random.below(7)).map(|_| 1 + random.below(3) as u32).collect();
    match random.below(12) {
        0 => shape.iter_mut().take(1).for_each(|side| *side = 100 + random.below(100) as u32),
        1 if !shape.is_empty() => {
            // No elements. The other dimensions can have any value.
            let zero = random.below(shape.len());
            shape.iter_mut().for_each(|side| *side = if random.once_in(2) { number(random) } else { *side });
            shape[zero] = 0;
        }
        _ => (),
    }
    let is_empty = shape.contains(&0);
    let count = if is_empty { 0 } else { shape.iter().product::<u32>() as usize };
    let mut data: Vec<u8> = (0..count * SIZES[usize::from(element_type)]).map(|_| random.byte()).collect();
    if element_type == ElementType::Bool as u8 {
        data.iter_mut().for_each(|byte| *byte &= 1);
    }
    Tensor { name, element_type, shape, data }
}

/// Keeps the run record of a stream.
struct Record(RunRecord<[u8; 8192]>);
impl Inspect for Record {
    fn run(&mut self, record: &RunRecord<[u8]>) {
        let copy: &mut RunRecord<[u8]> = &mut self.0;
        copy.copy_from(record);
    }
}

impl Checkpoint {
    /// Encodes the checkpoint with the library.
    pub fn encode(&mut self) -> Vec<u8> {
        // Only the decoder can make a run record of given states. It reads a stream of the writer of this test.
        let mut record = Record(RunRecord::with_capacity());
        let (bytes, _) = write(&self.stream, None, &mut Random::new(0));
        checkpoint::inspect(&mut &bytes[..], &mut [0; 256], &mut record).expect("a valid stream");
        let stream = &self.stream;
        let mut header = Header {
            step: stream.step,
            sequence: stream.sequence,
            iteration: stream.iteration,
            score: stream.score.map(f32::from_bits),
            score_name: stream.score_name.as_deref(),
            ..Header::default()
        };
        let mut metadata = Vec::new();
        for extension in &stream.extensions {
            match &extension.data {
                Data::Identity { run, series_name, rule, model, save_id } => {
                    let rule = if *rule == 0 { RankingRule::Latest } else { RankingRule::Best };
                    header.series = Series { name: series_name, rule, model: *model };
                    (header.run, header.save_id) = (*run, *save_id);
                }
                Data::Metadata(list) => metadata.extend(list.iter().map(|(name, value)| (&**name, &**value))),
                _ => (),
            }
        }
        let record: &RunRecord<[u8]> = &record.0;
        let contents = Contents {
            header,
            record: stream.run.as_ref().map(|_| record),
            single_object: (!stream.object_names.is_empty()).then(|| &*stream.objects[0].name),
            allow_non_finite: true,
            metadata: &metadata,
        };
        let mut encoded = Vec::new();
        checkpoint::encode(&mut encoded, &contents, &mut Listing(&mut self.objects)).expect("a valid checkpoint");
        encoded
    }
}

/// Lists the objects of a checkpoint to the library.
struct Listing<'a>(&'a mut [Object]);

impl Objects for Listing<'_> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        for Object { name, content } in &mut *self.0 {
            match content {
                Content::StateDict(tensors) => visitor.state_dict(name, &mut Tensors(tensors))?,
                Content::Value(Value::Unit, _) => visitor.value(name, &mut ())?,
                Content::Value(Value::Number(number), _) => visitor.value(name, number)?,
                Content::Value(Value::Pair(pair), _) => visitor.value(name, pair)?,
                Content::Value(Value::Text(text), _) => visitor.value(name, text)?,
                Content::Value(Value::List(list), _) => visitor.value(name, list)?,
            }
        }
        Ok(())
    }
}

struct Tensors<'a>(&'a mut [Tensor]);

impl StateDict for Tensors<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        for Tensor { name, element_type, shape, data } in &mut *self.0 {
            let element_type = ElementType::ALL[usize::from(*element_type)];
            visitor.tensor(name, TensorView::from_bytes(element_type, shape, data))?;
        }
        Ok(())
    }
}
