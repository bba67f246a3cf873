//! A commit that was cut between its renames is brought to its end, unless something has got in its way since.

use crate::model::{Disk, Image};
use crate::training::{NAMES, Plan, save};
use training_monitor::store::Store;
use training_monitor_std::Directory;
use training_monitor_std::directory::Reason;

/// The files of one checkpoint of step 1, of these of the objects.
fn saved(objects: usize, sequence: u32) -> Image {
    let disk = Disk::default();
    let mut directory = Directory::builder("dir", "p").open_on(disk.clone()).unwrap();
    let plan = Plan { step: 1, objects, score: None, remove: None };
    save(&mut directory, objects, plan.header(sequence)).unwrap();
    disk.now()
}

/// A checkpoint whose first object has its name and whose others are temp files.
fn begun(objects: usize, sequence: u32) -> Image {
    let hide = |name: String| if name == "p_model_1.ckpt" { name } else { format!(".{name}.1.tmp") };
    saved(objects, sequence).into_iter().map(|(name, bytes)| (hide(name), bytes)).collect()
}

/// One whose only object is called so, which `save` does not have.
fn lone(object: &'static str, sequence: u32) -> Vec<u8> {
    use training_monitor::checkpoint::{Contents, One, encode};
    use training_monitor_std::Crc32Fast;

    let header = Plan { step: 1, objects: 1, score: None, remove: None }.header(sequence);
    let contents = Contents { header, record: None, only: Some(object), allow_non_finite: false };
    let mut bytes = [0; 512];
    let encoded = encode::<Crc32Fast, _, _>(&mut &mut bytes[..], &contents, &One(object, [1.0_f32])).unwrap();
    bytes[..encoded.len as usize].to_vec()
}

struct Opened {
    steps: Vec<(u32, u32)>,
    /// What is ignored, by name.
    ignored: Vec<(String, Reason)>,
    now: Image,
}

fn open(image: &Image) -> Opened {
    let disk = Disk::new(image);
    let mut directory = Directory::builder("dir", "p").require_empty(false).open_on(disk.clone()).unwrap();
    let all = (0..).map_while(|index| directory.stored(index).unwrap());
    let steps = all.map(|stored| (stored.step, stored.sequence)).collect();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut ignored: Vec<_> =
        directory.incomplete().chain(directory.foreign()).map(|file| (name(&file.path), file.reason.clone())).collect();
    ignored.sort_by(|a, b| a.0.cmp(&b.0));
    Opened { steps, ignored, now: disk.now() }
}

fn missing(names: &[&str]) -> Reason {
    Reason::Incomplete { step: 1, missing: names.iter().map(|name| (*name).to_owned()).collect() }
}

#[test]
fn nothing_in_the_way() {
    let opened = open(&begun(2, 1));
    assert_eq!((opened.steps, opened.ignored), (vec![(1, 1)], vec![]));
    assert_eq!(opened.now, saved(2, 1));
}

/// A part of one of ours: the new file takes its place, and the list is without it. What is elsewhere does not matter.
#[test]
fn a_damaged_file_in_the_way_and_others_elsewhere() {
    let mut image = begun(2, 1);
    image.insert("p_optimizer_1.ckpt".into(), b"TMCK".to_vec());
    image.insert("p_model_8.ckpt".into(), b"TMCK".to_vec());
    image.insert("p_model_9.ckpt".into(), b"PK of another program".to_vec());
    let opened = open(&image);
    assert_eq!(opened.steps, [(1, 1)]);
    assert_eq!(opened.now["p_optimizer_1.ckpt"], saved(2, 1)["p_optimizer_1.ckpt"]);
    let elsewhere = [("p_model_8.ckpt".to_owned(), Reason::Damaged), ("p_model_9.ckpt".to_owned(), Reason::Foreign)];
    assert_eq!(opened.ignored, elsewhere);
}

#[test]
fn a_file_of_another_program_in_the_way() {
    let mut image = begun(2, 1);
    let foreign = b"PK of another program".to_vec();
    image.insert("p_optimizer_1.ckpt".into(), foreign.clone());
    let opened = open(&image);
    assert_eq!((opened.steps, &opened.now["p_optimizer_1.ckpt"]), (vec![], &foreign));
    let ignored =
        [("p_model_1.ckpt".to_owned(), missing(&["optimizer"])), ("p_optimizer_1.ckpt".to_owned(), Reason::Foreign)];
    assert_eq!(opened.ignored, ignored);
    assert_eq!(opened.now.len(), 2); // the temp file has gone
}

/// A whole checkpoint that has the same step and sequence: not known to be older, so it is not written over.
#[test]
fn a_checkpoint_of_the_same_age_in_the_way() {
    let mut image = begun(2, 3);
    let other = lone(NAMES[1], 3);
    image.insert("p_optimizer_1.ckpt".into(), other.clone());
    let opened = open(&image);
    assert_eq!((opened.steps, &opened.now["p_optimizer_1.ckpt"]), (vec![(1, 3)], &other));
    assert_eq!(opened.ignored, [("p_model_1.ckpt".to_owned(), missing(&["optimizer"]))]);
    // An older one is what the commit was about to replace.
    image.insert("p_optimizer_1.ckpt".into(), lone(NAMES[1], 2));
    let opened = open(&image);
    assert_eq!((opened.steps, opened.ignored, opened.now), (vec![(1, 3)], vec![], saved(2, 3)));
}

/// Somebody removed a file: what is there of the others cannot become whole, and is not given names.
#[test]
fn one_of_three_is_nowhere() {
    let mut image = begun(3, 1);
    image.remove(".p_random_1.ckpt.1.tmp").unwrap();
    let opened = open(&image);
    assert_eq!(opened.steps, []);
    assert_eq!(opened.ignored, [("p_model_1.ckpt".to_owned(), missing(&["optimizer", "random"]))]);
    assert_eq!(opened.now.len(), 1);
}

/// One of them was not written here; neither is removed.
#[test]
fn two_whole_checkpoints_of_one_step_and_sequence() {
    let mut image = saved(1, 1);
    image.insert("p_zeta_1.ckpt".into(), lone("zeta", 1));
    let opened = open(&image);
    assert_eq!((opened.steps, opened.now), (vec![(1, 1)], image));
    assert_eq!(opened.ignored, [("p_model_1.ckpt".to_owned(), Reason::Foreign)]);
}
