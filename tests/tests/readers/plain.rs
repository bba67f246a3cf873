//! The structures of FORMAT.md, and a writer for them. The writer follows the tables of that page and shares no code
//! with the library. It can alter one field, so that a stream reaches the rules behind the field with a correct checksum.

use training_monitor_tests::random::Random;

/// A checkpoint without the magic, the version, the length and the crc, which the writer adds.
#[derive(Clone, Debug)]
pub struct Stream {
    pub step: u32,
    pub sequence: u32,
    pub iteration: u32,
    /// The bits of the score.
    pub score: Option<u32>,
    pub score_name: Option<String>,
    pub object_names: Vec<String>,
    pub extensions: Vec<Extension>,
    pub run: Option<Run>,
    pub objects: Vec<Object>,
}

#[derive(Clone, Debug)]
pub struct Extension {
    pub id: u32,
    pub required: bool,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub enum Data {
    Identity { run: u32, series_name: String, rule: u8, model: u32, save_id: u32 },
    Metadata(Vec<(String, Vec<u8>)>),
    Writer(String),
    Unknown(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct Run {
    /// Epoch, iteration, offset, data_offset and epoch_length.
    pub numbers: [u32; 5],
    pub phase: u32,
    pub max_epochs: Option<u32>,
    /// The code of the reason, and the number of a user-defined reason.
    pub stop: Option<(u32, u8)>,
    pub stop_epoch: bool,
    /// The kind, the tag and the state of each handler.
    pub handlers: Vec<(u8, u16, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    StateDict(Vec<Tensor>),
    /// A value and its postcard encoding.
    Value(Value, Vec<u8>),
}

/// A value that the library saves as a whole.
#[derive(Clone, Debug)]
pub enum Value {
    Unit,
    Number(u32),
    Pair((u8, f32)),
    Text(String),
    List(Vec<u16>),
}

#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub element_type: u8,
    pub shape: Vec<u32>,
    pub data: Vec<u8>,
}

/// The size of an element of each type, in the order of the codes.
pub const SIZES: [usize; 13] = [4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1];

/// Names that are not valid, and valid names with unusual characters.
const UNUSUAL_NAMES: [&[u8]; 24] = [
    b"",
    b"a/b",
    b"\\",
    b"\0",
    b"a\x1F",
    b"\x7F",
    b"\xC2\x80",
    b"a\xC2\x9Fb",
    b"\xC2\xA0",
    b" ",
    b"\xE2\x80\xA8",
    b"\xEF\xBB\xBF",
    b"\xF4\x8F\xBF\xBF",
    b"\xF4\x90\x80\x80",
    b"\xED\x9F\xBF",
    b"\xED\xA0\x80",
    b"\xEF\xBF\xBF",
    b"\xC0\x80",
    b"\xC1\xBF",
    b"\xE0\x9F\xBF",
    b"\xF0\x8F\xBF\xBF",
    b"\xE2\x82",
    b"\x80",
    b"\xFF",
];

/// Writes a stream. Returns its bytes, with the correct length and crc, and the number of fields that can be altered.
/// Alters the field with the index `altered`.
pub fn write(stream: &Stream, altered: Option<usize>, random: &mut Random) -> (Vec<u8>, usize) {
    let mut writer = Writer { bytes: b"TMCK\x02\0\0\0\0".to_vec(), fields: 0, altered, random };
    writer.stream(stream);
    let Writer { mut bytes, fields, .. } = writer;
    bytes.extend([0; 4]);
    repair_length(&mut bytes);
    repair_crc(&mut bytes);
    (bytes, fields)
}

/// Replaces the length in the stream by its actual length.
pub fn repair_length(bytes: &mut [u8]) {
    let len = bytes.len() as u32;
    if let Some(place) = bytes.get_mut(5..9) {
        place.copy_from_slice(&len.to_le_bytes());
    }
}

/// Replaces the last four bytes by the crc of the bytes before them.
pub fn repair_crc(bytes: &mut [u8]) {
    if let Some((body, crc)) = bytes.split_last_chunk_mut::<4>() {
        *crc = crc32fast::hash(body).to_le_bytes();
    }
}

struct Writer<'a> {
    bytes: Vec<u8>,
    /// The number of fields that were written.
    fields: usize,
    altered: Option<usize>,
    random: &'a mut Random,
}

impl Writer<'_> {
    /// Counts a field. Returns whether it must be altered.
    fn is_altered(&mut self) -> bool {
        self.fields += 1;
        self.altered == Some(self.fields - 1)
    }

    /// Writes a number with at least `len` bytes.
    fn number(&mut self, mut value: u64, len: usize) {
        let start = self.bytes.len();
        loop {
            let more = value >= 0x80 || self.bytes.len() - start + 1 < len;
            self.bytes.push((value & 0x7F) as u8 | if more { 0x80 } else { 0 });
            value >>= 7;
            if !more {
                return;
            }
        }
    }

    fn varint(&mut self, value: u32) {
        if !self.is_altered() {
            return self.number(value.into(), 1);
        }
        let (value, len) = match self.random.below(12) {
            0 => (u64::from(value) + 1, 1),
            1 => (value.wrapping_sub(1).into(), 1),
            2 => (0, 1),
            3 => (u32::MAX.into(), 1),
            4 => (self.random.below(16) as u64, 1),
            5 => (*self.random.pick(&[6, 7, 10, 11, 32, 33, 127, 128, 255, 256]), 1),
            6..9 => (value.into(), 2 + self.random.below(4)),
            9 => (value.into(), 6),
            10 => (u64::from(value) | 1 << (32 + self.random.below(3)), 1),
            _ => (self.random.bits() >> (32 + self.random.below(32)), 1),
        };
        self.number(value, len);
    }

    /// Writes a number of one byte.
    fn byte(&mut self, value: u8) {
        let altered = self.is_altered();
        self.bytes.push(value);
        let Some(place) = self.bytes.last_mut().filter(|_| altered) else { return };
        *place = match self.random.below(6) {
            0 => value ^ 1,
            1 => value.wrapping_add(1),
            2 => *self.random.pick(&[0, 1, 2, 12, 13, 32, 33, 127, 128, 255]),
            3 => self.random.byte(),
            _ => value | 0x80, // a number of two bytes
        };
        if *place == value | 0x80 {
            self.bytes.push(0);
        }
    }

    fn float(&mut self, bits: u32) {
        const UNUSUAL: [f32; 5] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE];
        let bits = match self.is_altered() {
            false => bits,
            true if self.random.once_in(2) => self.random.pick(&UNUSUAL).to_bits(),
            true => *self.random.pick(&[0x7F80_0001, 0xFF80_0001, 0xFFC0_0000, 0x7FFF_FFFF, 0x0000_0001]),
        };
        self.bytes.extend(bits.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        if !self.is_altered() {
            return self.blob(text.as_bytes());
        }
        let mut changed = text.as_bytes().to_vec();
        match self.random.below(4) {
            0 => changed = self.random.pick(&UNUSUAL_NAMES).to_vec(),
            1 => changed.extend(*self.random.pick(&UNUSUAL_NAMES)),
            2 => changed.resize(254 + self.random.below(3), b'n'),
            _ => _ = changed.pop(),
        }
        self.blob(&changed);
    }

    /// Writes the length of `bytes` and the bytes. Not only the length can be altered, but also the bytes.
    fn blob(&mut self, bytes: &[u8]) {
        let mut changed = bytes.to_vec();
        if self.is_altered() {
            match self.random.below(3) {
                0 => changed.push(self.random.byte()),
                1 => _ = changed.pop(),
                _ => changed.iter_mut().for_each(|byte| *byte ^= 1),
            }
        }
        self.varint(changed.len() as u32);
        self.bytes.extend(changed);
    }

    fn flag(&mut self, value: bool) {
        self.byte(value.into());
    }

    fn count<T>(&mut self, list: &[T]) {
        self.varint(list.len() as u32);
    }

    fn stream(&mut self, stream: &Stream) {
        [stream.step, stream.sequence, stream.iteration].into_iter().for_each(|number| self.varint(number));
        self.flag(stream.score.is_some());
        stream.score.iter().for_each(|score| self.float(*score));
        self.flag(stream.score_name.is_some());
        stream.score_name.iter().for_each(|name| self.text(name));
        self.count(&stream.object_names);
        stream.object_names.iter().for_each(|name| self.text(name));
        self.count(&stream.extensions);
        stream.extensions.iter().for_each(|extension| self.extension(extension));
        self.flag(stream.run.is_some());
        stream.run.iter().for_each(|run| self.run(run));
        self.count(&stream.objects);
        stream.objects.iter().for_each(|object| self.object(object));
    }

    fn extension(&mut self, extension: &Extension) {
        self.varint(extension.id);
        self.flag(extension.required);
        // The data follows its length, so it is written to another buffer first.
        let before = std::mem::take(&mut self.bytes);
        match &extension.data {
            Data::Identity { run, series_name, rule, model, save_id } => {
                self.varint(*run);
                self.text(series_name);
                self.byte(*rule);
                self.varint(*model);
                self.varint(*save_id);
            }
            Data::Metadata(list) => {
                self.count(list);
                for (name, value) in list {
                    self.text(name);
                    self.blob(value);
                }
            }
            Data::Writer(version) => self.text(version),
            Data::Unknown(data) => self.bytes.extend(data),
        }
        let data = std::mem::replace(&mut self.bytes, before);
        self.blob(&data);
    }

    fn run(&mut self, run: &Run) {
        self.varint(run.phase);
        run.numbers.iter().for_each(|number| self.varint(*number));
        self.flag(run.max_epochs.is_some());
        run.max_epochs.iter().for_each(|number| self.varint(*number));
        self.flag(run.stop.is_some());
        if let Some((reason, number)) = run.stop {
            self.varint(reason);
            if reason == 5 {
                self.byte(number);
            }
        }
        self.flag(run.stop_epoch);
        self.byte(run.handlers.len() as u8);
        for (kind, tag, state) in &run.handlers {
            self.byte(*kind);
            self.bytes.extend(tag.to_le_bytes());
            self.byte(state.len() as u8);
            self.bytes.extend(state);
        }
    }

    fn object(&mut self, object: &Object) {
        self.text(&object.name);
        self.byte(matches!(object.content, Content::Value(..)).into());
        match &object.content {
            Content::StateDict(tensors) => {
                self.count(tensors);
                tensors.iter().for_each(|tensor| self.tensor(tensor));
            }
            Content::Value(_, bytes) => self.blob(bytes),
        }
    }

    fn tensor(&mut self, tensor: &Tensor) {
        self.text(&tensor.name);
        self.byte(tensor.element_type);
        self.count(&tensor.shape);
        tensor.shape.iter().for_each(|dimension| self.varint(*dimension));
        let size = SIZES.get(usize::from(tensor.element_type)).copied().unwrap_or(1);
        let mut data = tensor.data.clone();
        if self.is_altered() {
            match self.random.below(4) {
                0 => data.truncate(data.len().saturating_sub(size)),
                1 => data.resize(data.len() + size, 1),
                2 => _ = data.pop(),
                _ => data.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
            }
        }
        // The padding depends on the number of bytes of the length.
        let before = std::mem::take(&mut self.bytes);
        self.varint(data.len() as u32);
        let len = std::mem::replace(&mut self.bytes, before);
        let mut pad = vec![0; (self.bytes.len() + 1 + len.len()).wrapping_neg() % size];
        if self.is_altered() {
            match self.random.below(4) {
                0 => pad.resize(pad.len() + size, 0),
                1 => pad.push(0),
                2 => _ = pad.pop(),
                _ => pad.iter_mut().for_each(|byte| *byte = 1),
            }
        }
        self.byte(pad.len() as u8);
        self.bytes.extend(pad);
        self.bytes.extend(len);
        self.bytes.extend(data);
    }
}
