//! On the computer's own file system: what Ignite's reference says, and what other programs do to the files.

use crate::training::{Plan, save};
use std::fs;
use std::path::Path;
use training_monitor::checkpoint::One;
use training_monitor::event::EpochCompleted;
use training_monitor::store::Store;
use training_monitor::{Engine, ModelCheckpoint, State};
use training_monitor_std::Directory;
use training_monitor_std::directory::{DirectoryError, OpenError, Operation, Reason};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn reopen(dir: &Path, prefix: &str) -> Directory {
    Directory::builder(dir, prefix).require_empty(false).open().unwrap()
}

fn plan(step: u32, objects: usize) -> Plan {
    Plan { step, objects, score: None, remove: None }
}

fn steps(directory: &mut Directory) -> Vec<u32> {
    (0..).map_while(|index| directory.stored(index).unwrap()).map(|stored| stored.step).collect()
}

#[test]
fn best_by_score_and_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let scores = [0.5, 0.25, 0.75, f32::NAN, 0.7];
    let run = |epochs: u32, require_empty: bool| {
        let files =
            Directory::builder(dir.path(), "best").extension("bin").require_empty(require_empty).open().unwrap();
        let checkpoint = ModelCheckpoint::<2>::builder()
            .score_function(|state: &State<f32>| state.output.unwrap_or(f32::NAN))
            .score_name("val_acc")
            .n_saved(2);
        let mut checkpoint = checkpoint.build().unwrap().attach(EpochCompleted, files).unwrap();
        let mut model = One("net", [0.0_f32; 3]);
        let mut engine = Engine::new(epochs);
        let resumed = engine.resume(&mut model, &mut checkpoint).unwrap();
        let begun = resumed.map_or(0, |resumed| resumed.epoch);
        engine
            .run(&mut model, 0..1, &mut checkpoint, |model, _, state| {
                model.1[0] += 1.0;
                scores[state.epoch() as usize - 1]
            })
            .unwrap();
        let mut loaded = One("net", [0.0_f32; 3]);
        checkpoint.load_best(&mut loaded).unwrap();
        (begun, loaded.1[0])
    };
    assert_eq!(run(3, true), (0, 3.0));
    assert_eq!(names(dir.path()), ["best_net_1_val_acc=0.5.bin", "best_net_3_val_acc=0.75.bin"]);
    // On from the third epoch; the fourth score is no number, the fifth is better than the worst.
    assert_eq!(run(5, false), (3, 3.0));
    assert_eq!(names(dir.path()), ["best_net_3_val_acc=0.75.bin", "best_net_5_val_acc=0.7.bin"]);
}

#[test]
fn what_opening_refuses() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("best_of_all.txt"), "a note").unwrap();
    let open = |path: &Path, prefix: &str| Directory::builder(path, prefix).open();
    assert!(matches!(open(dir.path(), "best"), Err(OpenError::NotEmpty { found, .. }) if found == "best_of_all.txt"));
    assert!(matches!(open(dir.path(), ""), Err(OpenError::NotEmpty { .. })));
    assert!(matches!(open(dir.path(), "a/b"), Err(OpenError::Prefix)));
    let builder = || Directory::builder(dir.path(), "x");
    assert!(matches!(builder().extension("").open(), Err(OpenError::Extension)));
    assert!(matches!(builder().extension("tmp").open(), Err(OpenError::Extension)));
    let deep = dir.path().join("not/there");
    let unmade = Directory::builder(&deep, "x").create_dir(false).open();
    assert!(matches!(unmade, Err(OpenError::NotFound { path }) if path == deep));
    assert_eq!(open(&deep, "x").unwrap().path(), deep);
    // A file where the directory should be.
    let file = Directory::builder(dir.path().join("best_of_all.txt"), "x").open();
    let Err(OpenError::Directory(DirectoryError::Io { operation: Operation::CreateDir, .. })) = file else { panic!() };
}

#[test]
fn prefixes_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = Directory::builder(dir.path(), "a").open().unwrap();
    save(&mut short, 2, plan(1, 2).header(1)).unwrap();
    let mut long = Directory::builder(dir.path(), "a_b").open().unwrap();
    save(&mut long, 2, plan(7, 2).header(1)).unwrap();
    // The start of a save of the one does not survive its opening, and survives that of the other.
    let torn = dir.path().join(".a_b_model_9.ckpt.3.tmp");
    fs::write(&torn, "TMCK").unwrap();
    assert_eq!(steps(&mut reopen(dir.path(), "a")), [1]);
    assert!(torn.exists());
    assert_eq!(steps(&mut reopen(dir.path(), "a_b")), [7]);
    assert!(!torn.exists());
    let foreign: Vec<_> = reopen(dir.path(), "a").foreign().map(|file| file.reason.clone()).collect();
    assert_eq!(foreign, [Reason::Foreign, Reason::Foreign]);
}

