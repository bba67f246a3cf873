//! Decodes a checkpoint and passes its parts to a receiver. FORMAT.md specifies the structure of a checkpoint.

use super::input::{Input, Name};
use super::source::ChecksummedReader;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::format::{IDENTITY, Info, MAGIC, METADATA, RankingRule, VERSION, WRITER};
use crate::checkpoint::names::element_count;
use crate::checkpoint::{Checksum, ElementType, MAX_RANK};
use crate::hash::Hash;
use embedded_io::Read;

/// A receiver for the parts of a checkpoint stream, such as its run record and its tensors.
pub(super) trait Sink {
    /// Receives the name of the score.
    fn score_name(&mut self, name: &Name) {
        let _ = name;
    }
    /// Receives the name of an object. This method is called for every object of the checkpoint, but only if each
    /// object has its own stream.
    fn object_name(&mut self, name: &Name) {
        let _ = name;
    }
    /// Receives the name and the ranking rule of the series.
    fn series(&mut self, name: &Name, rule: RankingRule) {
        let _ = (name, rule);
    }
    /// Reads the run record (the saved state of the engine and the handlers) from `input`. `number` is the number of
    /// the run.
    fn run(&mut self, input: &mut Input<'_>, number: u32);
    /// Receives the version of the writer.
    fn writer(&mut self, version: &Name) {
        let _ = version;
    }
    /// Reads exactly `len` bytes, the value of the metadata `name`.
    fn metadata(&mut self, input: &mut Input<'_>, name: &Name, len: u32) {
        let _ = name;
        input.skip(len);
    }
    /// Receives the name of a state dict (a list of tensors) and the number of its tensors.
    fn state_dict(&mut self, object: &Name, tensors: u32) {
        let _ = (object, tensors);
    }
    /// Reads exactly `bytes` bytes, the payload of a tensor.
    fn tensor(&mut self, input: &mut Input<'_>, tensor: TensorHeader<'_>, bytes: u32);
    /// Reads exactly `len` bytes, the payload of a value.
    fn value(&mut self, input: &mut Input<'_>, object: &Name, len: u32);
}

/// The description of a tensor in a stream.
#[derive(Clone, Copy)]
pub(super) struct TensorHeader<'a> {
    pub object: &'a Name,
    pub name: &'a Name,
    pub element_type: ElementType,
    pub shape: &'a [u32],
}

/// Decodes a stream from a reader, and stores its properties in `info`.
pub(super) fn decode_from<C: Checksum, R: Read, S: Sink>(
    reader: &mut R,
    sink: &mut S,
    info: &mut Info,
) -> Result<(), DecodeError<R::Error>> {
    let mut source = ChecksummedReader { reader, crc: C::default(), error: None };
    let mut input = Input::new(&mut source);
    decode(&mut input, sink, info);
    match &input.failure {
        None => Ok(()),
        Some(failure) => Err(failure.with_io(source.error)),
    }
}

/// Decodes a whole stream and passes its parts to `sink`.
pub(super) fn decode<S: Sink>(input: &mut Input<'_>, sink: &mut S, info: &mut Info) {
    *info = Info::default();
    let mut magic = [0; 4];
    input.read_exact(&mut magic);
    if magic != MAGIC {
        input.fail(DecodeError::NotACheckpoint);
    }
    let found = input.read_u8();
    if found != VERSION {
        input.fail(DecodeError::Version { found });
    }
    let (mut object, mut name) = (Name::default(), Name::default());
    input.read_length();
    info.step = input.read_u32();
    info.sequence = input.read_u32();
    info.iteration = input.read_u32();
    info.score = if input.read_bool() { Some(input.read_f32()) } else { None };
    if info.score.is_some_and(f32::is_nan) {
        input.fail_malformed();
    }
    name.len = 0;
    if input.read_bool() {
        input.read_name(&mut name);
        if !input.has_failed() {
            sink.score_name(&name);
        }
    }
    // The hash of the score name is complete once the series is known.
    let score_name = Hash::NEW.bytes(name.bytes());
    info.object_count = input.read_u32();
    let mut names = info.object_count;
    while names > 0 && !input.has_failed() {
        input.read_name(&mut name);
        if !input.has_failed() {
            sink.object_name(&name);
        }
        names -= 1;
    }
    decode_extensions(input, sink, info, (&mut name, &mut object), score_name);
    info.has_run = input.read_bool();
    if info.has_run {
        sink.run(input, info.run);
    }
    let mut objects = input.read_u32();
    // A stream contains either all objects, or one of the listed objects.
    if objects == 0 || (info.object_count > 0 && objects != 1) {
        input.fail_malformed();
    }
    while objects > 0 && !input.has_failed() {
        objects -= 1;
        input.read_name(&mut object);
        // In the stream, 1 stands for a value (an object that is saved as a whole), and 0 stands for a state dict (a
        // list of tensors).
        let is_value = input.read_bool();
        let mut count = input.read_u32();
        if is_value {
            let start = input.position;
            if !input.has_failed() {
                sink.value(input, &object, count);
            }
            if input.position.wrapping_sub(start) != count {
                input.fail_malformed();
            }
            continue;
        }
        if !input.has_failed() {
            sink.state_dict(&object, count);
        }
        while count > 0 && !input.has_failed() {
            count -= 1;
            decode_tensor(input, sink, &object, &mut name);
        }
    }
    info.crc = input.checksum();
    let crc = input.read_checksum();
    info.len = input.position;
    if crc != info.crc {
        input.fail(DecodeError::Checksum);
    }
}

/// Decodes the list of extension fields. Skips the fields that this version does not know. `name` and `text` are buffers.
/// `score_name` is the hash of the score name.
fn decode_extensions<S: Sink>(
    input: &mut Input<'_>,
    sink: &mut S,
    info: &mut Info,
    (name, text): (&mut Name, &mut Name),
    score_name: Hash,
) {
    let mut count = input.read_u32();
    let mut previous = 0;
    name.len = 0;
    let mut rule = 0;
    while count > 0 && !input.has_failed() {
        count -= 1;
        let id = input.read_u32();
        if id <= previous {
            input.fail_malformed(); // the identifiers are in ascending order, so none occurs twice
        }
        previous = id;
        if input.read_bool() && id > u32::from(WRITER) {
            input.fail_newer();
        }
        let len = input.read_u32();
        input.start_field(len);
        if id == u32::from(IDENTITY) {
            info.run = input.read_u32();
            input.read_text(name);
            rule = input.read_u8();
            if rule > 1 {
                input.fail_newer();
            }
            info.series.model = input.read_u32();
            info.save_id = input.read_u32();
        } else if id == u32::from(METADATA) {
            decode_metadata(input, sink, text);
        } else if id == u32::from(WRITER) {
            input.read_text(text);
            if !input.has_failed() {
                sink.writer(text);
            }
        } else {
            input.skip(len);
        }
        input.end_field();
    }
    info.series.rule = score_name.bytes(&[0, rule]).bytes(name.bytes()).value();
    if !input.has_failed() {
        sink.series(name, if rule == 0 { RankingRule::Latest } else { RankingRule::Best });
    }
}

/// Decodes the named strings or bytes that the program added. `name` is a buffer.
#[inline(never)] // Keeps the second name off the stack of the caller.
fn decode_metadata<S: Sink>(input: &mut Input<'_>, sink: &mut S, name: &mut Name) {
    let mut previous = Name::default();
    let mut count = input.read_u32();
    while count > 0 && !input.has_failed() {
        count -= 1;
        input.read_name(name);
        if name.bytes() <= previous.bytes() {
            input.fail_malformed(); // the names are in ascending order, so none occurs twice
        }
        let len = input.read_u32();
        let start = input.position;
        if !input.has_failed() {
            sink.metadata(input, name, len);
        }
        if input.position.wrapping_sub(start) != len {
            input.fail_malformed();
        }
        core::mem::swap(name, &mut previous);
    }
}

fn decode_tensor<S: Sink>(input: &mut Input<'_>, sink: &mut S, object: &Name, name: &mut Name) {
    input.read_name(name);
    let code = input.read_u8();
    let Some(element_type) = ElementType::ALL.get(usize::from(code)).copied() else {
        return input.fail_newer();
    };
    let size = element_type.size();
    let rank = input.read_u32() as usize;
    let mut shape = [0; MAX_RANK];
    let Some(shape) = shape.get_mut(..rank) else { return input.fail_malformed() };
    shape.iter_mut().for_each(|side| *side = input.read_u32());
    let pad = usize::from(input.read_u8());
    match [0; 7].get_mut(..pad).filter(|pad| pad.len() < size as usize) {
        Some(pad) => {
            input.read_exact(pad);
            if pad.iter().any(|byte| *byte != 0) {
                input.fail_malformed();
            }
        }
        None => input.fail_malformed(),
    }
    let bytes = input.read_u32();
    let expected = element_count(shape).and_then(|count| count.checked_mul(size));
    if expected != Some(bytes) || !input.position.is_multiple_of(size) {
        input.fail_malformed();
    }
    if !input.has_failed() {
        input.only_bools = element_type == ElementType::Bool;
        sink.tensor(input, TensorHeader { object, name, element_type, shape }, bytes);
        input.only_bools = false;
    }
}
