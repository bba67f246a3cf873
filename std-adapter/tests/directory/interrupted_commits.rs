//! Tests of opening a directory after a commit was interrupted between its renames. Recovery completes the commit
//! unless another program has created a file with one of the final names.

use crate::training::{NAMES, PlannedSave, save};
use training_monitor::store::Store;
use training_monitor_std::Directory;
use training_monitor_std::directory::IgnoreReason;
use training_monitor_std::test_support::disk::{Disk, Image};

/// Returns the files of a complete checkpoint of step 1. Each of the `objects` objects has one file.
fn complete(objects: usize, sequence: u32) -> Image {
    let disk = Disk::default();
    let mut directory = Directory::builder("dir", "p").open_on(disk.clone()).unwrap();
    let planned = PlannedSave { step: 1, objects, score: None, remove: None };
    save(&mut directory, objects, planned.header(sequence)).unwrap();
    disk.files()
}

/// The files of an interrupted commit: the first object has its final name, and the others have temporary names.
fn interrupted(objects: usize, sequence: u32) -> Image {
    let rename = |name: String| if name == "p_model_1.ckpt" { name } else { format!(".{name}.1.tmp") };
    complete(objects, sequence).into_iter().map(|(name, bytes)| (rename(name), bytes)).collect()
}

/// The content of a file of a checkpoint with one object. Unlike with `save`, the object can have any name.
fn single_object(object: &'static str, sequence: u32) -> Vec<u8> {
    use training_monitor::checkpoint::{Contents, Named, encode_with};
    use training_monitor_std::Crc32Fast;

    let header = PlannedSave { step: 1, objects: 1, score: None, remove: None }.header(sequence);
    let contents = Contents { header, single_object: Some(object), ..Contents::new(header.step) };
    let (mut bytes, mut objects) = ([0; 512], Named::new(object, [1.0_f32]));
    let encoded = encode_with::<Crc32Fast, _, _>(&mut &mut bytes[..], &contents, &mut objects).unwrap();
    bytes[..encoded.len as usize].to_vec()
}

/// The state of a directory after it was opened.
struct Opened {
    /// The step and the sequence of each listed checkpoint.
    checkpoints: Vec<(u32, u32)>,
    /// The ignored files, sorted by name.
    ignored: Vec<(String, IgnoreReason)>,
    files: Image,
}

fn open(image: &Image) -> Opened {
    let disk = Disk::new(image);
    let mut directory = Directory::builder("dir", "p").require_empty(false).open_on(disk.clone()).unwrap();
    let listed = (0..).map_while(|index| directory.checkpoint(index).unwrap());
    let checkpoints = listed.map(|meta| (meta.step, meta.sequence)).collect();
    let ignored = directory.incomplete().chain(directory.foreign());
    let mut ignored: Vec<_> = ignored.map(|file| (file.name.clone(), file.reason.clone())).collect();
    ignored.sort_by(|a, b| a.0.cmp(&b.0));
    Opened { checkpoints, ignored, files: disk.files() }
}

fn missing(sequence: u32, names: &[&str]) -> IgnoreReason {
    IgnoreReason::Incomplete { step: 1, sequence, missing: names.iter().map(|name| (*name).to_owned()).collect() }
}

#[test]
fn interrupted_commit_is_completed() {
    let opened = open(&interrupted(2, 1));
    assert_eq!((opened.checkpoints, opened.ignored), (vec![(1, 1)], vec![]));
    assert_eq!(opened.files, complete(2, 1));
}

/// A damaged file of the series has one of the final names. Recovery replaces the file and does not report it. Damaged
/// and foreign files with other names do not influence recovery.
#[test]
fn interrupted_commit_replaces_a_damaged_file() {
    let mut image = interrupted(2, 1);
    image.insert("p_optimizer_1.ckpt".into(), b"TMCK".to_vec());
    image.insert("p_model_8.ckpt".into(), b"TMCK".to_vec());
    image.insert("p_model_9.ckpt".into(), b"PK of another program".to_vec());
    let opened = open(&image);
    assert_eq!(opened.checkpoints, [(1, 1)]);
    assert_eq!(opened.files["p_optimizer_1.ckpt"], complete(2, 1)["p_optimizer_1.ckpt"]);
    let others =
        [("p_model_8.ckpt".to_owned(), IgnoreReason::Damaged), ("p_model_9.ckpt".to_owned(), IgnoreReason::Foreign)];
    assert_eq!(opened.ignored, others);
}

#[test]
fn interrupted_commit_does_not_replace_a_foreign_file() {
    let mut image = interrupted(2, 1);
    let foreign = b"PK of another program".to_vec();
    image.insert("p_optimizer_1.ckpt".into(), foreign.clone());
    let opened = open(&image);
    assert_eq!((opened.checkpoints, &opened.files["p_optimizer_1.ckpt"]), (vec![], &foreign));
    let ignored = [
        ("p_model_1.ckpt".to_owned(), missing(1, &["optimizer"])),
        ("p_optimizer_1.ckpt".to_owned(), IgnoreReason::Foreign),
    ];
    assert_eq!(opened.ignored, ignored);
    assert_eq!(opened.files.len(), 2); // recovery removed the temporary file
}

/// A complete checkpoint with the same step and sequence has one of the final names. Recovery cannot know which of the
/// two is older, so recovery does not replace it.
#[test]
fn interrupted_commit_replaces_only_an_older_checkpoint() {
    let mut image = interrupted(2, 3);
    let other = single_object(NAMES[1], 3);
    image.insert("p_optimizer_1.ckpt".into(), other.clone());
    let opened = open(&image);
    assert_eq!((opened.checkpoints, &opened.files["p_optimizer_1.ckpt"]), (vec![(1, 3)], &other));
    assert_eq!(opened.ignored, [("p_model_1.ckpt".to_owned(), missing(3, &["optimizer"]))]);
    // A checkpoint with a lower sequence is older, so the commit replaces it.
    image.insert("p_optimizer_1.ckpt".into(), single_object(NAMES[1], 2));
    let opened = open(&image);
    assert_eq!((opened.checkpoints, opened.ignored, opened.files), (vec![(1, 3)], vec![], complete(2, 3)));
}

/// One of three files is missing, so the checkpoint cannot become complete. Recovery does not rename the temporary
/// files.
#[test]
fn interrupted_commit_with_a_missing_file_is_not_completed() {
    let mut image = interrupted(3, 1);
    image.remove(".p_random_1.ckpt.1.tmp").unwrap();
    let opened = open(&image);
    assert_eq!(opened.checkpoints, []);
    assert_eq!(opened.ignored, [("p_model_1.ckpt".to_owned(), missing(1, &["optimizer", "random"]))]);
    assert_eq!(opened.files.len(), 1);
}

/// Two complete checkpoints have the same step and sequence. A directory never writes such files, so another program
/// copied one of them. Recovery (the repair when a directory is opened) removes neither.
#[test]
fn two_complete_checkpoints_of_the_same_age_are_kept() {
    let mut image = complete(1, 1);
    image.insert("p_zeta_1.ckpt".into(), single_object("zeta", 1));
    let opened = open(&image);
    assert_eq!((opened.checkpoints, opened.files), (vec![(1, 1)], image));
    assert_eq!(opened.ignored, [("p_model_1.ckpt".to_owned(), IgnoreReason::Duplicate { sequence: 1 })]);
}