#[test]
fn files_that_are_not_ours_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    save(&mut directory, 1, plan(1, 1).header(1)).unwrap();
    let ours = fs::read(dir.path().join("p_model_1.ckpt")).unwrap();
    let mut newer = ours.clone();
    newer[4] = 99;
    fs::write(dir.path().join("p_model_2.ckpt"), &newer).unwrap();
    fs::write(dir.path().join("p_model_3.ckpt"), "PK a file of another program").unwrap();
    fs::write(dir.path().join("p_model_4.ckpt"), &ours).unwrap(); // a copy under another name
    fs::write(dir.path().join("p_model_5.ckpt"), &ours[..ours.len() - 1]).unwrap();
    let mut directory = reopen(dir.path(), "p");
    assert_eq!(steps(&mut directory), [1]);
    let foreign: Vec<_> = directory.foreign().map(|file| file.reason.clone()).collect();
    assert_eq!(foreign, [Reason::Version { found: 99 }, Reason::Foreign, Reason::Foreign]);
    let damaged: Vec<_> = directory.incomplete().map(|file| file.reason.clone()).collect();
    assert_eq!(damaged, [Reason::Damaged]);
    for step in 2..=4 {
        let refused = save(&mut directory, 1, plan(step, 1).header(2));
        assert!(matches!(refused, Err(DirectoryError::InTheWay { .. })), "{step}");
    }
    assert_eq!(fs::read(dir.path().join("p_model_2.ckpt")).unwrap(), newer);
    // What is left of one of ours is replaced.
    save(&mut directory, 1, plan(5, 1).header(2)).unwrap();
    assert_eq!(steps(&mut reopen(dir.path(), "p")), [1, 5]);
    assert_eq!(names(dir.path()).len(), 5);
}

#[test]
fn files_that_somebody_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    for step in 1..=3 {
        save(&mut directory, 3, plan(step, 3).header(step)).unwrap();
    }
    fs::remove_file(dir.path().join("p_optimizer_2.ckpt")).unwrap();
    let gone = directory.open(2, 1).err().unwrap();
    assert!(matches!(&gone, DirectoryError::Io { operation: Operation::Open, .. }), "{gone}");
    assert!(gone.to_string().contains("p_optimizer_2.ckpt"));
    // Incomplete at the next opening, listed, and not removed.
    let mut reopened = reopen(dir.path(), "p");
    assert_eq!(steps(&mut reopened), [1, 3]);
    let missing = Reason::Incomplete { step: 2, missing: vec!["optimizer".into()] };
    assert!(reopened.incomplete().all(|file| file.reason == missing));
    assert_eq!(names(dir.path()).len(), 8);
    // The one that still lists it can remove it; what is gone is gone.
    directory.remove(2).unwrap();
    fs::remove_file(dir.path().join("p_model_1.ckpt")).unwrap();
    directory.remove(1).unwrap();
    directory.remove(1).unwrap();
    assert_eq!(names(dir.path()), ["p_model_3.ckpt", "p_optimizer_3.ckpt", "p_random_3.ckpt"]);
    // The whole directory.
    fs::remove_dir_all(dir.path()).unwrap();
    let error = save(&mut directory, 1, plan(4, 1).header(4)).unwrap_err();
    assert!(matches!(error, DirectoryError::Io { operation: Operation::Create, .. }), "{error}");
}

#[test]
fn without_atomic_a_failed_save_leaves_a_partial_file() {
    use training_monitor::embedded_io::Write;
    use training_monitor::store::Opening;

    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").atomic(false).open().unwrap();
    save(&mut directory, 2, plan(1, 2).header(1)).unwrap();
    let header = plan(2, 2).header(2);
    let opening = Opening { header, object: Some("model"), part: 0, parts: 2, len: 100 };
    directory.create(&opening).unwrap().write(b"TMCK and no more").unwrap();
    drop(directory);
    assert_eq!(names(dir.path()), ["p_model_1.ckpt", "p_model_2.ckpt", "p_optimizer_1.ckpt"]);
    let mut directory = reopen(dir.path(), "p");
    assert_eq!(steps(&mut directory), [1]);
    assert_eq!(directory.incomplete().count(), 1);
    save(&mut directory, 2, header).unwrap();
    assert_eq!((steps(&mut directory), directory.incomplete().count()), (vec![1, 2], 0));
}

