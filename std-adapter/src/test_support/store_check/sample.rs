//! The checkpoints that the check saves. They are real checkpoints, because a store may verify its streams.

use crate::Crc32Fast;
use crate::test_support::random::Random;
use core::convert::Infallible;
use training_monitor::checkpoint::{
    self, Contents, Encoded, Header, ObjectVisitor, Objects, RankingRule, Series, model_signature,
};
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor::store::{CheckpointMeta, StreamSpec};

/// The series of a sample.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleSeries {
    Main,
    /// Another name and another rule.
    OtherName,
    /// The same name and the same rule, but another model.
    OtherModel,
}

/// The model in a sample. It has two objects, so that a store with one stream per object has two streams.
struct SampleModel {
    weights: [f32; 3],
    /// Gives the checkpoint any length.
    filler: Vec<u8>,
    other_model: bool,
}

impl Objects for SampleModel {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict(if self.other_model { "other" } else { "weights" }, &mut self.weights)?;
        visitor.value("filler", &mut self.filler)
    }
}

/// A stream of a sample.
pub(super) struct SampleStream {
    object: Option<&'static str>,
    pub bytes: Vec<u8>,
    pub encoded: Encoded,
}

/// A checkpoint that the check saves.
pub(super) struct Sample {
    header: Header<'static>,
    pub streams: Vec<SampleStream>,
}

/// A writer that appends to a vector.
struct VecWriter(Vec<u8>);

impl ErrorType for VecWriter {
    type Error = Infallible;
}

impl Write for VecWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Sample {
    /// Creates a sample whose filler has `filler` bytes. Returns `None` if the checkpoint cannot be encoded.
    pub fn new(
        sequence: u32,
        step: u32,
        series: SampleSeries,
        filler: usize,
        stream_per_object: bool,
    ) -> Option<Sample> {
        let mut random = Random::new(u64::from(sequence));
        let mut model = SampleModel {
            weights: [0.0; 3].map(|_: f32| random.byte().into()),
            filler: (0..filler).map(|_| random.byte()).collect(),
            other_model: series == SampleSeries::OtherModel,
        };
        let is_other = series == SampleSeries::OtherName;
        let (name, rule) = if is_other { ("other", RankingRule::Best) } else { ("", RankingRule::Latest) };
        let header = Header {
            step,
            sequence,
            iteration: 7 * step,
            // Scores of both signs, and no score.
            score: (!step.is_multiple_of(3)).then_some(10.5 - step as f32),
            score_name: is_other.then_some("accuracy"),
            run: sequence / 2,
            series: Series { name, rule, model: model_signature(&mut model).unwrap_or(0) },
            save_id: if stream_per_object { sequence.wrapping_mul(0x9E37_79B9) | 1 } else { 0 },
        };
        let first = if model.other_model { "other" } else { "weights" };
        let objects: &[Option<&'static str>] = if stream_per_object { &[Some(first), Some("filler")] } else { &[None] };
        let streams: Option<Vec<SampleStream>> =
            objects.iter().map(|object| SampleStream::new(header, *object, &mut model)).collect();
        Some(Sample { header, streams: streams? })
    }

    /// Creates a sample whose last stream has `len` bytes, or as few bytes less as possible.
    pub fn with_len(sequence: u32, step: u32, len: usize, stream_per_object: bool) -> Option<Sample> {
        let make = |filler| Sample::new(sequence, step, SampleSeries::Main, filler, stream_per_object);
        let minimum = make(0)?.last_len();
        let mut filler = len.checked_sub(minimum)?;
        loop {
            let sample = make(filler)?;
            if sample.last_len() <= len {
                return Some(sample);
            }
            filler = filler.checked_sub(sample.last_len() - len)?;
        }
    }

    fn last_len(&self) -> usize {
        self.streams.last().map_or(0, |stream| stream.bytes.len())
    }

    pub fn header(&self) -> &Header<'static> {
        &self.header
    }

    pub fn meta(&self) -> CheckpointMeta {
        CheckpointMeta::from(&self.header)
    }

    pub fn sequence(&self) -> u32 {
        self.header.sequence
    }

    pub fn stream_count(&self) -> u32 {
        self.streams.len() as u32
    }

    /// Returns the description of the stream with the index `index`.
    pub fn spec(&self, index: usize) -> StreamSpec<'_> {
        let stream = self.streams.get(index);
        StreamSpec {
            header: self.header,
            object: stream.and_then(|stream| stream.object),
            stream_index: index as u32,
            stream_count: self.stream_count(),
            len: stream.map_or(0, |stream| stream.encoded.len),
        }
    }

    /// Returns the length and the checksum of the last stream.
    pub fn last(&self) -> Encoded {
        self.streams.last().map_or(Encoded { len: 0, crc: 0 }, |stream| stream.encoded)
    }
}

impl SampleStream {
    fn new(header: Header<'static>, object: Option<&'static str>, model: &mut SampleModel) -> Option<SampleStream> {
        let contents = Contents { header, single_object: object, ..Contents::new(header.step) };
        let mut writer = VecWriter(Vec::new());
        let encoded = checkpoint::encode_with::<Crc32Fast, _, _>(&mut writer, &contents, model).ok()?;
        Some(SampleStream { object, bytes: writer.0, encoded })
    }
}
