//! Tests of the limits of names and of files that are no regular files.

use crate::training::{PlannedSave, save};
use std::fs;
use training_monitor::checkpoint::Header;
use training_monitor::store::{Store, StreamSpec};
use training_monitor_std::Directory;
use training_monitor_std::directory::{DirectoryError, OpenError};

fn planned(step: u32) -> PlannedSave {
    PlannedSave { step, objects: 1, score: None, remove: None }
}

#[test]
fn empty_directory_name_is_rejected() {
    let error = Directory::builder("", "p").open().unwrap_err();
    assert!(matches!(error, OpenError::EmptyPath), "{error}");
}

#[test]
fn prefix_without_room_for_names_is_rejected_at_opening() {
    let dir = tempfile::tempdir().unwrap();
    // The longest name is `.{prefix}_x_4294967295~4294967295.ckpt.203.deleted`.
    let longest = 255 - ".".len() - "_x_4294967295~4294967295.ckpt.203.deleted".len();
    for (len, extension, is_valid) in [(longest, "ckpt", true), (longest + 1, "ckpt", false), (longest, "ckpts", false)]
    {
        let opened = Directory::builder(dir.path(), "p".repeat(len)).extension(extension).open();
        match opened {
            Ok(_) => assert!(is_valid, "{len} {extension}"),
            Err(error) => {
                assert!(!is_valid, "{error}");
                assert!(matches!(error, OpenError::NamesTooLong { len: 256, limit: 255, .. }), "{error}");
            }
        }
    }
}

#[test]
fn check_reports_the_length_of_the_longest_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    let header = Header { step: u32::MAX, sequence: u32::MAX, ..Header::default() };
    // The longest name is `.p_{object}_4294967295~4294967295.ckpt.1.deleted`.
    let longest = 255 - ".p_".len() - "_4294967295~4294967295.ckpt.1.deleted".len();
    for (len, is_valid) in [(longest, true), (longest + 1, false)] {
        let object = "o".repeat(len);
        let spec = StreamSpec { header, object: Some(&object), stream_index: 0, stream_count: 1, len: 4 };
        match directory.check(&spec) {
            Ok(()) => assert!(is_valid),
            Err(DirectoryError::NameTooLong { name, len: 256, limit: 255 }) => {
                assert!(!is_valid && name.contains(&object))
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(directory.create(&spec).is_ok(), is_valid);
    }
}

/// Opening a named pipe without a writer would wait for ever.
#[cfg(unix)]
#[test]
fn pipes_and_directories_with_checkpoint_names_are_ignored() {
    use std::process::Command;
    use training_monitor_std::directory::IgnoreReason;

    let dir = tempfile::tempdir().unwrap();
    let names = ["p_model_1.ckpt", ".p_model_2.ckpt.1.tmp", ".p_model_3.ckpt.1.deleted"];
    for name in names {
        assert!(Command::new("mkfifo").arg(dir.path().join(name)).status().unwrap().success());
    }
    fs::create_dir(dir.path().join("p_model_4.ckpt")).unwrap();
    let mut directory = Directory::builder(dir.path(), "p").require_empty(false).open().unwrap();
    let foreign: Vec<_> = directory.foreign().map(|file| (file.name.as_str(), file.reason.clone())).collect();
    let expected = [names[1], names[2], names[0], "p_model_4.ckpt"].map(|name| (name, IgnoreReason::NotAFile));
    assert_eq!((foreign, directory.incomplete().count()), (expected.to_vec(), 0));
    for step in 1..=4 {
        save(&mut directory, 1, planned(step).header(step)).unwrap();
    }
    assert_eq!(directory.damaged(), 0);
    drop(directory);
    let mut directory = Directory::builder(dir.path(), "p").open_read_only().unwrap();
    assert_eq!((0..).map_while(|index| directory.checkpoint(index).unwrap()).count(), 4);
}
