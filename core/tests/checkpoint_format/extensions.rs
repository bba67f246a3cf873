//! Tests of the extension fields, of values that only a newer version writes, and of the hashes that identify a series.
//! The expected bytes and hashes are computed here, from FORMAT.md alone.

use super::{contents, format_md};
use crate::model::Model;
use crate::streams::{encode, with_correct_crc};
use training_monitor::checkpoint::{
    self, Contents, DecodeError, Header, Info, Inspect, Named, RankingRule, Series, SeriesId, model_signature,
};
use training_monitor::engine::Phase;
use training_monitor::run_record::RunRecord;
use training_monitor::{Objects, StateDict, StopReason};

const VALUES: [f32; 3] = [1.0, 2.0, 3.0];

/// Returns a checkpoint without score, names and run record. Its list of extensions, at byte 11, is empty.
fn bare() -> Vec<u8> {
    let bytes = encode(&contents(Header::default()), &mut Named::new("m", VALUES));
    assert_eq!(bytes[..13], *b"TMCK\x02\0\0\0\0\0\0\0\0");
    bytes
}

/// Returns the checkpoint of [`bare`] with these extensions. The tensor data must stay at a multiple of four, so the list
/// must have 4 n + 1 bytes.
fn with_extensions(list: &[u8]) -> Vec<u8> {
    assert_eq!(list.len() % 4, 1);
    let bytes = bare();
    with_correct_crc([&bytes[..11], list, &bytes[12..]].concat())
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
    // One unknown field of 5 bytes; and two known fields between unknown ones, one of which is empty.
    expected.run = 9;
    for list in [
        &[2, 1, 0, 1, 9, 100, 0, 5, 1, 2, 3, 4, 5][..],
        &[2, 1, 0, 1, 9, 4, 0, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &[4, 1, 0, 1, 9, 4, 0, 0, 0xFF, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 2, 7, 7],
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
    for list in [&[1, 4, 1, 1, 0][..], &[2, 1, 0, 1, 9, 200, 1, 1, 2], &[1, 77, 1, 5, 1, 2, 3, 4, 5]] {
        let list = [list, &vec![0; (5 - list.len() % 4) % 4]].concat();
        assert_eq!(load(&with_extensions(&list)), Err(DecodeError::Newer), "{list:x?}");
        // The same list is refused by `inspect`, which needs no model.
        let inspected = checkpoint::inspect(&mut &with_extensions(&list)[..], &mut [0; 16], &mut ());
        assert_eq!(inspected, Err(DecodeError::Newer));
    }
    // A known field may be marked as required.
    assert_eq!(load(&with_extensions(&[1, 1, 1, 1, 9])).map(|info| info.run), Ok(9));
}

#[test]
fn a_malformed_list_of_extensions_is_refused() {
    for (list, what) in [
        (&[2, 3, 0, 1, 9, 1, 0, 1, 9][..], "descending identifiers"),
        (&[2, 1, 0, 1, 9, 1, 0, 1, 9], "the same identifier twice"),
        (&[1, 0, 0, 1, 9], "the identifier 0"),
        (&[1, 1, 2, 1, 9], "a flag that is no bool"),
        (&[1, 1, 0, 5, 9, 0, 0, 0, 0], "a run number that is too short for its length"),
        (&[1, 1, 0, 1, 0x80, 1, 0, 0, 0], "a run number that is too long for its length"),
        (&[1, 2, 0, 5, 1, b'a', 1, 7, 0], "a series that is too short for its length"),
        (&[1, 2, 0, 5, 1, b'/', 1, 7, 0], "an invalid series name"),
        (&[2, 1, 0, 1, 9], "a missing field"),
    ] {
        assert!(matches!(load(&with_extensions(list)), Err(DecodeError::Malformed | DecodeError::Truncated)), "{what}");
    }
    assert_eq!(load(&with_extensions(&[1, 2, 0, 5, 1, b'a', 1, 7, 0])), Err(DecodeError::Malformed));
    assert_eq!(load(&with_extensions(&[2, 3, 0, 1, 9, 1, 0, 1, 9])), Err(DecodeError::Malformed));
}

/// A visitor that keeps the series.
#[derive(Default)]
struct SeriesVisitor(Option<(String, RankingRule)>);
impl Inspect for SeriesVisitor {
    fn series(&mut self, name: &str, rule: RankingRule) {
        self.0 = Some((name.into(), rule));
    }
}

/// A field that has its default value is not written, and the decoder restores the default.
#[test]
fn only_fields_with_a_value_are_written() {
    let series = |name, rule, model| Series { name, rule, model };
    let default = Series::default();
    for (run, series, save_id, ids) in [
        (0, default, 0, &[][..]),
        (u32::MAX, default, 0, &[1]),
        (0, series("s", RankingRule::Latest, 0), 0, &[2]),
        (0, series("", RankingRule::Best, 0), 0, &[2]),
        (0, series("", RankingRule::Latest, u32::MAX), 0, &[2]),
        (0, default, 1 << 31, &[3]),
        (300, series("né", RankingRule::Best, 70_000), 5, &[1, 2, 3]),
    ] {
        let header = Header { run, series, save_id, ..Header::default() };
        let bytes = encode(&contents(header), &mut Named::new("m", VALUES));
        let decoded: format_md::Checkpoint = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(decoded.extensions.iter().map(|field| field.id).collect::<Vec<_>>(), ids);
        let mut visitor = SeriesVisitor::default();
        let info = checkpoint::inspect(&mut &bytes[..], &mut [0; 16], &mut visitor).unwrap();
        assert_eq!((info.run, info.series, info.save_id), (run, header.series_id(), save_id));
        let expected = ids.contains(&2).then(|| (series.name.to_string(), series.rule));
        assert_eq!(visitor.0, expected);
        assert_eq!(load(&bytes), Ok(info));
    }
}

#[test]
fn values_of_a_newer_version_are_refused_as_newer() {
    let rule = |rule| load(&with_extensions(&[1, 2, 0, 5, 2, b'a', b'b', rule, 7]));
    assert_eq!((rule(1).is_ok(), rule(2), rule(255)), (true, Err(DecodeError::Newer), Err(DecodeError::Newer)));

    let mut record = RunRecord::new();
    record.engine.phase = Phase::GetBatchCompleted;
    record.engine.stop = Some(StopReason::StepFailed);
    let contents = Contents { record: Some(&record), ..Contents::new(0) };
    let bytes = encode(&contents, &mut Named::new("m", VALUES));
    // The run record follows the empty list of extensions. It starts with the flag of the option and the phase.
    assert_eq!(bytes[11..22], [0, 1, 10, 0, 0, 0, 0, 0, 0, 1, 4]);
    let changed = |position: usize, byte| {
        let mut bytes = bytes.clone();
        bytes[position] = byte;
        load(&with_correct_crc(bytes)).map(|info| info.has_run)
    };
    assert_eq!(
        (changed(13, 0), changed(13, 11), changed(13, 127)),
        (Ok(true), Err(DecodeError::Newer), Err(DecodeError::Newer))
    );
    assert_eq!(
        (changed(21, 0), changed(21, 6), changed(21, 127)),
        (Ok(true), Err(DecodeError::Newer), Err(DecodeError::Newer))
    );
}

#[test]
fn a_nan_score_and_a_padding_other_than_zero_are_invalid() {
    let header = Header { score: Some(1.5), ..Header::default() };
    let scored = encode(&contents(header), &mut Named::new("m", VALUES));
    assert_eq!(scored[8..13], [1, 0, 0, 0xC0, 0x3F]);
    for (score, is_valid) in [(f32::NAN, false), (f32::INFINITY, true), (-0.0, true)] {
        let mut bytes = scored.clone();
        bytes[9..13].copy_from_slice(&score.to_le_bytes());
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
        ("nightly", RankingRule::Best, Some("val_loss"), b"nightly\0\x01val_loss"),
        ("", RankingRule::Latest, Some("acc"), b"\0\0acc"),
    ] {
        let header = Header { series: Series { name, rule, model: 5 }, score_name, ..Header::default() };
        let expected = SeriesId { rule: fnv(hashed), model: 5 };
        assert_eq!(header.series_id(), expected);
        let bytes = encode(&contents(header), &mut Named::new("m", VALUES));
        assert_eq!(load(&bytes).map(|info| info.series), Ok(expected));
    }
    // Without the extension, the score name still is a part of the hash.
    let header = Header { score_name: Some("acc"), ..Header::default() };
    let bytes = encode(&contents(header), &mut Named::new("m", VALUES));
    assert_eq!(load(&bytes).map(|info| info.series), Ok(SeriesId { rule: fnv(b"\0\0acc"), model: 0 }));
}

#[test]
fn the_signature_of_a_model_is_the_documented_hash() {
    let number = |number: u32| number.to_le_bytes();
    let hashed = [
        &b"net\0\0weight\0\x02"[..],
        &number(5),
        &number(3),
        b"bias\0\x02",
        &number(100),
        b"schedule\0\x01",
        b"momentum\0\0data\0\x02",
        &number(7),
        b"seed\0\x01",
    ];
    let expected = fnv(&hashed.concat());
    // The signature does not depend on the elements.
    assert_eq!(model_signature(&mut Model::new(1)), expected);
    assert_eq!(model_signature(&mut Model::blank()), expected);

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
    let mut all = vec![
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
    assert_eq!(model_signature(&mut NetAndValue { one: ab(), two: 1 }), all[8]);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 9, "two of the models have the same signature");
    assert_eq!(model_signature(&mut Named::new("m", 0.0_f32)), fnv(b"m\0\0data\0\x02"));
}
