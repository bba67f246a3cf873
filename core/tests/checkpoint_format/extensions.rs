//! Tests of the extension fields, of values that only a newer version writes, and of the hashes that identify a series.
//! The expected bytes and hashes are computed here, from FORMAT.md alone.

use super::{contents, format_md};
use crate::model::Model;
use crate::streams::{encode, with_correct_crc};
use training_monitor::checkpoint::{
    self, Contents, DecodeError, EncodeError, Header, Info, Inspect, Named, RankingRule, Series, SeriesId,
    model_signature,
};
use training_monitor::engine::Phase;
use training_monitor::run_record::RunRecord;
use training_monitor::{Objects, StateDict, StopReason};

const VALUES: [f32; 3] = [1.0, 2.0, 3.0];

/// The number of bytes before the list of extensions, if there is no score and no name.
const START: usize = 15;

/// The list of extensions of a checkpoint that was saved without an engine: two optional fields. The field 1 has 5
/// bytes: the number of the run, the name of the series, its rule, its model and the identity of the save. The field 3
/// is the version of the crate.
const DEFAULT_LIST: &[u8] = &[2, 1, 0, 5, 0, 0, 0, 0, 0, 3, 0, 6, 5, b'0', b'.', b'1', b'.', b'0'];

/// Returns a checkpoint without score, names and run record.
fn bare() -> Vec<u8> {
    encode(&contents(Header::default()), &mut Named::new("m", VALUES))
}

/// Returns the checkpoint of [`bare`] with these extensions.
fn with_extensions(list: &[u8]) -> Vec<u8> {
    let mut bytes = [b"TMCK\x02\0\0\0\0\0\0\0\0\0\0", list, b"\0\x01\x01m\0\x01\x04data\0\x01\x03"].concat();
    // The length of the padding takes one byte, and so does the length of the data.
    let pad = (bytes.len() + 2).wrapping_neg() % 4;
    bytes.push(pad as u8);
    bytes.extend(vec![0; pad]);
    bytes.push(12);
    bytes.extend(VALUES.iter().flat_map(|value| value.to_le_bytes()));
    with_correct_crc([bytes, vec![0; 4]].concat())
}

#[test]
fn the_default_fields_are_the_identity_and_the_version() {
    assert_eq!(with_extensions(DEFAULT_LIST), bare());
}

/// A visitor that keeps the metadata and the version of the writer.
#[derive(Default)]
struct MetadataVisitor {
    writer: String,
    metadata: Vec<(String, Vec<u8>)>,
}
impl Inspect for MetadataVisitor {
    fn writer(&mut self, version: &str) {
        self.writer = version.into();
    }
    fn metadata(&mut self, name: &str, _: u32) {
        self.metadata.push((name.into(), Vec::new()));
    }
    fn tensor(&mut self, _: checkpoint::Tensor<'_>) {
        self.metadata.push((String::new(), Vec::new()));
    }
    fn payload(&mut self, bytes: &[u8]) {
        self.metadata.last_mut().unwrap().1.extend(bytes);
    }
}

#[test]
fn metadata_is_written_and_restored() {
    let long = [7; 1000];
    let metadata: &[(&str, &[u8])] = &[("A", b""), ("firmware", b"1.4.0"), ("z", &long)];
    let bytes = encode(&Contents { metadata, ..Contents::new(1) }, &mut Named::new("m", VALUES));
    let decoded: format_md::Checkpoint = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(decoded.extensions.iter().map(|field| field.id).collect::<Vec<_>>(), [1, 2, 3]);
    let fields: Vec<format_md::Metadata> = postcard::from_bytes(&decoded.extensions[1].data).unwrap();
    assert!(fields.iter().map(|field| (&*field.name, &*field.value)).eq(metadata.iter().copied()));
    let mut visitor = MetadataVisitor::default();
    checkpoint::inspect(&mut &bytes[..], &mut [0; 16], &mut visitor).unwrap();
    visitor.metadata.pop(); // the tensor
    assert!(visitor.metadata.iter().map(|(name, value)| (&**name, &**value)).eq(metadata.iter().copied()));
    assert_eq!(visitor.writer, env!("CARGO_PKG_VERSION"));
    assert!(load(&bytes).is_ok());
}

