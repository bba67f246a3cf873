//! Tests of `RealFs` and of the parts of a [`Directory`] that depend on the operating system.

use std::fs;
use std::path::Path;
use std::process::Command;
use training_monitor_std::Directory;
use training_monitor_std::directory::{FileSystem, OpenError, RealFs};

#[test]
fn real_fs_detects_files_directories_and_links() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(RealFs.is_dir(dir.path()) && !RealFs.is_dir(&file) && !RealFs.is_dir(&dir.path().join("none")));
    assert!(RealFs.exists(&file).unwrap() && RealFs.exists(dir.path()).unwrap());
    assert!(!RealFs.exists(&dir.path().join("none")).unwrap());
    // `exists` returns an error if the existence cannot be determined, here because `file` is no directory.
    #[cfg(unix)]
    RealFs.exists(&file.join("below")).unwrap_err();
    #[cfg(unix)]
    {
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(RealFs.exists(&link).unwrap());
    }
}

/// The operating system cannot synchronize a pipe. The error shows that `RealFs` calls the operating system.
#[cfg(target_os = "linux")]
#[test]
fn real_fs_calls_the_operating_system_to_synchronize() {
    use std::io::ErrorKind;
    use std::os::fd::OwnedFd;

    let (_read, write) = std::io::pipe().unwrap();
    let error = RealFs.sync(&mut fs::File::from(OwnedFd::from(write))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(RealFs.sync_dir(Path::new("not/there")).unwrap_err().kind(), ErrorKind::NotFound);
    // A device file does not support synchronization, like a directory on some file systems. `sync_dir` ignores that.
    RealFs.sync_dir(Path::new("/dev/null")).unwrap();
}

/// The setting `require_empty` accepts the temporary files of an interrupted first save and rejects every other file.
/// The test uses an empty prefix, with which every name begins.
#[test]
fn require_empty_accepts_only_temporary_files() {
    for (name, is_rejected) in [
        (".model_1.ckpt.0.tmp", false),
        (".model_1.ckpt.0.deleted", true),
        (".model_1.ckpt.1.tmp", true), // belongs to another prefix
        ("model_1.ckpt", true),
        ("note.txt", true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), "TMCK").unwrap();
        let found = match Directory::builder(dir.path(), "").open() {
            Err(OpenError::NotEmpty { found, .. }) => Some(found),
            Err(error) => panic!("{name}: {error}"),
            Ok(_) => None,
        };
        assert_eq!(found.as_deref(), is_rejected.then_some(name));
    }
}

/// Runs itself in a second process with another home directory, because a multithreaded program must not change its own
/// environment.
#[cfg(unix)]
#[test]
fn tilde_is_expanded_to_the_home_directory() {
    const TEST: &str = "operating_system::tilde_is_expanded_to_the_home_directory";
    const SECOND_PROCESS: &str = "TILDE_TEST_SECOND_PROCESS";
    if std::env::var_os(SECOND_PROCESS).is_some() {
        let directory = Directory::builder("~/runs/one", "p").open().unwrap();
        assert_eq!(Some(directory.path()), std::env::home_dir().map(|home| home.join("runs/one")).as_deref());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST]).env("HOME", home.path()).env(SECOND_PROCESS, "");
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
    assert!(home.path().join("runs/one").is_dir());
}