#[test]
fn names_that_cannot_be_files() {
    let dir = tempfile::tempdir().unwrap();
    let files = Directory::builder(dir.path(), "p").open().unwrap();
    let scored = ModelCheckpoint::<1>::builder().score_function(|_: &State<f32>| 1.0).score_name("val/acc");
    let mut checkpoint = scored.build().unwrap().attach(EpochCompleted, files).unwrap();
    let ran = Engine::new(1).run(&mut One("net", [0.0_f32]), 0..1, &mut checkpoint, |_, _, _| 0.0);
    assert!(ran.is_err());
    assert!(checkpoint.last_error().unwrap().to_string().contains("cannot be a file name"));
    assert!(names(dir.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_directory_that_became_read_only() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    save(&mut directory, 2, plan(1, 2).header(1)).unwrap();
    let allow = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    // Root may write all the same; then there is nothing to see here.
    if fs::write(dir.path().join("probe"), "").is_err() {
        let error = save(&mut directory, 2, plan(2, 2).header(2)).unwrap_err();
        assert!(matches!(error, DirectoryError::Io { operation: Operation::Create, .. }), "{error}");
        assert!(matches!(directory.remove(1), Err(DirectoryError::Io { operation: Operation::Rename, .. })));
        assert_eq!(steps(&mut reopen(dir.path(), "p")), [1]);
    }
    allow(0o755);
    save(&mut directory, 2, plan(3, 2).header(2)).unwrap();
    assert_eq!(steps(&mut reopen(dir.path(), "p")), [1, 3]);
}

/// A disk of 64 KiB: the test runs again in a mount namespace of its own, where root (and, on most systems, anybody) may
/// mount one, and is told where. `None` in the run outside, which has passed if the one inside has, and where nobody may
/// mount anything there is nothing to see.
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
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{test} is not the name of the test: {said}");
        }
        // 1: unshare itself was not allowed to.
        Ok(output) if matches!(output.status.code(), Some(77 | 1)) => println!("no small disk: {output:?}"),
        Ok(output) => panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("no small disk: {error}"),
    }
    None
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full() {
    use std::io::{ErrorKind, Write};

    let Some(dir) = small_disk("real::a_disk_that_is_full") else { return };
    let mut directory = Directory::builder(&dir, "p").open().unwrap();
    save(&mut directory, 3, plan(1, 3).header(1)).unwrap();
    // So many pages are free: the first file finds no room, or the second, the third, or all have it.
    let mut failed = 0;
    for free in 0..5 {
        let ballast = dir.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        let full = (0..1000).find_map(|_| file.write_all(&[7; 4096]).err()).expect("it is full now");
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let len = file.metadata().unwrap().len();
        file.set_len(len / 4096 * 4096 - free * 4096).unwrap();
        let saved = save(&mut directory, 3, plan(2, 3).header(2));
        match saved {
            Ok(()) => directory.remove(2).unwrap(),
            Err(DirectoryError::Io { cause, .. }) => {
                assert_eq!(cause.kind(), ErrorKind::StorageFull);
                failed += 1;
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(steps(&mut directory), [1]);
        assert_eq!(steps(&mut reopen(&dir, "p")), [1]);
        fs::remove_file(&ballast).unwrap();
        assert_eq!(names(&dir), ["p_model_1.ckpt", "p_optimizer_1.ckpt", "p_random_1.ckpt"], "{free} pages");
    }
    assert!((1..5).contains(&failed), "{failed} saves failed");
    save(&mut directory, 3, plan(3, 3).header(2)).unwrap();
    assert_eq!(steps(&mut reopen(&dir, "p")), [1, 3]);
}

/// As root, too, whom a mode does not stop.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_became_read_only() {
    use std::io::ErrorKind;
    use std::process::Command;

    let Some(dir) = small_disk("real::a_disk_that_became_read_only") else { return };
    let mount = |how: &str| Command::new("mount").args(["-o", how]).arg(&dir).status().unwrap().success();
    let mut directory = Directory::builder(&dir, "p").open().unwrap();
    save(&mut directory, 2, plan(1, 2).header(1)).unwrap();
    assert!(mount("remount,ro"));
    let refused = |result: Result<(), DirectoryError>| match result {
        Err(DirectoryError::Io { cause, .. }) => assert_eq!(cause.kind(), ErrorKind::ReadOnlyFilesystem),
        other => panic!("{other:?}"),
    };
    refused(save(&mut directory, 2, plan(2, 2).header(2)));
    refused(directory.remove(1));
    assert_eq!(steps(&mut reopen(&dir, "p")), [1]);
    assert!(mount("remount,rw"));
    save(&mut directory, 2, plan(3, 2).header(2)).unwrap();
    assert_eq!(steps(&mut reopen(&dir, "p")), [1, 3]);
}