#[test]
fn metadata_in_another_order_is_refused() {
    for metadata in [&[("b", &b"1"[..]), ("a", b"2")][..], &[("a", b"1"), ("a", b"2")]] {
        let contents = Contents { metadata, ..Contents::new(1) };
        let refused = checkpoint::measure(&contents, &mut Named::new("m", VALUES));
        assert_eq!(refused, Err(EncodeError::MetadataOrder { name: "a".into() }));
    }
    let contents = Contents { metadata: &[("a/b", b"")], ..Contents::new(1) };
    let refused = checkpoint::measure(&contents, &mut Named::new("m", VALUES));
    assert_eq!(refused, Err(EncodeError::Name { name: "a/b".into() }));

    let field = |data: &[u8]| load(&with_extensions(&[&[1, 2, 0, data.len() as u8], data].concat())).map(drop);
    assert_eq!(field(&[2, 1, b'a', 1, 7, 1, b'b', 0]), Ok(()));
    for (data, what) in [
        (&[2, 1, b'b', 1, 7, 1, b'a', 0][..], "descending names"),
        (&[2, 1, b'a', 1, 7, 1, b'a', 0], "the same name twice"),
        (&[1, 0, 0], "an empty name"),
        (&[1, 1, b'\n', 0], "a control character"),
        (&[1, 1, b'a', 0, 9], "a field that is too short for its length"),
        (&[2, 1, b'a', 0], "fewer values than the count"),
    ] {
        assert_eq!(field(data), Err(DecodeError::Malformed), "{what}");
    }
}

#[test]
fn a_length_that_is_not_that_of_the_stream_is_refused() {
    let bytes = bare();
    let len = bytes.len() as u32;
    let result = |found: u32| {
        let mut bytes = bytes.clone();
        bytes[5..9].copy_from_slice(&found.to_le_bytes());
        let body = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&crc);
        load(&bytes).map(|info| info.len)
    };
    assert_eq!(result(len), Ok(len));
    for found in (0..len).chain([len + 1, len + 4, u32::MAX]) {
        assert_eq!(result(found), Err(DecodeError::Malformed), "length {found} instead of {len}");
    }
}

/// Loads a checkpoint into three elements. If the load fails, the elements must be unchanged.
fn load(bytes: &[u8]) -> Result<Info, DecodeError<core::convert::Infallible>> {
    let mut model = Named::new("m", [0.0_f32; 3]);
    let loaded = checkpoint::load(bytes, &mut model, None);
    assert_eq!(model.object, if loaded.is_ok() { VALUES } else { [0.0; 3] });
    loaded
}

