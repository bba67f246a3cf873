//! A second reader of checkpoint streams, written from FORMAT.md alone. It reads a stream from memory, validates every
//! field and keeps all content. It computes the CRC one bit at a time.

/// The `Checkpoint` structure of FORMAT.md, without the fields that a reader ignores.
#[derive(Clone, PartialEq, Debug)]
pub struct Checkpoint {
    /// Step, sequence and iteration.
    pub numbers: [u32; 3],
    /// The bits of the score. Bits make different NaNs distinguishable.
    pub score: Option<u32>,
    /// The name of the score.
    pub score_name: Option<String>,
    /// The names of all objects, if each object has a stream of its own.
    pub object_names: Vec<String>,
    /// The number of the run, the signature of the model, and the identity of the save.
    pub identity: [u32; 3],
    /// The name and the ranking rule of the series.
    pub series: (String, u8),
    /// The names and values of the metadata.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// The version of the writer.
    pub writer: Option<String>,
    /// Kind, tag and state of each handler in the run record, if the stream has one.
    pub run: Option<Vec<HandlerState>>,
    /// The tensors and values.
    pub items: Vec<Item>,
    /// The length of the stream in bytes.
    pub len: usize,
    /// The checksum of the stream.
    pub crc: u32,
}

/// The kind, the tag and the state of a handler.
pub type HandlerState = (u8, u16, Vec<u8>);

/// A tensor or a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// The name of the object.
    pub object: String,
    /// The name, the code of the element type, and the shape of the tensor; `None` for a value.
    pub tensor: Option<(String, u8, Vec<u32>)>,
    /// The bytes of the tensor elements or of the value.
    pub data: Vec<u8>,
}

/// Computes the checksum CRC-32/ISO-HDLC of `bytes`, one bit at a time.
pub fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// A position in a stream. Each function reads one field, or returns `None` if the field is invalid or truncated.
struct Cursor<'a> {
    stream: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.stream.get(self.position..self.position.checked_add(len)?)?;
        self.position += len;
        Some(bytes)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }
    fn number(&mut self, bits: u32) -> Option<u64> {
        let mut value = 0u128;
        for index in 0..bits.div_ceil(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                return u64::try_from(value).ok().filter(|value| bits == 64 || value >> bits == 0);
            }
        }
        None
    }
    fn word(&mut self) -> Option<u32> {
        self.number(32).map(|value| value as u32)
    }
    fn flag(&mut self) -> Option<bool> {
        self.byte().filter(|byte| *byte < 2).map(|byte| byte == 1)
    }
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut list = Vec::new();
        for _ in 0..self.word()? {
            list.push(read(self)?);
        }
        Some(list)
    }
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.word()?;
        self.take(len as usize)
    }
    fn text(&mut self) -> Option<String> {
        let text = String::from_utf8(self.bytes()?.to_vec()).ok()?;
        let is_valid = |character: char| !character.is_control() && !matches!(character, '/' | '\\');
        (text.len() <= 255 && text.chars().all(is_valid)).then_some(text)
    }
    fn name(&mut self) -> Option<String> {
        self.text().filter(|name| !name.is_empty())
    }
    /// The identifier and the data of an extension.
    fn extension(&mut self) -> Option<(u32, &'a [u8])> {
        let id = self.word()?;
        let is_required = self.flag()?;
        let data = self.bytes()?;
        // Version 2 has no required field.
        (!is_required || id <= 3).then_some((id, data))
    }
    fn float(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four")))
    }

    fn run(&mut self) -> Option<Vec<HandlerState>> {
        let _phase = self.word().filter(|phase| *phase <= 10)?;
        for _counter in 0..5 {
            self.word()?;
        }
        self.option(Cursor::word)?;
        self.option(|stop| match stop.word()? {
            0..=4 | 6..=10 => Some(()),
            5 => stop.byte().map(drop),
            _ => None,
        })?;
        self.flag()?;
        let count = self.byte().filter(|count| *count <= 32)?;
        let mut states = Vec::new();
        for _ in 0..count {
            let kind = self.byte()?;
            let tag = u16::from_le_bytes([self.byte()?, self.byte()?]);
            let len = self.byte().filter(|len| *len < 128)?;
            states.push((kind, tag, self.take(usize::from(len))?.to_vec()));
        }
        Some(states)
    }

    fn tensor(&mut self, object: &str) -> Option<Item> {
        let name = self.name()?;
        let code = self.byte()?;
        // f32, f64, f16, bf16, i8, u8, i16, u16, i32, u32, i64, u64, bool.
        let size = *[4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1].get(usize::from(code))?;
        let shape = self.list(Cursor::word)?;
        // Without elements, the product of the other dimensions has no limit.
        let bytes: u64 = match shape.contains(&0) {
            true => 0,
            false => shape.iter().try_fold(size, |product: u64, side| product.checked_mul(u64::from(*side)))?,
        };
        let pad = self.byte().filter(|len| u64::from(*len) < size)?;
        self.take(usize::from(pad))?.iter().all(|byte| *byte == 0).then_some(())?;
        let data = self.bytes()?;
        let start = (self.position - data.len()) as u64;
        let is_bool = code == 12;
        let is_valid = shape.len() <= 6
            && start.is_multiple_of(size)
            && bytes == data.len() as u64
            && !(is_bool && data.iter().any(|byte| *byte > 1));
        is_valid.then(|| Item { object: object.into(), tensor: Some((name, code, shape)), data: data.to_vec() })
    }
}

