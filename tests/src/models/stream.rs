//! A reader of checkpoints written from FORMAT.md alone: takes a whole stream in memory, believes nothing, and keeps
//! everything it sees. The CRC is computed a bit at a time.

/// What FORMAT.md calls a Checkpoint, as far as a reader is held to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Checkpoint {
    /// Step, sequence and iteration.
    pub numbers: [u32; 3],
    /// Bits of the score: a NaN is told apart from others.
    pub score: Option<u32>,
    /// What the score is called.
    pub score_name: Option<String>,
    /// Names of all objects.
    pub set: Vec<String>,
    /// Whether it has a run, and the states of its handlers.
    pub run: Option<Vec<(u8, Vec<u8>)>>,
    /// What it holds.
    pub objects: Vec<Object>,
    /// Bytes of the stream.
    pub len: usize,
    /// Its checksum.
    pub crc: u32,
}

/// A tensor or a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Of the object.
    pub name: String,
    /// Of the tensor, with its shape; `None` for a value.
    pub tensor: Option<(String, Vec<u32>)>,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// CRC-32/ISO-HDLC.
pub fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// Reads from the front.
struct Cursor<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.all.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
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
        let mut all = Vec::new();
        for _ in 0..self.word()? {
            all.push(read(self)?);
        }
        Some(all)
    }
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.word()?;
        self.take(len as usize)
    }
    fn text(&mut self) -> Option<String> {
        let bytes = self.bytes()?;
        (bytes.len() <= 32).then(|| String::from_utf8(bytes.to_vec()).ok()).flatten()
    }
    fn float(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four")))
    }

    fn run(&mut self) -> Option<Vec<(u8, Vec<u8>)>> {
        let _after = self.word().filter(|after| *after <= 10)?;
        for _counter in 0..5 {
            self.word()?;
        }
        self.option(Cursor::word)?;
        self.option(|stop| match stop.word()? {
            0..=4 => Some(()),
            5 => stop.byte().map(drop),
            _ => None,
        })?;
        self.flag()?;
        let count = self.byte().filter(|count| *count < 128)?;
        let mut states = Vec::new();
        for _ in 0..count {
            let kind = self.byte()?;
            let len = self.byte().filter(|len| *len < 128)?;
            states.push((kind, self.take(usize::from(len))?.to_vec()));
        }
        Some(states)
    }

    fn tensor(&mut self, object: &str) -> Option<Object> {
        let name = self.text()?;
        let shape = self.list(Cursor::word)?;
        let elements = shape.iter().try_fold(1u32, |product, side| product.checked_mul(*side))?;
        let pad = self.byte().filter(|len| *len <= 3)?;
        self.take(usize::from(pad))?;
        let data = self.bytes()?;
        let start = self.at - data.len();
        let right =
            shape.len() <= 6 && start.is_multiple_of(4) && elements.checked_mul(4) == u32::try_from(data.len()).ok();
        right.then(|| Object { name: object.into(), tensor: Some((name, shape)), data: data.to_vec() })
    }
}

/// Reads the stream at the beginning of `bytes`; `None` when there is none that is whole.
pub fn read(bytes: &[u8]) -> Option<Checkpoint> {
    let mut from = Cursor { all: bytes, at: 0 };
    if from.take(5)? != b"TMCK\x01" {
        return None;
    }
    let numbers = [from.word()?, from.word()?, from.word()?];
    let score = from.option(Cursor::float)?;
    let score_name = from.option(Cursor::text)?;
    let set = from.list(Cursor::text)?;
    let run = from.option(Cursor::run)?;
    let mut objects = Vec::new();
    for _ in 0..from.word()? {
        let name = from.text()?;
        match from.byte()? {
            0 => objects.extend(from.list(|tensor| tensor.tensor(&name))?),
            1 => objects.push(Object { data: from.bytes()?.to_vec(), tensor: None, name }),
            _ => return None,
        }
    }
    let crc = crc32(&bytes[..from.at]);
    let right = from.float()? == crc;
    right.then_some(Checkpoint { numbers, score, score_name, set, run, objects, len: from.at, crc })
}
