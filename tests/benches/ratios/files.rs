//! A checkpoint in a directory beside a plain write of the same bytes: durable (synced before it counts, as the promise
//! at a power cut asks) and not. Both sides write a new file and remove the one before.

use crate::bytes::Net;
use crate::measure::Group;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::One;
use training_monitor::event::EpochCompleted;
use training_monitor::handlers::model_checkpoint::Save;
use training_monitor_std::Directory;

pub const SAVE: &str = "save in a directory";
pub const SAVE_DURABLE: &str = "save in a directory, durable";
pub const PLAIN: &str = "plain write";
pub const PLAIN_DURABLE: &str = "plain write, synced with its directory";

fn saver(dir: &Path, elements: usize, durable: bool) -> impl FnMut() + use<> {
    let files = Directory::builder(dir, "bench").durable(durable).create_dir(true).open().expect("a directory");
    let policy = ModelCheckpoint::<2>::builder().save_interval(1).n_saved(1).build().expect("a policy");
    let mut saving = policy.attach(EpochCompleted, files).expect("an empty directory");
    let mut net = Net::new(elements, 1);
    let mut step = 0;
    move || {
        step += 1;
        saving.save(Save { step, score: None }, step, None, &One("model", &mut net)).expect("saved");
    }
}

fn writer(dir: &Path, elements: usize, durable: bool) -> impl FnMut() + use<> {
    fs::create_dir_all(dir).expect("a directory");
    let values = crate::scan::weights(elements);
    let dir = dir.to_path_buf();
    let mut step = 0u32;
    move || {
        step += 1;
        let mut file = File::create(dir.join(format!("{step}"))).expect("created");
        file.write_all(bytemuck::cast_slice(&values)).expect("written");
        if durable {
            file.sync_all().expect("synced");
            File::open(&dir).expect("opened").sync_all().expect("synced");
        }
        if step > 1 {
            fs::remove_file(dir.join(format!("{}", step - 1))).expect("removed");
        }
    }
}

/// `dir` must be on a disk, not in memory, for the durable lines to mean something.
pub fn group(dir: &Path, elements: usize, name: &str) -> Group<'static> {
    let at = |part: &str| dir.join(format!("{name}-{part}").replace(' ', "-"));
    Group::new(format!("save {name}"), 1000, "µs/save")
        .way(PLAIN, writer(&at("plain"), elements, false))
        .way(SAVE, saver(&at("save"), elements, false))
        .way(PLAIN_DURABLE, writer(&at("plain-durable"), elements, true))
        .way(SAVE_DURABLE, saver(&at("save-durable"), elements, true))
}