/// Reads the stream at the beginning of `bytes`. Returns `None` if there is no complete valid stream.
pub fn read(bytes: &[u8]) -> Option<Checkpoint> {
    let mut cursor = Cursor { stream: bytes, position: 0 };
    if cursor.take(5)? != b"TMCK\x02" {
        return None;
    }
    let len = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?);
    let numbers = [cursor.word()?, cursor.word()?, cursor.word()?];
    let score = cursor.option(Cursor::float)?;
    let score_name = cursor.option(Cursor::name)?;
    let object_names = cursor.list(Cursor::name)?;
    let (mut identity, mut series, mut last) = ([0; 3], (String::new(), 0), 0);
    let (mut metadata, mut writer) = (Vec::<(String, Vec<u8>)>::new(), None);
    for (id, data) in cursor.list(Cursor::extension)? {
        let mut data = Cursor { stream: data, position: 0 };
        match id {
            1 => {
                identity[0] = data.word()?;
                series = (data.text()?, data.byte().filter(|rule| *rule < 2)?);
                identity[1] = data.word()?;
                identity[2] = data.word()?;
            }
            2 => metadata = data.list(|data| Some((data.name()?, data.bytes()?.to_vec())))?,
            3 => writer = Some(data.text()?),
            _ => data.position = data.stream.len(),
        }
        if id <= last || data.position != data.stream.len() {
            return None;
        }
        last = id;
    }
    let is_ascending = metadata.is_sorted_by(|(a, _), (b, _)| a < b);
    if score.is_some_and(|score| f32::from_bits(score).is_nan()) || !is_ascending {
        return None;
    }
    let run = cursor.option(Cursor::run)?;
    let mut items = Vec::new();
    let objects = cursor.word().filter(|count| if object_names.is_empty() { *count > 0 } else { *count == 1 })?;
    for _ in 0..objects {
        let object = cursor.name()?;
        match cursor.byte()? {
            0 => items.extend(cursor.list(|cursor| cursor.tensor(&object))?),
            1 => items.push(Item { data: cursor.bytes()?.to_vec(), tensor: None, object }),
            _ => return None,
        }
    }
    let crc = crc32(&bytes[..cursor.position]);
    let is_intact = cursor.float()? == crc && cursor.position == len as usize;
    is_intact.then_some(Checkpoint {
        numbers,
        score,
        score_name,
        object_names,
        identity,
        series,
        metadata,
        writer,
        run,
        items,
        len: cursor.position,
        crc,
    })
}
