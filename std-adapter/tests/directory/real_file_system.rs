//! Tests on the file system of the operating system: the behaviour that Ignite documents, changes of the files by other
//! programs, and full or read-only disks.

use crate::training::{PlannedSave, save};
use std::fs;
use std::path::Path;
use training_monitor::checkpoint::Named;
use training_monitor::event::EpochCompleted;
use training_monitor::store::Store;
use training_monitor::{Engine, ModelCheckpoint, State};
use training_monitor_std::Directory;
use training_monitor_std::directory::{DirectoryError, IgnoreReason, OpenError, Operation};

/// Returns the names of all files except lock files.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".lock"));
    names.sort();
    names
}

fn reopen(dir: &Path, prefix: &str) -> Directory {
    Directory::builder(dir, prefix).require_empty(false).open().unwrap()
}

/// Opens the directory for reading, also while it is open for writing.
fn read(dir: &Path, prefix: &str) -> Directory {
    Directory::builder(dir, prefix).open_read_only().unwrap()
}

fn planned(step: u32, objects: usize) -> PlannedSave {
    PlannedSave { step, objects, score: None, remove: None }
}

fn steps(directory: &mut Directory) -> Vec<u32> {
    (0..).map_while(|index| directory.checkpoint(index).unwrap()).map(|meta| meta.step).collect()
}

#[test]
fn best_checkpoints_are_kept_over_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    let scores = [0.5, 0.25, 0.75, f32::NAN, 0.7];
    let run = |epochs: u32, require_empty: bool| {
        let files =
            Directory::builder(dir.path(), "best").extension("bin").require_empty(require_empty).open().unwrap();
        let policy = ModelCheckpoint::<2>::best_by(|state: &State<f32>| state.output.unwrap_or(f32::NAN));
        let mut checkpoint = policy.with_score_name("val_acc").unwrap().attach(EpochCompleted, files).unwrap();
        let mut model = Named::new("net", [0.0_f32; 3]);
        let mut engine = Engine::new(epochs);
        let resumed = engine.resume(&mut model, &mut checkpoint).unwrap();
        let first_epoch = resumed.map_or(0, |resumed| resumed.epoch);
        engine
            .run(&mut model, 0..1, &mut checkpoint, |model, _, state| {
                model[0] += 1.0;
                scores[state.epoch() as usize - 1]
            })
            .unwrap();
        let mut loaded = Named::new("net", [0.0_f32; 3]);
        checkpoint.load_best(&mut loaded).unwrap();
        (first_epoch, loaded[0])
    };
    assert_eq!(run(3, true), (0, 3.0));
    assert_eq!(names(dir.path()), ["best_net_1_val_acc=0.5.bin", "best_net_3_val_acc=0.75.bin"]);
    // The run resumes after the third epoch. The fourth score is NaN, and the fifth score is better than the worst kept
    // score.
    assert_eq!(run(5, false), (3, 3.0));
    assert_eq!(names(dir.path()), ["best_net_3_val_acc=0.75.bin", "best_net_5_val_acc=0.7.bin"]);
}

#[test]
fn opening_rejects_invalid_settings() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("best_of_all.txt"), "a note").unwrap();
    let open = |path: &Path, prefix: &str| Directory::builder(path, prefix).open();
    assert!(matches!(open(dir.path(), "best"), Err(OpenError::NotEmpty { found, .. }) if found == "best_of_all.txt"));
    assert!(matches!(open(dir.path(), ""), Err(OpenError::NotEmpty { .. })));
    assert!(matches!(open(dir.path(), "a/b"), Err(OpenError::InvalidPrefix { prefix }) if prefix == "a/b"));
    let builder = || Directory::builder(dir.path(), "x");
    for invalid in ["", "tmp", "deleted", "lock", "a.b", "a/b"] {
        let opened = builder().extension(invalid).open();
        assert!(
            matches!(opened, Err(OpenError::InvalidExtension { extension }) if extension == invalid),
            "{invalid:?}"
        );
    }
    let deep = dir.path().join("not/there");
    let missing = Directory::builder(&deep, "x").create_dir(false).open();
    assert!(matches!(missing, Err(OpenError::NotFound { path }) if path == deep));
    assert_eq!(open(&deep, "x").unwrap().path(), deep);
    // A regular file exists at the path of the checkpoint directory, so opening the directory fails.
    let file = Directory::builder(dir.path().join("best_of_all.txt"), "x").open();
    let Err(OpenError::Directory(DirectoryError::Io { operation: Operation::CreateDir, .. })) = file else { panic!() };
}

