//! Tests with readers and writers that are interrupted: every second call returns `ErrorKind::Interrupted`, which is no
//! failure. The encoder and the decoder repeat the call.

#[path = "common/streams.rs"]
mod streams;

use streams::encode;
use training_monitor::checkpoint::{self, Contents, Crc32, DecodeError, EncodeError, Loader, Named};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};

const CONTENTS: Contents<'static> = Contents::new(3);

/// A medium that is interrupted at every second call. A call transfers at most 7 bytes.
struct Interrupted {
    bytes: Vec<u8>,
    position: usize,
    calls: usize,
    /// The calls from this one on return another error.
    fails_at: usize,
    flushes: usize,
}

impl Interrupted {
    fn new(bytes: Vec<u8>) -> Self {
        Interrupted { bytes, position: 0, calls: 0, fails_at: usize::MAX, flushes: 0 }
    }

    fn call(&mut self) -> Result<(), ErrorKind> {
        self.calls += 1;
        match self.calls {
            call if call >= self.fails_at => Err(ErrorKind::TimedOut),
            call if call % 2 == 1 => Err(ErrorKind::Interrupted),
            _ => Ok(()),
        }
    }
}

impl ErrorType for Interrupted {
    type Error = ErrorKind;
}

impl Write for Interrupted {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.call()?;
        let len = bytes.len().min(7);
        self.bytes.extend_from_slice(&bytes[..len]);
        Ok(len)
    }
    fn flush(&mut self) -> Result<(), ErrorKind> {
        self.call()?;
        self.flushes += 1;
        Ok(())
    }
}

impl Read for Interrupted {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        self.call()?;
        let rest = &self.bytes[self.position..];
        let len = into.len().min(7).min(rest.len());
        into[..len].copy_from_slice(&rest[..len]);
        self.position += len;
        Ok(len)
    }
}

fn model() -> Named<'static, [f32; 40]> {
    Named::new("model", std::array::from_fn(|index| index as f32))
}

#[test]
fn the_encoder_repeats_an_interrupted_write() {
    let expected = encode(&CONTENTS, &mut model());
    let mut writer = Interrupted::new(Vec::new());
    let encoded = checkpoint::encode(&mut writer, &CONTENTS, &mut model()).unwrap();
    assert_eq!((writer.bytes, encoded.len as usize, writer.flushes), (expected.clone(), expected.len(), 1));
    // Another error is not repeated, even if it follows an interruption.
    for fails_at in [1, 2, 3, 10] {
        let mut writer = Interrupted { fails_at, ..Interrupted::new(Vec::new()) };
        let error = checkpoint::encode(&mut writer, &CONTENTS, &mut model());
        assert_eq!((error, writer.calls), (Err(EncodeError::Io(ErrorKind::TimedOut)), fails_at));
    }
}

#[test]
fn the_decoder_repeats_an_interrupted_read() {
    let bytes = encode(&CONTENTS, &mut model());
    let (mut loaded, mut scratch) = (Named::new("model", [0.0; 40]), [0; 64]);
    let mut loader = Loader::new(&mut loaded, &mut scratch);
    let info = loader.verify::<Crc32, _>(&mut Interrupted::new(bytes.clone()), None).unwrap();
    loader.check_complete::<()>().unwrap();
    assert_eq!(loader.load::<Crc32, _>(&mut Interrupted::new(bytes.clone())), Ok(info));
    assert_eq!(loaded.object, model().object);
    let inspected = checkpoint::inspect(&mut Interrupted::new(bytes.clone()), &mut [0; 16], &mut ());
    assert_eq!(inspected, Ok(info));

    // The end of the stream and another error are reported, even if they follow an interruption.
    let truncated = bytes[..bytes.len() - 1].to_vec();
    let error = checkpoint::inspect(&mut Interrupted::new(truncated), &mut [0; 16], &mut ());
    assert_eq!(error, Err(DecodeError::Truncated));
    for fails_at in [1, 2, 3, 10] {
        let mut reader = Interrupted { fails_at, ..Interrupted::new(bytes.clone()) };
        let error = checkpoint::inspect(&mut reader, &mut [0; 16], &mut ());
        assert_eq!((error, reader.calls), (Err(DecodeError::Io(ErrorKind::TimedOut)), fails_at));
    }
}
