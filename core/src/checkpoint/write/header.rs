//! Writes the beginning of a checkpoint: the header and the extension fields. FORMAT.md specifies both.

use super::output::Output;
use crate::checkpoint::error::EncodeError;
use crate::checkpoint::format::{CRATE_VERSION, Contents, Header, IDENTITY, MAGIC, METADATA, Series, VERSION, WRITER};
use crate::checkpoint::names::is_valid_name;

/// Checks the names of the header and of the metadata.
pub(super) fn check(output: &mut Output<'_>, contents: &Contents<'_>) {
    let Header { score_name, series, .. } = contents.header;
    if let Some(name) = score_name {
        check_name(output, name);
    }
    if !series.name.is_empty() {
        check_name(output, series.name);
    }
    let mut previous = "";
    for (name, _) in contents.metadata {
        check_name(output, name);
        if name.as_bytes() <= previous.as_bytes() {
            output.fail_item(name, |name| EncodeError::MetadataOrder { name });
        }
        previous = name;
    }
}

/// Checks a name before the first byte of the checkpoint is written.
pub(super) fn check_name(output: &mut Output<'_>, name: &str) {
    if !is_valid_name(name.as_bytes()) {
        output.fail_item(name, |name| EncodeError::Name { name });
    }
}

/// Writes the header of a checkpoint of `len` bytes.
pub(super) fn write(output: &mut Output<'_>, header: &Header<'_>, len: u32) {
    let Header { step, sequence, iteration, score, score_name, .. } = *header;
    let score = score.filter(|score| !score.is_nan());
    output.write_bytes(&MAGIC);
    output.write_u8(VERSION);
    output.write_bytes(&len.to_le_bytes());
    output.write_u32(step);
    output.write_u32(sequence);
    output.write_u32(iteration);
    output.write_bool(score.is_some());
    if let Some(score) = score {
        output.write_bytes(&score.to_le_bytes());
    }
    output.write_bool(score_name.is_some());
    if let Some(name) = score_name {
        output.write_text(name);
    }
}

/// Writes the list of extension fields. A reader may skip each of them.
pub(super) fn write_extensions(output: &mut Output<'_>, contents: &Contents<'_>) {
    let Contents { header, metadata, .. } = contents;
    output.write_u8(if metadata.is_empty() { 2 } else { 3 });
    // The run record knows the number of its run.
    let run = contents.record.map_or(header.run, |record| record.engine.run);
    write_extension(output, IDENTITY, &|output| write_identity(output, header, run));
    if !metadata.is_empty() {
        write_extension(output, METADATA, &|output| {
            output.write_len(metadata.len());
            for (name, value) in *metadata {
                output.write_text(name);
                output.write_len(value.len());
                output.write_bytes(value);
            }
        });
    }
    write_extension(output, WRITER, &|output| output.write_text(CRATE_VERSION));
}

/// Writes an extension field that a reader may skip.
#[inline(never)] // Called for each field.
fn write_extension(output: &mut Output<'_>, id: u8, write: &dyn Fn(&mut Output<'_>)) {
    output.write_bytes(&[id, 0]);
    let len = output.measure(write);
    output.write_u32(len);
    write(output);
}

/// Writes the extension field that identifies the run, the series and the save.
fn write_identity(output: &mut Output<'_>, header: &Header<'_>, run: u32) {
    let Header { series: Series { name, rule, model }, save_id, .. } = *header;
    output.write_u32(run);
    output.write_text(name);
    output.write_u8(rule as u8);
    output.write_u32(model);
    output.write_u32(save_id);
}
