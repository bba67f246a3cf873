//! Compares a save to a directory with a plain write of the same bytes, both with and without sync. A durable save
//! syncs its files before the commit, so that it survives a power failure. All variants write a new file and remove the
//! previous one.

use crate::bytes::Net;
use crate::measure::Group;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::Named;
use training_monitor::event::EpochCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor_std::Directory;

pub const SAVE: &str = "save in a directory";
pub const SAVE_DURABLE: &str = "save in a directory, durable";
pub const PLAIN: &str = "plain write";
pub const PLAIN_DURABLE: &str = "plain write, synced with its directory";

fn checkpoint_writer(dir: &Path, elements: usize, durable: bool) -> impl FnMut() + use<> {
    let files = Directory::builder(dir, "bench").durable(durable).create_dir(true).open().expect("a directory");
    let policy = ModelCheckpoint::<2>::every(1).and_then(|policy| policy.with_n_saved(1)).expect("valid settings");
    let mut handler = policy.attach(EpochCompleted, files).expect("an empty directory");
    let mut net = Net::new(elements, 1);
    let mut step = 0;
    move || {
        step += 1;
        let decision = SaveDecision { step, score: None };
        handler.save(decision, step, None, &mut Named::new("model", &mut net)).expect("the save succeeds");
    }
}

fn plain_writer(dir: &Path, elements: usize, durable: bool) -> impl FnMut() + use<> {
    fs::create_dir_all(dir).expect("a directory");
    let values = crate::scan::weights(elements);
    let dir = dir.to_path_buf();
    let mut step = 0u32;
    move || {
        step += 1;
        let mut file = File::create(dir.join(format!("{step}"))).expect("the file can be created");
        file.write_all(bytemuck::cast_slice(&values)).expect("the file can be written");
        if durable {
            file.sync_all().expect("the file can be synced");
            File::open(&dir).expect("the directory can be opened").sync_all().expect("the directory can be synced");
        }
        if step > 1 {
            fs::remove_file(dir.join(format!("{}", step - 1))).expect("the file can be removed");
        }
    }
}

/// Measures saves in `dir`. The durable variants are meaningful only if `dir` is on a disk and not in memory.
pub fn group(dir: &Path, elements: usize, name: &str) -> Group<'static> {
    let path = |variant: &str| dir.join(format!("{name}-{variant}").replace(' ', "-"));
    Group::new(format!("save {name}"), 1000, "µs/save")
        .variant(PLAIN, plain_writer(&path("plain"), elements, false))
        .variant(SAVE, checkpoint_writer(&path("save"), elements, false))
        .variant(PLAIN_DURABLE, plain_writer(&path("plain-durable"), elements, true))
        .variant(SAVE_DURABLE, checkpoint_writer(&path("save-durable"), elements, true))
}