#[test]
fn an_unknown_optional_extension_is_skipped() {
    let mut expected = load(&bare()).unwrap();
    expected.run = 9;
    // The known field and one or three unknown ones. One of them is empty, and one has the largest number.
    for list in [
        &[2, 1, 0, 5, 9, 0, 0, 0, 0, 100, 0, 5, 1, 2, 3, 4, 5][..],
        &[2, 1, 0, 5, 9, 0, 0, 0, 0, 4, 0, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &[4, 1, 0, 5, 9, 0, 0, 0, 0, 4, 0, 0, 0xFF, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 2, 7, 7],
    ] {
        let bytes = with_extensions(list);
        let info = load(&bytes).unwrap();
        assert_eq!(Info { len: expected.len, crc: expected.crc, ..info }, expected, "{list:x?}");
        assert_eq!(info.len as usize, bytes.len());
    }
    // A large field is skipped, too.
    let list = [&[1, 77, 0, 0xB0, 0x09][..], &[0xA5; 1200]].concat();
    assert_eq!(load(&with_extensions(&list)).map(|info| info.run), Ok(0));
}

#[test]
fn an_unknown_required_extension_is_refused_as_newer() {
    for list in [&[1, 4, 1, 1, 0][..], &[2, 1, 0, 5, 9, 0, 0, 0, 0, 200, 1, 1, 2], &[1, 77, 1, 5, 1, 2, 3, 4, 5]] {
        assert_eq!(load(&with_extensions(list)), Err(DecodeError::Newer), "{list:x?}");
        // The same list is refused by `inspect`, which needs no model.
        let inspected = checkpoint::inspect(&mut &with_extensions(list)[..], &mut [0; 16], &mut ());
        assert_eq!(inspected, Err(DecodeError::Newer));
    }
    // A known field may be marked as required.
    assert_eq!(load(&with_extensions(&[1, 1, 1, 5, 9, 0, 0, 0, 0])).map(|info| info.run), Ok(9));
}

#[test]
fn a_malformed_list_of_extensions_is_refused() {
    for (list, what) in [
        (&[2, 3, 0, 1, 7, 1, 0, 5, 9, 0, 0, 0, 0][..], "descending numbers"),
        (&[2, 7, 0, 1, 7, 7, 0, 1, 7], "the same number twice"),
        (&[1, 0, 0, 1, 9], "the number 0"),
        (&[1, 1, 2, 5, 9, 0, 0, 0, 0], "a flag that is no bool"),
        (&[1, 1, 0, 4, 9, 0, 0, 0, 0], "a field that is too long for its length"),
        (&[1, 1, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0], "a field that is too short for its length"),
        (&[1, 1, 0, 6, 9, 1, b'/', 0, 0, 0, 0, 0, 0], "an invalid series name"),
        (&[1, 1, 0, 6, 9, 1, 0xFF, 0, 0, 0, 0, 0, 0], "a series name that is no UTF-8"),
    ] {
        assert_eq!(load(&with_extensions(list)), Err(DecodeError::Malformed), "{what}");
    }
    // A field that the list counts is missing, so the decoder reads other bytes as a field.
    assert!(load(&with_extensions(&[2, 1, 0, 5, 9, 0, 0, 0, 0])).is_err());
}

/// A visitor that keeps the series.
#[derive(Default)]
struct SeriesVisitor(Option<(String, RankingRule)>);
impl Inspect for SeriesVisitor {
    fn series(&mut self, name: &str, rule: RankingRule) {
        self.0 = Some((name.into(), rule));
    }
}

#[test]
fn the_identity_is_written_and_restored() {
    let series = |name, rule, model| Series { name, rule, model };
    for (run, series, save_id) in [
        (0, Series::default(), 0),
        (u32::MAX, Series::default(), 0),
        (0, series("s", RankingRule::Latest, 0), 0),
        (0, series("", RankingRule::Best, 0), 0),
        (0, series("", RankingRule::Latest, u32::MAX), 0),
        (0, Series::default(), 1 << 31),
        (300, series("né", RankingRule::Best, 70_000), 5),
    ] {
        let header = Header { run, series, save_id, ..Header::default() };
        let bytes = encode(&contents(header), &mut Named::new("m", VALUES));
        let decoded: format_md::Checkpoint = postcard::from_bytes(&bytes).unwrap();
        let fields: Vec<_> = decoded.extensions.iter().map(|field| (field.id, field.required)).collect();
        assert_eq!(fields, [(1, false), (3, false)]);
        let name = series.name.to_string();
        let expected = format_md::Identity { run, name, rule: series.rule as u8, model: series.model, save_id };
        assert_eq!(postcard::from_bytes(&decoded.extensions[0].data), Ok(expected));
        let mut visitor = SeriesVisitor::default();
        let info = checkpoint::inspect(&mut &bytes[..], &mut [0; 16], &mut visitor).unwrap();
        assert_eq!((info.run, info.series, info.save_id), (run, header.series_id(), save_id));
        assert_eq!(visitor.0, Some((series.name.to_string(), series.rule)));
        assert_eq!(load(&bytes), Ok(info));
    }
}

/// A stream without the field has the default identity.
#[test]
fn without_the_field_the_identity_is_the_default() {
    let expected = load(&bare()).unwrap();
    for list in [&[0][..], &[1, 9, 0, 1, 0]] {
        let info = load(&with_extensions(list)).unwrap();
        assert_eq!((info.run, info.series, info.save_id), (expected.run, expected.series, expected.save_id));
    }
    let mut visitor = SeriesVisitor::default();
    checkpoint::inspect(&mut &with_extensions(&[0])[..], &mut [0; 16], &mut visitor).unwrap();
    assert_eq!(visitor.0, Some((String::new(), RankingRule::Latest)));
}

#[test]
fn values_of_a_newer_version_are_refused_as_newer() {
    let rule = |rule| load(&with_extensions(&[1, 1, 0, 5, 0, 0, rule, 7, 0]));
    assert_eq!((rule(1).is_ok(), rule(2), rule(255)), (true, Err(DecodeError::Newer), Err(DecodeError::Newer)));

    let mut record = RunRecord::new();
    record.engine.phase = Phase::GetBatchCompleted;
    record.engine.stop = Some(StopReason::StepFailed);
    let contents = Contents { record: Some(&record), ..Contents::new(0) };
    let bytes = encode(&contents, &mut Named::new("m", VALUES));
    // The run record follows the list of extensions. It starts with the flag of the option and the phase.
    let record = START + DEFAULT_LIST.len();
    assert_eq!(bytes[record..record + 10], [1, 10, 0, 0, 0, 0, 0, 0, 1, 4]);
    let changed = |position: usize, byte| {
        let mut bytes = bytes.clone();
        bytes[record + position] = byte;
        load(&with_correct_crc(bytes)).map(|info| info.has_run)
    };
    assert_eq!(
        (changed(1, 0), changed(1, 11), changed(1, 127)),
        (Ok(true), Err(DecodeError::Newer), Err(DecodeError::Newer))
    );
    assert_eq!(
        (changed(9, 10), changed(9, 11), changed(9, 127)),
        (Ok(true), Err(DecodeError::Newer), Err(DecodeError::Newer))
    );
}

/// Streams with a code or a field of a newer version, and their names.
fn newer_streams() -> Vec<(&'static str, Vec<u8>)> {
    let mut record = RunRecord::new();
    record.engine.phase = Phase::GetBatchCompleted;
    record.engine.stop = Some(StopReason::StepFailed);
    let contents = Contents { record: Some(&record), ..Contents::new(0) };
    let bytes = encode(&contents, &mut Named::new("m", VALUES));
    let record = START + DEFAULT_LIST.len();
    let element_type = bytes.windows(4).position(|window| window == b"data").unwrap() + 4;
    let changed = |position: usize, byte| {
        let mut bytes = bytes.clone();
        bytes[position] = byte;
        with_correct_crc(bytes)
    };
    vec![
        ("phase", changed(record + 1, 11)),
        ("stop reason", changed(record + 9, 11)),
        ("element type", changed(element_type, 13)),
        ("ranking rule", with_extensions(&[1, 1, 0, 5, 0, 0, 2, 7, 0])),
        ("required field", with_extensions(&[1, 77, 1, 5, 1, 2, 3, 4, 5])),
    ]
}

#[test]
fn a_damaged_stream_of_a_newer_version_is_reported_as_damaged() {
    for (what, bytes) in newer_streams() {
        assert_eq!(load(&bytes), Err(DecodeError::Newer), "{what}");
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(load(&damaged), Err(DecodeError::Checksum), "{what}");
        assert_eq!(load(&bytes[..bytes.len() - 1]), Err(DecodeError::Truncated), "{what}");
        // A flash slot has more bytes than its stream.
        assert_eq!(load(&[&bytes[..], &[0xFF; 40]].concat()), Err(DecodeError::Newer), "{what}");
    }
}

/// The bytes of an invalid number: the fifth byte has more than 4 bits.
const INVALID_NUMBER: [u8; 5] = [0xFF, 0xFF, 0xFF, 0xFF, 0x10];

#[test]
fn the_first_forbidden_byte_decides_between_newer_and_damaged() {
    let [a, b, c, d, e] = INVALID_NUMBER;
    for (list, expected, what) in [
        (&[1, 1, 0, 9, 0, 0, 2, a, b, c, d, e, 0][..], DecodeError::Newer, "a new rule, an invalid number"),
        (&[1, 1, 0, 9, a, b, c, d, e, 0, 2, 7, 0], DecodeError::Malformed, "an invalid number, a new rule"),
        (&[1, 9, 1, a, b, c, d, e], DecodeError::Newer, "a required field, an invalid length"),
        (&[2, 1, 0, 5, 0, 0, 2, 7, 0, 0, 0, 0], DecodeError::Newer, "a new rule, the field 0"),
        (&[1, 0, 1, 0], DecodeError::Malformed, "the field 0, which is required"),
        (&[2, 9, 0, 0, 8, 1, 0], DecodeError::Malformed, "descending numbers, a required field"),
        (&[1, 1, 0, 2, 0, 0, 2, 7, 0], DecodeError::Malformed, "a new rule beyond the end of the field"),
        (&[1, 1, 0, 200, 1, 0, 0, 2, 7, 0], DecodeError::Malformed, "a new rule in a field beyond the end"),
    ] {
        assert_eq!(load(&with_extensions(list)), Err(expected), "{what}");
    }
    let (_, newer) = newer_streams().swap_remove(0);
    let record = START + DEFAULT_LIST.len();
    let mut invalid = newer.clone();
    invalid[record + 7] = 2; // the flag of the maximum number of epochs, after the phase
    assert_eq!(load(&with_correct_crc(invalid)), Err(DecodeError::Newer));
    let mut invalid = newer;
    invalid[record] = 2; // the flag of the run record, before the phase
    assert_eq!(load(&with_correct_crc(invalid)), Err(DecodeError::Malformed));
}

#[test]
fn a_nan_score_and_a_padding_other_than_zero_are_invalid() {
    let header = Header { score: Some(1.5), ..Header::default() };
    let scored = encode(&contents(header), &mut Named::new("m", VALUES));
    assert_eq!(scored[12..17], [1, 0, 0, 0xC0, 0x3F]);
    for (score, is_valid) in [(f32::NAN, false), (f32::INFINITY, true), (-0.0, true)] {
        let mut bytes = scored.clone();
        bytes[13..17].copy_from_slice(&score.to_le_bytes());
        let expected = if is_valid { Ok(Some(score)) } else { Err(DecodeError::Malformed) };
        assert_eq!(load(&with_correct_crc(bytes)).map(|info| info.score), expected);
    }
    // The encoder writes no score instead of a NaN.
    let header = Header { score: Some(f32::NAN), ..Header::default() };
    assert_eq!(encode(&contents(header), &mut Named::new("m", VALUES)), bare());

    let mut padded = 0;
    for name in ["m", "mm", "mmm", "mmmm"] {
        let bytes = encode(&contents(Header::default()), &mut Named::new(name, VALUES));
        let data = bytes.windows(4).position(|window| window == 1.0_f32.to_le_bytes()).unwrap();
        // The length of the data takes one byte. The padding is before it.
        let decoded: format_md::Checkpoint = postcard::from_bytes(&bytes).unwrap();
        let format_md::Content::StateDict(tensors) = &decoded.objects[0].content else { panic!() };
        for distance in 0..tensors[0].pad.len() {
            let mut bytes = bytes.clone();
            bytes[data - 2 - distance] = 1;
            let loaded = checkpoint::load(&with_correct_crc(bytes), &mut Named::new(name, [0.0_f32; 3]), None);
            assert_eq!(loaded, Err(DecodeError::Malformed));
            padded += 1;
        }
    }
    assert_eq!(padded, 6);
}

/// The hash FNV-1a with 32 bits, as FORMAT.md describes it.
fn fnv(bytes: &[u8]) -> u32 {
    let hash = |hash, byte: &u8| (u64::from(hash ^ u32::from(*byte)) * 0x0100_0193 % (1 << 32)) as u32;
    bytes.iter().fold(0x811C_9DC5, hash)
}

#[test]
fn the_identity_of_a_series_is_the_documented_hash() {
    assert_eq!((fnv(b""), fnv(b"a")), (0x811C_9DC5, 0xE40C_292C));
    for (name, rule, score_name, hashed) in [
        ("", RankingRule::Latest, None, &b"\0\0"[..]),
        ("", RankingRule::Best, None, b"\0\x01"),
        ("nightly", RankingRule::Best, Some("val_loss"), b"val_loss\0\x01nightly"),
        ("", RankingRule::Latest, Some("acc"), b"acc\0\0"),
        ("weekly", RankingRule::Latest, None, b"\0\0weekly"),
    ] {
        let header = Header { series: Series { name, rule, model: 5 }, score_name, ..Header::default() };
        let expected = SeriesId { rule: fnv(hashed), model: 5 };
        assert_eq!(header.series_id(), expected);
        let bytes = encode(&contents(header), &mut Named::new("m", VALUES));
        assert_eq!(load(&bytes).map(|info| info.series), Ok(expected));
    }
    // The score name is a part of the hash of the default series, too.
    let header = Header { score_name: Some("acc"), ..Header::default() };
    let bytes = encode(&contents(header), &mut Named::new("m", VALUES));
    assert_eq!(load(&bytes).map(|info| info.series), Ok(SeriesId { rule: fnv(b"acc\0\0"), model: 0 }));
}

#[test]
fn the_signature_of_a_model_is_the_documented_hash() {
    let number = |number: u32| number.to_le_bytes();
    let hashed = [
        &b"net\0\0weight\0\x02\0"[..],
        &number(5),
        &number(3),
        b"bias\0\x02\0",
        &number(100),
        b"schedule\0\x01",
        b"momentum\0\0data\0\x02\0",
        &number(7),
        b"seed\0\x01",
    ];
    let expected = fnv(&hashed.concat());
    // The signature does not depend on the elements.
    assert_eq!(model_signature(&mut Model::new(1)), Ok(expected));
    assert_eq!(model_signature(&mut Model::blank()), Ok(expected));

    #[derive(StateDict)]
    struct Ab {
        a: [f32; 2],
        b: [[f32; 2]; 3],
    }
    #[derive(Objects)]
    struct NetAndValue {
        one: Ab,
        #[objects(value)]
        two: u8,
    }
    let ab = || Ab { a: [0.0; 2], b: [[0.0; 2]; 3] };
    let all = [
        model_signature(&mut Named::new("m", ab())),
        model_signature(&mut Named::new("n", ab())),
        model_signature(&mut Named::new("m", [0.0_f32; 2])),
        model_signature(&mut Named::new("m", [0.0_f32; 3])),
        model_signature(&mut Named::new("m", [[0.0_f32; 3]; 2])),
        model_signature(&mut Named::new("m", [[0.0_f32; 2]; 3])),
        model_signature(&mut Named::new("m", [0.0_f32; 6])),
        model_signature(&mut Named::new("m", 0.0_f32)),
        model_signature(&mut NetAndValue { one: ab(), two: 0 }),
    ];
    let mut all = all.map(Result::unwrap).to_vec();
    assert_eq!(model_signature(&mut NetAndValue { one: ab(), two: 1 }), Ok(all[8]));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 9, "two of the models have the same signature");
    assert_eq!(model_signature(&mut Named::new("m", 0.0_f32)), Ok(fnv(b"m\0\0data\0\x02\0")));
    assert_eq!(model_signature(&mut Named::new("m", true)), Ok(fnv(b"m\0\0data\0\x02\x0C")));
}