#[test]
fn two_prefixes_can_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = Directory::builder(dir.path(), "a").open().unwrap();
    save(&mut short, 2, planned(1, 2).header(1)).unwrap();
    let mut long = Directory::builder(dir.path(), "a_b").open().unwrap();
    save(&mut long, 2, planned(7, 2).header(1)).unwrap();
    // The temporary file belongs to an interrupted save with the prefix `a_b`. Opening the prefix `a` must keep the
    // file, and opening the prefix `a_b` must remove it.
    drop((short, long));
    let temporary = dir.path().join(".a_b_model_9.ckpt.3.tmp");
    fs::write(&temporary, "TMCK").unwrap();
    assert_eq!(steps(&mut reopen(dir.path(), "a")), [1]);
    assert!(temporary.exists());
    assert_eq!(steps(&mut reopen(dir.path(), "a_b")), [7]);
    assert!(!temporary.exists());
    let foreign: Vec<_> = reopen(dir.path(), "a").foreign().map(|file| file.reason.clone()).collect();
    assert_eq!(foreign, [IgnoreReason::Foreign, IgnoreReason::Foreign]);
}

#[test]
fn foreign_files_are_never_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    save(&mut directory, 1, planned(1, 1).header(1)).unwrap();
    let valid = fs::read(dir.path().join("p_model_1.ckpt")).unwrap();
    let mut newer_version = valid.clone();
    newer_version[4] = 99;
    fs::write(dir.path().join("p_model_2.ckpt"), &newer_version).unwrap();
    fs::write(dir.path().join("p_model_3.ckpt"), "PK a file of another program").unwrap();
    fs::write(dir.path().join("p_model_4.ckpt"), &valid).unwrap(); // a copy under another name
    fs::write(dir.path().join("p_model_5.ckpt"), &valid[..valid.len() - 1]).unwrap();
    drop(directory);
    let mut directory = reopen(dir.path(), "p");
    assert_eq!(steps(&mut directory), [1]);
    let foreign: Vec<_> = directory.foreign().map(|file| file.reason.clone()).collect();
    assert_eq!(foreign, [IgnoreReason::Version { found: 99 }, IgnoreReason::Foreign, IgnoreReason::Foreign]);
    let damaged: Vec<_> = directory.incomplete().map(|file| file.reason.clone()).collect();
    assert_eq!(damaged, [IgnoreReason::Damaged]);
    for step in 2..=4 {
        save(&mut directory, 1, planned(step, 1).header(step)).unwrap();
        assert!(dir.path().join(format!("p_model_{step}~{step}.ckpt")).exists());
    }
    assert_eq!(fs::read(dir.path().join("p_model_2.ckpt")).unwrap(), newer_version);
    assert_eq!(fs::read(dir.path().join("p_model_4.ckpt")).unwrap(), valid);
    // A save replaces a damaged file that has the name of the new checkpoint file.
    save(&mut directory, 1, planned(5, 1).header(5)).unwrap();
    assert_eq!(steps(&mut read(dir.path(), "p")), [1, 2, 3, 4, 5]);
    assert_eq!(names(dir.path()).len(), 8);
    // All variants of the name are taken, too.
    fs::write(dir.path().join("p_model_3~9.ckpt"), "PK a file of another program").unwrap();
    for name in ["p_model_6", "p_model_6~9", "p_model_6~~9", "p_model_6~~~9", "p_model_6~~~~9"] {
        fs::write(dir.path().join(format!("{name}.ckpt")), "PK a file of another program").unwrap();
    }
    let rejected = save(&mut directory, 1, planned(6, 1).header(9));
    assert!(matches!(rejected, Err(DirectoryError::FileExists { path }) if path.ends_with("p_model_6~9.ckpt")));
}

