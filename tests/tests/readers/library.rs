//! The verdict of the library on a file, and the content that it reads.

use std::fmt::Write;
use training_monitor::StopReason;
use training_monitor::checkpoint::{DecodeError, Inspect, RankingRule, Tensor};
use training_monitor::run_record::RunRecord;
use training_monitor_std::{InspectError, inspect};

/// Returns the line that the two readers must print for a file with these bytes.
pub fn verdict(bytes: &[u8]) -> String {
    let (mut rest, mut content) = (bytes, Content::default());
    let result = inspect(&mut rest, &mut [0; 512], &mut content);
    content.end_payload();
    match result {
        Err(InspectError::Decode(DecodeError::Newer)) => "newer".into(),
        Err(InspectError::Decode(DecodeError::Version { .. })) => "unsupported version".into(),
        Err(InspectError::Decode(error @ (DecodeError::Io(_) | DecodeError::NameTooLong))) => panic!("{error}"),
        Err(_) => "invalid".into(),
        Ok(info) => {
            assert_eq!(content.object_names.len(), info.object_count as usize);
            assert_eq!((content.run.is_some(), info.len as usize), (info.has_run, bytes.len()));
            let score = info.score.map(|score| format!("{:08x}", score.to_bits()));
            format!(
                "valid step={} sequence={} iteration={} score={} score_name={} object_names={}{} run_number={} \
                 series={} rule={} model={} save_id={} writer={} run={}{}",
                info.step,
                info.sequence,
                info.iteration,
                score.as_deref().unwrap_or("-"),
                content.score_name.as_deref().unwrap_or("-"),
                content.object_names.join(","),
                content.metadata,
                info.run,
                content.series_name,
                content.rule,
                info.series.model,
                info.save_id,
                content.writer,
                content.run.as_deref().unwrap_or("-"),
                content.objects,
            )
        }
    }
}

/// The content of a stream in the text form of the readers.
#[derive(Default)]
struct Content {
    score_name: Option<String>,
    object_names: Vec<String>,
    metadata: String,
    series_name: String,
    rule: u8,
    writer: String,
    run: Option<String>,
    objects: String,
    payload: Payload,
}

/// The bytes that are being received.
#[derive(Default)]
enum Payload {
    #[default]
    None,
    Metadata,
    Tensor(Vec<u8>),
    Value(Vec<u8>),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

impl Content {
    /// Appends the checksum of the last tensor or value.
    fn end_payload(&mut self) {
        let text = match std::mem::take(&mut self.payload) {
            Payload::Tensor(bytes) => format!(",{:08x}", crc32fast::hash(&bytes)),
            Payload::Value(bytes) => format!(" value={},{:08x}", bytes.len(), crc32fast::hash(&bytes)),
            Payload::None | Payload::Metadata => return,
        };
        self.objects += &text;
    }

    fn start_object(&mut self, name: &str) {
        self.end_payload();
        self.objects += &format!(" object={}", hex(name.as_bytes()));
    }
}

impl Inspect for Content {
    fn score_name(&mut self, name: &str) {
        self.score_name = Some(hex(name.as_bytes()));
    }
    fn object_name(&mut self, name: &str) {
        self.object_names.push(hex(name.as_bytes()));
    }
    fn series(&mut self, name: &str, rule: RankingRule) {
        (self.series_name, self.rule) = (hex(name.as_bytes()), rule as u8);
    }
    fn writer(&mut self, version: &str) {
        self.writer = hex(version.as_bytes());
    }
    fn metadata(&mut self, name: &str, _: u32) {
        self.payload = Payload::Metadata;
        self.metadata += &format!(" metadata={}:", hex(name.as_bytes()));
    }
    fn run(&mut self, record: &RunRecord<[u8]>) {
        let engine = record.engine;
        let stop = engine.stop.map(|stop| match stop {
            StopReason::MaxEpochs => "0".into(),
            StopReason::EarlyStopping => "1".into(),
            StopReason::NonFinite => "2".into(),
            StopReason::SaveFailed => "3".into(),
            StopReason::StepFailed => "4".into(),
            StopReason::User(number) => format!("5:{number}"),
            StopReason::TimeLimit => "6".into(),
            StopReason::TargetReached => "7".into(),
            StopReason::Diverged => "8".into(),
            StopReason::Interrupted => "9".into(),
            StopReason::Spike => "10".into(),
            other => panic!("{other:?} has no code in FORMAT.md"),
        });
        let max_epochs = engine.max_epochs.map(|number| number.to_string());
        let mut text = format!(
            "{},{},{},{},{},{},{},{},{}",
            engine.phase as u8,
            engine.epoch,
            engine.iteration,
            engine.offset,
            engine.data_offset,
            engine.epoch_length,
            max_epochs.as_deref().unwrap_or("-"),
            stop.as_deref().unwrap_or("-"),
            u8::from(engine.stop_epoch),
        );
        for (kind, tag, state) in record.handlers() {
            write!(text, " handler={},{tag},{}", kind.code(), hex(state)).expect("a string accepts every text");
        }
        self.run = Some(text);
    }
    fn state_dict(&mut self, object: &str, _: u32) {
        self.start_object(object);
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        self.end_payload();
        let shape: Vec<_> = tensor.shape.iter().map(u32::to_string).collect();
        let (name, element_type) = (hex(tensor.name.as_bytes()), tensor.element_type as u8);
        self.objects += &format!(" tensor={name},{element_type},{}", shape.join("x"));
        self.payload = Payload::Tensor(Vec::new());
    }
    fn value(&mut self, object: &str, _: u32) {
        self.start_object(object);
        self.payload = Payload::Value(Vec::new());
    }
    fn payload(&mut self, bytes: &[u8]) {
        match &mut self.payload {
            Payload::Metadata => self.metadata += &hex(bytes),
            Payload::Tensor(payload) | Payload::Value(payload) => payload.extend(bytes),
            Payload::None => panic!("bytes without an owner"),
        }
    }
}
