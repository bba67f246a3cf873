//! Tests of the lock that protects the files of a prefix from a second program.

use crate::training::{PlannedSave, save};
use std::fs;
use std::process::Command;
use training_monitor::store::Store;
use training_monitor_std::Directory;
use training_monitor_std::directory::OpenError;
use training_monitor_std::test_support::disk::Disk;

const HEADER: PlannedSave = PlannedSave { step: 1, objects: 1, score: None, remove: None };

#[test]
fn second_writer_is_refused_and_learns_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let builder = |prefix: &str| Directory::builder(dir.path(), prefix).require_empty(false);
    let first = builder("p").open().unwrap();
    assert!(first.is_locked());
    let error = builder("p").open().unwrap_err();
    let OpenError::Locked { path, owner } = &error else { panic!("{error}") };
    assert_eq!(*path, dir.path().join(".p.lock"));
    assert!(owner.starts_with(&format!("process {} on host ", std::process::id())), "{owner}");
    assert!(error.to_string().contains(owner.as_str()) && error.to_string().contains(".p.lock"), "{error}");
    // Other prefixes have other locks, and the empty prefix has its own.
    let (other, empty) = (builder("q").open().unwrap(), builder("").open().unwrap());
    assert!(other.is_locked() && empty.is_locked() && dir.path().join(".lock").exists());
    drop(first);
    assert!(builder("p").open().unwrap().is_locked());
    assert!(dir.path().join(".p.lock").exists());
}

#[test]
fn lock_files_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    drop(Directory::builder(dir.path(), "").open().unwrap());
    // `require_empty` accepts the lock file, and no list contains it.
    let mut directory = Directory::builder(dir.path(), "").open().unwrap();
    save(&mut directory, 1, HEADER.header(1)).unwrap();
    assert_eq!((directory.incomplete().count(), directory.foreign().count(), directory.damaged()), (0, 0, 0));
}

/// The second process holds the lock while it waits for its input. The system releases the lock when the process dies.
#[test]
fn lock_of_a_dead_process_is_released() {
    const DIR: &str = "LOCK_TEST_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        let _directory = Directory::builder(dir, "p").open().unwrap();
        println!("locked");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "locks::lock_of_a_dead_process_is_released", "--nocapture"]).env(DIR, dir.path());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    lines
        .find(|line| line.as_ref().unwrap().contains("locked"))
        .expect("the second process locks the directory")
        .unwrap();
    let error = Directory::builder(dir.path(), "p").open().unwrap_err();
    let expected = format!("process {} on host ", child.id());
    assert!(matches!(&error, OpenError::Locked { owner, .. } if owner.starts_with(&expected)), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Directory::builder(dir.path(), "p").open().unwrap().is_locked());
}

#[test]
fn file_system_without_locks_is_reported() {
    let disk = Disk::default();
    disk.set_has_locks(false);
    let builder = || Directory::builder("dir", "p").require_empty(false);
    let mut directory = builder().open_on(disk.clone()).unwrap();
    assert!(!directory.is_locked());
    save(&mut directory, 1, HEADER.header(1)).unwrap();
    assert!(builder().open_on(disk).is_ok());
}

#[test]
fn power_failure_releases_the_lock() {
    let disk = Disk::default();
    let builder = || Directory::builder("dir", "p").require_empty(false);
    let mut directory = builder().open_on(disk.clone()).unwrap();
    assert!(matches!(builder().open_on(disk.clone()), Err(OpenError::Locked { .. })));
    disk.cut_power_at(disk.operations());
    save(&mut directory, 1, HEADER.header(1)).unwrap_err();
    disk.restart_program();
    let second = builder().open_on(disk.clone()).unwrap();
    drop(directory);
    assert!(matches!(builder().open_on(disk), Err(OpenError::Locked { .. })), "the old lock released the new one");
    drop(second);
}

#[test]
fn unwritable_lock_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".p.lock")).unwrap();
    let error = Directory::builder(dir.path(), "p").open().unwrap_err();
    assert!(error.to_string().contains("cannot lock") && error.to_string().contains(".p.lock"), "{error}");
    assert_eq!(Directory::builder(dir.path(), "p").open_read_only().unwrap().checkpoint(0).unwrap(), None);
}