#[test]
fn files_removed_by_another_program_make_a_checkpoint_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    for step in 1..=3 {
        save(&mut directory, 3, planned(step, 3).header(step)).unwrap();
    }
    fs::remove_file(dir.path().join("p_optimizer_2.ckpt")).unwrap();
    let error = directory.open(2, 1).err().unwrap();
    assert!(matches!(&error, DirectoryError::Io { operation: Operation::Open, .. }), "{error}");
    assert!(error.to_string().contains("p_optimizer_2.ckpt"));
    // The next opening reports the remaining files of the checkpoint as incomplete and keeps them.
    let mut reopened = read(dir.path(), "p");
    assert_eq!(steps(&mut reopened), [1, 3]);
    let missing = IgnoreReason::Incomplete { step: 2, sequence: 2, missing: vec!["optimizer".into()] };
    assert!(reopened.incomplete().all(|file| file.reason == missing));
    assert_eq!(names(dir.path()).len(), 8);
    assert_eq!(reopened.damaged(), 1);
    // The store that was opened earlier still lists the checkpoints and can remove them, although files are missing.
    directory.remove(2).unwrap();
    fs::remove_file(dir.path().join("p_model_1.ckpt")).unwrap();
    directory.remove(1).unwrap();
    directory.remove(1).unwrap();
    assert_eq!(names(dir.path()), ["p_model_3.ckpt", "p_optimizer_3.ckpt", "p_random_3.ckpt"]);
    // Another program removed the whole directory.
    fs::remove_dir_all(dir.path()).unwrap();
    let error = save(&mut directory, 1, planned(4, 1).header(4)).unwrap_err();
    assert!(matches!(error, DirectoryError::Io { operation: Operation::Create, .. }), "{error}");
}

#[test]
fn without_atomic_a_failed_save_leaves_a_partial_file() {
    use training_monitor::embedded_io::Write;
    use training_monitor::store::StreamSpec;

    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").atomic(false).open().unwrap();
    save(&mut directory, 2, planned(1, 2).header(1)).unwrap();
    let header = planned(2, 2).header(2);
    let spec = StreamSpec { header, object: Some("model"), stream_index: 0, stream_count: 2, len: 100 };
    directory.create(&spec).unwrap().write(b"TMCK and no more").unwrap();
    drop(directory);
    assert_eq!(names(dir.path()), ["p_model_1.ckpt", "p_model_2.ckpt", "p_optimizer_1.ckpt"]);
    let mut directory = reopen(dir.path(), "p");
    assert_eq!((steps(&mut directory), directory.damaged()), (vec![1], 1));
    assert_eq!(directory.incomplete().count(), 1);
    save(&mut directory, 2, header).unwrap();
    assert_eq!((steps(&mut directory), directory.incomplete().count()), (vec![1, 2], 0));
}

