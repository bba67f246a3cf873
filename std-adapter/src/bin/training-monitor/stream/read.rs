//! Reads a stream from bytes.

use super::{Content, LargeRecord, Object, Stream, StreamHeader, Tensor};
use std::convert::Infallible;
use training_monitor::checkpoint::{self, Info, Inspect, Loader, ObjectVisitor, Objects, RankingRule};
use training_monitor::run_record::RunRecord;
use training_monitor_std::{Crc32Fast, InspectError, inspect};

impl Stream {
    /// Reads a stream and checks every rule of the format. Returns an error if other bytes follow the stream.
    pub fn read(bytes: &[u8]) -> Result<Stream, InspectError<Infallible>> {
        let mut stream = Stream { header: StreamHeader::default(), object_names: vec![], objects: vec![] };
        let mut scratch = [0; 8192];
        let info = inspect(&mut &*bytes, &mut scratch, &mut stream)?;
        let Info { step, sequence, iteration, score, run, series, save_id, .. } = info;
        let header = stream.header;
        let model = series.model;
        stream.header = StreamHeader { step, sequence, iteration, score, run, model, save_id, ..header };
        if info.has_run {
            // `Inspect` only lends the record. A second pass reads it into a record that the stream owns.
            let mut record = Box::new(LargeRecord::with_capacity());
            let record_only: &mut RunRecord<[u8]> = &mut *record;
            Loader::new(&mut NoObjects, &mut scratch).verify::<Crc32Fast, _>(&mut &*bytes, Some(record_only))?;
            stream.header.record = Some(record);
        }
        Ok(stream)
    }
}

/// Collects the parts of a stream.
impl Inspect for Stream {
    fn score_name(&mut self, name: &str) {
        self.header.score_name = Some(name.to_owned());
    }

    fn series(&mut self, name: &str, rule: RankingRule) {
        (self.header.series_name, self.header.rule) = (name.to_owned(), rule);
    }

    fn writer(&mut self, version: &str) {
        self.header.writer = Some(version.to_owned());
    }

    fn metadata(&mut self, name: &str, _: u32) {
        self.header.metadata.push((name.to_owned(), vec![]));
    }

    fn object_name(&mut self, name: &str) {
        self.object_names.push(name.to_owned());
    }

    fn state_dict(&mut self, object: &str, _: u32) {
        self.objects.push(Object { name: object.to_owned(), content: Content::Tensors(vec![]) });
    }

    fn tensor(&mut self, tensor: checkpoint::Tensor<'_>) {
        let checkpoint::Tensor { name, element_type, shape, .. } = tensor;
        if let Some(Object { content: Content::Tensors(tensors), .. }) = self.objects.last_mut() {
            tensors.push(Tensor { name: name.to_owned(), element_type, shape: shape.to_vec(), bytes: vec![] });
        }
    }

    fn value(&mut self, object: &str, _: u32) {
        self.objects.push(Object { name: object.to_owned(), content: Content::Value(vec![]) });
    }

    fn payload(&mut self, bytes: &[u8]) {
        let target = match self.objects.last_mut().map(|object| &mut object.content) {
            // The metadata come before the first object.
            None => self.header.metadata.last_mut().map(|(_, value)| value),
            Some(Content::Value(value)) => Some(value),
            Some(Content::Tensors(tensors)) => tensors.last_mut().map(|tensor| &mut tensor.bytes),
        };
        target.into_iter().for_each(|target| target.extend_from_slice(bytes));
    }
}

/// A model without objects, for reading only the run record of a stream.
struct NoObjects;

impl Objects for NoObjects {
    fn objects<V: ObjectVisitor>(&mut self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
}