#[test]
fn score_name_with_path_separator_is_rejected() {
    use training_monitor::checkpoint::Header;
    use training_monitor::store::StreamSpec;

    let dir = tempfile::tempdir().unwrap();
    let mut files = Directory::builder(dir.path(), "p").open().unwrap();
    let header = Header { score: Some(1.0), score_name: Some("val/acc"), ..planned(1, 1).header(1) };
    let spec = StreamSpec { header, object: Some("net"), stream_index: 0, stream_count: 1, len: 4 };
    for error in [files.check(&spec).unwrap_err(), files.create(&spec).err().unwrap()] {
        assert!(error.to_string().contains("must not contain '/'"), "{error}");
    }
    assert!(names(dir.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn save_into_a_read_only_directory_fails() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    save(&mut directory, 2, planned(1, 2).header(1)).unwrap();
    let set_mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o555);
    // The superuser can write in spite of the mode; the test then checks nothing.
    if fs::write(dir.path().join("probe"), "").is_err() {
        let error = save(&mut directory, 2, planned(2, 2).header(2)).unwrap_err();
        assert!(matches!(error, DirectoryError::Io { operation: Operation::Create, .. }), "{error}");
        assert!(matches!(directory.remove(1), Err(DirectoryError::Io { operation: Operation::Rename, .. })));
        assert_eq!(steps(&mut read(dir.path(), "p")), [1]);
    }
    set_mode(0o755);
    save(&mut directory, 2, planned(3, 2).header(2)).unwrap();
    assert_eq!(steps(&mut read(dir.path(), "p")), [1, 3]);
}

/// Provides a file system of 64 KiB, so that a test can fill the disk. The function runs the test `test` a second time
/// in a new mount namespace, where the process can mount a file system. In the second run, the function returns the
/// path of that file system. In the first run, it returns `None`, and the test must return without a check. If the
/// system does not allow mounting, there is no second run of the test.
#[cfg(target_os = "linux")]
fn small_disk(test: &str) -> Option<std::path::PathBuf> {
    use std::process::Command;

    if let Some(path) = std::env::var_os("SMALL_DISK") {
        return Some(path.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64k tmpfs \"$SMALL_DISK\" || exit 77; exec \"$0\" --exact \"$1\" --nocapture";
    let child = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .args([std::env::current_exe().unwrap().as_os_str(), test.as_ref()])
        .env("SMALL_DISK", dir.path())
        .output();
    match child {
        Ok(output) if output.status.success() => {
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(stdout.contains("1 passed"), "{test} is not the name of the test: {stdout}");
        }
        // The script exits with 77 if mounting is not allowed, and `unshare` with 1 if namespaces are not allowed.
        Ok(output) if matches!(output.status.code(), Some(77 | 1)) => println!("no small disk: {output:?}"),
        Ok(output) => panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("no small disk: {error}"),
    }
    None
}

#[cfg(target_os = "linux")]
#[test]
fn save_on_a_full_disk_fails() {
    use std::io::{ErrorKind, Write};

    let Some(dir) = small_disk("real_file_system::save_on_a_full_disk_fails") else { return };
    let mut directory = Directory::builder(&dir, "p").open().unwrap();
    save(&mut directory, 3, planned(1, 3).header(1)).unwrap();
    // A save writes three files. With 0 to 4 free pages on the disk, the first, second, third or no file fails.
    let mut failed = 0;
    for free_pages in 0..5 {
        let ballast = dir.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        let full = (0..1000).find_map(|_| file.write_all(&[7; 4096]).err()).expect("the disk is full");
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let len = file.metadata().unwrap().len();
        file.set_len(len / 4096 * 4096 - free_pages * 4096).unwrap();
        let saved = save(&mut directory, 3, planned(2, 3).header(2));
        match saved {
            Ok(()) => directory.remove(2).unwrap(),
            Err(DirectoryError::Io { cause, .. }) => {
                assert_eq!(cause.kind(), ErrorKind::StorageFull);
                failed += 1;
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(steps(&mut directory), [1]);
        assert_eq!(steps(&mut read(&dir, "p")), [1]);
        fs::remove_file(&ballast).unwrap();
        assert_eq!(names(&dir), ["p_model_1.ckpt", "p_optimizer_1.ckpt", "p_random_1.ckpt"], "{free_pages} free pages");
    }
    assert!((1..5).contains(&failed), "{failed} saves failed");
    save(&mut directory, 3, planned(3, 3).header(2)).unwrap();
    assert_eq!(steps(&mut read(&dir, "p")), [1, 3]);
}

/// Remounts the file system read-only. Unlike file permissions, this also affects the superuser.
#[cfg(target_os = "linux")]
#[test]
fn opening_on_a_read_only_disk_fails() {
    use std::io::ErrorKind;
    use std::process::Command;

    let Some(dir) = small_disk("real_file_system::opening_on_a_read_only_disk_fails") else { return };
    let mount = |options: &str| Command::new("mount").args(["-o", options]).arg(&dir).status().unwrap().success();
    let mut directory = Directory::builder(&dir, "p").open().unwrap();
    save(&mut directory, 2, planned(1, 2).header(1)).unwrap();
    drop(directory);
    assert!(mount("remount,ro"));
    match Directory::builder(&dir, "p").require_empty(false).open() {
        Err(OpenError::Directory(DirectoryError::Io { operation: Operation::Lock, cause, .. })) => {
            assert_eq!(cause.kind(), ErrorKind::ReadOnlyFilesystem);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(steps(&mut read(&dir, "p")), [1]);
    assert!(mount("remount,rw"));
    save(&mut reopen(&dir, "p"), 2, planned(3, 2).header(2)).unwrap();
    assert_eq!(steps(&mut reopen(&dir, "p")), [1, 3]);
}
